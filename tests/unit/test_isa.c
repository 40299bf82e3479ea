/* Which instruction sets run here, which word chooses which, and the words for precisions. */
#include "tests/unit/support.h"

#include "core/compute/isa.h"

static const char *const names[] = {"amx", "avx512bf16", "avx512", "avx2", "generic"};
enum { N_NAMES = sizeof names / sizeof *names };

/* Each is the one of its name or is refused by name, and those that run stand in this order. */
static void test_names(void **state)
{
    (void)state;
    const be_isa *available[BE_ISA_MAX], *chosen;
    size_t count = be_isa_available(available), found = 0;
    be_error error;
    for (size_t i = 0; i < N_NAMES; i++) {
        if (found < count && strcmp(available[found]->name, names[i]) == 0) {
            assert_ok(be_isa_select(names[i], &chosen, &error), &error);
            assert_ptr_equal(chosen, available[found++]);
        } else {
#if defined(__x86_64__)
            assert_error(be_isa_select(names[i], &chosen, &error), BE_ERROR_UNSUPPORTED, &error, names[i]);
#else
            assert_error(be_isa_select(names[i], &chosen, &error), BE_ERROR_ARGUMENT, &error, names[i]);
#endif
        }
    }
    assert_int_equal(found, count);
    assert_string_equal(available[count - 1]->name, "generic"); /* runs everywhere and is never the best of several */
    assert_ok(be_isa_select(NULL, &chosen, &error), &error);
    assert_ptr_equal(chosen, available[0]);
    assert_ok(be_isa_select("auto", &chosen, &error), &error);
    assert_ptr_equal(chosen, available[0]);
}

static void test_unknown_names(void **state)
{
    (void)state;
    static const char *const unknown[] = {"", "AMX", "avx", "auto ", "avx512bf1"};
    const be_isa *chosen;
    be_error error;
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        assert_error(be_isa_select(unknown[i], &chosen, &error), BE_ERROR_ARGUMENT, &error, unknown[i]);
}

/* The vector kernels are those of the words they have a table for, and only AMX prefers bfloat16. */
static void test_choices(void **state)
{
    (void)state;
    const be_isa *available[BE_ISA_MAX];
    size_t count = be_isa_available(available);
    for (size_t i = 0; i < count; i++) {
        const char *name = available[i]->name;
        bool amx = strcmp(name, "amx") == 0, own = !amx && strcmp(name, "avx512bf16") != 0;
        assert_string_equal(available[i]->kernels->name, own ? name : "avx512");
        assert_int_equal(available[i]->preferred, amx ? BE_PRECISION_BF16 : BE_PRECISION_F32);
    }
}

static void test_precisions(void **state)
{
    (void)state;
    static const char *const words[] = {"f32", "bf16", "bf16x3"}, *const unknown[] = {"", "F32", "f16", "bf16x", "auto"};
    be_precision precision;
    be_error error;
    for (size_t i = 0; i < 3; i++) {
        assert_ok(be_precision_parse(words[i], &precision, &error), &error);
        assert_int_equal(precision, (be_precision)i);
        assert_string_equal(be_precision_name(precision), words[i]);
    }
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        assert_error(be_precision_parse(unknown[i], &precision, &error), BE_ERROR_ARGUMENT, &error, unknown[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names), cmocka_unit_test(test_unknown_names), cmocka_unit_test(test_choices),
        cmocka_unit_test(test_precisions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
