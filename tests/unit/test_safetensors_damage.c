/* Cut and randomly changed safetensors files: never a crash. */
#include "tests/unit/files_support.h"

enum { MUTATIONS = 6000 };

static void test_one_tensor(void **state)
{
    (void)state;
    damage(golden("corrupt/valid_reference.safetensors"), MUTATIONS, read_all_tensors);
}

static void test_two_tensors(void **state)
{
    (void)state;
    static const float data[6] = {0, 1, 2, 3, 4, 5};
    const be_tensor_source sources[] = {
        {.name = "first", .dtype = BE_DTYPE_F32, .n_dims = 2, .shape = {2, 2}, .data = data},
        {.name = "second", .dtype = BE_DTYPE_BF16, .n_dims = 1, .shape = {4}, .data = data + 4},
    };
    const be_text_pair metadata[] = {{"key", "va\\lue"}, {"other", "\xc3\xa9"}};
    const char *path = scratch("two.safetensors");
    be_error error;
    assert_ok(be_safetensors_write(path, sources, 2, metadata, 2, &error), &error);
    damage(path, MUTATIONS, read_all_tensors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_tensor),
        cmocka_unit_test(test_two_tensors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
