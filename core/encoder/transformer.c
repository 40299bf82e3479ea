#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/compute/product.h"
#include "core/encoder/encoder.h"
#include "core/encoder/load.h"

static const float norm_epsilon = 1e-5f;

/* Weights are [out][in]; D is the width, Q the queries, F the feed-forward width. */
struct be_transformer {
    size_t width, queries, heads, hidden;
    float scale;                            /* 1 / sqrt(width / heads) */
    float *keys_weight, *values_weight;     /* [D][D] each, one after the other: together [2D][D] */
    float *keys_bias, *values_bias;         /* [D] */
    float *out_weight, *out_bias;           /* [D][D], [D] */
    float *norm3_gain, *norm3_bias;         /* [D] */
    float *hidden_weight, *hidden_bias;     /* [F][D], [F] */
    float *narrow_weight, *narrow_bias;     /* [D][F], [D] */
    float *norm_gain, *norm_bias;           /* [D]: the decoder's own */
    float *query;                           /* [Q][D]: (LN1(0) + e) Wq' + bq, the same for every image */
    be_arena weights;
};

/* The buffers of one image of T tokens. */
typedef struct buffers {
    float *keys_values; /* [T][2D] */
    float *weights;     /* [heads][Q][T]: scores, then the softmax */
    float *pooled;      /* [Q][D] */
    float *state;       /* [Q][D]: t of MODEL section 4 */
    float *normal;      /* [Q][D] */
    float *hidden;      /* [Q][F] */
} buffers;

typedef struct run {
    const be_transformer *encoder;
    const be_team *team;
    const float *features, *positions; /* [T][D]; [heads][Q][T] */
    size_t tokens;
    buffers at;
} run;

static buffers lay_out_run(const be_transformer *encoder, size_t tokens, be_arena *arena)
{
    size_t width = encoder->width, queries = encoder->queries;
    buffers at;
    at.keys_values = be_arena_floats(arena, tokens * 2 * width);
    at.weights = be_arena_floats(arena, encoder->heads * queries * tokens);
    at.pooled = be_arena_floats(arena, queries * width);
    at.state = be_arena_floats(arena, queries * width);
    at.normal = be_arena_floats(arena, queries * width);
    at.hidden = be_arena_floats(arena, queries * encoder->hidden);
    return at;
}

/* k = m Wk' (its bias and position part are in the grid's constants), v = m Wv' + bv, for a panel of tokens. */
static void project_panel(void *context, size_t panel, size_t worker)
{
    const run *self = context;
    const be_transformer *encoder = self->encoder;
    size_t width = encoder->width, panels = be_panels(self->tokens);
    size_t first = be_panel_start(self->tokens, panels, panel);
    size_t count = be_panel_start(self->tokens, panels, panel + 1) - first;
    float *out = self->at.keys_values + first * 2 * width;
    (void)worker;
    be_product_transposed(out, 2 * width, self->features + first * width, width, encoder->keys_weight, width, count,
                          2 * width, width, 1.0f, false);
    self->team->kernels->bias_add(out + width, encoder->values_bias, count, width, 2 * width);
}

/* One head for all queries: weights = softmax(scale q k' + positions), pooled = weights v. */
static void attend(void *context, size_t head, size_t worker)
{
    const run *self = context;
    const be_transformer *encoder = self->encoder;
    size_t width = encoder->width, head_width = width / encoder->heads, queries = encoder->queries, tokens = self->tokens;
    float *weights = self->at.weights + head * queries * tokens;
    const float *keys = self->at.keys_values + head * head_width, *values = keys + width;
    (void)worker;
    memcpy(weights, self->positions + head * queries * tokens, queries * tokens * sizeof *weights);
    be_product_transposed(weights, tokens, encoder->query + head * head_width, width, keys, 2 * width, queries, tokens,
                          head_width, encoder->scale, true);
    self->team->kernels->softmax(weights, queries, tokens, tokens);
    be_product(self->at.pooled + head * head_width, width, weights, tokens, values, 2 * width, queries, head_width, tokens);
}

/* From the pooled values to the output tokens: t = o Wo' + bo; t = t + W2 relu(W1 LN3(t) + b1) + b2; LN_dec(t). */
static void finish(const run *self, float *tokens_out)
{
    const be_transformer *encoder = self->encoder;
    const be_kernels *kernels = self->team->kernels;
    const buffers *at = &self->at;
    size_t width = encoder->width, queries = encoder->queries, hidden = encoder->hidden;
    be_product_transposed(at->state, width, at->pooled, width, encoder->out_weight, width, queries, width, width, 1.0f, false);
    kernels->bias_add(at->state, encoder->out_bias, queries, width, width);
    kernels->layer_norm(at->normal, at->state, encoder->norm3_gain, encoder->norm3_bias, queries, width, norm_epsilon);
    be_product_transposed(at->hidden, hidden, at->normal, width, encoder->hidden_weight, width, queries, hidden, width, 1.0f,
                          false);
    kernels->bias_relu(at->hidden, encoder->hidden_bias, queries, hidden);
    be_product_transposed(at->normal, width, at->hidden, hidden, encoder->narrow_weight, hidden, queries, width, hidden, 1.0f,
                          false);
    kernels->residual_add(at->state, at->normal, encoder->narrow_bias, NULL, queries, width);
    kernels->layer_norm(tokens_out, at->state, encoder->norm_gain, encoder->norm_bias, queries, width, norm_epsilon);
}

static void average_heads(const run *self, float *mean)
{
    size_t heads = self->encoder->heads, count = self->encoder->queries * self->tokens;
    memset(mean, 0, count * sizeof *mean);
    for (size_t head = 0; head < heads; head++)
        self->team->kernels->accumulate(mean, self->at.weights + head * count, 1.0f / (float)heads, count);
}

be_status be_transformer_run(const be_transformer *encoder, const be_team *team, be_arena *arena, const float *features,
                             size_t tokens, const float *constants, float *tokens_out, float *attention_mean,
                             float *attention_heads, be_error *error)
{
    run self = {.encoder = encoder, .team = team, .features = features, .positions = constants, .tokens = tokens};
    be_arena_reset(arena);
    self.at = lay_out_run(encoder, tokens, arena);
    if (arena->overflowed)
        return be_fail(error, BE_ERROR_LIMIT, "tokens: the image has more (%zu) than this session was made for", tokens);
    be_team_run(team, BE_STAGE_ENCODE, be_panels(tokens), project_panel, &self);
    be_team_run(team, BE_STAGE_ENCODE, encoder->heads, attend, &self);
    double start = be_clock();
    finish(&self, tokens_out);
    if (team->stages)
        team->stages[BE_STAGE_ENCODE] += be_clock() - start;
    if (attention_mean)
        average_heads(&self, attention_mean);
    if (attention_heads)
        memcpy(attention_heads, self.at.weights, encoder->heads * encoder->queries * tokens * sizeof(float));
    return BE_OK;
}

/* --- what depends on the grid --------------------------------------------------------------------- */

size_t be_transformer_grid_floats(const be_transformer *encoder, size_t rows, size_t columns)
{
    return encoder->heads * encoder->queries * rows * columns;
}

/* constants[h][q][t] = scale * q_h (p_t Wk' + bk)_h. */
be_status be_transformer_prepare_grid(const be_transformer *encoder, size_t rows, size_t columns, float *constants,
                                      be_error *error)
{
    size_t width = encoder->width, tokens = rows * columns, head_width = width / encoder->heads;
    void *memory;
    be_status status = be_allocate_aligned(&memory, tokens * width, 2 * sizeof(float), "a position code", error);
    if (status != BE_OK)
        return status;
    float *code = memory, *keys = code + tokens * width;
    be_position_sine(rows, columns, width, code);
    be_product_transposed(keys, width, code, width, encoder->keys_weight, width, tokens, width, width, 1.0f, false);
    for (size_t t = 0; t < tokens; t++) {
        for (size_t i = 0; i < width; i++)
            keys[t * width + i] += encoder->keys_bias[i];
    }
    for (size_t head = 0; head < encoder->heads; head++) {
        be_product_transposed(constants + head * encoder->queries * tokens, tokens, encoder->query + head * head_width, width,
                              keys + head * head_width, width, encoder->queries, tokens, head_width, encoder->scale, false);
    }
    free(memory);
    return BE_OK;
}

size_t be_transformer_arena_bytes(const be_transformer *encoder, size_t tokens)
{
    be_arena counting = {0};
    lay_out_run(encoder, tokens, &counting);
    return counting.used;
}

size_t be_transformer_scratch_bytes(const be_transformer *encoder)
{
    (void)encoder; /* every buffer of this encoder belongs to the image */
    return 0;
}

/* --- loading -------------------------------------------------------------------------------------- */

static void lay_out_weights(be_transformer *encoder)
{
    size_t width = encoder->width, hidden = encoder->hidden;
    be_arena *arena = &encoder->weights;
    encoder->keys_weight = be_arena_floats(arena, 2 * width * width);
    encoder->values_weight = encoder->keys_weight ? encoder->keys_weight + width * width : NULL;
    encoder->keys_bias = be_arena_floats(arena, width);
    encoder->values_bias = be_arena_floats(arena, width);
    encoder->out_weight = be_arena_floats(arena, width * width);
    encoder->out_bias = be_arena_floats(arena, width);
    encoder->norm3_gain = be_arena_floats(arena, width);
    encoder->norm3_bias = be_arena_floats(arena, width);
    encoder->hidden_weight = be_arena_floats(arena, hidden * width);
    encoder->hidden_bias = be_arena_floats(arena, hidden);
    encoder->narrow_weight = be_arena_floats(arena, width * hidden);
    encoder->narrow_bias = be_arena_floats(arena, width);
    encoder->norm_gain = be_arena_floats(arena, width);
    encoder->norm_bias = be_arena_floats(arena, width);
    encoder->query = be_arena_floats(arena, encoder->queries * width);
}

/* query = (norm1.bias + e) Wq' + bq: LN1 of the zero state is its bias. `projection` is in_proj_weight, `bias` in_proj_bias. */
static void project_queries(be_transformer *encoder, const float *projection, const float *bias, const float *norm1_bias,
                            float *embedding)
{
    size_t width = encoder->width;
    for (size_t q = 0; q < encoder->queries; q++) {
        for (size_t i = 0; i < width; i++)
            embedding[q * width + i] += norm1_bias[i];
    }
    be_product_transposed(encoder->query, width, embedding, width, projection, width, encoder->queries, width, width, 1.0f,
                          false);
    for (size_t q = 0; q < encoder->queries; q++) {
        for (size_t i = 0; i < width; i++)
            encoder->query[q * width + i] += bias[i];
    }
}

/* The cross-attention's joined projection [Wq; Wk; Wv], of which keys and values are kept and the queries are used up. */
static be_status load_projections(be_transformer *encoder, be_tensor_file *file, const char *prefix, be_error *error)
{
    size_t width = encoder->width, queries = encoder->queries;
    size_t projection = 3 * width * width, biases = 3 * width;
    void *memory;
    be_status status = be_allocate(&memory, projection + biases + width + queries * width, sizeof(float),
                                   "a decoder's projections", error);
    if (status != BE_OK)
        return status;
    float *weight = memory, *bias = weight + projection, *norm1_bias = bias + biases, *embedding = norm1_bias + width;
    const be_wanted_tensor wanted[] = {
        {"transformer.decoder.layers.0.multihead_attn.in_proj_weight", 3 * width, width, weight},
        {"transformer.decoder.layers.0.multihead_attn.in_proj_bias", 3 * width, 0, bias},
        {"transformer.decoder.layers.0.norm1.bias", width, 0, norm1_bias},
        {"query_embed.weight", queries, width, embedding},
    };
    status = be_load_tensors(file, prefix, wanted, sizeof wanted / sizeof *wanted, error);
    if (status == BE_OK) {
        memcpy(encoder->keys_weight, weight + width * width, 2 * width * width * sizeof(float));
        memcpy(encoder->keys_bias, bias + width, width * sizeof(float));
        memcpy(encoder->values_bias, bias + 2 * width, width * sizeof(float));
        project_queries(encoder, weight, bias, norm1_bias, embedding);
    }
    free(memory);
    return status;
}

static be_status load_rest(be_transformer *encoder, be_tensor_file *file, const char *prefix, be_error *error)
{
    size_t width = encoder->width, hidden = encoder->hidden;
    const be_wanted_tensor wanted[] = {
        {"transformer.decoder.layers.0.multihead_attn.out_proj.weight", width, width, encoder->out_weight},
        {"transformer.decoder.layers.0.multihead_attn.out_proj.bias", width, 0, encoder->out_bias},
        {"transformer.decoder.layers.0.norm3.weight", width, 0, encoder->norm3_gain},
        {"transformer.decoder.layers.0.norm3.bias", width, 0, encoder->norm3_bias},
        {"transformer.decoder.layers.0.linear1.weight", hidden, width, encoder->hidden_weight},
        {"transformer.decoder.layers.0.linear1.bias", hidden, 0, encoder->hidden_bias},
        {"transformer.decoder.layers.0.linear2.weight", width, hidden, encoder->narrow_weight},
        {"transformer.decoder.layers.0.linear2.bias", width, 0, encoder->narrow_bias},
        {"transformer.decoder.norm.weight", width, 0, encoder->norm_gain},
        {"transformer.decoder.norm.bias", width, 0, encoder->norm_bias},
    };
    return be_load_tensors(file, prefix, wanted, sizeof wanted / sizeof *wanted, error);
}

be_status be_transformer_load(be_tensor_file *file, const char *prefix, const be_encoder_settings *settings,
                              be_transformer **out, be_error *error)
{
    const be_tensor *hidden;
    void *memory;
    be_status status = be_find_tensor(file, prefix, "transformer.decoder.layers.0.linear1.weight", 0, settings->channels,
                                      &hidden, error);
    if (status != BE_OK)
        return status;
    status = be_allocate(&memory, 1, sizeof(be_transformer), "an encoder", error);
    if (status != BE_OK)
        return status;
    be_transformer *encoder = memory;
    be_product_use_one_thread(); /* a model's first product is one of its queries */
    encoder->width = settings->channels;
    encoder->queries = settings->queries;
    encoder->heads = settings->heads;
    encoder->hidden = hidden->shape[0];
    encoder->scale = 1.0f / sqrtf((float)(encoder->width / encoder->heads));
    lay_out_weights(encoder);
    if (encoder->weights.overflowed)
        status = be_fail_memory(error, SIZE_MAX, "the weights of an encoder");
    else
        status = be_arena_create(&encoder->weights, encoder->weights.used, "the weights of an encoder", error);
    if (status == BE_OK) {
        lay_out_weights(encoder);
        status = load_projections(encoder, file, prefix, error);
    }
    if (status == BE_OK)
        status = load_rest(encoder, file, prefix, error);
    if (status != BE_OK) {
        be_transformer_free(encoder);
        return status;
    }
    *out = encoder;
    return BE_OK;
}

void be_transformer_free(be_transformer *encoder)
{
    if (!encoder)
        return;
    be_arena_destroy(&encoder->weights);
    free(encoder);
}

size_t be_transformer_hidden(const be_transformer *encoder)
{
    return encoder->hidden;
}
