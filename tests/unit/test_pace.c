/* How a batch is shared among threads: by what took less time, and what was not chosen is measured again now and then. */
#include "tests/unit/support.h"

#include <math.h>

#include "core/pace.h"

static be_pace make_pace(double alone, double together)
{
    be_pace it = {0};
    if (alone > 0)
        be_pace_note_alone(&it, 100 * alone, 100);
    if (together > 0)
        be_pace_note_together(&it, 10 * together, 10);
    return it;
}

static size_t share(double alone, double together, size_t images, size_t threads)
{
    be_pace it = make_pace(alone, together);
    return be_pace_alone(&it, images, threads);
}

static void test_nothing_is_known(void **state)
{
    (void)state;
    static const double known[][2] = {{0, 0}, {1, 0}, {0, 1}};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(share(known[i][0], known[i][1], 0, 4), 0);
        assert_int_equal(share(known[i][0], known[i][1], 1, 4), 0);
        assert_int_equal(share(known[i][0], known[i][1], 3, 4), 0);
        assert_int_equal(share(known[i][0], known[i][1], 4, 4), 4);
        assert_int_equal(share(known[i][0], known[i][1], 11, 4), 8);
        assert_int_equal(share(known[i][0], known[i][1], 11, 1), 11);
    }
}

/* The time of a batch whose first `apart` images are computed one a thread. */
static double duration(double alone, double together, size_t apart, size_t images, size_t threads)
{
    return ceil((double)apart / (double)threads) * alone + (double)(images - apart) * together;
}

/* No other way of sharing is expected to be sooner; where several are equal, more of them go together. */
static void test_the_soonest(void **state)
{
    (void)state;
    static const double together[] = {0.0625, 0.125, 0.25, 0.3125, 0.5, 0.75, 1, 1.5};
    for (size_t t = 0; t < sizeof together / sizeof *together; t++) {
        for (size_t threads = 2; threads <= 8; threads++) {
            for (size_t images = 0; images <= 20; images++) {
                size_t found = share(1, together[t], images, threads);
                double least = duration(1, together[t], 0, images, threads);
                for (size_t apart = 1; apart <= images; apart++)
                    least = fmin(least, duration(1, together[t], apart, images, threads));
                assert_true(found <= images && duration(1, together[t], found, images, threads) == least);
                for (size_t apart = 0; apart < found; apart++)
                    assert_true(duration(1, together[t], apart, images, threads) > least || (found - apart) % threads != 0);
            }
        }
    }
    assert_int_equal(share(1, 0.125, 8, 8), 0); /* equal */
    assert_int_equal(share(1, 0.13, 8, 8), 8);
    assert_int_equal(share(1, 0.13, 15, 8), 8);
    assert_int_equal(share(1, 0.15, 15, 8), 15);
    assert_int_equal(share(1, 1.5, 1, 8), 1); /* too small a picture for so many */
}

static void test_one_interruption_is_not_believed(void **state)
{
    (void)state;
    be_pace it = make_pace(1, 0.5);
    be_pace_note_alone(&it, 1e6, 1);
    assert_true(fabs(it.alone - 1.3) < 1e-12);
    be_pace_note_together(&it, 10 * 0.25, 10);
    assert_true(fabs(it.together - 0.425) < 1e-12);
    be_pace_note_together(&it, 0, 0);
    assert_true(fabs(it.together - 0.425) < 1e-12);
    for (int i = 0; i < 60; i++)
        be_pace_note_alone(&it, 3, 1);
    assert_true(fabs(it.alone - 3) < 1e-6);
}

/* What `batches` equal batches are shared into, but for the usual. */
static void check_trials(be_pace it, size_t images, size_t threads, size_t usual, size_t trial)
{
    for (size_t i = 1; i <= 3 * BE_PACE_TRIAL; i++)
        assert_int_equal(be_pace_alone(&it, images, threads), i % BE_PACE_TRIAL == 0 ? trial : usual);
}

static void test_the_other_way_is_tried(void **state)
{
    (void)state;
    check_trials(make_pace(0, 0), 8, 2, 8, 6);       /* one round together */
    check_trials(make_pace(1, 0.6), 9, 2, 8, 6);
    check_trials(make_pace(1, 0.3), 8, 2, 0, 2);     /* one round alone */
    check_trials(make_pace(1, 0.3), 2, 2, 0, 2);
    check_trials(make_pace(1, 0.4), 7, 4, 7, 4);     /* what is left over together */
    check_trials(make_pace(1, 2), 1, 4, 1, 0);
    check_trials(make_pace(1, 0.3), 1, 4, 0, 0);     /* a single one waits for no trial */
    check_trials(make_pace(1, 1), 5, 1, 5, 5);       /* one thread has one way */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_known), cmocka_unit_test(test_the_soonest),
        cmocka_unit_test(test_one_interruption_is_not_believed), cmocka_unit_test(test_the_other_way_is_tried),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
