/* Arenas: what is counted is what is used, everything is aligned, and nothing is handed out that is not there. */
#include "tests/unit/support.h"

#include "core/base/memory.h"
#include "core/compute/arena.h"

static const size_t counts[] = {1, 0, 16, 17, 3, 1000, 15, 64};
enum { N_COUNTS = sizeof counts / sizeof *counts };

static void lay_out(be_arena *arena, float *places[N_COUNTS])
{
    for (size_t i = 0; i < N_COUNTS; i++)
        places[i] = be_arena_floats(arena, counts[i]);
}

static be_arena make_arena(size_t bytes)
{
    be_arena arena;
    be_error error;
    assert_ok(be_arena_create(&arena, bytes, "a test", &error), &error);
    return arena;
}

static void test_counting_equals_use(void **state)
{
    (void)state;
    be_arena counting = {0};
    float *places[N_COUNTS];
    lay_out(&counting, places);
    assert_false(counting.overflowed);
    for (size_t i = 0; i < N_COUNTS; i++)
        assert_null(places[i]);
    be_arena arena = make_arena(counting.used);
    lay_out(&arena, places);
    assert_int_equal(arena.used, counting.used);
    assert_false(arena.overflowed);
    be_arena_destroy(&arena);
    arena = make_arena(counting.used - BE_ALIGNMENT); /* one cache line less is not enough */
    lay_out(&arena, places);
    assert_true(arena.overflowed);
    be_arena_destroy(&arena);
}

static void test_pieces_are_apart_and_aligned(void **state)
{
    (void)state;
    float *places[N_COUNTS];
    be_arena arena = make_arena(16384);
    lay_out(&arena, places);
    for (size_t i = 0; i < N_COUNTS; i++) {
        assert_non_null(places[i]);
        assert_int_equal((uintptr_t)places[i] % BE_ALIGNMENT, 0);
        memset(places[i], (int)i + 1, counts[i] * sizeof(float));
    }
    for (size_t i = 0; i < N_COUNTS; i++) {
        for (size_t b = 0; b < counts[i] * sizeof(float); b++)
            assert_int_equal(((unsigned char *)places[i])[b], i + 1);
    }
    be_arena_reset(&arena);
    assert_ptr_equal(be_arena_floats(&arena, 5), places[0]);
    be_arena_destroy(&arena);
}

static void test_overflow_sticks(void **state)
{
    (void)state;
    be_arena arena = make_arena(128);
    assert_non_null(be_arena_floats(&arena, 16));
    assert_null(be_arena_floats(&arena, 17));
    assert_true(arena.overflowed);
    assert_null(be_arena_floats(&arena, 1)); /* there is room, but an answer before it was NULL */
    be_arena_reset(&arena);
    assert_false(arena.overflowed);
    assert_non_null(be_arena_floats(&arena, 32));
    assert_null(be_arena_floats(&arena, 1));
    be_arena_destroy(&arena);
}

static void test_impossible_sizes(void **state)
{
    (void)state;
    static const size_t sizes[] = {SIZE_MAX, SIZE_MAX / 2, SIZE_MAX / 4 + 1, SIZE_MAX / 4, SIZE_MAX / 4 - 8};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        be_arena counting = {0}, arena = make_arena(256);
        be_arena_floats(&counting, 16); /* something is taken already, so that the sum overflows too */
        be_arena_floats(&counting, sizes[i]);
        assert_true(counting.overflowed);
        assert_null(be_arena_floats(&arena, sizes[i]));
        assert_true(arena.overflowed);
        be_arena_destroy(&arena);
    }
    be_arena arena;
    be_error error;
    assert_error(be_arena_create(&arena, SIZE_MAX, "the moon", &error), BE_ERROR_MEMORY, &error, "the moon");
}

static void test_empty_arenas(void **state)
{
    (void)state;
    be_arena none = {0};
    be_arena_destroy(&none);
    be_arena arena = make_arena(0);
    assert_null(be_arena_floats(&arena, 1));
    be_arena_destroy(&arena);
    assert_null(arena.base);
    be_arena_destroy(&arena); /* a second time does nothing */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counting_equals_use), cmocka_unit_test(test_pieces_are_apart_and_aligned),
        cmocka_unit_test(test_overflow_sticks),     cmocka_unit_test(test_impossible_sizes),
        cmocka_unit_test(test_empty_arenas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
