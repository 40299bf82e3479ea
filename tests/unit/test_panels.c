/* Panels hold every row once, of nearly equal height, no more of them than are needed. */
#include "tests/unit/support.h"

#include "core/compute/panels.h"

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

/* A share for each worker, as far as the rows go. */
static void test_shared_panels(void **state)
{
    (void)state;
    assert_int_equal(be_shared_panels(0, 3), 0);
    for (size_t rows = 1; rows < 3000; rows++) {
        for (size_t workers = 1; workers <= 40; workers += 3) {
            size_t panels = be_shared_panels(rows, workers), steps = (rows + 31) / 32;
            assert_true(panels >= be_panels(rows) && panels <= steps);
            assert_true(panels % workers == 0 || panels == steps);
            assert_true(panels < be_panels(rows) + workers);
            assert_int_equal(be_shared_panel_start(rows, panels, panels), rows);
            for (size_t p = 0; p < panels; p++) {
                size_t start = be_shared_panel_start(rows, panels, p), end = be_shared_panel_start(rows, panels, p + 1);
                assert_true(start % 32 == 0 && end > start && end - start <= BE_PANEL_ROWS);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_panels), cmocka_unit_test(test_shared_panels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
