/* Which query stands for which ROI and vertex, for each readout: numbers written by hand from MODEL section 4. */
#include "tests/unit/support.h"

#include "core/subject/readout_plan.h"

/* Two ROIs and the rest. Left vertex 2 is in both ROIs; B has no right vertex. */
enum { ROIS = 3, LEFT = 5, RIGHT = 3, VERTICES = LEFT + RIGHT };
static uint32_t a_left[] = {0, 2}, a_right[] = {1}, b_left[] = {2, 3}, rest_left[] = {1, 4}, rest_right[] = {0, 2};
static be_roi three[ROIS] = {
    {"A", "streams", {2, 1}, {a_left, a_right}},
    {"B", "streams", {2, 0}, {b_left, NULL}},
    {"rest", "", {2, 2}, {rest_left, rest_right}},
};
static const be_roi_set rois = {ROIS, three};
static const size_t n_vertices[BE_HEMISPHERES] = {LEFT, RIGHT};

static be_readout_plan make(const char *readout, const char *encoder, be_streams_order order, const be_roi_set *set)
{
    be_readout_plan plan;
    be_error error;
    assert_ok(be_readout_plan_make(readout, encoder, order, set, n_vertices, "x.pth", &plan, &error), &error);
    return plan;
}

static void refuse(const char *readout, be_streams_order order, const be_roi_set *set, be_status status, const char *part)
{
    be_readout_plan plan;
    be_error error;
    assert_error(be_readout_plan_make(readout, "transformer", order, set, n_vertices, "x.pth", &plan, &error), status, &error,
                 part);
    assert_memory_equal(error.message, "x.pth: ", 7);
}

static void check_queries(const be_readout_plan *plan, size_t queries, size_t count, const uint32_t *left, const uint32_t *right)
{
    assert_int_equal(plan->queries, queries);
    assert_false(plan->by_vertex || plan->whole);
    assert_memory_equal(plan->of_roi[BE_LEFT], left, count * sizeof *left);
    assert_memory_equal(plan->of_roi[BE_RIGHT], right, count * sizeof *right);
}

/* `starts` [VERTICES + 1]. Releases the plan. */
static void check_lists(be_readout_plan *plan, const size_t *starts, const uint32_t *queries)
{
    be_readout_lists lists;
    be_error error;
    assert_ok(be_readout_plan_lists(plan, &rois, n_vertices, &lists, &error), &error);
    assert_memory_equal(lists.start, starts, (VERTICES + 1) * sizeof *starts);
    assert_memory_equal(lists.queries, queries, starts[VERTICES] * sizeof *queries);
    free(lists.start);
    free(lists.queries);
    be_readout_plan_free(plan);
    assert_null(plan->of_roi[BE_LEFT]);
}

/* Where each vertex's queries begin: one for each ROI that it is in, or one. */
static const size_t by_pair[] = {0, 1, 2, 4, 5, 6, 7, 8, 9}, by_one[] = {0, 1, 2, 3, 4, 5, 6, 7, 8};

static void test_all_rois(void **state)
{
    (void)state;
    static const uint32_t left[] = {0, 1, 2}, right[] = {3, 4, 5}, queries[] = {0, 2, 0, 1, 1, 2, 5, 3, 5};
    for (be_streams_order order = BE_STREAMS_UNKNOWN; order <= BE_STREAMS_REST_FIRST; order++) {
        be_readout_plan plan = make("rois_all", "transformer", order, &rois);
        check_queries(&plan, 6, ROIS, left, right);
        check_lists(&plan, by_pair, queries);
    }
}

static void test_streams(void **state)
{
    (void)state;
    static const uint32_t last_left[] = {0, 1, 2}, last_right[] = {8, 9, 10}, last[] = {0, 2, 0, 1, 1, 2, 10, 8, 10};
    static const uint32_t first_left[] = {1, 2, 0}, first_right[] = {9, 10, 8}, first[] = {1, 0, 1, 2, 2, 0, 8, 9, 8};
    be_readout_plan plan = make("streams_inc", "transformer", BE_STREAMS_REST_LAST, &rois);
    check_queries(&plan, 16, ROIS, last_left, last_right);
    check_lists(&plan, by_pair, last);
    plan = make("streams_inc", "transformer", BE_STREAMS_REST_FIRST, &rois);
    check_queries(&plan, 16, ROIS, first_left, first_right);
    check_lists(&plan, by_pair, first);
    refuse("streams_inc", BE_STREAMS_UNKNOWN, &rois, BE_ERROR_ARGUMENT, "--streams-order rest-last");
}

/* The seven streams and the rest fill a half; one more does not fit. */
static void test_a_full_half(void **state)
{
    (void)state;
    static const uint32_t last_left[] = {0, 1, 2, 3, 4, 5, 6, 7}, last_right[] = {8, 9, 10, 11, 12, 13, 14, 15};
    static const uint32_t first_left[] = {1, 2, 3, 4, 5, 6, 7, 0}, first_right[] = {9, 10, 11, 12, 13, 14, 15, 8};
    static be_roi none[9];
    const be_roi_set eight = {8, none}, nine = {9, none};
    be_readout_plan plan = make("streams_inc", "transformer", BE_STREAMS_REST_LAST, &eight);
    check_queries(&plan, 16, 8, last_left, last_right);
    be_readout_plan_free(&plan);
    plan = make("streams_inc", "transformer", BE_STREAMS_REST_FIRST, &eight);
    check_queries(&plan, 16, 8, first_left, first_right);
    be_readout_plan_free(&plan);
    refuse("streams_inc", BE_STREAMS_REST_LAST, &nine, BE_ERROR_FORMAT, "8 queries a hemisphere, too few for 8 ROIs");
    refuse("words", BE_STREAMS_UNKNOWN, &nine, BE_ERROR_FORMAT, "readout_res words has 8 queries");
    plan = make("rois_all", "transformer", BE_STREAMS_UNKNOWN, &nine); /* has as many as it needs */
    assert_int_equal(plan.queries, 18);
    be_readout_plan_free(&plan);
}

/* The first queries of each half, the rest after the ROIs: the order of streams is none of theirs. */
static void test_single_families(void **state)
{
    (void)state;
    static const char *const names[] = {"visuals", "bodies", "faces", "places", "words"};
    static const uint32_t left[] = {0, 1, 2}, right[] = {8, 9, 10}, queries[] = {0, 2, 0, 1, 1, 2, 10, 8, 10};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        for (be_streams_order order = BE_STREAMS_UNKNOWN; order <= BE_STREAMS_REST_FIRST; order++) {
            be_readout_plan plan = make(names[i], "custom_transformer", order, &rois);
            check_queries(&plan, 16, ROIS, left, right);
            check_lists(&plan, by_pair, queries);
        }
    }
}

/* A vertex of two ROIs is read once: there is one query for its hemisphere. */
static void test_hemispheres(void **state)
{
    (void)state;
    static const uint32_t left[] = {0, 0, 0}, right[] = {1, 1, 1}, queries[] = {0, 0, 0, 0, 0, 1, 1, 1};
    be_readout_plan plan = make("hemis", "transformer", BE_STREAMS_UNKNOWN, &rois);
    check_queries(&plan, 2, ROIS, left, right);
    check_lists(&plan, by_one, queries);
}

static void test_voxels(void **state)
{
    (void)state;
    be_readout_lists lists;
    be_error error;
    be_readout_plan plan = make("voxels", "spatial_feature", BE_STREAMS_UNKNOWN, &rois);
    assert_int_equal(plan.queries, VERTICES);
    assert_true(plan.by_vertex && !plan.whole && !plan.of_roi[BE_LEFT] && !plan.of_roi[BE_RIGHT]);
    assert_ok(be_readout_plan_lists(&plan, &rois, n_vertices, &lists, &error), &error);
    assert_true(!lists.start && !lists.queries);
    be_readout_plan_free(&plan);
}

/* "linear" reads every vertex from its one token, once, whatever the readout is called. */
static void test_linear(void **state)
{
    (void)state;
    static const char *const names[] = {"rois_all", "streams_inc", "faces", "hemis", "voxels"};
    static const uint32_t queries[VERTICES] = {0};
    be_readout_plan plan;
    be_error error;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        plan = make(names[i], "linear", BE_STREAMS_UNKNOWN, &rois);
        assert_int_equal(plan.queries, 1);
        assert_true(plan.whole && !plan.by_vertex && !plan.of_roi[BE_LEFT] && !plan.of_roi[BE_RIGHT]);
        check_lists(&plan, by_one, queries);
    }
    assert_error(be_readout_plan_make("gyri", "linear", BE_STREAMS_UNKNOWN, &rois, n_vertices, "x.pth", &plan, &error),
                 BE_ERROR_UNSUPPORTED, &error, "'gyri'");
}

static void test_names(void **state)
{
    (void)state;
    be_streams_order order = BE_STREAMS_UNKNOWN;
    be_error error;
    refuse("gyri", BE_STREAMS_UNKNOWN, &rois, BE_ERROR_UNSUPPORTED, "readout_res 'gyri' is not supported; there are: rois_all");
    refuse("", BE_STREAMS_UNKNOWN, &rois, BE_ERROR_UNSUPPORTED, "readout_res ''");
    assert_ok(be_streams_order_parse("rest-first", &order, &error), &error);
    assert_int_equal(order, BE_STREAMS_REST_FIRST);
    assert_ok(be_streams_order_parse("rest-last", &order, &error), &error);
    assert_int_equal(order, BE_STREAMS_REST_LAST);
    assert_error(be_streams_order_parse("", &order, &error), BE_ERROR_ARGUMENT, &error, "rest-last, rest-first");
    assert_int_equal(order, BE_STREAMS_REST_LAST);
    assert_string_equal(be_streams_order_name(BE_STREAMS_UNKNOWN), "");
    assert_null(be_readout_families("gyri"));
}

/* Whose ROIs a readout has queries for, and what of it no golden case shows. */
static void test_families(void **state)
{
    (void)state;
    static const struct { const char *readout, *first, *second; bool unverified; } wanted[] = {
        {"rois_all", "prf-visualrois", "floc-bodies", false}, {"hemis", "prf-visualrois", "floc-bodies", false},
        {"voxels", "prf-visualrois", "floc-bodies", false},   {"streams_inc", "streams", NULL, false},
        {"visuals", "prf-visualrois", NULL, true},            {"bodies", "floc-bodies", NULL, true},
        {"faces", "floc-faces", NULL, true},                  {"places", "floc-places", NULL, true},
        {"words", "floc-words", NULL, true},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        const char *const *families = be_readout_families(wanted[i].readout);
        assert_string_equal(families[0], wanted[i].first);
        if (wanted[i].second)
            assert_string_equal(families[1], wanted[i].second);
        else
            assert_null(families[1]);
        assert_int_equal(*be_readout_unverified(wanted[i].readout) != '\0', wanted[i].unverified);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_rois),         cmocka_unit_test(test_streams), cmocka_unit_test(test_a_full_half),
        cmocka_unit_test(test_single_families), cmocka_unit_test(test_hemispheres), cmocka_unit_test(test_voxels),
        cmocka_unit_test(test_linear),           cmocka_unit_test(test_names),   cmocka_unit_test(test_families),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
