/* The variant whose values are the feature map itself: keys from m + p, queries from the embeddings, one layer, 16 heads whatever
 * `nheads` says, no norm before the attention and none after the decoder. Reference: MODEL section 4, `custom_transformer`. */
#include <stdlib.h>

#include "core/base/memory.h"
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
                       "%s: custom_transformer is known with enc_layers 0, dec_layers 1 and pre_norm 1 alone, not %zu, %zu and %d",
                       path, settings->enc_layers, settings->dec_layers, settings->pre_norm);
    if (settings->input_projection)
        return be_fail(error, BE_ERROR_UNSUPPORTED, "%s: custom_transformer has no input_proj, which this backbone needs", path);
    if (settings->learned_position)
        return be_fail(error, BE_ERROR_UNSUPPORTED, "%s: position_embedding 'learned' is not supported with custom_transformer",
                       path);
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
    decoder_run(&model_of(encoding->encoder)->decoder, encoding->team, encoding->memory, encoding->tokens, wish);
}

static void list_products(const be_encoder *encoder, size_t rows, size_t columns, const be_product_list *list)
{
    decoder_list_products(&model_of(encoder)->decoder, encoder->settings.queries, rows * columns, list);
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
static void visit_weights(be_weight_walk *walk, void *context)
{
    static const char stem[] = "transformer.decoder.layers.0.", attention[] = "transformer.decoder.layers.0.cross_attn.";
    custom *model = context;
    decoder_layer *to = &model->layer;
    size_t width = model->decoder.width;
    model->decoder.first_query = be_walk_joined(walk, attention, "q_proj.weight", width, width);
    to->query_bias = be_walk_tensor(walk, attention, "q_proj.bias", width, 0);
    to->keys = be_walk_matrix(walk, walk->precision, attention, "k_proj.weight", width, width);
    to->keys_bias = be_walk_tensor(walk, attention, "k_proj.bias", width, 0);
    to->out = be_walk_matrix(walk, walk->precision, attention, "c_proj.weight", width, width);
    to->out_bias = be_walk_tensor(walk, attention, "c_proj.bias", width, 0);
    decoder_visit_feed_forward(walk, stem, &model->decoder, to);
    model->decoder.query = be_walk_tensor(walk, "", "query_embed.weight", model->base.settings.queries, width);
}

static void unload(be_encoder *encoder)
{
    custom *model = (custom *)encoder;
    be_arena_destroy(&model->weights);
    free(model->decoder.first_query);
    free(model);
}

static be_status load(be_tensor_file *file, const char *prefix, const be_encoder_settings *settings, be_encoder **out,
                      be_error *error)
{
    const be_tensor *hidden;
    void *memory;
    be_status status = be_find_tensor(file, prefix, "transformer.decoder.layers.0.linear1.weight", 0, settings->width, &hidden,
                                      error);
    if (status == BE_OK)
        status = be_allocate(&memory, 1, sizeof(custom), "an encoder", error);
    if (status != BE_OK)
        return status;
    custom *model = memory;
    model->base.settings = *settings;
    model->base.info = (be_encoder_info){.queries = settings->queries, .width = settings->width, .heads = HEADS,
                                         .hidden = hidden->shape[0], .dynamic = true};
    model->decoder = (decoder){.width = settings->width, .heads = HEADS, .hidden = hidden->shape[0], .n_layers = 1,
                               .precision = settings->precision,
                               .pre_norm = true, .layers = &model->layer};
    status = be_load_weights(file, prefix, settings->precision, visit_weights, model, &model->weights, error);
    if (status == BE_OK)
        status = decoder_project_queries(&model->decoder, settings->queries, error);
    if (status != BE_OK) {
        unload(&model->base);
        return status;
    }
    model->base.info.weight_bytes = model->weights.size;
    *out = &model->base;
    return BE_OK;
}

const be_encoder_kind be_encoder_custom_transformer = {
    .name = "custom_transformer", .check = check, .load = load, .unload = unload, .grid_floats = grid_floats,
    .prepare_grid = prepare_grid, .arena_bytes = arena_bytes, .scratch_bytes = scratch_bytes, .begin = begin, .queries = queries,
    .list_products = list_products,
};
