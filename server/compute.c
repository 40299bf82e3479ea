#include "server/compute.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/files/npy.h"

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

/* --- reading -------------------------------------------------------------------------------------- */

static be_status make_floats(float **out, size_t count, const char *what, be_error *error)
{
    void *memory;
    be_status status = be_allocate(&memory, count, sizeof(float), what, error);
    if (status == BE_OK)
        *out = memory;
    return status;
}

/* Room for what a prediction of one image and subject gives. The mean maps are always computed: they are held for
 * GET /attention. */
static be_status make_output(const request *it, request_image *image, size_t place, be_error *error)
{
    const be_subject_info *info = engine_subject_info(it->engine, it->query.subjects[place]);
    size_t maps = info->maps * image->about.rows * image->about.columns;
    be_output *output = &image->outputs[place];
    be_status status = BE_OK;
    if (it->kind == REQUEST_PREDICT)
        status = make_floats(&output->vertices, info->n_vertices[BE_LEFT] + info->n_vertices[BE_RIGHT], "answers", error);
    if (status == BE_OK)
        status = make_floats(&output->attention, maps, "attention maps", error);
    if (status == BE_OK && it->query.how.heads)
        status = make_floats(&output->attention_heads, info->heads * maps, "attention maps", error);
    return status;
}

/* Counts the answers of an image before they are made; text takes up to four times the floats in it. */
static be_status count_answers(request *it, const request_image *image, const body_limits *limits, be_error *error)
{
    enum { BYTES_A_FLOAT = 16 };
    size_t floats = 0, cells = image->about.rows * image->about.columns;
    for (size_t s = 0; s < it->query.n_subjects; s++) {
        const be_subject_info *info = engine_subject_info(it->engine, it->query.subjects[s]);
        size_t maps = info->maps * cells;
        floats += maps + info->n_vertices[BE_LEFT] + info->n_vertices[BE_RIGHT] + (it->query.how.heads ? info->heads * maps : 0);
    }
    return body_count_bytes(it, BYTES_A_FLOAT * floats, limits, error);
}

/* A held prediction whose single heads are wanted is computed again from its picture. */
static be_status take_held_picture(request *it, be_error *error)
{
    void *images, *pixels;
    const be_image *input = &it->held->input;
    be_status status = be_allocate(&images, 1, sizeof(request_image), "an image", error);
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
    be_status status = BE_OK;
    if (it->kind != REQUEST_HELD_ATTENTION)
        status = body_read_images(it, limits, error);
    else if (it->query.how.heads)
        status = take_held_picture(it, error);
    if (status == BE_OK && it->n_images > 1 && it->query.format != FORMAT_JSON && it->kind != REQUEST_PREDICT)
        status = be_fail(error, BE_ERROR_ARGUMENT, "format: maps of several images come as JSON only");
    for (size_t i = 0; i < it->n_images && status == BE_OK; i++) {
        status = count_answers(it, &it->images[i], limits, error);
        for (size_t s = 0; s < it->query.n_subjects && status == BE_OK; s++)
            status = make_output(it, &it->images[i], s, error);
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
    request **owners;       /* [count] */
    size_t count;
} group;

static bool reads_model(const request *it, const engine *served, size_t model)
{
    if (it->engine != served || has_failed(it))
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
                            images * sizeof *to->images, images * sizeof *to->owners};
    void *arrays[sizeof sizes / sizeof *sizes] = {NULL};
    be_status status = BE_OK;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && status == BE_OK; i++)
        status = be_allocate(&arrays[i], sizes[i], 1, "a batch", error);
    *to = (group){.inputs = arrays[0], .outputs = arrays[1], .timings = arrays[2], .images = arrays[3], .owners = arrays[4]};
    return status;
}

static void free_group(group *it)
{
    free(it->inputs);
    free(it->outputs);
    free(it->timings);
    free(it->images);
    free(it->owners);
}

static void add_images(group *to, request *it, size_t model, size_t subjects)
{
    for (size_t i = 0; i < it->n_images; i++, to->count++) {
        to->inputs[to->count] = it->images[i].input;
        to->images[to->count] = &it->images[i];
        to->owners[to->count] = it;
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

/* --- answers -------------------------------------------------------------------------------------- */

static be_status predict_json(const request *it, const request_image *image, size_t place, char **text, be_error *error)
{
    const engine_subject *subject = engine_subject_at(it->engine, it->query.subjects[place]);
    const request_query *query = &it->query;
    be_answer_options options = {.vertices = query->vertices, .rois = query->rois,
                                 .only = query->only_some ? &query->only[place] : NULL,
                                 .attention = query->with_maps ? &query->maps[place] : NULL};
    be_answer_timing timing = {.decode = image->decode_ms, .queue = 1e3 * (it->started - it->received),
                               .backbone = 1e3 * image->timing.backbone, .encoder = 1e3 * image->timing.encoder,
                               .total = 1e3 * (be_clock() - it->received)};
    return be_answer_prediction(engine_model(it->engine, subject->model), subject->subject, &image->about,
                                &image->outputs[place], &options, &timing, text, error);
}

static be_status attention_json(const request *it, const be_answer_image *about, const be_output *output, size_t place,
                                char **text, be_error *error)
{
    const engine_subject *subject = engine_subject_at(it->engine, it->query.subjects[place]);
    return be_answer_attention(engine_model(it->engine, subject->model), subject->subject, about, output,
                               &it->query.maps[place], &it->query.how, text, error);
}

static be_status add_json(request *it, const request_image *image, size_t place, be_text *to, be_error *error)
{
    char *text;
    be_status status = it->kind == REQUEST_PREDICT
                           ? predict_json(it, image, place, &text, error)
                           : attention_json(it, &image->about, &image->outputs[place], place, &text, error);
    if (status != BE_OK)
        return status;
    be_text_add(to, text);
    free(text);
    return BE_OK;
}

/* One object for one image and subject; {"predictions": [...]} for more, images outermost. */
static be_status write_json(request *it, be_error *error)
{
    bool several = it->n_images * it->query.n_subjects != 1;
    be_text text = {0};
    be_status status = BE_OK;
    be_text_add(&text, several ? "{\"predictions\":[" : "");
    for (size_t i = 0; i < it->n_images && status == BE_OK; i++) {
        for (size_t s = 0; s < it->query.n_subjects && status == BE_OK; s++) {
            be_text_add(&text, i || s ? "," : "");
            status = add_json(it, &it->images[i], s, &text, error);
        }
    }
    be_text_add(&text, several ? "]}\n" : "\n");
    if (status == BE_OK)
        status = be_text_finish(&text, error);
    if (status != BE_OK) {
        free(text.bytes);
        return status;
    }
    it->answer.bytes = text.bytes;
    it->answer.size = text.length;
    it->answer.type = "application/json";
    return BE_OK;
}

/* [images][V_lh + V_rh], or of the wanted vertices alone. */
static be_status write_vertices(request *it, be_error *error)
{
    const be_subject_info *info = engine_subject_info(it->engine, it->query.subjects[0]);
    const be_roi_selection *only = it->query.only_some ? &it->query.only[0] : NULL;
    uint32_t *indices[BE_HEMISPHERES] = {NULL};
    size_t counts[BE_HEMISPHERES] = {0}, length;
    char header[BE_NPY_HEADER_MAX];
    be_text file = {0};
    be_status status = BE_OK;
    for (int h = BE_LEFT; h < BE_HEMISPHERES && status == BE_OK; h++)
        status = be_answer_vertices(info, only, (be_hemisphere)h, &indices[h], &counts[h], error);
    const size_t shape[] = {it->n_images, counts[BE_LEFT] + counts[BE_RIGHT]};
    if (status == BE_OK)
        status = be_npy_header(header, &length, BE_DTYPE_F32, 2, shape, error);
    if (status == BE_OK)
        be_text_add_bytes(&file, header, length);
    for (size_t i = 0; i < it->n_images && status == BE_OK; i++) {
        const float *values = it->images[i].outputs[0].vertices;
        for (int h = BE_LEFT; h < BE_HEMISPHERES; h++, values += info->n_vertices[BE_LEFT]) {
            for (size_t v = 0; v < counts[h]; v++)
                be_text_add_bytes(&file, (const char *)&values[indices[h][v]], sizeof *values);
        }
    }
    free(indices[BE_LEFT]);
    free(indices[BE_RIGHT]);
    if (status == BE_OK)
        status = be_text_finish(&file, error);
    if (status != BE_OK) {
        free(file.bytes);
        return status;
    }
    it->answer.bytes = file.bytes;
    it->answer.size = file.length;
    it->answer.type = "application/x-npy";
    snprintf(it->answer.split, sizeof it->answer.split, "lh=%zu,rh=%zu", counts[BE_LEFT], counts[BE_RIGHT]);
    return BE_OK;
}

/* A map as a file, of the request's image or of a held one. */
static be_status write_maps_file(request *it, const be_answer_image *about, const be_image *input, const be_output *output,
                                 be_error *error)
{
    const be_subject_info *info = engine_subject_info(it->engine, it->query.subjects[0]);
    const engine_subject *subject = engine_subject_at(it->engine, it->query.subjects[0]);
    size_t patch = be_model_backbone(engine_model(it->engine, subject->model))->patch;
    bool png = it->query.format == FORMAT_PNG;
    unsigned char *bytes;
    be_status status = png ? be_answer_attention_png(info, patch, about, input, output, &it->query.maps[0], &it->query.how,
                                                     &bytes, &it->answer.size, error)
                           : be_answer_attention_npy(info, about, output, &it->query.maps[0], &it->query.how, &bytes,
                                                     &it->answer.size, error);
    if (status != BE_OK)
        return status;
    it->answer.bytes = (char *)bytes;
    it->answer.type = png ? "image/png" : "application/x-npy";
    return BE_OK;
}

static be_status write_held(request *it, be_error *error)
{
    const held_result *held = it->held;
    be_output output = {.attention = held->attention};
    if (it->query.format != FORMAT_JSON)
        return write_maps_file(it, &held->about, &held->input, &output, error);
    be_status status = attention_json(it, &held->about, &output, 0, &it->answer.bytes, error);
    if (status != BE_OK)
        return status;
    it->answer.size = strlen(it->answer.bytes);
    it->answer.type = "application/json";
    return BE_OK;
}

static be_status write_answer(request *it, be_error *error)
{
    if (it->kind == REQUEST_HELD_ATTENTION && !it->query.how.heads)
        return write_held(it, error);
    if (it->query.format == FORMAT_JSON)
        return write_json(it, error);
    if (it->kind == REQUEST_PREDICT)
        return write_vertices(it, error);
    return write_maps_file(it, &it->images[0].about, &it->images[0].input, &it->images[0].outputs[0], error);
}

/* The first image's id, and what else an answer that is no JSON cannot say, go into headers. */
static void note_headers(request *it)
{
    const be_subject_info *info = engine_subject_info(it->engine, it->query.subjects[0]);
    const engine_subject *subject = engine_subject_at(it->engine, it->query.subjects[0]);
    const be_answer_image *about = it->n_images > 0 ? &it->images[0].about : &it->held->about;
    if (be_answer_id(engine_model(it->engine, subject->model), subject->subject, about, it->answer.id, NULL) != BE_OK)
        it->answer.id[0] = '\0';
    it->answer.demo = info->demo;
    it->answer.unverified = *info->unverified ? info->unverified
                                              : be_model_backbone(engine_model(it->engine, subject->model))->unverified;
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
    for (size_t i = 0; i < it->n_images && it->kind != REQUEST_HELD_ATTENTION; i++) {
        for (size_t s = 0; s < it->query.n_subjects; s++) {
            if (engine_subject_info(it->engine, it->query.subjects[s])->maps == 0)
                continue; /* nothing to be asked for later */
            results_put(self->held, it->caller, it->engine, it->query.subjects[s], &it->images[i].about, &it->images[i].input,
                        it->images[i].outputs[s].attention);
        }
    }
    if (write_answer(it, &error) == BE_OK) {
        it->answer.status = 200;
        note_headers(it);
    } else {
        answer_fail(&it->answer, &error);
    }
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
    be_session_run(session, count, answer_one, &self);
    atomic_fetch_add(&counters->batches, 1);
    for (size_t i = 0; i < count; i++)
        atomic_fetch_add(&counters->batched_images, requests[i]->n_images);
}
