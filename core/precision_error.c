#include "core/precision_error.h"

#include <math.h>
#include <stdlib.h>

#include "core/base/memory.h"
#include "core/image/drawn.h"
#include "core/model.h"

enum { PICTURES = 2 };

/* --- comparing ------------------------------------------------------------------------------------ */

static double mean(const float *values, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += values[i];
    return sum / (double)count;
}

be_precision_error be_precision_error_of(const float *found, const float *reference, size_t pictures, size_t vertices)
{
    be_precision_error worst = {.pictures = pictures, .correlation = 1, .largest = 0};
    for (size_t p = 0; p < pictures; p++, found += vertices, reference += vertices) {
        double found_mean = mean(found, vertices), reference_mean = mean(reference, vertices);
        double both = 0, found_square = 0, reference_square = 0, largest = 0;
        for (size_t v = 0; v < vertices; v++) {
            double a = found[v] - found_mean, b = reference[v] - reference_mean, apart = fabs((double)found[v] - reference[v]);
            both += a * b, found_square += a * a, reference_square += b * b;
            largest = isnan(apart) || apart > largest ? apart : largest; /* what is no number stays the worst */
        }
        double correlation = both / sqrt(found_square * reference_square);
        double spreads = largest / sqrt(reference_square / (double)vertices);
        worst.correlation = isnan(correlation) || correlation < worst.correlation ? correlation : worst.correlation;
        worst.largest = isnan(spreads) || spreads > worst.largest ? spreads : worst.largest;
    }
    return worst;
}

/* --- predicting ----------------------------------------------------------------------------------- */

/* What a subject is asked: two pictures of half its training size, for they take a quarter of the time; one of the whole size where
 * it takes no other. */
typedef struct sample {
    size_t side, pictures;
} sample;

static sample choose_sample(const be_model *model, size_t subject)
{
    size_t whole = be_subject_get_info(be_model_subject(model, subject))->image_size, half = (whole + 1) / 2;
    return be_model_check_image(model, subject, half, half, NULL) == BE_OK ? (sample){half, PICTURES} : (sample){whole, 1};
}

static bool same_sample(sample a, sample b)
{
    return a.side == b.side && a.pictures == b.pictures;
}

static size_t count_vertices(const be_model *model, size_t subject)
{
    const be_subject_info *info = be_subject_get_info(be_model_subject(model, subject));
    return info->n_vertices[BE_LEFT] + info->n_vertices[BE_RIGHT];
}

static size_t most_tokens(const be_model *model)
{
    size_t most = 0;
    for (size_t s = 0; s < be_model_subjects(model); s++) {
        size_t rows, columns, side = choose_sample(model, s).side;
        be_model_grid(model, &(be_image){.width = side, .height = side}, &rows, &columns);
        most = rows * columns > most ? rows * columns : most;
    }
    return most;
}

/* All subjects that are asked the same, in one go. answers [subjects], each [pictures][vertices]. */
static be_status predict_sample(be_session *session, const be_model *model, sample asked, float *const *answers, be_error *error)
{
    size_t subjects = be_model_subjects(model), bytes = asked.side * asked.side * 3;
    be_output *outputs;
    be_image images[PICTURES];
    void *pixels = NULL, *memory = NULL;
    be_status status = be_allocate(&pixels, asked.pictures, bytes, "the pictures that precisions are compared on", error);
    if (status == BE_OK)
        status = be_allocate(&memory, asked.pictures * subjects, sizeof(be_output), "answers", error);
    if (status == BE_OK) {
        outputs = memory;
        for (size_t p = 0; p < asked.pictures; p++) {
            images[p] = (be_image){asked.side, asked.side, (unsigned char *)pixels + p * bytes};
            be_image_draw((unsigned)p, asked.side, images[p].rgb);
            for (size_t s = 0; s < subjects; s++) {
                if (same_sample(choose_sample(model, s), asked))
                    outputs[p * subjects + s].vertices = answers[s] + p * count_vertices(model, s);
            }
        }
        status = be_session_predict(session, images, asked.pictures, outputs, NULL, error);
    }
    free(memory);
    free(pixels);
    return status;
}

static bool asked_before(const be_model *model, size_t subject)
{
    for (size_t s = 0; s < subject; s++) {
        if (same_sample(choose_sample(model, s), choose_sample(model, subject)))
            return true;
    }
    return false;
}

static void free_answers(float **answers, size_t subjects)
{
    for (size_t s = 0; answers && s < subjects; s++)
        free(answers[s]);
    free(answers);
}

/* *out [subjects], each [pictures of its sample][vertices]; to be freed with free_answers. */
static be_status predict_samples(be_model *model, const be_session_options *options, float ***out, be_error *error)
{
    be_session_options own = {.threads = options->threads, .tokens = most_tokens(model), .isa = options->isa};
    size_t subjects = be_model_subjects(model);
    be_session *session = NULL;
    void *memory;
    be_status status = be_allocate(&memory, subjects, sizeof(float *), "answers", error);
    if (status != BE_OK)
        return status;
    float **answers = memory;
    for (size_t s = 0; s < subjects && status == BE_OK; s++) {
        status = be_allocate(&memory, choose_sample(model, s).pictures * count_vertices(model, s), sizeof(float), "answers", error);
        answers[s] = status == BE_OK ? memory : NULL;
    }
    if (status == BE_OK)
        status = be_session_open(model, &own, &session, error);
    for (size_t s = 0; s < subjects && status == BE_OK; s++) {
        if (!asked_before(model, s))
            status = predict_sample(session, model, choose_sample(model, s), answers, error);
    }
    be_session_close(session);
    if (status == BE_OK)
        *out = answers;
    else
        free_answers(answers, subjects);
    return status;
}

/* --- measuring ------------------------------------------------------------------------------------ */

/* What the same files answer in f32. They are closed again: both precisions at once would take both's memory. */
static be_status predict_reference(const be_model_options *options, const be_session_options *session, float ***out,
                                   be_error *error)
{
    be_model_options exact = *options;
    be_model *model;
    exact.precision = BE_PRECISION_F32;
    be_status status = be_model_open_unnamed(&exact, &model, error);
    if (status != BE_OK)
        return status;
    status = predict_samples(model, session, out, error);
    be_model_close(model);
    return status;
}

static be_status measure(be_model *model, const be_session_options *session, float *const *reference, be_error *error)
{
    float **found;
    be_status status = predict_samples(model, session, &found, error);
    if (status != BE_OK)
        return status;
    for (size_t s = 0; s < be_model_subjects(model); s++) {
        sample asked = choose_sample(model, s);
        be_precision_error measured = be_precision_error_of(found[s], reference[s], asked.pictures, count_vertices(model, s));
        measured.side = asked.side;
        be_model_note_precision_error(model, s, &measured);
    }
    free_answers(found, be_model_subjects(model));
    return BE_OK;
}

be_status be_model_open_measured(const be_model_options *options, const be_session_options *session, be_model **out,
                                 be_error *error)
{
    float **reference;
    if (options->precision == BE_PRECISION_F32)
        return be_model_open(options, out, error);
    be_status status = predict_reference(options, session, &reference, error);
    if (status != BE_OK)
        return status;
    be_model *model;
    status = be_model_open(options, &model, error);
    if (status == BE_OK) {
        status = measure(model, session, reference, error);
        if (status == BE_OK)
            *out = model;
        else
            be_model_close(model);
    }
    free_answers(reference, options->n_subjects);
    return status;
}
