#include "core/members.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

enum { MAP_ROWS = 128 }; /* vertices whose maps are computed at a time */

/* --- sizes ---------------------------------------------------------------------------------------- */

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t count_vertices(const be_subject_info *info)
{
    return info->n_vertices[BE_LEFT] + info->n_vertices[BE_RIGHT];
}

static be_status make_floats(float **out, size_t count, be_error *error)
{
    void *memory;
    be_status status = be_allocate_aligned(&memory, count, sizeof(float), "a worker's answers", error);
    if (status == BE_OK)
        *out = memory;
    return status;
}

be_status be_member_buffers_make(const be_model *model, size_t tokens, be_member_buffers *buffers, be_error *error)
{
    size_t token_floats = 0, map_floats = 0, vertices = 0, runs = 0;
    for (size_t s = 0; s < be_model_subjects(model); s++) {
        const be_subject_info *info = be_subject_get_info(be_model_subject(model, s));
        const be_encoder_info *encoder = be_encoder_get_info(be_subject_encoder(be_model_subject(model, s), 0));
        size_t rows = info->by_vertex ? MAP_ROWS : info->queries;
        if (!info->by_vertex)
            token_floats = larger(token_floats, info->queries * encoder->width);
        if (info->heads > 0)
            map_floats = larger(map_floats, (1 + info->heads) * rows * tokens);
        if (info->members > 1) {
            vertices = larger(vertices, count_vertices(info));
            runs = larger(runs, 2 * info->runs * count_vertices(info));
        }
    }
    be_status status = make_floats(&buffers->tokens, token_floats, error);
    if (status == BE_OK)
        status = make_floats(&buffers->maps, map_floats, error);
    if (status == BE_OK)
        status = make_floats(&buffers->vertices, vertices, error);
    return status == BE_OK ? make_floats(&buffers->runs, runs, error) : status;
}

void be_member_buffers_free(be_member_buffers *buffers)
{
    free(buffers->tokens);
    free(buffers->maps);
    free(buffers->vertices);
    free(buffers->runs);
    *buffers = (be_member_buffers){0};
}

/* --- one member ----------------------------------------------------------------------------------- */

/* Where the output tokens go. */
typedef struct taker {
    const be_readout *readout; /* by vertex: read at once */
    float *vertices;
    float *tokens;             /* else kept */
    size_t width;
} taker;

static void take_tokens(void *context, const be_team *team, size_t first, size_t count, const float *tokens)
{
    const taker *self = context;
    if (self->readout)
        be_readout_rows(self->readout, team->isa->kernels, first, count, tokens, self->vertices);
    else
        memcpy(self->tokens + first * self->width, tokens, count * self->width * sizeof *tokens);
}

static be_status begin_member(const be_member_run *run, size_t subject, size_t member, const float *features,
                              be_encoding *encoding, be_error *error)
{
    const be_encoder *encoder = be_subject_encoder(be_model_subject(run->model, subject), member);
    const be_grid *grid = run->grid;
    be_status status = be_encoder_check_grid(encoder, grid->rows, grid->columns, error);
    if (status != BE_OK) /* then it has no constants */
        return status;
    const float *constants = grid->subjects[subject] + member * be_encoder_grid_floats(encoder, grid->rows, grid->columns);
    return be_encode_begin(encoder, run->team, run->arena, features, grid->rows, grid->columns, constants, encoding, error);
}

/* Predicts all vertices into `vertices` (NULL: not wanted), with the maps of its queries where `maps` [Q][T] and `heads` are not
 * NULL. */
static be_status run_member(const be_member_run *run, size_t subject, size_t member, float *vertices, bool tokens, float *maps,
                            float *heads, be_error *error)
{
    const be_subject *of = be_model_subject(run->model, subject);
    const be_subject_info *info = be_subject_get_info(of);
    const be_readout *readout = be_subject_readout(of, member);
    size_t layer = be_model_member_layer(run->model, subject, member);
    const float *features = run->features + be_model_layer_tap(run->model, subject, layer) * run->feature_stride;
    taker to = {.readout = info->by_vertex ? readout : NULL, .vertices = vertices, .tokens = run->buffers->tokens,
                .width = be_encoder_get_info(be_subject_encoder(of, member))->width};
    be_encoder_wish wish = {.count = info->queries, .take = vertices || (tokens && !info->by_vertex) ? take_tokens : NULL,
                            .context = &to, .attention = maps, .attention_heads = heads};
    be_encoding encoding;
    be_status status = begin_member(run, subject, member, features, &encoding, error);
    if (status != BE_OK)
        return status;
    be_encode_queries(&encoding, &wish);
    if (vertices && !info->by_vertex)
        be_readout_run(readout, run->team, to.tokens, vertices);
    return BE_OK;
}

/* --- maps ----------------------------------------------------------------------------------------- */

/* out[r] (+)= the map of ROI r's query, for each of `layers` sheets (the mean, or each head) of `queries` maps. */
static void place_maps(const be_member_run *run, const be_subject *subject, const float *from, size_t sheets, bool first,
                       float *out)
{
    const be_subject_info *info = be_subject_get_info(subject);
    const uint32_t *queries = be_subject_map_queries(subject);
    size_t cells = run->grid->rows * run->grid->columns;
    float share = 1.0f / (float)info->members;
    for (size_t sheet = 0; sheet < sheets; sheet++) {
        for (size_t r = 0; r < info->maps; r++) {
            const float *map = from + (sheet * info->queries + queries[r]) * cells;
            float *to = out + (sheet * info->maps + r) * cells;
            if (info->members == 1) {
                memcpy(to, map, cells * sizeof *to);
                continue;
            }
            if (first)
                memset(to, 0, cells * sizeof *to);
            run->team->isa->kernels->accumulate(to, map, share, cells);
        }
    }
}

/* --- ensembles ------------------------------------------------------------------------------------ */

static void add_member(const float *weights, const float *values, size_t count, bool first, float *out)
{
    for (size_t v = 0; v < count; v++)
        out[v] = (first ? 0.0f : out[v]) + weights[v] * values[v];
}

static void add_to_run(const be_subject_info *info, size_t member, const float *weights, const float *values, float *runs)
{
    size_t vertices = count_vertices(info), run = info->member[member].run_place;
    float *sum = runs + run * vertices, *share = runs + (info->runs + run) * vertices;
    for (size_t v = 0; v < vertices; v++) {
        sum[v] += weights[v] * values[v];
        share[v] += weights[v];
    }
}

/* The standard deviation over runs of each run's own combination of layers. A run whose layers count nothing at a vertex has none
 * there. */
static float spread_of(const float *sum, const float *share, size_t runs, size_t stride)
{
    double mean = 0, squares = 0;
    size_t count = 0;
    for (size_t r = 0; r < runs; r++) { /* Welford's update */
        if (share[r * stride] <= 0)
            continue;
        double value = (double)sum[r * stride] / (double)share[r * stride], off = value - mean;
        mean += off / (double)++count;
        squares += off * (value - mean);
    }
    return count > 1 ? (float)sqrt(squares / (double)(count - 1)) : 0.0f;
}

static void measure_spread(const be_subject_info *info, const float *runs, float *out)
{
    size_t vertices = count_vertices(info);
    for (size_t v = 0; v < vertices; v++)
        out[v] = spread_of(runs + v, runs + info->runs * vertices + v, info->runs, vertices);
}

be_status be_members_predict(const be_member_run *run, size_t subject, const be_output *output, be_error *error)
{
    const be_subject *of = be_model_subject(run->model, subject);
    const be_subject_info *info = be_subject_get_info(of);
    const be_member_buffers *buffers = run->buffers;
    size_t cells = run->grid->rows * run->grid->columns, vertices = count_vertices(info);
    bool has_maps = info->maps > 0, several = info->members > 1;
    float *maps = has_maps && (output->attention || output->attention_heads) ? buffers->maps : NULL;
    float *heads = has_maps && output->attention_heads ? buffers->maps + info->queries * cells : NULL;
    bool wants_vertices = output->vertices || output->spread;
    float *one = !wants_vertices ? NULL : several ? buffers->vertices : output->vertices ? output->vertices : output->spread;
    if (!wants_vertices && !maps && !output->tokens) /* the features alone */
        return BE_OK;
    if (output->spread && several)
        memset(buffers->runs, 0, 2 * info->runs * vertices * sizeof *buffers->runs);
    for (size_t m = 0; m < info->members; m++) {
        be_status status = run_member(run, subject, m, one, output->tokens != NULL, maps, heads, error);
        if (status != BE_OK)
            return status;
        if (output->attention && maps)
            place_maps(run, of, maps, 1, m == 0, output->attention);
        if (heads)
            place_maps(run, of, heads, info->heads, m == 0, output->attention_heads);
        if (several && output->vertices)
            add_member(be_subject_member_weights(of, m), one, vertices, m == 0, output->vertices);
        if (several && output->spread)
            add_to_run(info, m, be_subject_member_weights(of, m), one, buffers->runs);
    }
    if (output->tokens && !info->by_vertex)
        memcpy(output->tokens, buffers->tokens,
               info->queries * be_encoder_get_info(be_subject_encoder(of, 0))->width * sizeof *output->tokens);
    if (output->spread && several)
        measure_spread(info, buffers->runs, output->spread);
    else if (output->spread)
        memset(output->spread, 0, vertices * sizeof *output->spread);
    return BE_OK;
}

/* --- maps by vertex ------------------------------------------------------------------------------- */

/* Adds the mean of a group's maps, in chunks, to mean [T] and heads [heads][T]; either may be NULL. */
static void add_vertex_maps(const be_member_run *run, const be_encoding *encoding, size_t heads_count, const be_vertex_group *group,
                            float share, float *mean, float *heads)
{
    size_t cells = encoding->tokens;
    for (size_t first = 0; first < group->count; first += MAP_ROWS) {
        size_t rows = group->count - first < MAP_ROWS ? group->count - first : MAP_ROWS;
        float *maps = run->buffers->maps, *each = maps + MAP_ROWS * cells;
        be_encoder_wish wish = {.queries = group->vertices + first, .count = rows, .attention = mean ? maps : NULL,
                                .attention_heads = heads ? each : NULL};
        be_encode_queries(encoding, &wish);
        for (size_t i = 0; mean && i < rows; i++)
            run->team->isa->kernels->accumulate(mean, maps + i * cells, share, cells);
        for (size_t i = 0; heads && i < heads_count * rows; i++)
            run->team->isa->kernels->accumulate(heads + i / rows * cells, each + i * cells, share, cells);
    }
}

static void start_maps(const be_vertex_group *groups, size_t n_groups, size_t floats, float *maps)
{
    for (size_t g = 0; maps && g < n_groups; g++) {
        for (size_t i = 0; i < floats; i++)
            maps[g * floats + i] = groups[g].count > 0 ? 0.0f : NAN;
    }
}

be_status be_members_maps(const be_member_run *run, size_t subject, const be_vertex_group *groups, size_t n_groups, float *mean,
                          float *heads, be_error *error)
{
    const be_subject_info *info = be_subject_get_info(be_model_subject(run->model, subject));
    size_t cells = run->grid->rows * run->grid->columns, head_floats = info->heads * cells;
    start_maps(groups, n_groups, cells, mean);
    start_maps(groups, n_groups, head_floats, heads);
    for (size_t m = 0; m < info->members; m++) {
        be_encoding encoding;
        const float *features = run->features + be_model_member_layer(run->model, subject, m) * run->feature_stride;
        be_status status = begin_member(run, subject, m, features, &encoding, error);
        if (status != BE_OK)
            return status;
        for (size_t g = 0; g < n_groups; g++)
            add_vertex_maps(run, &encoding, info->heads, &groups[g], 1.0f / (float)(groups[g].count * info->members),
                            mean ? mean + g * cells : NULL, heads ? heads + g * head_floats : NULL);
    }
    return BE_OK;
}
