/* Attention in every precision on every instruction set: near the plain reference, the same bits whoever
 * computes them and however the queries are cut. */
#include "tests/unit/support.h"

#include <math.h>

#include "core/compute/attention.h"
#include "core/compute/reference.h"
#include "tests/unit/matrix_support.h"

enum { GAP = 5, MOST_THREADS = 5 };

static be_isa isas[BE_ISA_MAX];
static size_t n_isas;

typedef struct attention_size {
    size_t queries, tokens, heads, head_width;
} attention_size;

static const attention_size sizes[] = {
    {1, 1, 1, 1},    {1, 1, 3, 5},   {2, 5, 1, 3},  {65, 40, 2, 64},  {130, 129, 3, 48},
    {5, 300, 4, 24}, {50, 33, 16, 6}, {70, 1, 1, 2}, {128, 128, 2, 8}, {257, 40, 2, 5},
};

/* Queries, keys and values stand side by side in rows of `joined`; threads 0: one worker alone. */
static void attend(const be_isa *isa, be_precision precision, const attention_size *size, size_t first, size_t threads,
                   const float *joined, float *out)
{
    be_error error;
    be_arena scratch[MOST_THREADS];
    size_t width = size->heads * size->head_width, floats = be_attention_room(precision, size->tokens, size->head_width);
    be_team team = {.isa = isa, .worker = threads ? 0 : 1, .scratch = scratch};
    if (threads)
        assert_ok(be_pool_create(threads, &team.pool, &error), &error);
    for (size_t i = 0; i < MOST_THREADS; i++) {
        assert_ok(be_arena_create(&scratch[i], floats * sizeof(float), "scratch", &error), &error);
        memset(scratch[i].base, 0xff, scratch[i].size);
    }
    be_attention attention = {
        .q = joined + first * 3 * width, .k = joined + width, .v = joined + 2 * width, .out = out + first * (width + GAP),
        .q_stride = 3 * width, .k_stride = 3 * width, .v_stride = 3 * width, .out_stride = width + GAP,
        .queries = size->queries, .tokens = size->tokens, .heads = size->heads, .head_width = size->head_width,
        .scale = 1 / sqrtf((float)size->head_width), .precision = precision,
    };
    be_attention_run(&team, BE_STAGE_ATTEND, &attention);
    be_pool_destroy(team.pool);
    for (size_t i = 0; i < MOST_THREADS; i++) {
        assert_false(scratch[i].overflowed);
        be_arena_destroy(&scratch[i]);
    }
}

/* What the precision's operands are: in BF16 each number rounded, else as it is. */
static void round_all(be_precision precision, float *values, size_t count, double factor)
{
    for (size_t i = 0; i < count; i++)
        values[i] = (float)(precision == BE_PRECISION_BF16 ? nearest_bf16((float)factor * values[i]) : factor * values[i]);
}

/* Of values up to 2: a few roundings in float32; a weight's own rounding, which moves the output both by itself and in the sum of
 * the weights; in three parts what they leave out of scores, whose summands' sizes add up to some 8. */
static float tolerance(be_precision precision)
{
    if (precision == BE_PRECISION_F32)
        return 5e-6f;
    return precision == BE_PRECISION_BF16 ? 2 * 2 * 0x1p-9f : 2 * 8 * 3 * 0x1p-18f;
}

static void check(const be_isa *isa, be_precision precision, const attention_size *size)
{
    static const size_t crews[] = {1, 2, MOST_THREADS, 0};
    size_t width = size->heads * size->head_width, rows = size->queries > size->tokens ? size->queries : size->tokens;
    size_t stride = width + GAP, count = size->queries * stride, half = size->queries / 2;
    float *joined = make_values(rows * 3 * width, 7), *expected = make_values(size->queries * width, 0);
    float *q = column_block(joined, size->queries, width, 0), *k = column_block(joined, size->tokens, width, 1),
          *v = column_block(joined, size->tokens, width, 2);
    float *before = make_values(count, 11), *first = make_values(count, 11), *out = make_values(count, 11);
    round_all(precision, q, size->queries * width, 1 / sqrtf((float)size->head_width));
    round_all(precision, k, size->tokens * width, 1), round_all(precision, v, size->tokens * width, 1);
    be_reference_attention(expected, q, k, v, size->queries, size->tokens, size->heads, size->head_width, 1);
    attend(isa, precision, size, 0, 3, joined, first);
    for (size_t c = 0; c < sizeof crews / sizeof *crews; c++) {
        memcpy(out, before, count * sizeof *out);
        attend(isa, precision, size, 0, crews[c], joined, out);
        assert_memory_equal(out, first, count * sizeof *out);
    }
    memcpy(out, before, count * sizeof *out);
    attention_size upper = *size, lower = *size;
    upper.queries = half, lower.queries = size->queries - half;
    attend(isa, precision, &lower, half, 1, joined, out);
    attend(isa, precision, &upper, 0, 2, joined, out);
    assert_memory_equal(out, first, count * sizeof *out);
    for (size_t i = 0; i < count; i++) {
        bool inside = i % stride < width;
        float wanted = inside ? expected[i / stride * width + i % stride] : before[i];
        if (!(fabsf(first[i] - wanted) <= (inside ? tolerance(precision) : 0)))
            fail_msg("attention in %s of %zu queries, %zu tokens, %zu heads of %zu (%s), element %zu: %.9g, expected %.9g",
                     be_precision_name(precision), size->queries, size->tokens, size->heads, size->head_width, isa->name, i,
                     (double)first[i], (double)wanted);
    }
    free(joined), free(expected), free(q), free(k), free(v), free(before), free(first), free(out);
}

static void test_attention(void **state)
{
    (void)state;
    n_isas = all_isas(isas);
    for (size_t t = 0; t < n_isas; t++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            check(&isas[t], BE_PRECISION_F32, &sizes[i]);
            check(&isas[t], BE_PRECISION_BF16, &sizes[i]);
            check(&isas[t], BE_PRECISION_BF16X3, &sizes[i]);
        }
    }
}

/* With equal keys every token weighs the same, exactly: the mean of values that bfloat16 holds has float32's error only. */
static void test_weights_sum_to_one(void **state)
{
    (void)state;
    static const attention_size size = {3, 77, 1, 8};
    float joined[77 * 24], out[3 * (8 + GAP)];
    double means[8] = {0};
    n_isas = all_isas(isas);
    for (size_t t = 0; t < 77; t++) {
        for (size_t i = 0; i < 24; i++)
            joined[t * 24 + i] = i < 16 ? 0.5f + (float)(i % 4) : (float)((t * 8 + i) % 101) - 50;
        for (size_t i = 0; i < 8; i++)
            means[i] += (double)joined[t * 24 + 16 + i] / 77;
    }
    for (size_t t = 0; t < n_isas; t++) {
        attend(&isas[t], BE_PRECISION_BF16, &size, 0, 1, joined, out);
        for (size_t i = 0; i < 24; i++)
            assert_true(fabs((double)out[i / 8 * (8 + GAP) + i % 8] - means[i % 8]) <= 2e-5);
    }
}

/* One token that is far ahead of the others, and scores so low that their exponentials vanish. */
static void test_large_scores(void **state)
{
    (void)state;
    static const attention_size size = {1, 40, 1, 4};
    static const be_precision precisions[] = {BE_PRECISION_F32, BE_PRECISION_BF16, BE_PRECISION_BF16X3};
    float joined[40 * 12], out[4 + GAP];
    n_isas = all_isas(isas);
    for (size_t t = 0; t < 40; t++) {
        for (size_t i = 0; i < 12; i++)
            joined[t * 12 + i] = i < 4 ? 64 : i < 8 ? (t == 17 ? 64 : -64) : (float)(t + i);
    }
    for (size_t t = 0; t < 3 * n_isas; t++) {
        attend(&isas[t / 3], precisions[t % 3], &size, 0, 1, joined, out);
        for (size_t i = 0; i < 4; i++)
            assert_true(out[i] == (float)(17 + 8 + i));
    }
}

/* What is not a number stays so: of a query its row of a head, of a key all rows of its head, of a value its column. */
static void test_not_a_number(void **state)
{
    (void)state;
    enum { QUERIES = 70, TOKENS = 35, HEADS = 2, HEAD_WIDTH = 5, WIDTH = HEADS * HEAD_WIDTH };
    static const attention_size size = {QUERIES, TOKENS, HEADS, HEAD_WIDTH};
    enum { QUERY, KEY, VALUE, PARTS };
    static float out[QUERIES * (WIDTH + GAP)];
    n_isas = all_isas(isas);
    for (size_t t = 0; t < n_isas * 3 * PARTS; t++) {
        be_precision precision = (be_precision)(t / PARTS % 3);
        size_t part = t % PARTS, row = part == QUERY ? 66 : 33, column = HEAD_WIDTH + 4;
        float *joined = make_values(QUERIES * 3 * WIDTH, 7);
        joined[row * 3 * WIDTH + part * WIDTH + column] = NAN;
        attend(&isas[t / PARTS / 3], precision, &size, 0, 1, joined, out);
        for (size_t i = 0; i < QUERIES * WIDTH; i++) {
            bool head = i % WIDTH >= HEAD_WIDTH, here = part == QUERY ? i / WIDTH == row : part == KEY || i % WIDTH == column;
            assert_int_equal(isnan(out[i / WIDTH * (WIDTH + GAP) + i % WIDTH]) != 0, head && here);
        }
        free(joined);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attention), cmocka_unit_test(test_weights_sum_to_one), cmocka_unit_test(test_large_scores),
        cmocka_unit_test(test_not_a_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
