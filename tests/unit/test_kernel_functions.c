/* The functions inside the kernels over all float32 magnitudes, to the errors their header promises; choosing a table. */
#include "tests/unit/support.h"

#include <float.h>
#include <math.h>

#include "core/compute/kernels.h"

static const be_kernels *tables[BE_KERNELS_MAX];
static size_t n_tables;

/* --- sweeps over all magnitudes ----------------------------------------------------------------------------------- */

enum { CHUNK = 4096, STEP = 1543 }; /* every 1543rd float32: some 2.8 million */

static double ulp_of(double value)
{
    int exponent;
    frexp(value, &exponent);
    return ldexp(1, exponent - 24);
}

static void check_exponential(const char *isa, float x, float actual)
{
    double exact = exp((double)x);
    bool right = isnan(x)        ? isnan(actual)
                 : x < -87.3f    ? actual == 0
                 : x > 88.37f    ? actual == INFINITY
                                 : fabs((double)actual - exact) <= ulp_of(exact);
    if (!right)
        fail_msg("exponential (%s) of %.9g is %.9g, not %.12g", isa, (double)x, (double)actual, exact);
}

static void check_error_function(const char *isa, float x, float actual)
{
    if (isnan(x) ? !isnan(actual) : !(fabs((double)actual - erf((double)x)) <= 1.5e-7))
        fail_msg("error_function (%s) of %.9g is %.9g, not %.12g", isa, (double)x, (double)actual, erf((double)x));
}

static void check_gelu(const char *isa, float x, float actual)
{
    if (!isfinite(x))
        return; /* nothing is promised */
    double exact = (double)x / 2 * (1 + erf((double)x / sqrt(2)));
    if (!(fabs((double)actual - exact) <= 1e-7 * (1 + fabs((double)x))))
        fail_msg("gelu (%s) of %.9g is %.9g, not %.12g", isa, (double)x, (double)actual, exact);
}

static void check_quick_gelu(const char *isa, float x, float actual)
{
    if (!isfinite(x))
        return; /* nothing is promised */
    double exact = (double)x / (1 + exp(-1.702 * (double)x));
    if (!(fabs((double)actual - exact) <= 1e-7 * (1 + fabs((double)x))))
        fail_msg("quick_gelu (%s) of %.9g is %.9g, not %.12g", isa, (double)x, (double)actual, exact);
}

static void check_chunk(const float *in, size_t count)
{
    float out[CHUNK];
    for (size_t t = 0; t < n_tables; t++) {
        tables[t]->exponential(out, in, count);
        for (size_t i = 0; i < count; i++)
            check_exponential(tables[t]->name, in[i], out[i]);
        tables[t]->error_function(out, in, count);
        for (size_t i = 0; i < count; i++)
            check_error_function(tables[t]->name, in[i], out[i]);
        tables[t]->gelu(out, in, count);
        for (size_t i = 0; i < count; i++)
            check_gelu(tables[t]->name, in[i], out[i]);
        tables[t]->quick_gelu(out, in, count);
        for (size_t i = 0; i < count; i++)
            check_quick_gelu(tables[t]->name, in[i], out[i]);
    }
}

static void test_sweep(void **state)
{
    (void)state;
    float in[CHUNK];
    size_t count = 0;
    for (uint64_t bits = 0; bits <= UINT32_MAX; bits += STEP) {
        uint32_t word = (uint32_t)bits;
        memcpy(&in[count++], &word, sizeof word);
        if (count == CHUNK) {
            check_chunk(in, count);
            count = 0;
        }
    }
    check_chunk(in, count);
}

/* The places where the pieces meet, and every float for some way around them. */
static void test_borders(void **state)
{
    (void)state;
    static const float borders[] = {0.0f, -87.3f, 88.37f, 1.0f, -1.0f, 4.0f, -4.0f, 1.41421356f, 5.65685425f, -5.65685425f,
                                    0.34657359f, -0.34657359f};
    float in[CHUNK];
    for (size_t b = 0; b < sizeof borders / sizeof *borders; b++) {
        in[CHUNK / 2] = borders[b];
        for (size_t i = CHUNK / 2; i + 1 < CHUNK; i++)
            in[i + 1] = nextafterf(in[i], INFINITY);
        for (size_t i = CHUNK / 2; i > 0; i--)
            in[i - 1] = nextafterf(in[i], -INFINITY);
        check_chunk(in, CHUNK);
    }
    const float special[] = {INFINITY, -INFINITY, NAN, -NAN, -0.0f, FLT_MAX, -FLT_MAX, FLT_MIN, FLT_TRUE_MIN, -FLT_TRUE_MIN};
    check_chunk(special, sizeof special / sizeof *special);
}

/* --- the tables ----------------------------------------------------------------------------------------------------- */

static void test_tables(void **state)
{
    (void)state;
    static const char *const names[] = {"avx512", "avx2", "generic"};
    size_t found = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        found += found < n_tables && strcmp(tables[found]->name, names[i]) == 0;
    assert_int_equal(found, n_tables);
    assert_string_equal(tables[n_tables - 1]->name, "generic"); /* runs everywhere and is never the best of several */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sweep), cmocka_unit_test(test_borders), cmocka_unit_test(test_tables),
    };
    n_tables = be_kernels_available(tables);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
