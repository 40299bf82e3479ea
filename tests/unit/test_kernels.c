/* Every kernel table this processor runs computes what the plain reference computes, at every width. */
#include "tests/unit/support.h"

#include <math.h>
#include <stdio.h>

#include "core/compute/kernels.h"
#include "core/compute/reference.h"
#include "tests/unit/random.h"

enum { MOST_WIDTH = 3072, GUARD = 3, CANARY = 0x7fc12345 };

static const be_kernels *tables[BE_KERNELS_MAX];
static size_t n_tables;

/* --- data --------------------------------------------------------------------------------------------------------- */

static uint32_t random_state = 1;

/* Mostly of the size of activations; now and then 0, -0, tiny or large. */
static float sample(void)
{
    uint32_t kind = next_random(&random_state) >> 26;
    float value = next_uniform(&random_state);
    return kind == 0 ? 0.0f : kind == 1 ? -0.0f : kind == 2 ? value * 1e-30f : kind == 3 ? value * 1e4f : value * 3;
}

static float canary(void)
{
    uint32_t bits = CANARY;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* `count` floats in a block of exactly that size and one float more, so that they begin off any vector's boundary. */
static float *make_block(size_t count)
{
    float *block = malloc((count + 1) * sizeof *block);
    assert_non_null(block);
    return block + 1;
}

static void free_block(float *values)
{
    free(values - 1);
}

static float *make_samples(size_t count)
{
    float *values = make_block(count);
    for (size_t i = 0; i < count; i++)
        values[i] = sample();
    return values;
}

static float *copy_of(const float *values, size_t count)
{
    float *copy = make_block(count);
    memcpy(copy, values, count * sizeof *copy);
    return copy;
}

static void assert_canary(const char *what, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (bits != CANARY)
        fail_msg("%s wrote outside its rows", what);
}

static void assert_near(const char *what, const char *isa, size_t width, float actual, float expected, double tolerance)
{
    if (!(fabs((double)actual - (double)expected) <= tolerance))
        fail_msg("%s (%s, width %zu): %.9g, expected %.9g, tolerance %.3g", what, isa, width, (double)actual,
                 (double)expected, tolerance);
}

/* Runs `test` for every table and for widths 1 to 70 and the large ones. */
static void for_all_widths(void (*test)(const be_kernels *kernels, size_t width))
{
    static const size_t large[] = {96, 257, 768, 961, MOST_WIDTH};
    for (size_t t = 0; t < n_tables; t++) {
        for (size_t width = 1; width <= 70; width++)
            test(tables[t], width);
        for (size_t i = 0; i < sizeof large / sizeof *large; i++)
            test(tables[t], large[i]);
    }
}

/* --- each kernel -------------------------------------------------------------------------------------------------- */

static void check_layer_norm(const be_kernels *kernels, size_t width)
{
    enum { ROWS = 4 };
    static const float sizes[ROWS] = {1, 1e6f, 1e-2f, 30};
    size_t count = ROWS * width;
    float *in = make_block(count), *gain = make_samples(width), *bias = make_samples(width);
    for (size_t i = 0; i < count; i++)
        in[i] = sizes[i / width] * (next_uniform(&random_state) + 0.5f);
    float *expected = copy_of(in, count), *out = make_block(count), *same = copy_of(in, count);
    be_reference_layer_norm(expected, in, gain, bias, ROWS, width, 1e-6f);
    kernels->layer_norm(out, in, gain, bias, ROWS, width, 1e-6f);
    kernels->layer_norm(same, same, gain, bias, ROWS, width, 1e-6f); /* in place */
    assert_memory_equal(out, same, count * sizeof *out);
    for (size_t i = 0; i < count && width > 1; i++) {
        double size = fabs((double)gain[i % width]) + fabs((double)bias[i % width]);
        /* two near values have a deviation that a rounding of their mean can spoil */
        assert_near("layer_norm", kernels->name, width, out[i], expected[i], (width < 4 ? 2e-3 : 3e-5) * size);
    }
    for (size_t i = 0; i < count && width == 1; i++) /* nothing deviates: the bias is all there is */
        assert_near("layer_norm", kernels->name, width, out[i], bias[0], 0);
    free_block(in), free_block(gain), free_block(bias), free_block(expected), free_block(out), free_block(same);
}

static void test_layer_norm(void **state)
{
    (void)state;
    for_all_widths(check_layer_norm);
}

/* Rows `stride` floats apart, with canaries between them and behind the last one. */
static float *make_strided(size_t rows, size_t width, size_t stride, float size)
{
    float *values = make_block(rows * stride);
    for (size_t i = 0; i < rows * stride; i++)
        values[i] = i % stride < width ? size * sample() : canary();
    return values;
}

static void check_softmax(const be_kernels *kernels, size_t width)
{
    enum { ROWS = 3 };
    size_t stride = width + GUARD, count = ROWS * stride;
    static const float sizes[] = {1, 20};
    for (size_t s = 0; s < 2; s++) {
        float *x = make_strided(ROWS, width, stride, sizes[s]);
        if (width > 2)
            x[stride + 1] = -INFINITY; /* a token that is masked */
        float *before = copy_of(x, count), *expected = copy_of(x, count);
        be_reference_softmax(expected, ROWS, width, stride);
        kernels->softmax(x, ROWS, width, stride);
        for (size_t r = 0; r < ROWS; r++) {
            float largest = -INFINITY;
            double sum = 0;
            for (size_t i = 0; i < width; i++)
                largest = fmaxf(largest, before[r * stride + i]);
            for (size_t i = 0; i < width; i++) {
                /* x - max is rounded, which the exponential turns into a relative error */
                double distance = fmin((double)largest - (double)before[r * stride + i], 100);
                double relative = 1e-6 + 1.2e-7 * (fabs((double)largest) + distance);
                assert_near("softmax", kernels->name, width, x[r * stride + i], expected[r * stride + i],
                            relative * (double)expected[r * stride + i] + 2e-38);
                sum += (double)x[r * stride + i];
            }
            assert_near("softmax's sum", kernels->name, width, (float)sum, 1, 2e-6);
            for (size_t i = width; i < stride; i++)
                assert_canary("softmax", x[r * stride + i]);
        }
        if (width > 2)
            assert_true(x[stride + 1] == 0);
        free_block(x), free_block(before), free_block(expected);
    }
}

static void test_softmax(void **state)
{
    (void)state;
    for_all_widths(check_softmax);
}

/* The activation of the largest DINOv2. The rounded sum is what the function is applied to. */
static void check_swiglu(const be_kernels *kernels, size_t width)
{
    enum { ROWS = 3 };
    size_t count = ROWS * 2 * width;
    float *x = make_samples(count), *bias = make_samples(2 * width), *zeros = make_block(2 * width), *sums = make_block(count);
    for (size_t i = 0; i < count; i++) {
        zeros[i % (2 * width)] = 0;
        sums[i] = x[i] + bias[i % (2 * width)];
    }
    float *before = copy_of(x, count), *expected = copy_of(sums, count);
    be_reference_bias_swiglu(expected, zeros, ROWS, width);
    kernels->bias_swiglu(x, bias, ROWS, width);
    for (size_t i = 0; i < count; i++) {
        if (i / width % 2 == 0)
            assert_near("bias_swiglu", kernels->name, width, x[i], expected[i],
                        3e-7 * (1 + fabs((double)sums[i])) * fabs((double)sums[i + width]));
        else
            assert_near("bias_swiglu's second half", kernels->name, width, x[i], before[i], 0);
    }
    free_block(x), free_block(bias), free_block(zeros), free_block(sums), free_block(before), free_block(expected);
}

static void test_swiglu(void **state)
{
    (void)state;
    for_all_widths(check_swiglu);
}

static void check_sums(const be_kernels *kernels, size_t width)
{
    enum { ROWS = 2 };
    size_t count = ROWS * width;
    float *x = make_samples(count), *y = make_samples(count);
    double size = 0;
    for (size_t i = 0; i < width; i++)
        size += fabs((double)x[i] * (double)y[i]);
    /* a lane of the narrowest vectors adds width / 4 products, each with a rounding */
    assert_near("dot", kernels->name, width, kernels->dot(x, y, width), be_reference_dot(x, y, width),
                6e-8 * ((double)width / 4 + 8) * size);
    float *actual = copy_of(x, count), *expected = copy_of(x, count), factor = sample();
    be_reference_accumulate(expected, y, factor, width);
    kernels->accumulate(actual, y, factor, width);
    for (size_t i = 0; i < count; i++) /* the second row is not to be touched */
        assert_near("accumulate", kernels->name, width, actual[i], expected[i],
                    i < width ? 1.3e-7 * (fabs((double)x[i]) + fabs((double)y[i] * (double)factor)) : 0);
    free_block(actual), free_block(expected), free_block(x), free_block(y);
}

static void test_sums(void **state)
{
    (void)state;
    for_all_widths(check_sums);
}

/* The upper half of a float32 is a bfloat16: with the lower half cleared both products are of the same numbers. */
static void check_dot_bf16(const be_kernels *kernels, size_t width)
{
    float *x = make_samples(width), *y = make_samples(width);
    uint16_t *halves = malloc(width * sizeof *halves);
    assert_non_null(halves);
    for (size_t i = 0; i < width; i++) {
        uint32_t bits;
        memcpy(&bits, &y[i], sizeof bits);
        halves[i] = (uint16_t)(bits >> 16);
        bits &= 0xffff0000u;
        memcpy(&y[i], &bits, sizeof bits);
    }
    float actual = kernels->dot_bf16(x, halves, width), expected = kernels->dot(x, y, width);
    assert_near("dot_bf16", kernels->name, width, actual, expected, 0);
    free(halves), free_block(x), free_block(y);
}

static void test_dot_bf16(void **state)
{
    (void)state;
    for_all_widths(check_dot_bf16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layer_norm), cmocka_unit_test(test_softmax), cmocka_unit_test(test_swiglu),
        cmocka_unit_test(test_sums), cmocka_unit_test(test_dot_bf16),
    };
    n_tables = be_kernels_available(tables);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
