/* No attention: a 3x3 convolution to 256 channels, flattened channel-major into one token from which every vertex is read; of a
 * class token nothing but the token. Reference: MODEL section 4, `linear`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/compute/product.h"
#include "core/encoder/kind.h"
#include "core/encoder/load.h"

enum { FILTERS = 256, SIDE = 3, TAPS = SIDE * SIDE, PADDING = 1, LARGEST_SIDE = 1024 };

typedef struct linear {
    be_encoder base;
    size_t out_side;       /* the convolution's output is out_side x out_side; 0: a class token, no convolution */
    float *weight, *bias;  /* [FILTERS][TAPS][C], [FILTERS] */
} linear;

static const linear *model_of(const be_encoder *encoder)
{
    return (const linear *)encoder;
}

static be_status check(const be_encoder_settings *settings, const char *path, be_error *error)
{
    if (settings->channels == 0 || (!settings->class_token && settings->stride == 0))
        return be_fail(error, BE_ERROR_FORMAT, "%s: channels or stride is 0", path);
    return BE_OK;
}

static size_t output_side(size_t side, size_t stride)
{
    return (side + 2 * PADDING - SIDE) / stride + 1;
}

static be_status check_grid(const be_encoder *encoder, size_t rows, size_t columns, be_error *error)
{
    const linear *model = model_of(encoder);
    size_t stride = encoder->settings.stride, side = model->out_side;
    if (side == 0 || (output_side(rows, stride) == side && output_side(columns, stride) == side))
        return BE_OK;
    return be_fail(error, BE_ERROR_ARGUMENT,
                   "fit: the linear encoder reads %zu x %zu cells after its convolution, the image's %zu x %zu tokens give %zu x %zu",
                   side, side, rows, columns, output_side(rows, stride), output_side(columns, stride));
}

/* --- running -------------------------------------------------------------------------------------- */

typedef struct job {
    const linear *model;
    const be_encoding *encoding;
    float *token; /* [FILTERS][cells] */
} job;

/* The tokens under the filter at one output cell: [TAPS][C], zero outside the grid. */
static void gather(const job *it, size_t row, size_t column, float *out)
{
    const be_encoding *encoding = it->encoding;
    size_t channels = it->model->base.settings.channels, stride = it->model->base.settings.stride;
    for (size_t y = 0; y < SIDE; y++) {
        for (size_t x = 0; x < SIDE; x++, out += channels) {
            size_t from_row = row * stride + y, from_column = column * stride + x; /* one more than the cell: the padding */
            bool inside = from_row >= PADDING && from_row - PADDING < encoding->rows && from_column >= PADDING &&
                          from_column - PADDING < encoding->columns;
            if (inside)
                memcpy(out, encoding->features + ((from_row - PADDING) * encoding->columns + from_column - PADDING) * channels,
                       channels * sizeof *out);
            else
                memset(out, 0, channels * sizeof *out);
        }
    }
}

static void convolve_panel(void *context, size_t panel, size_t worker)
{
    const job *it = context;
    const linear *model = it->model;
    size_t cells = model->out_side * model->out_side, inner = TAPS * model->base.settings.channels;
    size_t first = be_panel_start(cells, be_query_panels(cells), panel);
    size_t count = be_panel_start(cells, be_query_panels(cells), panel + 1) - first;
    be_arena *scratch = &it->encoding->team->scratch[worker];
    be_arena_reset(scratch);
    float *under = be_arena_floats(scratch, count * inner), *out = be_arena_floats(scratch, count * FILTERS);
    for (size_t i = 0; i < count; i++)
        gather(it, (first + i) / model->out_side, (first + i) % model->out_side, under + i * inner);
    be_product_transposed(out, FILTERS, under, inner, model->weight, inner, count, FILTERS, inner, 1.0f, false);
    it->encoding->team->kernels->bias_add(out, model->bias, count, FILTERS, FILTERS);
    for (size_t i = 0; i < count; i++) {
        for (size_t f = 0; f < FILTERS; f++)
            it->token[f * cells + first + i] = out[i * FILTERS + f];
    }
}

static be_status begin(be_encoding *encoding, be_arena *arena, const float *constants, be_error *error)
{
    const linear *model = model_of(encoding->encoder);
    size_t cells = model->out_side * model->out_side;
    (void)constants;
    if (cells == 0)
        return BE_OK;
    be_status status = check_grid(encoding->encoder, encoding->rows, encoding->columns, error);
    if (status != BE_OK)
        return status;
    job it = {model, encoding, be_arena_floats(arena, FILTERS * cells)};
    encoding->memory = it.token;
    be_team_run(encoding->team, BE_STAGE_ENCODE, be_query_panels(cells), convolve_panel, &it);
    return BE_OK;
}

static void queries(const be_encoding *encoding, const be_encoder_wish *wish)
{
    if (wish->take)
        wish->take(wish->context, encoding->team, 0, 1, encoding->memory ? encoding->memory : encoding->features);
}

static size_t arena_bytes(const be_encoder *encoder, size_t tokens)
{
    be_arena counting = {0};
    (void)tokens; /* the token is of one size */
    be_arena_floats(&counting, FILTERS * model_of(encoder)->out_side * model_of(encoder)->out_side);
    return counting.used;
}

static size_t scratch_bytes(const be_encoder *encoder, size_t tokens)
{
    be_arena counting = {0};
    (void)tokens;
    be_arena_floats(&counting, BE_QUERY_PANEL_ROWS * TAPS * encoder->settings.channels);
    be_arena_floats(&counting, BE_QUERY_PANEL_ROWS * FILTERS);
    return counting.used;
}

/* --- loading -------------------------------------------------------------------------------------- */

/* How wide the readout is tells the convolution's output: FILTERS x side x side, or C of a class token. */
static be_status find_side(const be_tensor_file *file, const char *prefix, const be_encoder_settings *settings, size_t *side,
                           be_error *error)
{
    char name[128];
    snprintf(name, sizeof name, "%slh_embed.0.weight", prefix);
    const be_tensor *tensor = be_tensor_file_find(file, name);
    size_t width = tensor && tensor->n_dims == 2 ? tensor->shape[1] : 0;
    *side = 0;
    if (settings->class_token && width == settings->channels)
        return BE_OK;
    while (!settings->class_token && *side < LARGEST_SIDE && FILTERS * *side * *side < width)
        ++*side;
    if (width == 0 || FILTERS * *side * *side != width)
        return be_fail(error, BE_ERROR_FORMAT, "%s: tensor '%s' is missing or no readout of a %s", be_tensor_file_path(file), name,
                       settings->class_token ? "class token" : "square of 256 channels");
    return BE_OK;
}

/* The filters as PyTorch has them, [FILTERS][C][3][3], are turned to [FILTERS][3][3][C], the order of gathered tokens. */
static be_status load_filters(linear *model, be_tensor_file *file, const char *prefix, be_error *error)
{
    size_t channels = model->base.settings.channels, floats = FILTERS * TAPS * channels;
    char name[128];
    void *memory, *weights;
    snprintf(name, sizeof name, "%sinput_proj.weight", prefix);
    const be_tensor *tensor = be_tensor_file_find(file, name);
    if (!tensor || tensor->n_dims != 4 || tensor->shape[0] != FILTERS || tensor->shape[1] != channels || tensor->shape[2] != SIDE ||
        tensor->shape[3] != SIDE)
        return be_fail(error, BE_ERROR_FORMAT, "%s: tensor '%s' is missing or not [%d][%zu][3][3]", be_tensor_file_path(file), name,
                       FILTERS, channels);
    be_status status = be_allocate_aligned(&weights, floats + FILTERS, sizeof(float), "the filters of an encoder", error);
    if (status != BE_OK)
        return status;
    model->weight = weights;
    model->bias = model->weight + floats;
    status = be_allocate(&memory, floats, sizeof(float), "the filters of an encoder", error);
    if (status != BE_OK)
        return status;
    const float *from = memory;
    const be_wanted_tensor bias = {"input_proj.bias", FILTERS, 0, model->bias};
    status = be_tensor_file_read_f32(file, tensor, memory, error);
    if (status == BE_OK)
        status = be_load_tensors(file, prefix, &bias, 1, error);
    for (size_t f = 0; f < FILTERS && status == BE_OK; f++) {
        for (size_t c = 0; c < channels; c++) {
            for (size_t tap = 0; tap < TAPS; tap++)
                model->weight[(f * TAPS + tap) * channels + c] = from[(f * channels + c) * TAPS + tap];
        }
    }
    free(memory);
    return status;
}

static void unload(be_encoder *encoder)
{
    linear *model = (linear *)encoder;
    free(model->weight);
    free(model);
}

static be_status load(be_tensor_file *file, const char *prefix, const be_encoder_settings *settings, be_encoder **out,
                      be_error *error)
{
    size_t side;
    void *memory;
    be_status status = find_side(file, prefix, settings, &side, error);
    if (status == BE_OK)
        status = be_allocate(&memory, 1, sizeof(linear), "an encoder", error);
    if (status != BE_OK)
        return status;
    linear *model = memory;
    model->base.settings = *settings;
    model->base.info = (be_encoder_info){.queries = 1, .width = side ? FILTERS * side * side : settings->channels};
    model->out_side = side;
    if (side > 0)
        status = load_filters(model, file, prefix, error);
    if (status != BE_OK) {
        unload(&model->base);
        return status;
    }
    *out = &model->base;
    return BE_OK;
}

const be_encoder_kind be_encoder_linear = {
    .name = "linear", .check = check, .load = load, .unload = unload, .check_grid = check_grid, .arena_bytes = arena_bytes,
    .scratch_bytes = scratch_bytes, .begin = begin, .queries = queries,
};
