#include "server/compute.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "server/reply.h"

/* A batch while it is computed. */
typedef struct batch {
    request *const *requests;
    size_t count;
    const body_limits *limits;
    results *held;
    metrics *metrics;
} batch;

static bool has_failed(const request *it)
{
    return it->answer.status != 0;
}

/* A held prediction is asked again only for single heads of ROIs' maps, of which it holds the mean. */
static bool needs_prediction(const request *it)
{
    return it->kind != REQUEST_HELD_ATTENTION ||
           (it->query.heads && !engine_subject_info(it->engine, it->query.subjects[0])->by_vertex);
}

/* --- reading -------------------------------------------------------------------------------------- */

/* Nothing is made of 0. */
static be_status make_floats(float **out, size_t count, const char *what, be_error *error)
{
    return count > 0 ? be_allocate_floats(out, count, what, error) : BE_OK;
}

/* What a prediction of one image and subject gives, floats of each part. */
typedef struct answer_size {
    size_t vertices, spread, attention, heads, features, maps;
    size_t written; /* numbers of vertices in the answer: on fsaverage there are others between the subject's */
} answer_size;

static size_t count_written(const request_query *query, const be_subject_info *info)
{
    bool placed = query->space == BE_SPACE_FSAVERAGE && !query->only_some;
    const size_t *each = placed ? info->n_fsaverage : info->n_vertices;
    size_t columns = 1 + (size_t)query->spread + 2 * (size_t)query->quality;
    return columns * (each[BE_LEFT] + each[BE_RIGHT]);
}

/* What maps are made from is always computed: it is held for GET /attention. */
static answer_size measure(const request *it, const request_image *image, size_t place)
{
    const be_subject_info *info = engine_subject_info(it->engine, it->query.subjects[place]);
    const be_map_selection *asked = &it->query.maps[place];
    size_t cells = image->about.rows * image->about.columns;
    answer_size size = {.maps = be_map_selection_count(asked) * be_map_selection_sheets(info, asked) * cells};
    if (!needs_prediction(it))
        return size;
    size.vertices = it->kind == REQUEST_PREDICT ? info->n_vertices[BE_LEFT] + info->n_vertices[BE_RIGHT] : 0;
    size.spread = it->query.spread ? size.vertices : 0;
    size.written = it->kind == REQUEST_PREDICT ? count_written(&it->query, info) : 0;
    size.attention = info->maps * cells;
    size.heads = it->query.heads ? info->heads * size.attention : 0;
    size.features = engine_feature_floats(it->engine, it->query.subjects[place], cells);
    return size;
}

static be_status make_answers(const request *it, request_image *image, size_t place, be_error *error)
{
    answer_size size = measure(it, image, place);
    be_output *output = &image->outputs[place];
    be_status status = make_floats(&output->vertices, size.vertices, "answers", error);
    if (status == BE_OK)
        status = make_floats(&output->spread, size.spread, "answers", error);
    if (status == BE_OK)
        status = make_floats(&output->attention, size.attention, "attention maps", error);
    if (status == BE_OK)
        status = make_floats(&output->attention_heads, size.heads, "attention maps", error);
    if (status == BE_OK)
        status = make_floats(&output->features, size.features, "feature maps", error);
    return status == BE_OK ? make_floats(&image->maps[place], size.maps, "attention maps", error) : status;
}

/* Counts the answers of an image before they are made; text takes up to four times the floats in it. */
static be_status count_answers(request *it, const request_image *image, const body_limits *limits, be_error *error)
{
    enum { TEXT_A_FLOAT = 16 };
    size_t bytes = 0;
    for (size_t s = 0; s < it->query.n_subjects; s++) {
        answer_size size = measure(it, image, s);
        size_t answered = size.vertices + size.spread, kept = size.attention + size.heads + size.features;
        bytes += sizeof(float) * (answered + kept + size.maps) + TEXT_A_FLOAT * (size.written + size.maps);
    }
    return body_count_bytes(it, bytes, limits, error);
}

/* The one image of GET /attention is that of a held prediction. */
static be_status take_held_picture(request *it, const body_limits *limits, be_error *error)
{
    void *images, *pixels;
    const be_image *input = &it->held->input;
    be_status status = body_count_bytes(it, input->width * input->height * 3, limits, error);
    if (status == BE_OK)
        status = be_allocate(&images, 1, sizeof(request_image), "an image", error);
    if (status != BE_OK)
        return status;
    it->images = images;
    it->n_images = 1;
    it->images[0].about = it->held->about;
    status = be_allocate(&pixels, input->width * input->height, 3, "an image", error);
    if (status != BE_OK)
        return status;
    memcpy(pixels, input->rgb, input->width * input->height * 3);
    it->images[0].input = (be_image){input->width, input->height, pixels};
    return BE_OK;
}

static be_status read_request(request *it, const body_limits *limits, be_error *error)
{
    bool held = it->kind == REQUEST_HELD_ATTENTION;
    be_status status = held ? take_held_picture(it, limits, error) : body_read_images(it, limits, error);
    if (status == BE_OK && it->n_images > 1 && it->query.format != FORMAT_JSON && it->kind != REQUEST_PREDICT)
        status = be_fail(error, BE_ERROR_ARGUMENT, "format: maps of several images come as JSON only");
    for (size_t i = 0; i < it->n_images && status == BE_OK; i++) {
        status = count_answers(it, &it->images[i], limits, error);
        for (size_t s = 0; s < it->query.n_subjects && status == BE_OK; s++)
            status = make_answers(it, &it->images[i], s, error);
    }
    return status;
}

static void fail_reading(const batch *self, request *it, const be_error *error)
{
    if (error->status == BE_ERROR_MEMORY) {
        answer_fail_with(&it->answer, 503, "busy", error->message);
        metrics_rejected(self->metrics, REJECTED_BYTES);
        return;
    }
    answer_fail(&it->answer, error);
    metrics_rejected(self->metrics, error->status == BE_ERROR_LIMIT ? REJECTED_PIXELS : REJECTED_IMAGE);
}

static void read_one(void *context, size_t index, size_t worker)
{
    const batch *self = context;
    request *it = self->requests[index];
    be_error error;
    (void)worker;
    double start = be_clock();
    if (read_request(it, self->limits, &error) != BE_OK) {
        fail_reading(self, it, &error);
    }
    metrics_time(self->metrics, STAGE_DECODE, be_clock() - start);
}

/* --- predicting ----------------------------------------------------------------------------------- */

/* The images of a batch that are read from one model, next to each other. */
typedef struct group {
    be_image *inputs;       /* [count] */
    be_output *outputs;     /* [count * subjects of the model] */
    be_timing *timings;     /* [count] */
    request_image **images; /* [count] */
    size_t count;
} group;

static bool reads_model(const request *it, const engine *served, size_t model)
{
    if (it->engine != served || has_failed(it) || !needs_prediction(it))
        return false;
    for (size_t s = 0; s < it->query.n_subjects; s++) {
        if (engine_subject_at(served, it->query.subjects[s])->model == model)
            return true;
    }
    return false;
}

static be_status make_group(group *to, size_t images, size_t subjects, be_error *error)
{
    const size_t sizes[] = {images * sizeof *to->inputs, images * subjects * sizeof *to->outputs, images * sizeof *to->timings,
                            images * sizeof *to->images};
    void *arrays[sizeof sizes / sizeof *sizes] = {NULL};
    be_status status = BE_OK;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && status == BE_OK; i++)
        status = be_allocate(&arrays[i], sizes[i], 1, "a batch", error);
    *to = (group){.inputs = arrays[0], .outputs = arrays[1], .timings = arrays[2], .images = arrays[3]};
    return status;
}

static void free_group(group *it)
{
    free(it->inputs);
    free(it->outputs);
    free(it->timings);
    free(it->images);
}

static void add_images(group *to, request *it, size_t model, size_t subjects)
{
    for (size_t i = 0; i < it->n_images; i++, to->count++) {
        to->inputs[to->count] = it->images[i].input;
        to->images[to->count] = &it->images[i];
        for (size_t s = 0; s < it->query.n_subjects; s++) {
            const engine_subject *subject = engine_subject_at(it->engine, it->query.subjects[s]);
            if (subject->model == model)
                to->outputs[to->count * subjects + subject->subject] = it->images[i].outputs[s];
        }
    }
}

static void note_times(const group *of, metrics *counters)
{
    for (size_t i = 0; i < of->count; i++) {
        of->images[i]->timing.backbone += of->timings[i].backbone;
        of->images[i]->timing.encoder += of->timings[i].encoder;
        metrics_time(counters, STAGE_BACKBONE, of->timings[i].backbone);
        metrics_time(counters, STAGE_ENCODER, of->timings[i].encoder);
    }
    atomic_fetch_add(&counters->images, of->count);
}

/* All images of the batch that some subject of this model is asked for, in one call. */
static void predict_model(const batch *self, const engine *served, size_t model)
{
    size_t images = 0, subjects = be_model_subjects(engine_model(served, model));
    group all = {0};
    be_error error;
    for (size_t i = 0; i < self->count; i++)
        images += reads_model(self->requests[i], served, model) ? self->requests[i]->n_images : 0;
    if (images == 0)
        return;
    be_status status = make_group(&all, images, subjects, &error);
    for (size_t i = 0; i < self->count; i++) {
        if (status == BE_OK && reads_model(self->requests[i], served, model))
            add_images(&all, self->requests[i], model, subjects);
    }
    if (status == BE_OK)
        status = be_session_predict(engine_session(served, model), all.inputs, all.count, all.outputs, all.timings, &error);
    if (status == BE_OK)
        note_times(&all, self->metrics);
    for (size_t i = 0; i < self->count && status != BE_OK; i++) {
        if (reads_model(self->requests[i], served, model))
            answer_fail(&self->requests[i]->answer, &error);
    }
    free_group(&all);
}

/* --- maps ----------------------------------------------------------------------------------------- */

static bool is_awaited(const void *asker)
{
    return request_is_pending(asker);
}

static be_status compute_maps(const request *it, request_image *image, size_t place, be_error *error)
{
    const engine_subject *subject = engine_subject_at(it->engine, it->query.subjects[place]);
    be_map_source source = {.info = engine_subject_info(it->engine, it->query.subjects[place]),
                            .output = needs_prediction(it) ? &image->outputs[place] : &it->held->output,
                            .rows = image->about.rows, .columns = image->about.columns,
                            .session = engine_session(it->engine, subject->model), .subject = subject->subject,
                            .is_wanted = is_awaited, .asker = it};
    double start = be_clock();
    be_status status = be_maps_compute(&source, &it->query.maps[place], image->maps[place], error);
    image->timing.encoder += be_clock() - start;
    return status;
}

/* By vertex they take a session, which is for one thread: request by request. One that nobody waits for any more gets no more of
 * them: many ROIs of many pictures take longer than any deadline. */
static void compute_all_maps(request *it)
{
    be_error error;
    be_status status = BE_OK;
    if (!it->query.with_maps || has_failed(it))
        return;
    for (size_t i = 0; i < it->n_images && status == BE_OK; i++) {
        for (size_t s = 0; s < it->query.n_subjects && status == BE_OK; s++)
            status = compute_maps(it, &it->images[i], s, &error);
    }
    if (status != BE_OK)
        answer_fail(&it->answer, &error);
}

/* --- answering ------------------------------------------------------------------------------------ */

static void hold(const batch *self, const request *it)
{
    for (size_t i = 0; i < it->n_images && it->kind != REQUEST_HELD_ATTENTION; i++) {
        for (size_t s = 0; s < it->query.n_subjects; s++)
            results_put(self->held, it->caller, it->engine, it->query.subjects[s], &it->images[i].about, &it->images[i].input,
                        &it->images[i].outputs[s]);
    }
}

static void answer_one(void *context, size_t index, size_t worker)
{
    const batch *self = context;
    request *it = self->requests[index];
    be_error error;
    (void)worker;
    if (has_failed(it))
        return;
    double start = be_clock();
    hold(self, it);
    if (request_is_pending(it) && reply_write(it, &error) != BE_OK)
        answer_fail(&it->answer, &error);
    metrics_time(self->metrics, STAGE_ANSWER, be_clock() - start);
}

/* --- the batch ------------------------------------------------------------------------------------ */

static bool seen_before(const batch *self, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (self->requests[i]->engine == self->requests[index]->engine)
            return true;
    }
    return false;
}

void compute_batch(request *const *requests, size_t count, const body_limits *limits, results *held, metrics *counters)
{
    batch self = {requests, count, limits, held, counters};
    be_session *session = engine_session(requests[0]->engine, 0); /* its threads do the reading and writing too */
    double start = be_clock();
    for (size_t i = 0; i < count; i++) {
        requests[i]->started = start;
        metrics_time(counters, STAGE_QUEUE, start - requests[i]->received);
    }
    be_session_run(session, count, read_one, &self);
    for (size_t i = 0; i < count; i++) {
        const engine *served = requests[i]->engine;
        for (size_t model = 0; model < engine_models(served) && !seen_before(&self, i); model++)
            predict_model(&self, served, model);
    }
    for (size_t i = 0; i < count; i++)
        compute_all_maps(requests[i]);
    be_session_run(session, count, answer_one, &self);
    atomic_fetch_add(&counters->batches, 1);
    for (size_t i = 0; i < count; i++)
        atomic_fetch_add(&counters->batched_images, needs_prediction(requests[i]) ? requests[i]->n_images : 0);
}
