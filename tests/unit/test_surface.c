/* Where an answer's numbers stand, against the golden masks and arrays written by hand. */
#include "tests/unit/answer_support.h"

#include <math.h>
#include <stdio.h>

#include "core/answer/surface.h"

/* The golden subject's places: the ones of the folder's masks. */
static size_t read_places(int hemisphere, uint32_t *places)
{
    be_npy mask;
    be_error error;
    int64_t *ones;
    size_t count = 0, length;
    assert_ok(be_npy_read(golden(hemisphere ? GOLDEN_DATA "/roi_masks/rh.all-vertices_fsaverage_space.npy"
                                            : GOLDEN_DATA "/roi_masks/lh.all-vertices_fsaverage_space.npy"),
                          &mask, &error), &error);
    length = mask.count;
    ones = malloc(length * sizeof *ones);
    assert_ok(be_npy_to_i64(&mask, ones, &error), &error);
    for (size_t i = 0; i < length; i++) {
        if (ones[i])
            places[count++] = (uint32_t)i;
    }
    free(ones);
    be_npy_free(&mask);
    return count;
}

static be_surface surface_of(const answered *it)
{
    return be_surface_of(be_model_subject(it->model, 0));
}

static void test_whole_spaces(void **state)
{
    const answered *it = *state;
    const be_surface surface = surface_of(it);
    static uint32_t places[GOLDEN_VERTICES];
    be_error error;
    for (int h = BE_LEFT; h < BE_HEMISPHERES; h++) {
        be_columns own, placed;
        size_t count = read_places(h, places);
        assert_int_equal(count, h ? GOLDEN_RIGHT : GOLDEN_LEFT);
        assert_ok(be_columns_make(&surface, BE_SPACE_CHALLENGE, NULL, (be_hemisphere)h, &own, &error), &error);
        assert_ok(be_columns_make(&surface, BE_SPACE_FSAVERAGE, NULL, (be_hemisphere)h, &placed, &error), &error);
        assert_true(own.length == count && own.count == count && placed.length == 163842 && placed.count == count);
        for (uint32_t i = 0; i < count; i++)
            assert_true(own.numbers[i] == i && own.vertices[i] == i && placed.vertices[i] == i && placed.numbers[i] == places[i]);
        be_columns_free(&own);
        be_columns_free(&placed);
    }
}

static void test_selected_rois(void **state)
{
    const answered *it = *state;
    const be_surface surface = surface_of(it);
    const uint8_t *mask = it->masks[BE_RIGHT].data; /* V1v is the first */
    static uint32_t places[GOLDEN_VERTICES];
    be_roi_selection only = select_rois(it, "V1v");
    be_columns columns;
    be_error error;
    size_t found = 0;
    read_places(BE_RIGHT, places);
    assert_ok(be_columns_make(&surface, BE_SPACE_FSAVERAGE, &only, BE_RIGHT, &columns, &error), &error);
    for (uint32_t v = 0; v < GOLDEN_RIGHT; v++) {
        if (mask[v]) {
            assert_true(columns.vertices[found] == v && columns.numbers[found] == places[v]);
            found++;
        }
    }
    assert_true(found > 0 && columns.count == found && columns.length == found && !columns.whole);
    be_columns_free(&columns);
    be_roi_selection_free(&only);
}

/* --- a small subject ------------------------------------------------------------------------------ */

enum { SMALL = 3, LENGTH = 200 };
static const int32_t places[SMALL] = {0, 70, 199};
static const float values[SMALL] = {1.5f, -2, 0.25f};
static be_subject_info info = {.name = "small", .n_vertices = {SMALL, 1}, .n_fsaverage = {LENGTH, 2}};
static const be_surface small = {&info, {places, (const int32_t[]){1}}};

static be_columns small_columns(void)
{
    be_columns columns;
    be_error error;
    assert_ok(be_columns_make(&small, BE_SPACE_FSAVERAGE, NULL, BE_LEFT, &columns, &error), &error);
    return columns;
}

static void test_arrays_have_nothing_between_the_vertices(void **state)
{
    (void)state;
    be_columns columns = small_columns();
    be_text bytes = {0}, json = {0}, expected = {0};
    float filled[LENGTH];
    be_columns_fill(&columns, values, filled);
    for (size_t i = 0; i < LENGTH; i++) {
        const char *number = i == 0 ? "1.5" : i == 70 ? "-2" : i == 199 ? "0.25" : "null";
        be_text_add(&expected, i ? "," : "[");
        be_text_add(&expected, number);
        assert_true(i == 0 ? filled[i] == 1.5f : i == 70 ? filled[i] == -2 : i == 199 ? filled[i] == 0.25f : isnan(filled[i]));
    }
    be_text_add(&expected, "]");
    be_columns_add_json(&columns, values, &json);
    assert_string_equal(json.bytes, expected.bytes);
    be_columns_add_bytes(&columns, values, &bytes);
    assert_int_equal(bytes.length, sizeof filled);
    assert_memory_equal(bytes.bytes, filled, sizeof filled);
    free(bytes.bytes), free(json.bytes), free(expected.bytes);
    be_columns_free(&columns);
}

static void test_no_values_are_nan_all_over(void **state)
{
    (void)state;
    be_columns columns = small_columns();
    be_text bytes = {0};
    float filled[LENGTH];
    be_columns_fill(&columns, NULL, filled);
    be_columns_add_bytes(&columns, NULL, &bytes);
    assert_int_equal(bytes.length, sizeof filled);
    assert_memory_equal(bytes.bytes, filled, sizeof filled);
    for (size_t i = 0; i < LENGTH; i++)
        assert_true(isnan(filled[i]));
    free(bytes.bytes);
    be_columns_free(&columns);
}

static void test_an_array_of_no_vertices(void **state)
{
    (void)state;
    be_columns columns = {0};
    be_text text = {0};
    be_columns_add_json(&columns, values, &text);
    be_columns_add_bytes(&columns, values, &text);
    assert_string_equal(text.bytes, "[]");
    free(text.bytes);
}

static void refuse(const be_surface *surface, const char *part)
{
    be_columns columns;
    be_error error;
    assert_ok(be_surface_check(surface, BE_SPACE_CHALLENGE, &error), &error);
    assert_error(be_surface_check(surface, BE_SPACE_FSAVERAGE, &error), BE_ERROR_UNSUPPORTED, &error, part);
    assert_error(be_columns_make(surface, BE_SPACE_FSAVERAGE, NULL, BE_LEFT, &columns, &error), BE_ERROR_UNSUPPORTED, &error, part);
    assert_ok(be_columns_make(surface, BE_SPACE_CHALLENGE, NULL, BE_LEFT, &columns, &error), &error);
    be_columns_free(&columns);
}

static void test_places_that_are_not_known_or_do_not_ascend(void **state)
{
    (void)state;
    refuse(&(be_surface){&info, {NULL, NULL}}, "small: ");
    refuse(&(be_surface){&info, {places, NULL}}, "no index");
    refuse(&(be_surface){&info, {(const int32_t[]){0, 70, 70}, places}}, "lh vertex 2");
    refuse(&(be_surface){&info, {(const int32_t[]){5, 4, 6}, places}}, "lh vertex 1");
}

static void test_names(void **state)
{
    (void)state;
    be_space space;
    be_error error;
    assert_ok(be_space_parse("fsaverage", &space, &error), &error);
    assert_int_equal(space, BE_SPACE_FSAVERAGE);
    assert_ok(be_space_parse("challenge", &space, &error), &error);
    assert_int_equal(space, BE_SPACE_CHALLENGE);
    assert_string_equal(be_space_name(BE_SPACE_FSAVERAGE), "fsaverage");
    assert_error(be_space_parse("Fsaverage", &space, &error), BE_ERROR_ARGUMENT, &error, "challenge, fsaverage");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_spaces),
        cmocka_unit_test(test_selected_rois),
        cmocka_unit_test(test_arrays_have_nothing_between_the_vertices),
        cmocka_unit_test(test_no_values_are_nan_all_over),
        cmocka_unit_test(test_an_array_of_no_vertices),
        cmocka_unit_test(test_places_that_are_not_known_or_do_not_ascend),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, open_answered, close_answered);
}
