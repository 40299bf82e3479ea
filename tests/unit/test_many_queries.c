/* Thousands of queries go through the decoder in higher panels than a few do: each query's token and maps are those it has when
 * it is asked for among few, which the golden cases cover; in every precision. */
#include "tests/unit/support.h"

#include "core/base/memory.h"
#include "core/encoder/decoder.h"
#include "tests/unit/random.h"

enum {
    WIDTH = 24, HEADS = 3, HIDDEN = 20, LAYERS = 2, MATRICES = 6, PARTS = 16,
    ROWS = 3, COLUMNS = 5, TOKENS = ROWS * COLUMNS, QUERIES = 5003, FEW = 64
};

static uint32_t random_state = 3;
static decoder_layer layers[LAYERS];
static decoder model = {.width = WIDTH, .heads = HEADS, .hidden = HIDDEN, .n_layers = LAYERS, .pre_norm = true, .layers = layers};
static float memory[TOKENS][WIDTH];

static float *draw(size_t count, float size)
{
    float *values = malloc(count * sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < count; i++)
        values[i] = size * next_uniform(&random_state);
    return values;
}

static float *pack(be_matrix *matrix, const be_isa *isa, float *values, size_t columns, size_t inner)
{
    be_error error;
    size_t bytes;
    void *packed;
    assert_true(be_matrix_bytes(model.precision, columns, inner, &bytes));
    assert_ok(be_allocate_aligned(&packed, bytes, 1, "a test", &error), &error);
    be_matrix_pack(matrix, isa, model.precision, values, columns, inner, packed);
    free(values);
    return packed;
}

static void draw_layer(const be_isa *isa, decoder_layer *layer, float *values[PARTS])
{
    be_matrix *const matrices[MATRICES] = {&layer->query, &layer->keys, &layer->values, &layer->out, &layer->widen, &layer->narrow};
    float **const vectors[PARTS - MATRICES] = {
        &layer->query_bias, &layer->keys_bias, &layer->values_bias, &layer->out_bias, &layer->hidden_bias, &layer->narrow_bias,
        &layer->norm1_gain, &layer->norm1_bias, &layer->norm3_gain, &layer->norm3_bias,
    };
    for (size_t i = 0; i < MATRICES; i++)
        values[i] = pack(matrices[i], isa, draw(WIDTH * WIDTH, 0.4f), i == 4 ? HIDDEN : WIDTH, i == 5 ? HIDDEN : WIDTH);
    for (size_t i = MATRICES; i < PARTS; i++)
        values[i] = *vectors[i - MATRICES] = draw(WIDTH, 0.5f);
}

/* Where tokens of a wish go. */
typedef struct taken {
    float (*tokens)[WIDTH];
    size_t offset;
} taken;

static void take(void *context, const be_team *team, size_t first, size_t count, const float *tokens)
{
    const taken *to = context;
    (void)team;
    memcpy(to->tokens[to->offset + first], tokens, count * WIDTH * sizeof *tokens);
}

typedef struct answer {
    float tokens[QUERIES][WIDTH], maps[QUERIES][TOKENS];
} answer;

static void run(const be_team *team, float *projected, uint32_t first, size_t count, answer *to)
{
    static uint32_t queries[QUERIES];
    taken where = {to->tokens, first};
    for (size_t i = 0; i < count; i++)
        queries[i] = first + (uint32_t)i;
    be_encoder_wish wish = {.queries = queries, .count = count, .take = take, .context = &where, .attention = to->maps[first]};
    decoder_run(&model, team, projected, TOKENS, &wish);
}

static void check(be_precision precision)
{
    static float tables[(ROWS + COLUMNS) * WIDTH / 2];
    float *weights[LAYERS][PARTS];
    model.precision = precision;
    model.query = draw(QUERIES * WIDTH, 2), model.embedding = draw(QUERIES * WIDTH, 2);
    for (size_t i = 0; i < TOKENS * WIDTH; i++)
        memory[i / WIDTH][i % WIDTH] = 2 * next_uniform(&random_state);
    be_positions_sine(ROWS, COLUMNS, WIDTH, tables);
    be_positions positions = be_positions_in(tables, ROWS, COLUMNS, WIDTH, false);
    be_arena scratch = {0};
    be_team team = {.scratch = &scratch};
    be_error error;
    assert_ok(be_isa_select(NULL, &team.isa, &error), &error);
    for (size_t l = 0; l < LAYERS; l++)
        draw_layer(team.isa, &layers[l], weights[l]);
    assert_ok(be_arena_create(&scratch, decoder_scratch_bytes(&model, QUERIES, TOKENS), "scratch", &error), &error);
    memset(scratch.base, 0xff, scratch.size);
    void *projected;
    assert_ok(be_allocate_aligned(&projected, decoder_memory_floats(&model, TOKENS), sizeof(float), "a test", &error), &error);
    decoder_project_memory(&model, &team, memory[0], &positions, projected);
    answer *many = malloc(sizeof *many), *few = malloc(sizeof *few);
    assert_true(many && few);
    run(&team, projected, 0, QUERIES, many);
    for (uint32_t first = 0; first < QUERIES; first += FEW)
        run(&team, projected, first, QUERIES - first < FEW ? QUERIES - first : FEW, few);
    assert_memory_equal(many->tokens, few->tokens, sizeof many->tokens);
    assert_memory_equal(many->maps, few->maps, sizeof many->maps);
    for (size_t l = 0; l < LAYERS; l++) {
        for (size_t i = 0; i < PARTS; i++)
            free(weights[l][i]);
    }
    free(projected), free(many), free(few), free(model.query), free(model.embedding);
    be_arena_destroy(&scratch);
}

static void test_as_among_few(void **state)
{
    (void)state;
    for (int precision = BE_PRECISION_F32; precision <= BE_PRECISION_BF16X3; precision++)
        check((be_precision)precision);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_as_among_few)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
