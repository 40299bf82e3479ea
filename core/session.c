#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/compute/processors.h"
#include "core/compute/team.h"
#include "core/members.h"
#include "core/model.h"
#include "core/pace.h"

/* What computing one image takes. */
typedef struct worker {
    be_arena arena;   /* the backbone's buffers, then each encoder's */
    float *features;  /* [taps][limit tokens][channels] */
    be_member_buffers buffers;
    double seconds;   /* that the backbone took for images since somebody last asked, */
    size_t cells;     /* and the cells of their grids */
} worker;

struct be_session {
    be_model *model;
    be_pool *pool;
    const be_isa *isa;
    size_t threads, tokens;
    worker *workers;   /* [threads] */
    be_arena *scratch; /* [threads]; like workers' buffers first written by who uses it: the kernel puts it into that one's node */
    be_pace pace;
};

/* --- opening -------------------------------------------------------------------------------------- */

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t arena_bytes(const be_session *session)
{
    size_t bytes = be_backbone_arena_bytes(be_model_get_backbone(session->model), session->tokens);
    for (size_t i = 0; i < be_model_subjects(session->model); i++)
        bytes = larger(bytes, be_encoder_arena_bytes(be_subject_encoder(be_model_subject(session->model, i), 0), session->tokens));
    return bytes;
}

static size_t scratch_bytes(const be_session *session)
{
    size_t bytes = be_backbone_scratch_bytes(be_model_get_backbone(session->model), session->tokens);
    for (size_t i = 0; i < be_model_subjects(session->model); i++)
        bytes = larger(bytes, be_encoder_scratch_bytes(be_subject_encoder(be_model_subject(session->model, i), 0),
                                                       session->tokens));
    return bytes;
}

static size_t feature_floats(const be_session *session)
{
    return session->tokens * be_model_backbone(session->model)->channels;
}

static be_status make_worker(be_session *session, size_t index, be_error *error)
{
    worker *it = &session->workers[index];
    void *memory;
    be_status status = be_arena_create(&it->arena, arena_bytes(session), "a worker's buffers", error);
    if (status == BE_OK)
        status = be_arena_create(&session->scratch[index], scratch_bytes(session), "a worker's scratch", error);
    if (status == BE_OK)
        status = be_allocate_aligned(&memory, be_model_taps(session->model) * feature_floats(session), sizeof(float),
                                     "feature maps", error);
    if (status != BE_OK)
        return status;
    it->features = memory;
    return be_member_buffers_make(session->model, session->tokens, &it->buffers, error);
}

be_status be_session_open(be_model *model, const be_session_options *options, be_session **out, be_error *error)
{
    enum { MOST_TOKENS = 1 << 20 };
    be_session_options wanted = options ? *options : (be_session_options){0};
    void *memory;
    be_status status = be_allocate(&memory, 1, sizeof(be_session), "a session", error);
    if (status != BE_OK)
        return status;
    be_session *session = memory;
    session->model = model;
    session->threads = wanted.threads ? wanted.threads : smaller(be_processors(), BE_MOST_THREADS);
    session->tokens = wanted.tokens ? wanted.tokens : BE_DEFAULT_TOKENS;
    if (session->tokens > MOST_TOKENS)
        status = be_fail(error, BE_ERROR_ARGUMENT, "tokens: %zu is more than %d", session->tokens, MOST_TOKENS);
    if (status == BE_OK)
        status = be_isa_select(wanted.isa, &session->isa, error);
    if (status == BE_OK)
        status = be_pool_create(session->threads, &session->pool, error);
    if (status == BE_OK)
        status = be_allocate(&memory, session->threads, sizeof(worker), "workers", error);
    if (status == BE_OK) {
        session->workers = memory;
        status = be_allocate(&memory, session->threads, sizeof(be_arena), "workers", error);
    }
    if (status == BE_OK)
        session->scratch = memory;
    for (size_t i = 0; i < session->threads && status == BE_OK; i++)
        status = make_worker(session, i, error);
    if (status != BE_OK) {
        be_session_close(session);
        return status;
    }
    *out = session;
    return BE_OK;
}

void be_session_close(be_session *session)
{
    if (!session)
        return;
    be_pool_destroy(session->pool);
    for (size_t i = 0; session->workers && i < session->threads; i++) {
        be_arena_destroy(&session->workers[i].arena);
        free(session->workers[i].features);
        be_member_buffers_free(&session->workers[i].buffers);
    }
    for (size_t i = 0; session->scratch && i < session->threads; i++)
        be_arena_destroy(&session->scratch[i]);
    free(session->workers);
    free(session->scratch);
    free(session);
}

size_t be_session_threads(const be_session *session)
{
    return session->threads;
}

const char *be_session_isa(const be_session *session)
{
    return session->isa->name;
}

void be_session_run(be_session *session, size_t count, void (*run)(void *context, size_t index, size_t worker),
                    void *context)
{
    be_pool_run(session->pool, count, run, context);
}

/* --- predicting ----------------------------------------------------------------------------------- */

/* One call of be_session_predict, as its tasks see it. */
typedef struct batch {
    be_session *session;
    const be_image *images;
    const be_output *outputs;
    be_timing *timings;
    atomic_bool failed;
    be_status status; /* of the first failure, written by whoever sets `failed` */
    be_error error;
} batch;

static be_status run_backbone(be_session *session, const be_team *team, worker *it, const be_image *image,
                              const be_grid *grid, be_error *error)
{
    float *features[BE_MOST_TAPS];
    for (size_t t = 0; t < be_model_taps(session->model); t++)
        features[t] = it->features + t * feature_floats(session);
    return be_backbone_run(be_model_get_backbone(session->model), team, &it->arena, image, grid->backbone, features, error);
}

/* The maps of the subject's layers, one after the other. */
static void copy_features(const be_session *session, const worker *it, const be_grid *grid, size_t subject, float *out)
{
    size_t floats = grid->rows * grid->columns * be_model_backbone(session->model)->channels;
    for (size_t l = 0; l < be_model_layers(session->model, subject); l++)
        memcpy(out + l * floats, it->features + be_model_layer_tap(session->model, subject, l) * feature_floats(session),
               floats * sizeof *out);
}

static be_status run_subject(be_session *session, const be_team *team, worker *it, const be_grid *grid, size_t index,
                             const be_output *output, be_error *error)
{
    be_member_run run = {.model = session->model, .team = team, .arena = &it->arena, .buffers = &it->buffers,
                         .features = it->features, .feature_stride = feature_floats(session), .grid = grid};
    if (output->features)
        copy_features(session, it, grid, index, output->features);
    return be_members_predict(&run, index, output, error);
}

static bool wants_anything(const be_output *output)
{
    return output->vertices || output->spread || output->attention || output->attention_heads || output->tokens || output->features;
}

/* `place` is the image's in its batch, from 0. */
static be_status take_grid(be_session *session, const be_image *image, size_t place, const be_grid **grid, be_error *error)
{
    size_t rows, columns, cells;
    be_model_grid(session->model, image, &rows, &columns);
    if (!be_size_multiply(rows, columns, &cells) || cells > session->tokens)
        return be_fail(error, BE_ERROR_LIMIT, "image %zu: %zu x %zu pixels are %zu x %zu tokens, the limit is %zu", place + 1,
                       image->width, image->height, columns, rows, session->tokens);
    return be_model_take_grid(session->model, rows, columns, grid, error);
}

static be_status predict_image(batch *self, be_team *team, worker *it, size_t index, be_error *error)
{
    be_timing timing = {0};
    be_session *session = self->session;
    size_t subjects = be_model_subjects(session->model);
    const be_grid *grid;
    be_status status = take_grid(session, &self->images[index], index, &grid, error);
    if (status != BE_OK)
        return status;
    double start = be_clock();
    team->stages = timing.stages;
    status = run_backbone(session, team, it, &self->images[index], grid, error);
    double middle = be_clock();
    for (size_t s = 0; s < subjects && status == BE_OK; s++) {
        const be_output *output = &self->outputs[index * subjects + s];
        if (wants_anything(output))
            status = run_subject(session, team, it, grid, s, output, error);
    }
    timing.backbone = middle - start;
    it->seconds += timing.backbone;
    it->cells += grid->rows * grid->columns;
    timing.encoder = be_clock() - middle;
    if (self->timings)
        self->timings[index] = timing;
    be_model_release_grid(session->model, grid);
    return status;
}

static void record(batch *self, be_status status, const be_error *error)
{
    bool expected = false;
    if (status != BE_OK && atomic_compare_exchange_strong(&self->failed, &expected, true)) {
        self->status = status;
        self->error = *error;
    }
}

/* One image by one worker, while the others do others. */
static void predict_alone(void *context, size_t index, size_t number)
{
    batch *self = context;
    be_session *session = self->session;
    be_team team = {.isa = session->isa, .worker = number, .scratch = session->scratch};
    be_error error;
    if (!atomic_load(&self->failed))
        record(self, predict_image(self, &team, &session->workers[number], index, &error), &error);
}

/* One image by all workers. */
static void predict_together(batch *self, size_t index)
{
    be_session *session = self->session;
    be_team team = {.isa = session->isa, .pool = session->pool, .scratch = session->scratch};
    be_error error;
    if (!atomic_load(&self->failed))
        record(self, predict_image(self, &team, &session->workers[0], index, &error), &error);
}

/* What the images since the last time took; the backbone alone, for what is asked of the encoders differs. */
static void note_pace(be_session *session, void (*note)(be_pace *pace, double seconds, size_t cells))
{
    double seconds = 0;
    size_t cells = 0;
    for (size_t i = 0; i < session->threads; i++) {
        seconds += session->workers[i].seconds;
        cells += session->workers[i].cells;
        session->workers[i].seconds = 0;
        session->workers[i].cells = 0;
    }
    note(&session->pace, seconds, cells);
}

be_status be_session_predict(be_session *session, const be_image *images, size_t n_images, const be_output *outputs,
                             be_timing *timings, be_error *error)
{
    batch self = {.session = session, .images = images, .outputs = outputs, .timings = timings};
    size_t alone = be_pace_alone(&session->pace, n_images, session->threads);
    be_pool_run(session->pool, alone, predict_alone, &self);
    note_pace(session, be_pace_note_alone);
    for (size_t i = alone; i < n_images; i++)
        predict_together(&self, i);
    note_pace(session, be_pace_note_together);
    if (atomic_load(&self.failed))
        return be_fail(error, self.status, "%s", self.error.message);
    return BE_OK;
}

be_status be_session_features(be_session *session, const be_image *image, float *const *features, be_error *error)
{
    be_team team = {.isa = session->isa, .pool = session->pool, .scratch = session->scratch};
    worker *it = &session->workers[0];
    const be_grid *grid;
    be_status status = take_grid(session, image, 0, &grid, error);
    if (status != BE_OK)
        return status;
    status = run_backbone(session, &team, it, image, grid, error);
    size_t floats = grid->rows * grid->columns * be_model_backbone(session->model)->channels;
    for (size_t s = 0; s < be_model_subjects(session->model) && status == BE_OK; s++) {
        const float *map = it->features + be_model_layer_tap(session->model, s, 0) * feature_floats(session);
        if (features[s])
            memcpy(features[s], map, floats * sizeof(float));
    }
    be_model_release_grid(session->model, grid);
    return status;
}

size_t be_session_layers(const be_session *session, size_t subject)
{
    return be_model_layers(session->model, subject);
}

static be_status check_groups(const be_subject_info *info, const be_vertex_group *groups, size_t n_groups, be_error *error)
{
    size_t total = info->n_vertices[BE_LEFT] + info->n_vertices[BE_RIGHT];
    if (!info->by_vertex)
        return be_fail(error, BE_ERROR_UNSUPPORTED, "%s has no maps of single vertices", info->name);
    for (size_t g = 0; g < n_groups; g++) {
        for (size_t i = 0; i < groups[g].count; i++) {
            uint32_t vertex = groups[g].vertices[i];
            if (vertex >= total)
                return be_fail(error, BE_ERROR_ARGUMENT, "vertices: there is no %u, %s has %zu", (unsigned)vertex, info->name,
                               total);
        }
    }
    return BE_OK;
}

be_status be_session_maps(be_session *session, size_t subject, const float *features, size_t rows, size_t columns,
                          const be_vertex_group *groups, size_t n_groups, float *mean, float *heads, be_error *error)
{
    be_team team = {.isa = session->isa, .pool = session->pool, .scratch = session->scratch};
    worker *it = &session->workers[0];
    be_member_run run = {.model = session->model, .team = &team, .arena = &it->arena, .buffers = &it->buffers, .features = features,
                         .feature_stride = rows * columns * be_model_backbone(session->model)->channels};
    size_t cells;
    be_status status = check_groups(be_subject_get_info(be_model_subject(session->model, subject)), groups, n_groups, error);
    if (status == BE_OK && (!be_size_multiply(rows, columns, &cells) || cells > session->tokens))
        status = be_fail(error, BE_ERROR_LIMIT, "tokens: %zu x %zu are more than the limit of %zu", rows, columns, session->tokens);
    if (status == BE_OK)
        status = be_model_take_grid(session->model, rows, columns, &run.grid, error);
    if (status != BE_OK)
        return status;
    status = be_members_maps(&run, subject, groups, n_groups, mean, heads, error);
    be_model_release_grid(session->model, run.grid);
    return status;
}
