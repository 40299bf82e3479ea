/* The encoder's position code against the golden one and against its formula in double precision. */
#include "tests/unit/support.h"

#include <math.h>

#include "core/encoder/encoder.h"

static float *make_code(size_t rows, size_t columns, size_t channels)
{
    float *code = malloc(rows * columns * channels * sizeof *code);
    assert_non_null(code);
    be_position_sine(rows, columns, channels, code);
    return code;
}

static void test_golden(void **state)
{
    (void)state;
    enum { SIDE = 31, CELLS = SIDE * SIDE, CHANNELS = 96 };
    float *golden_code = golden_f32("dinov2_q_rois/expected/position_encoding.npy", CHANNELS * CELLS);
    float *code = make_code(SIDE, SIDE, CHANNELS), *expected = malloc(CHANNELS * CELLS * sizeof *expected);
    assert_non_null(expected);
    for (size_t c = 0; c < CHANNELS; c++) {
        for (size_t t = 0; t < CELLS; t++)
            expected[t * CHANNELS + c] = golden_code[c * CELLS + t];
    }
    assert_close("position code", code, expected, CHANNELS * CELLS, 2e-6f);
    free(golden_code), free(code), free(expected);
}

static double formula(size_t row, size_t column, size_t rows, size_t columns, size_t channels, size_t channel)
{
    const double pi = acos(-1);
    size_t half = channels / 2, k = channel % half;
    double y = ((double)row + 1) / ((double)rows + 1e-6) * 2 * pi;
    double x = ((double)column + 1) / ((double)columns + 1e-6) * 2 * pi;
    double angle = (channel < half ? y : x) / pow(10000, 2 * (double)(k / 2) / (double)half);
    return k % 2 == 0 ? sin(angle) : cos(angle);
}

static void test_formula(void **state)
{
    (void)state;
    static const size_t sizes[][3] = {{1, 1, 4}, {3, 5, 12}, {5, 3, 12}, {37, 2, 768}, {1, 24, 48}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        size_t rows = sizes[s][0], columns = sizes[s][1], channels = sizes[s][2], count = rows * columns * channels;
        float *code = make_code(rows, columns, channels), *expected = malloc(count * sizeof *expected);
        assert_non_null(expected);
        for (size_t i = 0; i < count; i++) {
            size_t cell = i / channels;
            expected[i] = (float)formula(cell / columns, cell % columns, rows, columns, channels, i % channels);
        }
        assert_close("position code", code, expected, count, 2e-6f);
        free(code), free(expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_golden), cmocka_unit_test(test_formula)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
