/* Products by OpenBLAS: the numbers of the plain reference. */
#include "tests/unit/support.h"

#include <math.h>
#include <stdio.h>

#include "core/compute/product.h"
#include "core/compute/reference.h"
#include "tests/unit/matrix_support.h"

/* --- products ----------------------------------------------------------------------------------------------------- */

typedef struct product_size {
    size_t rows, columns, inner;
} product_size;

static const product_size product_sizes[] = {{1, 1, 1},    {1, 7, 3},     {5, 1, 9},    {3, 4, 1},
                                             {50, 17, 96}, {257, 33, 65}, {31, 64, 768}};
enum { N_PRODUCTS = sizeof product_sizes / sizeof *product_sizes, GAP = 5 };

/* Copies [rows][width] to rows `width + GAP` apart. */
static float *spread(const float *values, size_t rows, size_t width)
{
    float *wide = make_values(rows * (width + GAP), 99);
    for (size_t r = 0; r < rows; r++)
        memcpy(wide + r * (width + GAP), values + r * width, width * sizeof *wide);
    return wide;
}

static void check_product(const product_size *size)
{
    size_t rows = size->rows, columns = size->columns, inner = size->inner, stride = columns + GAP;
    float *a = make_values(rows * inner, 1), *b = make_values(columns * inner, 2);
    float *b_turned = make_values(columns * inner, 0);
    for (size_t c = 0; c < columns; c++) {
        for (size_t i = 0; i < inner; i++)
            b_turned[i * columns + c] = b[c * inner + i];
    }
    float *a_wide = spread(a, rows, inner), *b_wide = spread(b, columns, inner);
    float *turned_wide = spread(b_turned, inner, columns);
    float *plain = make_values(rows * columns, 3), *expected = make_values(rows * columns, 0);
    float *before = spread(plain, rows, columns), *out = make_values(rows * stride, 0);
    const float scales[] = {1, -0.25f};
    for (int variant = 0; variant < 6; variant++) { /* written or added, each with two scales; then not transposed */
        float scale = variant < 4 ? scales[variant % 2] : 1;
        bool add = variant == 2 || variant == 3;
        be_reference_product_transposed(expected, a, b, rows, columns, inner, (double)scale);
        memcpy(out, before, rows * stride * sizeof *out);
        if (variant < 4)
            be_product_transposed(out, stride, a_wide, inner + GAP, b_wide, inner + GAP, rows, columns, inner, scale, add);
        else
            be_product(out, stride, a_wide, inner + GAP, turned_wide, columns + GAP, rows, columns, inner);
        for (size_t i = 0; i < rows * stride; i++) {
            size_t row = i / stride, column = i % stride;
            float wanted = column >= columns ? before[i] : expected[row * columns + column] + (add ? before[i] : 0);
            float tolerance = column >= columns ? 0 : 5e-7f * (float)(inner + 4);
            if (!(fabsf(out[i] - wanted) <= tolerance))
                fail_msg("product %zu x %zu x %zu, variant %d, element %zu: %.9g, expected %.9g", rows, columns, inner,
                         variant, i, (double)out[i], (double)wanted);
        }
    }
    free(a), free(b), free(b_turned), free(a_wide), free(b_wide), free(turned_wide);
    free(plain), free(expected), free(before), free(out);
}

static void test_products(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_PRODUCTS; i++)
        check_product(&product_sizes[i]);
}

static void test_empty_products(void **state)
{
    (void)state;
    float values[4] = {1, 2, 3, 4}, out[4] = {5, 6, 7, 8};
    const float before[4] = {5, 6, 7, 8};
    be_product_transposed(out, 2, values, 2, values, 2, 0, 2, 2, 1, false);
    be_product_transposed(out, 2, values, 2, values, 2, 2, 0, 2, 1, false);
    be_product(out, 2, values, 2, values, 2, 0, 2, 2);
    be_product(out, 2, values, 2, values, 2, 2, 0, 2);
    assert_memory_equal(out, before, sizeof out);
}

static void check_panels(size_t rows)
{
    size_t panels = be_panels(rows), lowest = SIZE_MAX, highest = 0;
    assert_int_equal(be_panel_start(rows, panels, 0), 0);
    assert_int_equal(be_panel_start(rows, panels, panels), rows);
    for (size_t p = 0; p < panels; p++) {
        size_t height = be_panel_start(rows, panels, p + 1) - be_panel_start(rows, panels, p);
        lowest = height < lowest ? height : lowest;
        highest = height > highest ? height : highest;
    }
    assert_true(lowest >= 1 && highest <= BE_PANEL_ROWS && highest - lowest <= 1);
    assert_true(panels == 1 || rows > (panels - 1) * BE_PANEL_ROWS); /* no more of them than are needed */
}

static void test_panels(void **state)
{
    (void)state;
    assert_int_equal(be_panels(0), 0);
    for (size_t rows = 1; rows < 3000; rows++)
        check_panels(rows);
    check_panels((1 << 20) + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products), cmocka_unit_test(test_empty_products), cmocka_unit_test(test_panels),
    };
    be_product_use_one_thread();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
