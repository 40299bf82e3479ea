/* Cut and randomly changed .pth files in the legacy form, which has no checksums: the pickles come to the unpickler as
 * they are. Never a crash.
 */
#include "tests/unit/files_support.h"

enum { MUTATIONS = 5000 };

static void test_odd_tensors(void **state)
{
    (void)state;
    damage(golden("legacy_pth/odd_tensors_legacy.pth"), MUTATIONS, read_all_tensors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_odd_tensors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
