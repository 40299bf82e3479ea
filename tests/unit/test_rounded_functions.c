/* The functions whose results are rounded to bfloat16: off by half a unit in the last place and the error their headers promise. */
#include "tests/unit/support.h"

#include <math.h>

#include "core/base/memory.h"
#include "core/compute/matrix.h"
#include "tests/unit/matrix_support.h"

static float widened(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Half a unit in the last place of a bfloat16. */
static double rounding_of(double value)
{
    int exponent;
    frexp(value, &exponent);
    return ldexp(1, exponent - 9);
}

static size_t place_of(size_t i)
{
    return i / 32 * 512 + i % 32;
}

static void open_arena(be_arena *arena, size_t floats)
{
    be_error error;
    assert_ok(be_arena_create(arena, floats * sizeof(float), "a test", &error), &error);
}

/* --- exponentials ------------------------------------------------------------------------------------------------- */

enum { SCORES = 50001 };

static void check_exponentials(const be_isa *isa, float largest)
{
    be_arena arena;
    be_activations to;
    float inverse, *scores = make_values(SCORES, 1);
    for (size_t i = 0; i < SCORES; i++)
        scores[i] = largest - (float)i * 0.002f;
    open_arena(&arena, be_activations_floats(BE_PRECISION_BF16, 1, SCORES));
    be_activations_make(&to, BE_PRECISION_BF16, 1, SCORES, &arena);
    isa->tiles->exponentials(&to, &inverse, scores, SCORES);
    double sum = 0;
    for (size_t i = 0; i < SCORES; i++) {
        double exact = exp((double)scores[i] - (double)largest), actual = widened(to.high[place_of(i)]);
        if (!(fabs(actual - exact) <= rounding_of(exact) + 1e-4 * exact + 1e-37))
            fail_msg("exponential (%s) of %.9g - %.9g is %.9g, not %.9g", isa->name, (double)scores[i], (double)largest, actual,
                     exact);
        sum += actual;
    }
    assert_true(fabs((double)inverse * sum - 1) < 1e-5);
    be_arena_destroy(&arena);
    free(scores);
}

static void test_exponentials(void **state)
{
    (void)state;
    be_isa isas[BE_ISA_MAX];
    size_t n_isas = all_isas(isas);
    for (size_t t = 0; t < n_isas; t++) {
        check_exponentials(&isas[t], 0);
        check_exponentials(&isas[t], 57.25f);
    }
}

/* Every payload of a NaN stays none, as do the sum and what it divides. */
static void test_scores_that_are_not_numbers(void **state)
{
    (void)state;
    be_isa isas[BE_ISA_MAX];
    size_t n_isas = all_isas(isas);
    for (size_t t = 0; t < n_isas; t++) {
        for (uint32_t payload = 1; payload < 0x800000; payload = payload * 3 + 1) {
            be_arena arena;
            be_activations to;
            float inverse, scores[40] = {0};
            uint32_t bits = 0x7f800000 | payload;
            memcpy(&scores[33], &bits, sizeof bits);
            open_arena(&arena, be_activations_floats(BE_PRECISION_BF16, 1, 40));
            be_activations_make(&to, BE_PRECISION_BF16, 1, 40, &arena);
            isas[t].tiles->exponentials(&to, &inverse, scores, 40);
            assert_true(isnan(widened(to.high[place_of(33)])));
            assert_true(isnan(inverse));
            assert_true(widened(to.high[place_of(32)]) == 1);
            be_arena_destroy(&arena);
        }
    }
}

/* --- GELU --------------------------------------------------------------------------------------------------------- */

static void check_gelu(const char *isa, float x, float actual)
{
    double exact = (double)x / 2 * erfc(-(double)x / sqrt(2));
    bool right = isnan(x)                 ? isnan(actual)
                 : isinf(x) && x > 0      ? actual == x
                 : isinf(x) || exact == 0 ? fabsf(actual) <= 2e-8f
                                          : fabs(actual - exact) <= rounding_of(exact) + fmax(1.6e-4 * fabs(exact), 2e-8);
    if (!right)
        fail_msg("gelu (%s) of %.9g is %.9g, not %.9g", isa, (double)x, (double)actual, exact);
}

enum { ROWS = 1024 };

/* The next ROWS numbers from `first` on, times 1. */
static void check_gelu_of(const be_isa *isa, uint32_t first)
{
    be_error error;
    be_arena arena;
    be_activations in, out;
    be_matrix matrix;
    void *memory;
    size_t bytes;
    float values[ROWS], one = 1, bias = 0;
    for (uint32_t i = 0; i < ROWS; i++)
        values[i] = widened((uint16_t)(first + i));
    assert_true(be_matrix_bytes(BE_PRECISION_BF16, 1, 1, &bytes));
    assert_ok(be_allocate_aligned(&memory, bytes, 1, "a test", &error), &error);
    be_matrix_pack(&matrix, isa, BE_PRECISION_BF16, &one, 1, 1, memory);
    size_t floats = 2 * be_activations_floats(BE_PRECISION_BF16, ROWS, 1) + be_matrix_scratch(ROWS);
    open_arena(&arena, floats + 48);
    be_activations_round(&in, isa, BE_PRECISION_BF16, values, 1, ROWS, 1, 1, &arena);
    be_activations_make(&out, BE_PRECISION_BF16, ROWS, 1, &arena);
    be_matrix_product product = {.in = &in, .weight = &matrix, .epilogue = BE_EPILOGUE_GELU, .bias = &bias, .packed = &out};
    be_matrix_multiply(isa, &product, &arena);
    assert_false(arena.overflowed);
    for (size_t i = 0; i < ROWS; i++)
        check_gelu(isa->name, values[i], widened(out.high[i / 16 * 512 + i % 16 * 32]));
    be_arena_destroy(&arena);
    free(memory);
}

/* Of every bfloat16. */
static void test_gelu(void **state)
{
    (void)state;
    be_isa isas[BE_ISA_MAX];
    size_t n_isas = all_isas(isas);
    for (size_t t = 0; t < n_isas; t++) {
        for (uint32_t first = 0; first <= UINT16_MAX; first += ROWS)
            check_gelu_of(&isas[t], first);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exponentials),
        cmocka_unit_test(test_scores_that_are_not_numbers),
        cmocka_unit_test(test_gelu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
