/* Cut and randomly changed .npy files: never a crash, and nothing half read. */
#include "tests/unit/files_support.h"

enum { MUTATIONS = 4000 };

static bool read_array(const char *path)
{
    be_npy npy;
    be_error error;
    if (be_npy_read(path, &npy, &error) != BE_OK)
        return false;
    float *values = malloc(npy.count * sizeof *values + 1);
    assert_non_null(values);
    be_npy_to_f32(&npy, values);
    free(values);
    be_npy_free(&npy);
    return true;
}

static bool read_mapping(const char *path)
{
    be_npy_mapping mapping;
    be_error error;
    if (be_npy_read_mapping(path, &mapping, &error) != BE_OK)
        return false;
    size_t length = 0;
    for (size_t i = 0; i < mapping.count; i++)
        length += strlen(mapping.names[i]);
    assert_true(length < 1000);
    be_npy_mapping_free(&mapping);
    return true;
}

static void test_arrays(void **state)
{
    (void)state;
    damage(golden("corrupt/valid_reference.npy"), MUTATIONS, read_array);
}

static void test_fortran_arrays(void **state)
{
    (void)state;
    damage(golden("corrupt/fortran_order.npy"), MUTATIONS, read_array);
}

static void test_mappings(void **state)
{
    (void)state;
    damage(golden("dinov2_q_rois/algonauts/subj01/roi_masks/mapping_floc-bodies.npy"), MUTATIONS, read_mapping);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arrays),
        cmocka_unit_test(test_fortran_arrays),
        cmocka_unit_test(test_mappings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
