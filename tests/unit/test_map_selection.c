/* Whose maps are asked for: names of vertices, what a picture can show, the mean over a group's queries. */
#include "tests/unit/support.h"

#include <stdio.h>

#include "core/answer/map_selection.h"

/* A subject with a query a vertex. */
static be_subject_info make_voxels(void)
{
    static be_roi rois[] = {{.name = "both", .n_vertices = {2, 1}}, {.name = "left", .n_vertices = {1, 0}}, {.name = "rest"}};
    return (be_subject_info){.name = "subj09", .encoder = "transformer", .readout = "voxels", .heads = 16, .by_vertex = true,
                             .n_vertices = {300, 7}, .rois = {3, rois}};
}

static void test_names_of_vertices(void **state)
{
    (void)state;
    be_subject_info info = make_voxels();
    be_map_selection asked = {0};
    be_error error;
    assert_ok(be_map_select_vertices(&info, "lh:299,rh:0,lh:0,rh:6,rh:0", &asked, &error), &error);
    const uint32_t want[] = {299, 300, 0, 306};
    assert_int_equal(be_map_selection_count(&asked), 4); /* one named twice is there once */
    assert_memory_equal(asked.vertices, want, sizeof want);
    for (size_t i = 0; i < 4; i++) {
        be_map_label label = be_map_label_of(&info, &asked, i);
        assert_null(label.group);
        assert_false(label.none);
        assert_int_equal(label.hemisphere, i % 2);
        assert_int_equal(label.vertex, want[i] - (i % 2 ? 300 : 0));
    }
    be_map_selection_free(&asked);
}

static void test_what_is_no_vertex(void **state)
{
    (void)state;
    static const struct { const char *names; be_status status; const char *words; } wrong[] = {
        {"", BE_ERROR_ARGUMENT, "''"}, {"12", BE_ERROR_ARGUMENT, "'12'"}, {"lh", BE_ERROR_ARGUMENT, "'lh'"},
        {"lh:", BE_ERROR_ARGUMENT, "'lh:'"}, {"lh:-1", BE_ERROR_ARGUMENT, "'lh:-1'"}, {"lh:1x", BE_ERROR_ARGUMENT, "'lh:1x'"},
        {"LH:1", BE_ERROR_ARGUMENT, "'LH:1'"},
        {"lh:1,", BE_ERROR_ARGUMENT, "''"}, {"lh:1,,rh:1", BE_ERROR_ARGUMENT, "''"}, {"lh: 1", BE_ERROR_ARGUMENT, "'lh: 1'"},
        {"lh:0x1", BE_ERROR_ARGUMENT, "'lh:0x1'"}, {"lh:300", BE_ERROR_NOT_FOUND, "below 300 (lh) and 7 (rh)"},
        {"rh:7", BE_ERROR_NOT_FOUND, "'rh:7'"}, {"lh:4294967296", BE_ERROR_NOT_FOUND, "subj09"},
        {"lh:1,rh:18446744073709551616", BE_ERROR_NOT_FOUND, "rh:18446744073709551616"},
    };
    be_subject_info info = make_voxels();
    be_map_selection asked = {0};
    be_error error;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_error(be_map_select_vertices(&info, wrong[i].names, &asked, &error), wrong[i].status, &error, wrong[i].words);
        assert_null(asked.vertices);
    }
}

static void test_there_are_only_so_many(void **state)
{
    (void)state;
    char names[16 * (BE_MOST_MAP_VERTICES + 1)] = "lh:0";
    be_subject_info info = make_voxels();
    be_map_selection asked = {0};
    be_error error;
    for (size_t i = 1; i < BE_MOST_MAP_VERTICES; i++)
        sprintf(names + strlen(names), ",lh:%zu", i);
    strcat(names, ",lh:0");
    assert_ok(be_map_select_vertices(&info, names, &asked, &error), &error);
    assert_int_equal(be_map_selection_count(&asked), BE_MOST_MAP_VERTICES);
    be_map_selection_free(&asked);
    strcat(names, ",lh:200");
    assert_error(be_map_select_vertices(&info, names, &asked, &error), BE_ERROR_ARGUMENT, &error, "more than 64");
}

static void test_subjects_without_such_maps(void **state)
{
    (void)state;
    be_subject_info info = make_voxels();
    be_map_selection asked = {0};
    be_error error;
    info.by_vertex = false;
    assert_error(be_map_select_vertices(&info, "lh:1", &asked, &error), BE_ERROR_UNSUPPORTED, &error, "name a roi");
    info.heads = 0;
    info.encoder = "linear";
    assert_error(be_map_select_vertices(&info, "lh:1", &asked, &error), BE_ERROR_UNSUPPORTED, &error, "no attention maps");
    assert_error(be_map_select_rois(&info, "both", &asked, &error), BE_ERROR_UNSUPPORTED, &error, "linear");
}

static void test_what_a_picture_can_show(void **state)
{
    (void)state;
    be_subject_info info = make_voxels();
    be_map_selection asked = {.hemispheres = {true, true}};
    be_error error;
    assert_ok(be_map_select_rois(&info, "both", &asked, &error), &error);
    assert_ok(be_map_check_picture(&info, &asked, &error), &error);
    asked.heads = true;
    assert_error(be_map_check_picture(&info, &asked, &error), BE_ERROR_ARGUMENT, &error, "heads");
    be_map_selection_free(&asked);
    asked.heads = false;
    assert_ok(be_map_select_rois(&info, "left", &asked, &error), &error);
    assert_true(!be_map_label_of(&info, &asked, 0).none && be_map_label_of(&info, &asked, 1).none);
    assert_error(be_map_check_picture(&info, &asked, &error), BE_ERROR_NOT_FOUND, &error, "left has no vertex in the right");
    asked.hemispheres[BE_RIGHT] = false;
    assert_ok(be_map_check_picture(&info, &asked, &error), &error);
    asked.hemispheres[BE_RIGHT] = true;
    info.by_vertex = false; /* a query of its own has a map even without vertices */
    assert_ok(be_map_check_picture(&info, &asked, &error), &error);
    be_map_selection_free(&asked);
    info.by_vertex = true;
    assert_ok(be_map_select_vertices(&info, "lh:1,lh:2", &asked, &error), &error);
    assert_error(be_map_check_picture(&info, &asked, &error), BE_ERROR_ARGUMENT, &error, "exactly one vertex, 2");
    be_map_selection_free(&asked);
}

/* Of a stem the mean over its members; hemispheres and heads in their places. */
static void test_means_of_queries(void **state)
{
    (void)state;
    enum { CELLS = 2, MAPS = 6, HEADS = 2 };
    static const float heads[HEADS * MAPS * CELLS] = {0.5f, 0.5f, 0.25f, 0.75f, 1, 0, 0.125f, 0.875f, 0, 1, 0.375f, 0.625f,
                                                      1, 0, 0, 1, 0, 1, 0, 1, 1, 0, 0.5f, 0.5f};
    size_t members[] = {0, 2};
    be_roi_group groups[] = {{.n_members = 2, .members = members}, {.n_members = 1, .members = &members[1]}};
    const be_subject_info info = {.maps = MAPS, .heads = HEADS};
    be_map_selection asked = {.rois = {2, groups}, .hemispheres = {true, true}};
    const be_map_source source = {.info = &info, .rows = 1, .columns = CELLS,
                                  .output = &(be_output){.attention = (float *)heads, .attention_heads = (float *)heads}};
    float values[4 * HEADS * CELLS];
    be_error error;
    static const float want[] = {0.75f, 0.25f, 0.25f, 0.75f, 1, 0, 0.375f, 0.625f};
    assert_int_equal(be_map_selection_count(&asked), 4);
    assert_ok(be_maps_compute(&source, &asked, values, &error), &error);
    assert_memory_equal(values, want, sizeof want);
    asked.hemispheres[BE_LEFT] = false;
    asked.heads = true;
    static const float each[] = {0.25f, 0.75f, 0.25f, 0.75f, 0.375f, 0.625f, 0.5f, 0.5f};
    assert_int_equal(be_map_selection_count(&asked) * be_map_selection_sheets(&info, &asked), 4);
    assert_ok(be_maps_compute(&source, &asked, values, &error), &error);
    assert_memory_equal(values, each, sizeof each);
}

static bool wants_two(const void *asker)
{
    return (*(size_t *)asker)++ < 2;
}

/* Who goes away meanwhile gets no more of them. */
static void test_maps_nobody_wants_any_more(void **state)
{
    (void)state;
    static float attention[] = {1, 2, 3, 4};
    size_t members[] = {0, 1, 2, 3}, times = 0;
    be_roi_group groups[] = {{.n_members = 1, .members = members}, {.n_members = 1, .members = members + 1},
                             {.n_members = 1, .members = members + 2}, {.n_members = 1, .members = members + 3}};
    const be_subject_info info = {.maps = 8};
    const be_map_selection asked = {.rois = {4, groups}, .hemispheres = {true, false}};
    const be_map_source source = {.info = &info, .rows = 1, .columns = 1, .output = &(be_output){.attention = attention},
                                  .is_wanted = wants_two, .asker = &times};
    float values[] = {-1, -1, -1, -1};
    const float want[] = {1, 2, -1, -1};
    be_error error;
    assert_ok(be_maps_compute(&source, &asked, values, &error), &error);
    assert_memory_equal(values, want, sizeof want);
    assert_int_equal(times, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_of_vertices), cmocka_unit_test(test_what_is_no_vertex),
        cmocka_unit_test(test_there_are_only_so_many), cmocka_unit_test(test_subjects_without_such_maps),
        cmocka_unit_test(test_what_a_picture_can_show),
        cmocka_unit_test(test_means_of_queries), cmocka_unit_test(test_maps_nobody_wants_any_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
