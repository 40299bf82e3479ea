/* Attention maps in JSON; ids; what an answer says of demonstrations and of what nobody has verified. */
#include "tests/unit/answer_support.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>

/* --- maps --------------------------------------------------------------------------------------------------------- */

/* A map must be the mean of the maps of these queries, and sum to 1. */
static void check_map(const cJSON *map, const float *attention, const size_t *queries, size_t n_queries)
{
    double total = 0;
    assert_int_equal(cJSON_GetArraySize(get(map, "weights")), ROWS);
    for (int row = 0; row < ROWS; row++) {
        const cJSON *cells = cJSON_GetArrayItem(get(map, "weights"), row);
        assert_int_equal(cJSON_GetArraySize(cells), COLUMNS);
        for (int column = 0; column < COLUMNS; column++) {
            double mean = 0, value = cJSON_GetArrayItem(cells, column)->valuedouble;
            for (size_t q = 0; q < n_queries; q++)
                mean += (double)attention[queries[q] * CELLS + (size_t)(row * COLUMNS + column)] / (double)n_queries;
            assert_true(fabs(value - mean) <= 1e-7);
            total += value;
        }
    }
    assert_true(fabs(total - 1) <= 1e-5);
}

/* The maps of these ROIs, computed into memory of the test's own. */
static float *compute(const answered *it, const char *names, be_map_selection *asked)
{
    const be_map_source source = {.info = info_of(it), .output = &it->output, .rows = ROWS, .columns = COLUMNS};
    be_error error;
    assert_ok(be_map_select_rois(info_of(it), names, asked, &error), &error);
    float *values = malloc(be_map_selection_count(asked) * be_map_selection_sheets(info_of(it), asked) * CELLS * sizeof *values);
    assert_non_null(values);
    assert_ok(be_maps_compute(&source, asked, values, &error), &error);
    return values;
}

static void test_maps(void **state)
{
    const answered *it = *state;
    be_map_selection asked = {.hemispheres = {true, true}};
    float *values = compute(it, "FBA,rest", &asked);
    cJSON *root = answer(it, &it->output, &(be_answer_options){.maps = &(be_answer_maps){&asked, values}}, NULL);
    assert_true(number_at(root, "grid.0") == ROWS && number_at(root, "grid.1") == COLUMNS);
    assert_int_equal(cJSON_GetArraySize(get(root, "maps")), 4);
    assert_string_equal(text_at(root, "maps.0.roi"), "FBA");
    assert_int_equal(cJSON_GetArraySize(get(root, "maps.0.members")), 2);
    assert_string_equal(text_at(root, "maps.0.members.1"), "FBA-2");
    assert_string_equal(text_at(root, "maps.0.hemi"), "lh");
    assert_true(cJSON_IsTrue(get(root, "maps.0.dynamic")));
    assert_string_equal(text_at(root, "maps.3.roi"), "rest");
    assert_string_equal(text_at(root, "maps.3.hemi"), "rh");
    check_map(get(root, "maps.0"), it->output.attention, (size_t[]){8, 9}, 2);
    check_map(get(root, "maps.1"), it->output.attention, (size_t[]){ROIS + 8, ROIS + 9}, 2);
    check_map(get(root, "maps.2"), it->output.attention, (size_t[]){24}, 1);
    check_map(get(root, "maps.3"), it->output.attention, (size_t[]){ROIS + 24}, 1);
    cJSON_Delete(root);
    be_map_selection_free(&asked);
    free(values);
}

static void test_maps_of_heads(void **state)
{
    enum { HEADS = 16 };
    const answered *it = *state;
    be_map_selection asked = {.hemispheres = {false, true}, .heads = true};
    float *values = compute(it, "EBA", &asked);
    char id[BE_ID_SIZE], *text = NULL;
    be_error error;
    assert_ok(be_answer_id(it->model, 0, &it->image, id, &error), &error);
    assert_ok(be_answer_attention(it->model, 0, &it->image, &(be_answer_maps){&asked, values}, &text, &error), &error);
    cJSON *root = parse(text), *map;
    size_t head = 0;
    assert_string_equal(text_at(root, "id"), id);
    assert_string_equal(text_at(root, "subject"), "subj01");
    assert_true(number_at(root, "grid.0") == ROWS && number_at(root, "grid.1") == COLUMNS);
    assert_int_equal(cJSON_GetArraySize(get(root, "maps")), HEADS);
    cJSON_ArrayForEach(map, get(root, "maps")) {
        assert_string_equal(text_at(map, "hemi"), "rh");
        assert_true(number_at(map, "head") == (double)head);
        check_map(map, it->output.attention_heads + head * GOLDEN_QUERIES * CELLS, (size_t[]){ROIS + 7}, 1);
        head++;
    }
    cJSON_Delete(root);
    be_map_selection_free(&asked);
    free(values);
}

/* --- ids ---------------------------------------------------------------------------------------------------------- */

static void test_ids(void **state)
{
    const answered *it = *state;
    char id[BE_ID_SIZE], other[BE_ID_SIZE];
    be_answer_image image = it->image;
    be_error error;
    assert_ok(be_answer_id(it->model, 0, &image, id, &error), &error);
    assert_int_equal(strlen(id), BE_ID_SIZE - 1);
    for (size_t i = 0; id[i]; i++)
        assert_true(isxdigit((unsigned char)id[i]) && !isupper((unsigned char)id[i]));
    image.name = "another name"; /* only what decides the numbers counts */
    assert_ok(be_answer_id(it->model, 0, &image, other, &error), &error);
    assert_string_equal(other, id);
    image.fit = BE_FIT_CROP;
    assert_ok(be_answer_id(it->model, 0, &image, other, &error), &error);
    assert_string_not_equal(other, id);
    image = it->image;
    image.hash[0] = image.hash[0] == 'a' ? 'b' : 'a';
    assert_ok(be_answer_id(it->model, 0, &image, other, &error), &error);
    assert_string_not_equal(other, id);
}

/* Numbers of random weights never pass for real ones. */
static void test_demo(void **state)
{
    answered it = *(answered *)*state;
    static const char real[] = "\\\"demo\\\":false", random[] = "\\\"demo\\\":true ";
    size_t size;
    import_golden(GOLDEN_CHECKPOINT, "demo.safetensors");
    unsigned char *bytes = read_bytes(scratch("demo.safetensors"), &size), *mark = memmem(bytes, size, real, sizeof real - 1);
    assert_non_null(mark);
    memcpy(mark, random, sizeof random - 1);
    write_bytes(scratch("demo.safetensors"), bytes, size);
    free(bytes);
    it.model = open_model(GOLDEN_BACKBONE, 0, "demo.safetensors");
    cJSON *root = answer(&it, &it.output, &(be_answer_options){0}, NULL);
    assert_true(cJSON_IsTrue(get(root, "demo")));
    cJSON_Delete(root);
    be_model_close(it.model);
}

/* What no golden case covers is said in every answer. */
static void test_unverified(void **state)
{
    answered it = *(answered *)*state;
    it.model = open_model("dinov2_q_rois/dinov2_small_pretrain.pth", 0, "subject.safetensors");
    cJSON *root = answer(&it, &it.output, &(be_answer_options){0}, NULL);
    assert_int_equal(cJSON_GetArraySize(get(root, "model.unverified")), 1);
    assert_string_equal(text_at(root, "model.unverified.0"), be_model_backbone(it.model)->unverified);
    cJSON_Delete(root);
    char id[BE_ID_SIZE], other[BE_ID_SIZE];
    be_error error;
    assert_ok(be_answer_id(it.model, 0, &it.image, other, &error), &error);
    assert_ok(be_answer_id(((const answered *)*state)->model, 0, &it.image, id, &error), &error);
    assert_string_not_equal(other, id); /* another backbone file is another model */
    be_model_close(it.model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_maps), cmocka_unit_test(test_maps_of_heads), cmocka_unit_test(test_ids),
        cmocka_unit_test(test_demo), cmocka_unit_test(test_unverified),
    };
    return cmocka_run_group_tests(tests, open_answered, close_answered);
}
