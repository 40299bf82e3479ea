/* The measured peaks: those of every instruction set that runs here, and of memory. */
#include "tests/unit/support.h"

#include <string.h>

#include "core/compute/peak.h"
#include "tests/unit/matrix_support.h"
#include "tests/unit/tile_instructions.h"

static be_pool *make_pool(size_t threads)
{
    be_pool *pool = NULL;
    be_error error;
    assert_ok(be_pool_create(threads, &pool, &error), &error);
    return pool;
}

/* A processor of today does more than a thousand million and less than a million times as many a second. */
static void test_operations(void **state)
{
    (void)state;
    const be_isa *list[BE_ISA_MAX];
    size_t count = be_isa_available(list);
    be_pool *pool = make_pool(1);
    assert_true(count > 0);
    for (size_t i = 0; i < count; i++) {
        for (int precision = BE_PRECISION_F32; precision <= BE_PRECISION_BF16X3; precision++) {
            double rate = be_peak_operations(list[i], (be_precision)precision, pool);
            assert_true(rate > 1e9 && rate < 1e15);
        }
    }
    be_pool_destroy(pool);
}

#if defined(__x86_64__)
static void zero_tile(void *unused)
{
    (void)unused;
    __asm__ volatile("tilezero %%tmm0" ::);
}

/* AMX's loop where it is emulated: a rate, whatever it is worth, and no tiles left configured. */
static void test_emulated_tiles(void **state)
{
    (void)state;
    be_isa isas[BE_ISA_MAX];
    const be_isa *list[BE_ISA_MAX], *isa = &isas[all_isas(isas) - 1];
    if (strcmp(isa->name, "amx") != 0 || be_isa_select("amx", list, NULL) == BE_OK)
        skip();
    be_pool *pool = make_pool(1); /* no thread but this one */
    double rate = be_peak_operations(isa, BE_PRECISION_BF16, pool);
    assert_true(rate > 0 && rate < 1e15);
    const char *refused = refused_tile_instruction(zero_tile, NULL);
    assert_true(refused && strcmp(refused, "no tiles are configured") == 0);
    be_pool_destroy(pool);
}
#endif

static void test_instructions(void **state)
{
    (void)state;
    static const struct { const char *isa, *f32, *bf16; } rows[] = {
        {"amx", "avx512", "amx"}, {"avx512bf16", "avx512", "avx512bf16"}, {"avx512", "avx512", "avx512"}, {"avx2", "avx2", "avx2"},
        {"generic", "generic", "generic"},
    };
    be_isa isas[BE_ISA_MAX];
    size_t count = all_isas(isas), known = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
            if (strcmp(rows[r].isa, isas[i].name) != 0)
                continue;
            known++;
            assert_string_equal(be_peak_instructions(&isas[i], BE_PRECISION_F32), rows[r].f32);
            assert_string_equal(be_peak_instructions(&isas[i], BE_PRECISION_BF16), rows[r].bf16);
            assert_string_equal(be_peak_instructions(&isas[i], BE_PRECISION_BF16X3), rows[r].bf16);
        }
    }
    assert_int_equal(known, count);
}

static void test_reading(void **state)
{
    (void)state;
    for (size_t threads = 1; threads <= 2; threads++) {
        be_pool *pool = make_pool(threads);
        be_error error;
        double rate = 0;
        assert_ok(be_peak_reading(pool, &rate, &error), &error);
        assert_true(rate > 1e7 && rate < 1e14);
        be_pool_destroy(pool);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_operations),
#if defined(__x86_64__)
        cmocka_unit_test(test_emulated_tiles),
#endif
        cmocka_unit_test(test_instructions),
        cmocka_unit_test(test_reading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
