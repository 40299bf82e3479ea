/* Cut and randomly changed .pth files in the zip form: never a crash. */
#include "tests/unit/files_support.h"

enum { MUTATIONS = 1500 };

static void test_zip(void **state)
{
    (void)state;
    damage(golden("corrupt/valid_handmade.pth"), MUTATIONS, read_all_tensors);
}

static void test_zip_as_torch_writes_it(void **state)
{
    (void)state;
    damage(golden("corrupt/valid_reference.pth"), MUTATIONS, read_all_tensors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zip),
        cmocka_unit_test(test_zip_as_torch_writes_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
