/* Predictions in JSON, compared with numbers computed another way. */
#include "tests/unit/answer_support.h"

#include <math.h>

/* The numbers of an array must be these floats to the last bit. */
static void check_floats(const cJSON *array, const float *expected, size_t count)
{
    size_t i = 0;
    const cJSON *item;
    assert_int_equal(cJSON_GetArraySize(array), count);
    cJSON_ArrayForEach(item, array) {
        float value = (float)item->valuedouble;
        assert_true(cJSON_IsNumber(item));
        assert_memory_equal(&value, &expected[i++], sizeof value);
    }
}

static void test_what_is_told(void **state)
{
    const answered *it = *state;
    cJSON *root = answer(it, &it->output, &(be_answer_options){0}, &(be_answer_timing){1.5, 2.25, 61, 8, 72.75});
    assert_int_equal(strlen(text_at(root, "id")), 32);
    assert_string_equal(text_at(root, "subject"), "subj01");
    assert_true(cJSON_IsFalse(get(root, "demo")));
    assert_string_equal(text_at(root, "model.backbone"), "dinov2_vit96x4");
    assert_string_equal(text_at(root, "model.features"), "dinov2_q");
    assert_true(number_at(root, "model.layer") == 1 && number_at(root, "model.members") == 1);
    assert_string_equal(text_at(root, "model.encoder"), "transformer");
    assert_string_equal(text_at(root, "model.readout"), "rois_all");
    assert_string_equal(text_at(root, "model.precision"), "f32");
    assert_string_equal(text_at(root, "model.weights"), info_of(it)->weights_hash);
    assert_int_equal(strncmp(text_at(root, "model.version"), "brainenc ", 9), 0);
    assert_string_equal(text_at(root, "model.units"), "as trained (NSD: z-scored betas)");
    assert_null(cJSON_GetObjectItem(get(root, "model"), "unverified"));
    assert_string_equal(text_at(root, "image.name"), it->image.name);
    assert_true(number_at(root, "image.width") == 500 && number_at(root, "image.height") == 300);
    assert_string_equal(text_at(root, "image.fit"), "native");
    assert_true(number_at(root, "image.input.0") == ROWS * PATCH && number_at(root, "image.input.1") == COLUMNS * PATCH);
    assert_true(number_at(root, "image.grid.0") == ROWS && number_at(root, "image.grid.1") == COLUMNS);
    assert_true(number_at(root, "timing_ms.decode") == 1.5 && number_at(root, "timing_ms.queue") == 2.25);
    assert_true(number_at(root, "timing_ms.backbone") == 61 && number_at(root, "timing_ms.encoder") == 8);
    assert_true(number_at(root, "timing_ms.total") >= 72.75);
    assert_null(cJSON_GetObjectItem(root, "lh"));
    assert_null(cJSON_GetObjectItem(root, "rois"));
    assert_null(cJSON_GetObjectItem(root, "maps"));
    cJSON_Delete(root);
}

static void test_vertices(void **state)
{
    const answered *it = *state;
    cJSON *root = answer(it, &it->output, &(be_answer_options){.vertices = true}, NULL);
    check_floats(get(root, "lh.vertices"), it->output.vertices, GOLDEN_LEFT);
    check_floats(get(root, "rh.vertices"), it->output.vertices + GOLDEN_LEFT, GOLDEN_RIGHT);
    assert_null(cJSON_GetObjectItem(root, "timing_ms"));
    assert_null(cJSON_GetObjectItem(get(root, "lh"), "indices"));
    cJSON_Delete(root);
}

static void test_numbers_json_has_no_words_for(void **state)
{
    const answered *it = *state;
    static float vertices[GOLDEN_VERTICES];
    memcpy(vertices, it->output.vertices, sizeof vertices);
    vertices[0] = NAN;
    vertices[GOLDEN_LEFT + 1] = -INFINITY;
    be_output output = {.vertices = vertices};
    cJSON *root = answer(it, &output, &(be_answer_options){.vertices = true, .rois = true}, NULL);
    assert_true(cJSON_IsNull(get(root, "lh.vertices.0")));
    assert_true(cJSON_IsNumber(get(root, "lh.vertices.1")));
    assert_true(cJSON_IsNull(get(root, "rh.vertices.1")));
    cJSON_Delete(root);
}

static bool in_roi(const answered *it, size_t roi, int hemisphere, size_t vertex)
{
    return ((const uint8_t *)it->masks[hemisphere].data)[roi * it->masks[hemisphere].shape[1] + vertex] != 0;
}

static void check_mean(const answered *it, const cJSON *roi, size_t index, int hemisphere)
{
    const float *values = it->output.vertices + (hemisphere ? GOLDEN_LEFT : 0);
    const cJSON *part = get(roi, hemisphere ? "rh" : "lh");
    double sum = 0, n = 0;
    for (size_t v = 0; v < it->masks[hemisphere].shape[1]; v++) {
        if (in_roi(it, index, hemisphere, v)) {
            sum += (double)values[v];
            n++;
        }
    }
    assert_true(number_at(part, "n") == n);
    if (n == 0)
        assert_true(cJSON_IsNull(get(part, "mean")));
    else
        assert_true(fabs(number_at(part, "mean") - sum / n) <= 1e-6);
}

static void test_means_of_rois(void **state)
{
    const answered *it = *state;
    cJSON *root = answer(it, &it->output, &(be_answer_options){.rois = true}, NULL);
    const cJSON *rois = get(root, "rois"), *roi;
    size_t index = 0;
    assert_int_equal(cJSON_GetArraySize(rois), ROIS);
    cJSON_ArrayForEach(roi, rois) {
        assert_string_equal(text_at(roi, "name"), info_of(it)->rois.rois[index].name);
        check_mean(it, roi, index, BE_LEFT);
        check_mean(it, roi, index, BE_RIGHT);
        index++;
    }
    assert_string_equal(text_at(root, "rois.8.name"), "FBA-1");
    assert_string_equal(text_at(root, "rois.8.family"), "floc-bodies");
    assert_true(cJSON_IsNull(get(root, "rois.24.family"))); /* the rest is of no family */
    assert_true(cJSON_IsNull(get(root, "rois.14.rh.mean"))); /* mTL-faces is empty on the right */
    cJSON_Delete(root);
}

static void test_selected_vertices(void **state)
{
    const answered *it = *state;
    be_roi_selection only = select_rois(it, "FBA,V1v,FBA-2");
    cJSON *root = answer(it, &it->output, &(be_answer_options){.vertices = true, .rois = true, .only = &only}, NULL);
    for (int h = BE_LEFT; h < BE_HEMISPHERES; h++) {
        const cJSON *indices = get(root, h ? "rh.indices" : "lh.indices"), *index = indices->child;
        const cJSON *value = get(root, h ? "rh.vertices" : "lh.vertices")->child;
        for (size_t v = 0; v < it->masks[h].shape[1]; v++) {
            if (!in_roi(it, 0, h, v) && !in_roi(it, 8, h, v) && !in_roi(it, 9, h, v))
                continue;
            assert_non_null(index);
            assert_true(index->valuedouble == (double)v);
            assert_true((float)value->valuedouble == it->output.vertices[(h ? GOLDEN_LEFT : 0) + v]);
            index = index->next;
            value = value->next;
        }
        assert_null(index);
        assert_null(value);
    }
    assert_int_equal(cJSON_GetArraySize(get(root, "rois")), 3);
    assert_string_equal(text_at(root, "rois.0.name"), "V1v");
    assert_string_equal(text_at(root, "rois.2.name"), "FBA-2");
    cJSON_Delete(root);
    be_roi_selection_free(&only);
}

static void test_selection_that_is_empty_on_one_side(void **state)
{
    const answered *it = *state;
    be_roi_selection only = select_rois(it, "mTL-faces");
    cJSON *root = answer(it, &it->output, &(be_answer_options){.vertices = true, .only = &only}, NULL);
    assert_true(cJSON_GetArraySize(get(root, "lh.vertices")) > 0);
    assert_int_equal(cJSON_GetArraySize(get(root, "rh.vertices")), 0);
    assert_int_equal(cJSON_GetArraySize(get(root, "rh.indices")), 0);
    cJSON_Delete(root);
    be_roi_selection_free(&only);
}

static void test_all_vertices_are_selected_by_none(void **state)
{
    const answered *it = *state;
    uint32_t *indices = NULL;
    size_t count = 0;
    be_error error;
    assert_ok(be_answer_vertices(info_of(it), NULL, BE_RIGHT, &indices, &count, &error), &error);
    assert_int_equal(count, GOLDEN_RIGHT);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(indices[i], i);
    free(indices);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_told),
        cmocka_unit_test(test_vertices),
        cmocka_unit_test(test_numbers_json_has_no_words_for),
        cmocka_unit_test(test_means_of_rois),
        cmocka_unit_test(test_selected_vertices),
        cmocka_unit_test(test_selection_that_is_empty_on_one_side),
        cmocka_unit_test(test_all_vertices_are_selected_by_none),
    };
    return cmocka_run_group_tests(tests, open_answered, close_answered);
}
