/* No attention: a 3x3 convolution to 256 channels, flattened channel-major into one token from which every vertex is read; of a
 * class token nothing but the token. Reference: MODEL section 4, `linear`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/compute/convolution.h"
#include "core/encoder/kind.h"
#include "core/encoder/load.h"

enum { FILTERS = 256, SIDE = 3, PADDING = 1, LARGEST_SIDE = 1024 };

typedef struct linear {
    be_encoder base;
    size_t out_side;       /* the convolution's output is out_side x out_side; 0: a class token, no convolution */
    be_convolution filters; /* C to FILTERS channels */
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
    return be_fail(error, BE_ERROR_ARGUMENT, "fit: the linear encoder reads %zu x %zu cells after its convolution, the image's "
                   "%zu x %zu tokens give %zu x %zu", side, side, rows, columns,
                   output_side(rows, stride), output_side(columns, stride));
}

/* --- running -------------------------------------------------------------------------------------- */

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
    float *token = be_arena_floats(arena, FILTERS * cells), *map = be_arena_floats(arena, FILTERS * cells);
    be_convolution_run(encoding->team, BE_STAGE_ENCODE, &model->filters, encoding->features, encoding->rows, encoding->columns, map,
                       BE_CONVOLUTION_BIAS);
    for (size_t i = 0; i < FILTERS * cells; i++)
        token[i % FILTERS * cells + i / FILTERS] = map[i];
    encoding->memory = token;
    return BE_OK;
}

static void queries(const be_encoding *encoding, const be_encoder_wish *wish)
{
    if (wish->take)
        wish->take(wish->context, encoding->team, 0, 1, encoding->memory ? encoding->memory : encoding->features);
}

static void list_products(const be_encoder *encoder, size_t rows, size_t columns, const be_product_list *list)
{
    const linear *model = model_of(encoder);
    if (model->out_side > 0)
        be_convolution_list_products(&model->filters, BE_STAGE_ENCODE, rows, columns, list);
}

static size_t arena_bytes(const be_encoder *encoder, size_t tokens)
{
    be_arena counting = {0};
    size_t cells = model_of(encoder)->out_side * model_of(encoder)->out_side;
    (void)tokens; /* the token is of one size */
    be_arena_floats(&counting, FILTERS * cells);
    be_arena_floats(&counting, FILTERS * cells);
    return counting.used;
}

static size_t scratch_bytes(const be_encoder *encoder, size_t tokens)
{
    (void)tokens;
    return model_of(encoder)->out_side > 0 ? be_convolution_scratch(&model_of(encoder)->filters) : 0;
}

/* --- loading -------------------------------------------------------------------------------------- */

/* How wide the readout is tells the convolution's output: FILTERS x side x side, or C of a class token. */
static be_status find_side(const be_tensor_file *file, const char *prefix, const be_encoder_settings *settings, size_t *side,
                           be_error *error)
{
    char name[128];
    snprintf(name, sizeof name, "%slh_embed.0.weight", prefix);
    const be_tensor *tensor = be_tensor_file_find(file, name);
    if (!tensor)
        return be_fail(error, BE_ERROR_FORMAT, "%s: tensor '%s' is missing", be_tensor_file_path(file), name);
    size_t width = tensor->n_dims == 2 ? tensor->shape[1] : 0;
    *side = 0;
    if (settings->class_token && width == settings->channels)
        return BE_OK;
    if (settings->class_token)
        return be_fail(error, BE_ERROR_FORMAT, "%s: tensor '%s' has %zu columns, expected %zu: those of the class token",
                       be_tensor_file_path(file), name, width, settings->channels);
    while (*side < LARGEST_SIDE && FILTERS * *side * *side < width)
        ++*side;
    if (width == 0 || FILTERS * *side * *side != width)
        return be_fail(error, BE_ERROR_FORMAT,
                       "%s: tensor '%s' has %zu columns, expected %d for each cell of a square: linear reads all "
                       "vertices from a convolution's output", be_tensor_file_path(file), name, width, FILTERS);
    return BE_OK;
}

static be_status load_filters(linear *model, be_tensor_file *file, const char *prefix, be_error *error)
{
    be_convolution *filters = &model->filters;
    size_t channels = model->base.settings.channels, floats = FILTERS * SIDE * SIDE * channels;
    double ones[FILTERS];
    char name[128];
    void *memory, *weights;
    snprintf(name, sizeof name, "%sinput_proj.weight", prefix);
    const be_tensor *tensor = be_tensor_file_find(file, name);
    if (!tensor)
        return be_fail(error, BE_ERROR_FORMAT, "%s: tensor '%s' is missing", be_tensor_file_path(file), name);
    if (tensor->n_dims != 4 || tensor->shape[0] != FILTERS || tensor->shape[1] != channels || tensor->shape[2] != SIDE ||
        tensor->shape[3] != SIDE)
        return be_fail(error, BE_ERROR_FORMAT, "%s: tensor '%s' has the wrong shape, expected [%d][%zu][3][3]",
                       be_tensor_file_path(file), name, FILTERS, channels);
    *filters = (be_convolution){.in = channels, .out = FILTERS, .kernel = SIDE, .stride = model->base.settings.stride,
                                .padding = PADDING, .dilation = 1};
    size_t arranged = be_convolution_weights(filters);
    be_status status = be_allocate_aligned(&weights, arranged + FILTERS, sizeof(float), "the filters of an encoder", error);
    if (status != BE_OK)
        return status;
    model->base.info.weight_bytes = (arranged + FILTERS) * sizeof(float);
    filters->weight = weights;
    filters->bias = filters->weight + arranged;
    status = be_allocate(&memory, floats, sizeof(float), "the filters of an encoder", error);
    if (status != BE_OK)
        return status;
    const be_wanted_tensor bias = {"input_proj.bias", FILTERS, 0, filters->bias};
    status = be_tensor_file_read_weights(file, tensor, memory, error);
    if (status == BE_OK)
        status = be_load_tensors(file, prefix, &bias, 1, error);
    for (size_t f = 0; f < FILTERS; f++)
        ones[f] = 1;
    if (status == BE_OK)
        be_convolution_arrange(filters, memory, ones);
    free(memory);
    return status;
}

static void unload(be_encoder *encoder)
{
    linear *model = (linear *)encoder;
    free(model->filters.weight);
    free(model);
}

static be_status load(be_tensor_file *file, const char *prefix, const be_encoder_settings *settings, be_encoder **out,
                      be_error *error)
{
    size_t side = 0;
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
    .scratch_bytes = scratch_bytes, .begin = begin, .queries = queries, .list_products = list_products,
};
