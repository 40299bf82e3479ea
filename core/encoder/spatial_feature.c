/* A learned map a query, its softmax over the positions, pools the feature map: the same map for every image. Reference: MODEL
 * section 4, `spatial_feature`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/compute/kernels.h"
#include "core/compute/matrix.h"
#include "core/compute/panels.h"
#include "core/encoder/kind.h"
#include "core/encoder/load.h"

enum { STRIP = 4 * BE_TILE_ROWS }; /* channels that a task packs */

typedef struct spatial {
    be_encoder base;
    size_t cells;       /* of the training images' grid */
    float *maps;        /* [Q][cells]: softmax taken */
} spatial;

static const spatial *model_of(const be_encoder *encoder)
{
    return (const spatial *)encoder;
}

static be_status check(const be_encoder_settings *settings, const char *path, be_error *error)
{
    if (settings->width == 0 || settings->channels == 0)
        return be_fail(error, BE_ERROR_FORMAT, "%s: hidden_dim is 0", path);
    if (settings->input_projection)
        return be_fail(error, BE_ERROR_UNSUPPORTED, "%s: spatial_feature has no input_proj, which this backbone needs", path);
    return BE_OK;
}

static be_status check_grid(const be_encoder *encoder, size_t rows, size_t columns, be_error *error)
{
    size_t side = encoder->info.side;
    if (rows == side && columns == side)
        return BE_OK;
    return be_fail(error, BE_ERROR_ARGUMENT, "fit: the maps of spatial_feature are for %zu x %zu tokens, the image has %zu x %zu",
                   side, side, rows, columns);
}

/* --- running -------------------------------------------------------------------------------------- */

typedef struct job {
    const spatial *model;
    const be_encoding *encoding;
    const be_encoder_wish *wish;
} job;

/* The feature map as a weight, [channels][cells], of which these are some columns; `channel` is a multiple of BE_TILE_ROWS. */
static be_matrix packed_features(const be_encoding *encoding, size_t channel, size_t channels)
{
    size_t cells = model_of(encoding->encoder)->cells;
    be_matrix matrix;
    be_matrix_make(&matrix, BE_PRECISION_F32, channels, cells, encoding->memory + channel * cells);
    return matrix;
}

static size_t strips_of(size_t channels)
{
    return (channels + STRIP - 1) / STRIP;
}

static void pack_strip(void *context, size_t strip, size_t worker)
{
    const be_encoding *encoding = context;
    size_t width = encoding->encoder->settings.channels, channel = strip * STRIP, left = width - channel;
    be_matrix part = packed_features(encoding, channel, left < STRIP ? left : STRIP);
    (void)worker;
    encoding->team->isa->tiles->pack_turned(&part, encoding->features + channel, width);
}

/* Output tokens number `first` and following of the wish, from their maps. */
static void pool_features(const job *it, size_t first, size_t count, const float *maps, be_arena *scratch)
{
    const be_team *team = it->encoding->team;
    size_t cells = it->model->cells, width = it->model->base.settings.channels;
    float *tokens = be_arena_floats(scratch, count * width);
    be_matrix features = packed_features(it->encoding, 0, width);
    be_activations in;
    be_activations_round(&in, team->isa, BE_PRECISION_F32, maps, cells, count, cells, 1.0f, scratch);
    be_matrix_multiply(team->isa, &(be_matrix_product){.in = &in, .weight = &features, .out = tokens, .out_stride = width},
                       scratch);
    it->wish->take(it->wish->context, team, first, count, tokens);
}

static void run_panel(void *context, size_t number, size_t worker)
{
    const job *it = context;
    const be_encoder_wish *wish = it->wish;
    size_t cells = it->model->cells, panels = be_query_panels(wish->count);
    size_t first = be_panel_start(wish->count, panels, number), count = be_panel_start(wish->count, panels, number + 1) - first;
    be_arena *scratch = &it->encoding->team->scratch[worker];
    be_arena_reset(scratch);
    float *maps = be_arena_floats(scratch, count * cells);
    for (size_t i = 0; i < count; i++)
        memcpy(maps + i * cells, it->model->maps + be_wished_query(wish, first + i) * cells, cells * sizeof *maps);
    if (wish->take)
        pool_features(it, first, count, maps, scratch);
    if (wish->attention)
        memcpy(wish->attention + first * cells, maps, count * cells * sizeof *maps);
    if (wish->attention_heads)
        memcpy(wish->attention_heads + first * cells, maps, count * cells * sizeof *maps);
}

static void queries(const be_encoding *encoding, const be_encoder_wish *wish)
{
    job it = {model_of(encoding->encoder), encoding, wish};
    be_team_run(encoding->team, BE_STAGE_ENCODE, be_query_panels(wish->count), run_panel, &it);
}

static void list_products(const be_encoder *encoder, size_t rows, size_t columns, const be_product_list *list)
{
    list->add(list->context, &(be_product){.stage = BE_STAGE_ENCODE, .rows = encoder->settings.queries, .inner = rows * columns,
                                           .columns = encoder->settings.channels, .count = 1, .shared = true});
}

static size_t packed_floats(const be_encoder *encoder)
{
    size_t bytes = 0;
    be_matrix_bytes(BE_PRECISION_F32, encoder->settings.channels, model_of(encoder)->cells, &bytes); /* checked at load */
    return bytes / sizeof(float);
}

static be_status begin(be_encoding *encoding, be_arena *arena, const float *constants, be_error *error)
{
    size_t channels = encoding->encoder->settings.channels;
    be_status status = check_grid(encoding->encoder, encoding->rows, encoding->columns, error);
    (void)constants;
    if (status != BE_OK)
        return status;
    encoding->memory = be_arena_floats(arena, packed_floats(encoding->encoder));
    be_team_run(encoding->team, BE_STAGE_ENCODE, strips_of(channels), pack_strip, encoding);
    return BE_OK;
}

static size_t arena_bytes(const be_encoder *encoder, size_t tokens)
{
    be_arena counting = {0};
    (void)tokens; /* the maps are of one size */
    be_arena_floats(&counting, packed_floats(encoder));
    return counting.used;
}

static size_t scratch_bytes(const be_encoder *encoder, size_t tokens)
{
    be_arena counting = {0};
    (void)tokens;
    be_arena_floats(&counting, BE_QUERY_PANEL_ROWS * model_of(encoder)->cells);
    be_arena_floats(&counting, BE_QUERY_PANEL_ROWS * encoder->settings.channels);
    be_arena_floats(&counting, be_matrix_scratch(BE_QUERY_PANEL_ROWS));
    return counting.used;
}

/* --- loading -------------------------------------------------------------------------------------- */

static size_t square_root(size_t cells)
{
    size_t side = 1;
    while (side * side < cells)
        side++;
    return side;
}

static void unload(be_encoder *encoder)
{
    spatial *model = (spatial *)encoder;
    free(model->maps);
    free(model);
}

/* The map's size tells the grid: training images are squares. */
static be_status find_maps(const be_tensor_file *file, const char *prefix, const be_encoder_settings *settings, size_t *cells,
                           be_error *error)
{
    const be_tensor *tensor;
    char name[128];
    snprintf(name, sizeof name, "%sspatial_embed.weight", prefix);
    tensor = be_tensor_file_find(file, name);
    if (!tensor)
        return be_fail(error, BE_ERROR_FORMAT, "%s: tensor '%s' is missing", be_tensor_file_path(file), name);
    if (tensor->n_dims != 2 || tensor->shape[0] != settings->queries)
        return be_fail(error, BE_ERROR_FORMAT, "%s: tensor '%s' has the wrong shape, expected [%zu][positions]",
                       be_tensor_file_path(file), name, settings->queries);
    *cells = tensor->shape[1];
    size_t side = *cells < 1 << 20 ? square_root(*cells) : 0;
    if (*cells == 0 || side * side != *cells)
        return be_fail(error, BE_ERROR_FORMAT, "%s: tensor '%s' has %zu positions, which make no square grid",
                       be_tensor_file_path(file), name, *cells);
    return BE_OK;
}

static be_status load(be_tensor_file *file, const char *prefix, const be_encoder_settings *settings, be_encoder **out,
                      be_error *error)
{
    size_t cells = 0;
    void *memory, *maps;
    be_status status = find_maps(file, prefix, settings, &cells, error);
    if (status == BE_OK)
        status = be_allocate(&memory, 1, sizeof(spatial), "an encoder", error);
    if (status != BE_OK)
        return status;
    spatial *model = memory;
    model->base.info = (be_encoder_info){.queries = settings->queries, .width = settings->channels, .heads = 1,
                                         .weight_bytes = settings->queries * cells * sizeof(float), .side = square_root(cells)};
    model->cells = cells;
    status = be_allocate_aligned(&maps, settings->queries * cells, sizeof(float), "the maps of an encoder", error);
    if (status == BE_OK) {
        model->maps = maps;
        const be_wanted_tensor wanted = {"spatial_embed.weight", settings->queries, cells, model->maps};
        status = be_load_tensors(file, prefix, &wanted, 1, error);
    }
    if (status != BE_OK) {
        unload(&model->base);
        return status;
    }
    be_kernels_generic.softmax(model->maps, settings->queries, cells, cells); /* once, at load: whichever kernels compute later */
    *out = &model->base;
    return BE_OK;
}

const be_encoder_kind be_encoder_spatial_feature = {
    .name = "spatial_feature", .check = check, .load = load, .unload = unload, .check_grid = check_grid, .arena_bytes = arena_bytes,
    .scratch_bytes = scratch_bytes, .begin = begin, .queries = queries, .list_products = list_products,
};
