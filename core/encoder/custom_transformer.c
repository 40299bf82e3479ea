/* The variant whose values are the feature map itself: keys from m + p, queries from the embeddings, one layer, 16 heads whatever
 * `nheads` says, no norm before the attention and none after the decoder. Reference: MODEL section 4, `custom_transformer`. */
#include <stdlib.h>

#include "core/base/memory.h"
#include "core/compute/product.h"
#include "core/encoder/decoder.h"
#include "core/encoder/load.h"

enum { HEADS = 16 };

typedef struct custom {
    be_encoder base;
    decoder decoder;
    decoder_layer layer;
    be_arena weights;
} custom;

static const custom *model_of(const be_encoder *encoder)
{
    return (const custom *)encoder;
}

static be_status check(const be_encoder_settings *settings, const char *path, be_error *error)
{
    if (settings->width == 0 || settings->width % HEADS != 0 || settings->width % 4 != 0)
        return be_fail(error, BE_ERROR_FORMAT, "%s: hidden_dim %zu is no multiple of custom_transformer's 16 heads", path,
                       settings->width);
    if (settings->enc_layers != 0 || settings->dec_layers != 1 || !settings->pre_norm)
        return be_fail(error, BE_ERROR_UNSUPPORTED,
                       "%s: custom_transformer is known with enc_layers 0, dec_layers 1 and pre_norm 1 alone, not %zu, %zu and %d", path,
                       settings->enc_layers, settings->dec_layers, settings->pre_norm);
    if (settings->input_projection)
        return be_fail(error, BE_ERROR_UNSUPPORTED, "%s: custom_transformer has no input_proj, which this backbone needs", path);
    if (settings->learned_position)
        return be_fail(error, BE_ERROR_UNSUPPORTED, "%s: position_embedding 'learned' is not supported with custom_transformer", path);
    return BE_OK;
}

/* --- running -------------------------------------------------------------------------------------- */

static be_status begin(be_encoding *encoding, be_arena *arena, const float *constants, be_error *error)
{
    const custom *model = model_of(encoding->encoder);
    be_positions positions = be_positions_in(constants, encoding->rows, encoding->columns, model->decoder.width, false);
    encoding->memory = be_arena_floats(arena, decoder_memory_floats(&model->decoder, encoding->tokens));
    if (arena->overflowed)
        return be_fail(error, BE_ERROR_LIMIT, "tokens: the image has more (%zu) than this session was made for", encoding->tokens);
    decoder_project_memory(&model->decoder, encoding->team, encoding->features, &positions, encoding->memory);
    return BE_OK;
}

static void queries(const be_encoding *encoding, const be_encoder_wish *wish)
{
    decoder_run(&model_of(encoding->encoder)->decoder, encoding->team, encoding->features, encoding->memory, encoding->tokens, wish);
}

static size_t grid_floats(const be_encoder *encoder, size_t rows, size_t columns)
{
    return (rows + columns) * (encoder->settings.width / 2);
}

static void prepare_grid(const be_encoder *encoder, size_t rows, size_t columns, float *constants)
{
    be_positions_sine(rows, columns, encoder->settings.width, constants);
}

static size_t arena_bytes(const be_encoder *encoder, size_t tokens)
{
    be_arena counting = {0};
    be_arena_floats(&counting, decoder_memory_floats(&model_of(encoder)->decoder, tokens));
    return counting.used;
}

static size_t scratch_bytes(const be_encoder *encoder, size_t tokens)
{
    return decoder_scratch_bytes(&model_of(encoder)->decoder, encoder->settings.queries, tokens);
}

/* --- loading -------------------------------------------------------------------------------------- */

/* Of the projections of cross_attn, v_proj and c_attn are saved and never used. */
static void lay_out_weights(custom *model)
{
    decoder_layer *layer = &model->layer;
    size_t width = model->decoder.width, hidden = model->decoder.hidden;
    be_arena *arena = &model->weights;
    layer->keys_weight = be_arena_floats(arena, width * width);
    layer->keys_bias = be_arena_floats(arena, width);
    layer->out_weight = be_arena_floats(arena, width * width);
    layer->out_bias = be_arena_floats(arena, width);
    layer->norm3_gain = be_arena_floats(arena, width);
    layer->norm3_bias = be_arena_floats(arena, width);
    layer->hidden_weight = be_arena_floats(arena, hidden * width);
    layer->hidden_bias = be_arena_floats(arena, hidden);
    layer->narrow_weight = be_arena_floats(arena, width * hidden);
    layer->narrow_bias = be_arena_floats(arena, width);
    model->decoder.query = be_arena_floats(arena, model->base.settings.queries * width);
}

static be_status load_weights(custom *model, be_tensor_file *file, const char *prefix, be_error *error)
{
    const decoder_layer *to = &model->layer;
    size_t width = model->decoder.width, hidden = model->decoder.hidden;
    const be_wanted_tensor wanted[] = {
        {"transformer.decoder.layers.0.cross_attn.k_proj.weight", width, width, to->keys_weight},
        {"transformer.decoder.layers.0.cross_attn.k_proj.bias", width, 0, to->keys_bias},
        {"transformer.decoder.layers.0.cross_attn.c_proj.weight", width, width, to->out_weight},
        {"transformer.decoder.layers.0.cross_attn.c_proj.bias", width, 0, to->out_bias},
        {"transformer.decoder.layers.0.norm3.weight", width, 0, to->norm3_gain},
        {"transformer.decoder.layers.0.norm3.bias", width, 0, to->norm3_bias},
        {"transformer.decoder.layers.0.linear1.weight", hidden, width, to->hidden_weight},
        {"transformer.decoder.layers.0.linear1.bias", hidden, 0, to->hidden_bias},
        {"transformer.decoder.layers.0.linear2.weight", width, hidden, to->narrow_weight},
        {"transformer.decoder.layers.0.linear2.bias", width, 0, to->narrow_bias},
    };
    return be_load_tensors(file, prefix, wanted, sizeof wanted / sizeof *wanted, error);
}

/* q = e Wq' + bq, the same for every image. */
static be_status project_queries(custom *model, be_tensor_file *file, const char *prefix, be_error *error)
{
    size_t width = model->decoder.width, count = model->base.settings.queries;
    void *memory;
    be_status status = be_allocate(&memory, count * width + width * width + width, sizeof(float), "query embeddings", error);
    if (status != BE_OK)
        return status;
    float *embedding = memory, *weight = embedding + count * width, *bias = weight + width * width;
    const be_wanted_tensor wanted[] = {
        {"query_embed.weight", count, width, embedding},
        {"transformer.decoder.layers.0.cross_attn.q_proj.weight", width, width, weight},
        {"transformer.decoder.layers.0.cross_attn.q_proj.bias", width, 0, bias},
    };
    status = be_load_tensors(file, prefix, wanted, sizeof wanted / sizeof *wanted, error);
    if (status == BE_OK)
        decoder_project_queries(embedding, weight, bias, count, width, model->decoder.query);
    free(memory);
    return status;
}

static void unload(be_encoder *encoder)
{
    custom *model = (custom *)encoder;
    be_arena_destroy(&model->weights);
    free(model);
}

static be_status load(be_tensor_file *file, const char *prefix, const be_encoder_settings *settings, be_encoder **out,
                      be_error *error)
{
    const be_tensor *hidden;
    void *memory;
    be_status status = be_find_tensor(file, prefix, "transformer.decoder.layers.0.linear1.weight", 0, settings->width, &hidden, error);
    if (status == BE_OK)
        status = be_allocate(&memory, 1, sizeof(custom), "an encoder", error);
    if (status != BE_OK)
        return status;
    custom *model = memory;
    model->base.settings = *settings;
    model->base.info = (be_encoder_info){.queries = settings->queries, .width = settings->width, .heads = HEADS,
                                         .hidden = hidden->shape[0], .dynamic = true};
    model->decoder = (decoder){.width = settings->width, .heads = HEADS, .hidden = hidden->shape[0], .n_layers = 1,
                               .pre_norm = true, .layers = &model->layer};
    lay_out_weights(model);
    if (model->weights.overflowed)
        status = be_fail_memory(error, SIZE_MAX, "the weights of an encoder");
    else
        status = be_arena_create(&model->weights, model->weights.used, "the weights of an encoder", error);
    if (status == BE_OK) {
        lay_out_weights(model);
        status = load_weights(model, file, prefix, error);
    }
    if (status == BE_OK)
        status = project_queries(model, file, prefix, error);
    if (status != BE_OK) {
        unload(&model->base);
        return status;
    }
    *out = &model->base;
    return BE_OK;
}

const be_encoder_kind be_encoder_custom_transformer = {
    .name = "custom_transformer", .check = check, .load = load, .unload = unload, .grid_floats = grid_floats,
    .prepare_grid = prepare_grid, .arena_bytes = arena_bytes, .scratch_bytes = scratch_bytes, .begin = begin, .queries = queries,
};
