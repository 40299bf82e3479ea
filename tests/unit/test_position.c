/* The encoder's position code against the golden one and against its formula in double precision. */
#include "tests/unit/support.h"

#include <math.h>

#include "core/encoder/position.h"

static float *make_code(size_t rows, size_t columns, size_t channels)
{
    float *code = calloc(rows * columns * channels, sizeof *code);
    float *tables = malloc((rows + columns) * channels / 2 * sizeof *tables);
    assert_true(code && tables);
    be_positions_sine(rows, columns, channels, tables);
    be_positions positions = be_positions_in(tables, rows, columns, channels, false);
    be_positions_add(&positions, 0, rows * columns, code);
    free(tables);
    return code;
}

/* The learned code: the column's half comes first. */
static void test_column_first(void **state)
{
    (void)state;
    enum { ROWS = 2, COLUMNS = 3, CHANNELS = 4 };
    static const float tables[] = {1, 2, 3, 4, /* rows */ 10, 20, 30, 40, 50, 60 /* columns */};
    float code[ROWS * COLUMNS * CHANNELS] = {0};
    static const float last[] = {50, 60, 3, 4}, second[] = {30, 40, 1, 2};
    be_positions positions = be_positions_in(tables, ROWS, COLUMNS, CHANNELS, true);
    be_positions_add(&positions, 1, 1, code);
    assert_memory_equal(code, second, sizeof second);
    memset(code, 0, sizeof code);
    be_positions_add(&positions, ROWS * COLUMNS - 1, 1, code);
    assert_memory_equal(code, last, sizeof last);
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_golden), cmocka_unit_test(test_formula),
                                       cmocka_unit_test(test_column_first)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
