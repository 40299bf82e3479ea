/* The encoder and its readout against the formulas of the model in double precision, on weights so small that the epsilon
 * of each LayerNorm shows. */
#include "tests/unit/support.h"

#include <math.h>
#include <stdio.h>

#include "core/encoder/encoder.h"
#include "core/encoder/position.h"
#include "core/files/tensor_file.h"
#include "tests/unit/random.h"

enum {
    WIDTH = 12, HEADS = 3, HEAD_WIDTH = WIDTH / HEADS, QUERIES = 4, HIDDEN = 7,
    ROWS = 2, COLUMNS = 3, TOKENS = ROWS * COLUMNS, LEFT = 5, RIGHT = 3, VERTICES = LEFT + RIGHT
};

/* Every weight of the file, as MODEL section 4 calls them. */
static float in_weight[3 * WIDTH][WIDTH], in_bias[3 * WIDTH], out_weight[WIDTH][WIDTH], out_bias[WIDTH];
static float norm1_bias[WIDTH], norm3_gain[WIDTH], norm3_bias[WIDTH], norm_gain[WIDTH], norm_bias[WIDTH];
static float wide_weight[HIDDEN][WIDTH], wide_bias[HIDDEN], narrow_weight[WIDTH][HIDDEN], narrow_bias[WIDTH];
static float embedding[QUERIES][WIDTH];
static float left_weight[LEFT][WIDTH], left_bias[LEFT], right_weight[RIGHT][WIDTH], right_bias[RIGHT];
static float memory[TOKENS][WIDTH];

#define LAYER "m.transformer.decoder.layers.0."
#define MATRIX(name, array) {name, BE_DTYPE_F32, 2, {sizeof array / sizeof *array, sizeof *array / sizeof **array}, array}
#define VECTOR(name, array) {name, BE_DTYPE_F32, 1, {sizeof array / sizeof *array}, array}
static const be_tensor_source tensors[] = {
    MATRIX(LAYER "multihead_attn.in_proj_weight", in_weight), VECTOR(LAYER "multihead_attn.in_proj_bias", in_bias),
    MATRIX(LAYER "multihead_attn.out_proj.weight", out_weight), VECTOR(LAYER "multihead_attn.out_proj.bias", out_bias),
    VECTOR(LAYER "norm1.bias", norm1_bias), VECTOR(LAYER "norm3.weight", norm3_gain), VECTOR(LAYER "norm3.bias", norm3_bias),
    MATRIX(LAYER "linear1.weight", wide_weight), VECTOR(LAYER "linear1.bias", wide_bias),
    MATRIX(LAYER "linear2.weight", narrow_weight), VECTOR(LAYER "linear2.bias", narrow_bias),
    VECTOR("m.transformer.decoder.norm.weight", norm_gain), VECTOR("m.transformer.decoder.norm.bias", norm_bias),
    MATRIX("m.query_embed.weight", embedding), MATRIX("m.lh_embed.0.weight", left_weight),
    VECTOR("m.lh_embed.0.bias", left_bias), MATRIX("m.rh_embed.0.weight", right_weight),
    VECTOR("m.rh_embed.0.bias", right_bias),
};
enum { N_TENSORS = sizeof tensors / sizeof *tensors };

static void fill(void *values, size_t bytes, float size)
{
    static uint32_t random = 5;
    for (size_t i = 0; i < bytes / sizeof(float); i++)
        ((float *)values)[i] = size * next_uniform(&random);
}

static be_tensor_file *make_file(void)
{
    be_tensor_file *file = NULL;
    be_error error;
    fill(in_weight, sizeof in_weight, 0.5f), fill(in_bias, sizeof in_bias, 0.01f);
    fill(out_weight, sizeof out_weight, 0.004f), fill(out_bias, sizeof out_bias, 0.002f);
    fill(norm1_bias, sizeof norm1_bias, 1), fill(norm3_gain, sizeof norm3_gain, 1), fill(norm3_bias, sizeof norm3_bias, 1);
    fill(norm_gain, sizeof norm_gain, 1), fill(norm_bias, sizeof norm_bias, 1);
    fill(wide_weight, sizeof wide_weight, 0.3f), fill(wide_bias, sizeof wide_bias, 0.3f);
    fill(narrow_weight, sizeof narrow_weight, 0.004f), fill(narrow_bias, sizeof narrow_bias, 0.002f);
    fill(embedding, sizeof embedding, 2), fill(memory, sizeof memory, 2);
    fill(left_weight, sizeof left_weight, 1), fill(left_bias, sizeof left_bias, 1);
    fill(right_weight, sizeof right_weight, 1), fill(right_bias, sizeof right_bias, 1);
    assert_ok(be_safetensors_write(scratch("encoder.safetensors"), tensors, N_TENSORS, NULL, 0, &error), &error);
    assert_ok(be_tensor_file_open(scratch("encoder.safetensors"), &file, &error), &error);
    return file;
}

/* --- the formulas ------------------------------------------------------------------------------------------------- */

static double dot(const double *x, const float *weights, size_t width)
{
    double sum = 0;
    for (size_t i = 0; i < width; i++)
        sum += x[i] * (double)weights[i];
    return sum;
}

static void layer_norm(double *x, const float *gain, const float *bias)
{
    double mean = 0, variance = 0;
    for (size_t i = 0; i < WIDTH; i++)
        mean += x[i] / WIDTH;
    for (size_t i = 0; i < WIDTH; i++)
        variance += (x[i] - mean) * (x[i] - mean) / WIDTH;
    for (size_t i = 0; i < WIDTH; i++)
        x[i] = (x[i] - mean) / sqrt(variance + 1e-5) * (double)gain[i] + (double)bias[i];
}

static double keys[TOKENS][WIDTH], values[TOKENS][WIDTH];

static void project_memory(void)
{
    static float position[TOKENS][WIDTH], tables[(ROWS + COLUMNS) * WIDTH / 2];
    be_positions_sine(ROWS, COLUMNS, WIDTH, tables); /* has a test of its own */
    be_positions positions = be_positions_in(tables, ROWS, COLUMNS, WIDTH, false);
    memset(position, 0, sizeof position);
    be_positions_add(&positions, 0, TOKENS, position[0]);
    for (size_t t = 0; t < TOKENS; t++) {
        double plain[WIDTH], placed[WIDTH];
        for (size_t i = 0; i < WIDTH; i++) {
            plain[i] = (double)memory[t][i];
            placed[i] = plain[i] + (double)position[t][i];
        }
        for (size_t i = 0; i < WIDTH; i++) {
            keys[t][i] = dot(placed, in_weight[WIDTH + i], WIDTH) + (double)in_bias[WIDTH + i];
            values[t][i] = dot(plain, in_weight[2 * WIDTH + i], WIDTH) + (double)in_bias[2 * WIDTH + i];
        }
    }
}

/* The attention weights of one head and query. */
static void attend(size_t head, const double *query, double weights[TOKENS])
{
    double sum = 0;
    for (size_t t = 0; t < TOKENS; t++) {
        double score = 0;
        for (size_t i = head * HEAD_WIDTH; i < (head + 1) * HEAD_WIDTH; i++)
            score += query[i] * keys[t][i];
        weights[t] = exp(score / sqrt(HEAD_WIDTH));
        sum += weights[t];
    }
    for (size_t t = 0; t < TOKENS; t++)
        weights[t] /= sum;
}

/* One query from its embedding to its output token; its weights go to `attention` [HEADS][TOKENS]. */
static void decode(size_t q, double token[WIDTH], double attention[HEADS][TOKENS])
{
    double start[WIDTH], query[WIDTH], pooled[WIDTH] = {0}, normal[WIDTH], hidden[HIDDEN];
    for (size_t i = 0; i < WIDTH; i++)
        start[i] = (double)norm1_bias[i] + (double)embedding[q][i]; /* LN1 of the zero state is its bias */
    for (size_t i = 0; i < WIDTH; i++)
        query[i] = dot(start, in_weight[i], WIDTH) + (double)in_bias[i];
    for (size_t h = 0; h < HEADS; h++) {
        attend(h, query, attention[h]);
        for (size_t i = h * HEAD_WIDTH; i < (h + 1) * HEAD_WIDTH; i++) {
            for (size_t t = 0; t < TOKENS; t++)
                pooled[i] += attention[h][t] * values[t][i];
        }
    }
    for (size_t i = 0; i < WIDTH; i++)
        normal[i] = token[i] = dot(pooled, out_weight[i], WIDTH) + (double)out_bias[i];
    layer_norm(normal, norm3_gain, norm3_bias);
    for (size_t i = 0; i < HIDDEN; i++)
        hidden[i] = fmax(0, dot(normal, wide_weight[i], WIDTH) + (double)wide_bias[i]);
    for (size_t i = 0; i < WIDTH; i++)
        token[i] += dot(hidden, narrow_weight[i], HIDDEN) + (double)narrow_bias[i];
    layer_norm(token, norm_gain, norm_bias);
}

/* --- the tests ---------------------------------------------------------------------------------------------------- */

static be_arena make_arena(size_t bytes)
{
    be_arena arena;
    be_error error;
    assert_ok(be_arena_create(&arena, bytes, "a test", &error), &error);
    return arena;
}

static void keep_tokens(void *context, const be_team *team, size_t first, size_t count, const float *tokens)
{
    (void)team;
    memcpy((float *)context + first * WIDTH, tokens, count * WIDTH * sizeof *tokens);
}

static void test_encoder(void **state)
{
    (void)state;
    be_tensor_file *file = make_file();
    be_encoder *encoder = NULL;
    be_encoding encoding;
    be_error error;
    const be_encoder_settings settings = {.kind = "transformer", .channels = WIDTH, .width = WIDTH, .queries = QUERIES, .heads = HEADS,
                                          .dec_layers = 1, .pre_norm = true};
    static float constants[(ROWS + COLUMNS) * WIDTH / 2], tokens[QUERIES * WIDTH], mean[QUERIES * TOKENS],
        heads[HEADS * QUERIES * TOKENS];
    const be_encoder_wish wish = {.count = QUERIES, .take = keep_tokens, .context = tokens, .attention = mean, .attention_heads = heads};
    assert_ok(be_encoder_load(file, "m.", &settings, &encoder, &error), &error);
    be_tensor_file_close(file);
    be_arena arena = make_arena(be_encoder_arena_bytes(encoder, TOKENS));
    be_arena scratch_of_worker = make_arena(be_encoder_scratch_bytes(encoder, TOKENS));
    be_team team = {.scratch = &scratch_of_worker};
    assert_ok(be_kernels_select(NULL, &team.kernels, &error), &error);
    assert_int_equal(be_encoder_grid_floats(encoder, ROWS, COLUMNS), (ROWS + COLUMNS) * WIDTH / 2);
    be_encoder_prepare_grid(encoder, ROWS, COLUMNS, constants);
    assert_ok(be_encode_begin(encoder, &team, &arena, memory[0], ROWS, COLUMNS, constants, &encoding, &error), &error);
    be_encode_queries(&encoding, &wish);
    project_memory();
    for (size_t q = 0; q < QUERIES; q++) {
        double token[WIDTH], attention[HEADS][TOKENS];
        decode(q, token, attention);
        for (size_t i = 0; i < WIDTH; i++)
            assert_true(fabs((double)tokens[q * WIDTH + i] - token[i]) <= 1e-5);
        for (size_t t = 0; t < TOKENS; t++) {
            double average = 0;
            for (size_t h = 0; h < HEADS; h++) {
                assert_true(fabs((double)heads[(h * QUERIES + q) * TOKENS + t] - attention[h][t]) <= 2e-6);
                average += attention[h][t] / HEADS;
            }
            assert_true(fabs((double)mean[q * TOKENS + t] - average) <= 2e-6);
        }
    }
    assert_error(be_encode_begin(encoder, &team, &arena, memory[0], 2 * ROWS, COLUMNS, constants, &encoding, &error), BE_ERROR_LIMIT,
                 &error, "tokens"); /* more than the arena was made for */
    be_encoder_free(encoder);
    be_encoder_free(NULL);
    be_arena_destroy(&arena), be_arena_destroy(&scratch_of_worker);
}

/* A vertex is the sum over its regions of token . weight + bias, the bias once a region. */
static void test_readout(void **state)
{
    (void)state;
    static const size_t starts[VERTICES + 1] = {0, 1, 3, 3, 4, 5, 7, 8, 9};
    static const uint32_t queries[] = {0, 0, 1, 1, 0, 2, 3, 3, 2};
    be_tensor_file *file = make_file();
    be_readout *readout = NULL;
    be_error error;
    static float tokens[QUERIES * WIDTH], out[VERTICES];
    be_readout_lists lists = {malloc(sizeof starts), malloc(sizeof queries)};
    assert_true(lists.start && lists.queries);
    memcpy(lists.start, starts, sizeof starts);
    memcpy(lists.queries, queries, sizeof queries);
    assert_error(be_readout_load(file, "m.", WIDTH, LEFT + 1, RIGHT, &lists, &readout, &error), BE_ERROR_FORMAT, &error,
                 "m.lh_embed.0.weight");
    assert_ok(be_readout_load(file, "m.", WIDTH, LEFT, RIGHT, &lists, &readout, &error), &error);
    be_tensor_file_close(file);
    fill(tokens, sizeof tokens, 2);
    be_team team = {0};
    assert_ok(be_kernels_select(NULL, &team.kernels, &error), &error);
    be_readout_run(readout, &team, tokens, out);
    for (size_t v = 0; v < VERTICES; v++) {
        const float *weights = v < LEFT ? left_weight[v] : right_weight[v - LEFT];
        double bias = (double)(v < LEFT ? left_bias[v] : right_bias[v - LEFT]), sum = 0;
        for (size_t i = starts[v]; i < starts[v + 1]; i++) {
            for (size_t c = 0; c < WIDTH; c++)
                sum += (double)tokens[queries[i] * WIDTH + c] * (double)weights[c];
            sum += bias;
        }
        assert_true(fabs((double)out[v] - sum) <= 1e-5);
    }
    be_readout_free(readout);
    be_readout_free(NULL);
    free(lists.start), free(lists.queries);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_encoder), cmocka_unit_test(test_readout)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
