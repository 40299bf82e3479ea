/* The published model: keys and values from the feature map, after an input projection and self-attention layers where the
 * checkpoint has them; the decoder does the rest. Reference: MODEL section 4, `transformer`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/compute/panels.h"
#include "core/encoder/decoder.h"
#include "core/encoder/load.h"
#include "core/encoder/self_attention.h"

enum { GOLDEN_HEADS = 16, LEARNED_POSITIONS = 50, MOST_LAYERS = 64, NAME_SIZE = 96 };

typedef struct transformer {
    be_encoder base;
    be_matrix input;                    /* [D][C] of settings.input_projection, without which the feature map is the memory */
    float *input_bias;                  /* [D] */
    float *row_table, *column_table;    /* [LEARNED_POSITIONS][D/2] each; NULL: sine */
    self_attention encoder;             /* n_layers 0: none */
    decoder decoder;
    be_arena weights;
} transformer;

/* --- checks --------------------------------------------------------------------------------------- */

static be_status check(const be_encoder_settings *settings, const char *path, be_error *error)
{
    if (settings->width == 0 || settings->width % 4 != 0)
        return be_fail(error, BE_ERROR_FORMAT, "%s: hidden_dim %zu is no multiple of 4, which the position code needs", path,
                       settings->width);
    if (settings->heads == 0 || settings->width % settings->heads != 0)
        return be_fail(error, BE_ERROR_FORMAT, "%s: hidden_dim %zu is not a multiple of nheads %zu", path, settings->width,
                       settings->heads);
    if (settings->dec_layers == 0)
        return be_fail(error, BE_ERROR_UNSUPPORTED, "%s: dec_layers 0: without a decoder there is nothing to read out", path);
    if (settings->dec_layers > MOST_LAYERS || settings->enc_layers > MOST_LAYERS)
        return be_fail(error, BE_ERROR_UNSUPPORTED, "%s: dec_layers %zu or enc_layers %zu is more than %d", path,
                       settings->dec_layers, settings->enc_layers, MOST_LAYERS);
    if (settings->enc_layers > 0 && settings->memory_layer >= settings->enc_layers)
        return be_fail(error, BE_ERROR_FORMAT,
                       "%s: enc_output_layer %zu: with enc_layers %zu there are only encoder layers 0 to %zu", path,
                       settings->memory_layer, settings->enc_layers, settings->enc_layers - 1);
    return BE_OK;
}

static be_status check_grid(const be_encoder *encoder, size_t rows, size_t columns, be_error *error)
{
    if (!encoder->settings.learned_position || (rows <= LEARNED_POSITIONS && columns <= LEARNED_POSITIONS))
        return BE_OK;
    return be_fail(error, BE_ERROR_ARGUMENT,
                   "fit: the learned position code has %d rows and columns, the image has %zu x %zu tokens",
                   LEARNED_POSITIONS, rows, columns);
}

/* --- running -------------------------------------------------------------------------------------- */

static const transformer *model_of(const be_encoder *encoder)
{
    return (const transformer *)encoder;
}

/* What of an image lies in the arena: encoding->memory is its first part. */
typedef struct layout {
    float *projected; /* the decoder's keys and values */
    float *memory;    /* [T][D]; NULL when the feature map itself is the memory */
    float *buffers;   /* of the self-attention */
} layout;

static layout lay_out(const transformer *model, size_t tokens, be_arena *arena)
{
    layout at = {0};
    at.projected = be_arena_floats(arena, decoder_memory_floats(&model->decoder, tokens));
    if (model->base.settings.input_projection || model->encoder.n_layers > 0)
        at.memory = be_arena_floats(arena, tokens * model->decoder.width);
    if (model->encoder.n_layers > 0)
        at.buffers = be_arena_floats(arena, self_attention_floats(&model->encoder, tokens));
    return at;
}

typedef struct input_job {
    const transformer *model;
    const be_encoding *encoding;
    float *memory;
} input_job;

/* m = f Wi' + bi for a panel of tokens: the 1x1 convolution. */
static void project_input(void *context, size_t panel, size_t worker)
{
    const input_job *job = context;
    const transformer *model = job->model;
    size_t tokens = job->encoding->tokens, width = model->decoder.width, channels = model->base.settings.channels;
    be_rows rows = be_team_panel(job->encoding->team, tokens, panel);
    size_t first = rows.first, count = rows.count;
    be_arena *scratch = &job->encoding->team->scratch[worker];
    be_arena_reset(scratch);
    be_matrix_linear(job->encoding->team->isa, &model->input, model->input_bias, job->encoding->features + first * channels, count,
                     job->memory + first * width, width, scratch);
}

static be_positions positions_of(const be_encoding *encoding, const float *tables)
{
    const transformer *model = model_of(encoding->encoder);
    return be_positions_in(tables, encoding->rows, encoding->columns, model->decoder.width, model->row_table != NULL);
}

static be_status begin(be_encoding *encoding, be_arena *arena, const float *constants, be_error *error)
{
    const transformer *model = model_of(encoding->encoder);
    size_t tokens = encoding->tokens;
    layout at = lay_out(model, tokens, arena);
    if (arena->overflowed)
        return be_fail(error, BE_ERROR_LIMIT, "tokens: the image has more (%zu) than this session was made for", tokens);
    be_positions positions = positions_of(encoding, constants);
    const float *memory = at.memory ? at.memory : encoding->features;
    if (model->base.settings.input_projection) {
        input_job job = {model, encoding, at.memory};
        be_team_run(encoding->team, BE_STAGE_ENCODE, be_team_panels(encoding->team, tokens), project_input, &job);
    } else if (at.memory) {
        memcpy(at.memory, encoding->features, tokens * model->decoder.width * sizeof *at.memory);
    }
    self_attention_run(&model->encoder, encoding->team, &positions, at.memory, at.buffers);
    decoder_project_memory(&model->decoder, encoding->team, memory, &positions, at.projected);
    encoding->memory = at.projected;
    return BE_OK;
}

static void queries(const be_encoding *encoding, const be_encoder_wish *wish)
{
    decoder_run(&model_of(encoding->encoder)->decoder, encoding->team, encoding->memory, encoding->tokens, wish);
}

static void list_products(const be_encoder *encoder, size_t rows, size_t columns, const be_product_list *list)
{
    const transformer *model = model_of(encoder);
    const be_encoder_settings *settings = &encoder->settings;
    size_t tokens = rows * columns;
    if (settings->input_projection)
        be_list_linear(list, BE_STAGE_ENCODE, settings->precision, tokens, settings->width, settings->channels);
    self_attention_list_products(&model->encoder, tokens, list);
    decoder_list_products(&model->decoder, settings->queries, tokens, list);
}

/* --- sizes ---------------------------------------------------------------------------------------- */

static size_t grid_floats(const be_encoder *encoder, size_t rows, size_t columns)
{
    return (rows + columns) * (model_of(encoder)->decoder.width / 2);
}

static void prepare_grid(const be_encoder *encoder, size_t rows, size_t columns, float *constants)
{
    const transformer *model = model_of(encoder);
    size_t half = model->decoder.width / 2;
    if (!model->row_table) {
        be_positions_sine(rows, columns, model->decoder.width, constants);
        return;
    }
    memcpy(constants, model->row_table, rows * half * sizeof *constants);
    memcpy(constants + rows * half, model->column_table, columns * half * sizeof *constants);
}

static size_t arena_bytes(const be_encoder *encoder, size_t tokens)
{
    be_arena counting = {0};
    lay_out(model_of(encoder), tokens, &counting);
    return counting.used;
}

static size_t scratch_bytes(const be_encoder *encoder, size_t tokens)
{
    const transformer *model = model_of(encoder);
    const be_encoder_settings *settings = &encoder->settings;
    be_arena input = {0};
    be_arena_floats(&input, be_activations_floats(settings->precision, BE_PANEL_ROWS, settings->channels));
    be_arena_floats(&input, be_matrix_scratch(BE_PANEL_ROWS));
    size_t decoding = decoder_scratch_bytes(&model->decoder, settings->queries, tokens);
    size_t encoding = self_attention_scratch_bytes(&model->encoder, tokens);
    size_t largest = decoding > encoding ? decoding : encoding;
    return settings->input_projection && input.used > largest ? input.used : largest;
}

/* --- loading -------------------------------------------------------------------------------------- */

/* The name of a learned position table: the training program keeps it inside its backbone, a subject file beside the rest. */
static const char *table_stem(const be_weight_walk *walk)
{
    static const char inside[] = BE_ENCODER_TABLES_INSIDE;
    char name[NAME_SIZE];
    snprintf(name, sizeof name, "%s%srow_embed.weight", walk->prefix, inside);
    return be_tensor_file_find(walk->file, name) ? inside : "";
}

static void visit_encoder_layer(be_weight_walk *walk, const self_attention *encoder, size_t number)
{
    self_attention_layer *to = &encoder->layers[number];
    size_t width = encoder->width, hidden = encoder->hidden;
    char stem[NAME_SIZE];
    snprintf(stem, sizeof stem, "transformer.encoder.layers.%zu.", number);
    float *joined = be_walk_joined(walk, stem, "self_attn.in_proj_weight", 3 * width, width);
    to->queries_keys = be_walk_matrix_rows(walk, walk->precision, joined, 0, 2 * width, width);
    to->values = be_walk_matrix_rows(walk, walk->precision, joined, 2 * width, width, width);
    free(joined);
    to->projection_bias = be_walk_tensor(walk, stem, "self_attn.in_proj_bias", 3 * width, 0);
    to->out = be_walk_matrix(walk, walk->precision, stem, "self_attn.out_proj.weight", width, width);
    to->out_bias = be_walk_tensor(walk, stem, "self_attn.out_proj.bias", width, 0);
    to->norm1_gain = be_walk_tensor(walk, stem, "norm1.weight", width, 0);
    to->norm1_bias = be_walk_tensor(walk, stem, "norm1.bias", width, 0);
    to->norm2_gain = be_walk_tensor(walk, stem, "norm2.weight", width, 0);
    to->norm2_bias = be_walk_tensor(walk, stem, "norm2.bias", width, 0);
    to->widen = be_walk_matrix(walk, walk->precision, stem, "linear1.weight", hidden, width);
    to->hidden_bias = be_walk_tensor(walk, stem, "linear1.bias", hidden, 0);
    to->narrow = be_walk_matrix(walk, walk->precision, stem, "linear2.weight", width, hidden);
    to->narrow_bias = be_walk_tensor(walk, stem, "linear2.bias", width, 0);
}

/* The joined projection holds the query part, then that of the keys, then that of the values. The decoder takes that of the first
 * layer as it is: its queries are used up at load. */
static void visit_attention(be_weight_walk *walk, const char *stem, decoder *of, decoder_layer *to)
{
    size_t width = of->width;
    float *joined = be_walk_joined(walk, stem, "multihead_attn.in_proj_weight", 3 * width, width);
    if (to != of->layers)
        to->query = be_walk_matrix_rows(walk, walk->precision, joined, 0, width, width);
    to->keys = be_walk_matrix_rows(walk, walk->precision, joined, width, width, width);
    to->values = be_walk_matrix_rows(walk, walk->precision, joined, 2 * width, width, width);
    if (to == of->layers)
        of->first_query = joined;
    else
        free(joined);
    to->query_bias = be_walk_tensor(walk, stem, "multihead_attn.in_proj_bias", 3 * width, 0);
    to->keys_bias = be_part_of(to->query_bias, width);
    to->values_bias = be_part_of(to->query_bias, 2 * width);
    to->out = be_walk_matrix(walk, walk->precision, stem, "multihead_attn.out_proj.weight", width, width);
    to->out_bias = be_walk_tensor(walk, stem, "multihead_attn.out_proj.bias", width, 0);
}

static void visit_decoder_layer(be_weight_walk *walk, decoder *of, size_t number)
{
    decoder_layer *to = &of->layers[number];
    size_t width = of->width;
    char stem[NAME_SIZE];
    snprintf(stem, sizeof stem, "transformer.decoder.layers.%zu.", number);
    visit_attention(walk, stem, of, to);
    if (number > 0) /* LN1 of the first state, zero, is its bias */
        to->norm1_gain = be_walk_tensor(walk, stem, "norm1.weight", width, 0);
    to->norm1_bias = be_walk_tensor(walk, stem, "norm1.bias", width, 0);
    if (!of->pre_norm) {
        to->norm2_gain = be_walk_tensor(walk, stem, "norm2.weight", width, 0);
        to->norm2_bias = be_walk_tensor(walk, stem, "norm2.bias", width, 0);
    }
    decoder_visit_feed_forward(walk, stem, of, to);
}

static void visit_weights(be_weight_walk *walk, void *context)
{
    transformer *model = context;
    const be_encoder_settings *settings = &model->base.settings;
    self_attention *encoder = &model->encoder;
    decoder *to = &model->decoder;
    size_t width = settings->width;
    if (settings->input_projection) {
        model->input = be_walk_matrix(walk, walk->precision, "", "input_proj.weight", width, settings->channels);
        model->input_bias = be_walk_tensor(walk, "", "input_proj.bias", width, 0);
    }
    if (settings->learned_position) {
        model->row_table = be_walk_tensor(walk, table_stem(walk), "row_embed.weight", LEARNED_POSITIONS, width / 2);
        model->column_table = be_walk_tensor(walk, table_stem(walk), "col_embed.weight", LEARNED_POSITIONS, width / 2);
    }
    for (size_t l = 0; l < encoder->n_layers; l++)
        visit_encoder_layer(walk, encoder, l);
    if (encoder->n_layers > 0 && encoder->pre_norm) {
        encoder->norm_gain = be_walk_tensor(walk, "transformer.encoder.", "norm.weight", width, 0);
        encoder->norm_bias = be_walk_tensor(walk, "transformer.encoder.", "norm.bias", width, 0);
    }
    for (size_t l = 0; l < to->n_layers; l++)
        visit_decoder_layer(walk, to, l);
    to->norm_gain = be_walk_tensor(walk, "transformer.decoder.", "norm.weight", width, 0);
    to->norm_bias = be_walk_tensor(walk, "transformer.decoder.", "norm.bias", width, 0);
    to->query = be_walk_tensor(walk, "", "query_embed.weight", settings->queries, width);
    if (to->n_layers > 1)
        to->embedding = be_walk_tensor(walk, "", "query_embed.weight", settings->queries, width);
}

static be_status find_hidden(be_tensor_file *file, const char *prefix, const char *name, size_t width, size_t *hidden,
                             be_error *error)
{
    const be_tensor *tensor;
    be_status status = be_find_tensor(file, prefix, name, 0, width, &tensor, error);
    if (status == BE_OK)
        *hidden = tensor->shape[0];
    return status;
}

static be_status make_layers(transformer *model, be_tensor_file *file, const char *prefix, be_error *error)
{
    const be_encoder_settings *settings = &model->base.settings;
    void *memory;
    model->decoder = (decoder){.width = settings->width, .heads = settings->heads, .pre_norm = settings->pre_norm,
                               .precision = settings->precision};
    model->encoder = (self_attention){.width = settings->width, .heads = settings->heads, .pre_norm = settings->pre_norm,
                                      .precision = settings->precision};
    be_status status = find_hidden(file, prefix, "transformer.decoder.layers.0.linear1.weight", settings->width,
                                   &model->decoder.hidden, error);
    if (status == BE_OK && settings->enc_layers > 0)
        status = find_hidden(file, prefix, "transformer.encoder.layers.0.linear1.weight", settings->width, &model->encoder.hidden,
                             error);
    if (status == BE_OK)
        status = be_allocate(&memory, settings->dec_layers, sizeof(decoder_layer), "decoder layers", error);
    if (status != BE_OK)
        return status;
    model->decoder.layers = memory;
    model->decoder.n_layers = settings->dec_layers;
    if (settings->enc_layers == 0)
        return BE_OK;
    size_t layers = settings->memory_layer + 1; /* what comes after the memory is not needed */
    status = be_allocate(&memory, layers, sizeof(self_attention_layer), "encoder layers", error);
    if (status == BE_OK) {
        model->encoder.layers = memory;
        model->encoder.n_layers = layers;
    }
    return status;
}

static void unload(be_encoder *encoder)
{
    transformer *model = (transformer *)encoder;
    be_arena_destroy(&model->weights);
    free(model->decoder.first_query);
    free(model->decoder.layers);
    free(model->encoder.layers);
    free(model);
}

static void describe(transformer *model)
{
    const be_encoder_settings *settings = &model->base.settings;
    be_encoder_info *info = &model->base.info;
    *info = (be_encoder_info){.queries = settings->queries, .width = settings->width, .heads = settings->heads,
                              .hidden = model->decoder.hidden, .encoder_hidden = model->encoder.hidden,
                              .weight_bytes = model->weights.size, .dynamic = true};
    if (settings->heads != GOLDEN_HEADS)
        snprintf(info->unverified, sizeof info->unverified, "no golden case covers nheads %zu", settings->heads);
    else if (settings->enc_layers > 0 && !settings->pre_norm)
        snprintf(info->unverified, sizeof info->unverified, "no golden case covers encoder layers without pre_norm");
    else if (settings->dec_layers > 1 && !settings->pre_norm)
        snprintf(info->unverified, sizeof info->unverified, "no golden case covers several decoder layers without pre_norm");
}

static be_status load(be_tensor_file *file, const char *prefix, const be_encoder_settings *settings, be_encoder **out,
                      be_error *error)
{
    void *memory;
    be_status status = be_allocate(&memory, 1, sizeof(transformer), "an encoder", error);
    if (status != BE_OK)
        return status;
    transformer *model = memory;
    model->base.settings = *settings;
    status = make_layers(model, file, prefix, error);
    if (status == BE_OK)
        status = be_load_weights(file, prefix, settings->precision, visit_weights, model, &model->weights, error);
    if (status == BE_OK)
        status = decoder_project_queries(&model->decoder, settings->queries, error);
    if (status != BE_OK) {
        unload(&model->base);
        return status;
    }
    if (!settings->pre_norm) /* t = LN1(0) */
        model->decoder.start = model->decoder.layers[0].norm1_bias;
    describe(model);
    *out = &model->base;
    return BE_OK;
}

const be_encoder_kind be_encoder_transformer = {
    .name = "transformer", .check = check, .load = load, .unload = unload, .check_grid = check_grid, .grid_floats = grid_floats,
    .prepare_grid = prepare_grid, .arena_bytes = arena_bytes, .scratch_bytes = scratch_bytes, .begin = begin, .queries = queries,
    .list_products = list_products,
};
