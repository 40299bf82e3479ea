/* Whole models against the golden cases: checkpoint, backbone and picture in, the published program's numbers out. */
#include "tests/unit/backbone_support.h"

#include <math.h>
#include <stdio.h>

/* Tolerances of tests/golden/README.md. */
static const float vertex_tolerance = 2e-5f, attention_tolerance = 2e-6f;

enum { LEFT = GOLDEN_LEFT, RIGHT = GOLDEN_RIGHT };

/* --- comparing ---------------------------------------------------------------------------------------------------- */

/* Row `image` of expected/{lh,rh}_pred{tag}.npy of `images` rows. */
static void check_vertices(const char *folder, const char *tag, size_t image, size_t images, const float *vertices)
{
    char path[160];
    snprintf(path, sizeof path, "%s/expected/lh_pred%s.npy", folder, tag);
    float *left = golden_f32(path, images * LEFT);
    assert_close(path, vertices, left + image * LEFT, LEFT, vertex_tolerance);
    snprintf(path, sizeof path, "%s/expected/rh_pred%s.npy", folder, tag);
    float *right = golden_f32(path, images * RIGHT);
    assert_close(path, vertices + LEFT, right + image * RIGHT, RIGHT, vertex_tolerance);
    free(left), free(right);
}

/* expected/attention{tag}.npy holds every `step`th query of the first image. */
static void check_attention(const char *folder, const char *tag, size_t step, const float *attention, size_t cells)
{
    char path[160];
    size_t rows = (GOLDEN_QUERIES + step - 1) / step;
    snprintf(path, sizeof path, "%s/expected/attention%s.npy", folder, tag);
    float *expected = golden_f32(path, rows * cells);
    for (size_t r = 0; r < rows; r++)
        assert_close(path, attention + r * step * cells, expected + r * cells, cells, attention_tolerance);
    free(expected);
}

static float *features_of(be_session *session, const be_model *model, const be_image *image, size_t *rows, size_t *columns)
{
    be_error error;
    be_model_grid(model, image, rows, columns);
    float *features = malloc(*rows * *columns * be_model_backbone(model)->channels * sizeof *features);
    assert_non_null(features);
    float *wanted[] = {features};
    assert_ok(be_session_features(session, image, wanted, &error), &error);
    return features;
}

/* Every map sums to 1, and the heads' maps average to the mean map. */
static void check_maps(const be_model *model, const be_output *output, size_t cells)
{
    const be_subject_info *info = be_subject_get_info(be_model_subject(model, 0));
    size_t maps = info->queries * cells;
    for (size_t m = 0; m < info->heads * info->queries; m++) {
        double sum = 0;
        for (size_t i = 0; i < cells; i++)
            sum += (double)output->attention_heads[m * cells + i];
        assert_true(fabs(sum - 1) <= 1e-5);
    }
    for (size_t q = 0; q < info->queries; q++) {
        double sum = 0;
        for (size_t i = q * cells; i < (q + 1) * cells; i++) {
            double mean = 0;
            for (size_t h = 0; h < info->heads; h++)
                mean += (double)output->attention_heads[h * maps + i] / (double)info->heads;
            assert_true(fabs(mean - (double)output->attention[i]) <= 1e-7);
            sum += (double)output->attention[i];
        }
        assert_true(fabs(sum - 1) <= 1e-5);
    }
}

/* --- the main case ------------------------------------------------------------------------------------------------ */

static void check_main_image(be_session *session, const be_model *model, const char *picture, size_t index)
{
    enum { SIDE = 31, CELLS = SIDE * SIDE, CHANNELS = 96, MAPS = GOLDEN_QUERIES * CELLS };
    be_image image = read_picture(picture);
    size_t rows, columns;
    float *features = features_of(session, model, &image, &rows, &columns);
    be_output output = predict(session, model, &image);
    assert_int_equal(rows, SIDE);
    assert_int_equal(columns, SIDE);
    check_vertices("dinov2_q_rois", "", index, 2, output.vertices);
    float *attention = golden_f32("dinov2_q_rois/expected/attention.npy", 2 * MAPS);
    assert_close("attention", output.attention, attention + index * MAPS, MAPS, attention_tolerance);
    float *tokens = golden_f32("dinov2_q_rois/expected/output_tokens.npy", 2 * GOLDEN_QUERIES * CHANNELS);
    assert_close("tokens", output.tokens, tokens + index * GOLDEN_QUERIES * CHANNELS, GOLDEN_QUERIES * CHANNELS,
                 vertex_tolerance);
    float *expected = golden_f32("dinov2_q_rois/expected/features.npy", 2 * CHANNELS * CELLS);
    for (size_t t = 0; t < CELLS; t++) {
        float turned[CHANNELS];
        for (size_t c = 0; c < CHANNELS; c++)
            turned[c] = expected[(index * CHANNELS + c) * CELLS + t];
        assert_close("features", features + t * CHANNELS, turned, CHANNELS, FEATURE_TOLERANCE);
    }
    check_maps(model, &output, CELLS);
    free(attention), free(tokens), free(expected), free(features);
    free_output(&output);
    be_image_free(&image);
}

static void check_main_case(be_model *model, const char *isa, bool both_images)
{
    be_session *session = open_session(model, 2, isa);
    assert_string_equal(be_session_isa(session), isa);
    check_main_image(session, model, "dinov2_q_rois/images/a_425.png", 0);
    if (both_images)
        check_main_image(session, model, "dinov2_q_rois/images/b_425.png", 1);
    be_session_close(session);
}

static void test_main_case(void **state)
{
    (void)state;
    const be_kernels *tables[BE_KERNELS_MAX];
    size_t n_tables = be_kernels_available(tables);
    be_model *model = open_golden_model("main.safetensors");
    const be_subject_info *info = be_subject_get_info(be_model_subject(model, 0));
    const be_backbone_info *backbone = be_model_backbone(model);
    for (size_t t = 0; t < n_tables; t++)
        check_main_case(model, tables[t]->name, t == 0);
    assert_string_equal(info->name, "subj01");
    assert_int_equal(info->heads, 16);
    assert_int_equal(info->member[0].tap.layer, 1);
    assert_int_equal(info->image_size, 425);
    assert_string_equal(info->unverified, "");
    assert_false(info->demo);
    assert_true(info->member[0].has_validation && fabs(info->member[0].validation - 0.5552083333333333) < 1e-12);
    assert_int_equal(backbone->heads, 12); /* from config.json */
    assert_string_equal(backbone->unverified, "");
    assert_string_equal(backbone->naming, "Hugging Face");
    assert_int_equal(backbone->blocks_needed, 3);
    be_model_close(model);
}

/* --- other shapes of picture -------------------------------------------------------------------------------------- */

static void check_shape(be_session *session, const be_model *model, const be_image *image, const char *tag, size_t rows,
                        size_t columns)
{
    char path[96];
    size_t our_rows, our_columns;
    float *features = features_of(session, model, image, &our_rows, &our_columns);
    be_output output = predict(session, model, image);
    assert_int_equal(our_rows, rows);
    assert_int_equal(our_columns, columns);
    check_vertices("dinov2_q_rois", tag, 0, 1, output.vertices);
    check_attention("dinov2_q_rois", tag, 7, output.attention, rows * columns);
    snprintf(path, sizeof path, "dinov2_q_rois/expected/features_sample%s.npy", tag);
    check_feature_sample(path, 0, 1, features, rows, columns, 96);
    check_maps(model, &output, rows * columns);
    free(features);
    free_output(&output);
}

static void test_shapes(void **state)
{
    (void)state;
    be_error error;
    be_model *model = open_golden_model("shapes.safetensors");
    be_session *session = open_session(model, 2, NULL);
    be_image a = read_picture("dinov2_q_rois/images/a_425.png"), c = read_picture("dinov2_q_rois/images/c_500x333.png"),
             d = read_picture("dinov2_q_rois/images/d_518.png"), small = {0};
    assert_ok(be_image_resize(&a, 224, 224, &small, &error), &error);
    check_shape(session, model, &c, "_c", 24, 36);
    check_shape(session, model, &d, "_d", 37, 37);
    check_shape(session, model, &small, "_a224", 16, 16);
    be_image_free(&a), be_image_free(&c), be_image_free(&d), be_image_free(&small);
    be_session_close(session);
    be_model_close(model);
}

/* --- other files of the same backbone, and other layers ----------------------------------------------------------- */

/* These are about files, and slow under the thread sanitizer. */
static void skip_where_threads_matter(void)
{
#ifdef __SANITIZE_THREAD__
    skip();
#endif
}

static void test_meta_names_and_legacy_form(void **state)
{
    (void)state;
    static const char *const files[] = {"dinov2_q_rois/dinov2_small_pretrain.pth", "legacy_pth/dinov2_small_legacy.pth"};
    skip_where_threads_matter();
    import_golden(GOLDEN_CHECKPOINT, "meta.safetensors");
    for (size_t i = 0; i < 2; i++) {
        be_model *model = open_model(files[i], GOLDEN_HEADS, "meta.safetensors");
        be_session *session = open_session(model, 1, NULL);
        assert_string_equal(be_model_backbone(model)->naming, "Meta");
        assert_string_equal(be_model_backbone(model)->unverified, "");
        check_main_image(session, model, "dinov2_q_rois/images/a_425.png", 0);
        be_session_close(session);
        be_model_close(model);
    }
    /* unasked, 12 heads are assumed, and it is said */
    be_model *model = open_model(files[0], 0, "meta.safetensors");
    assert_int_equal(be_model_backbone(model)->heads, 12);
    assert_non_null(strstr(be_model_backbone(model)->unverified, "heads"));
    be_model_close(model);
}

static void test_half_precision_weights(void **state)
{
    (void)state;
    static const char *const tags[] = {"_f16", "_bf16"};
    skip_where_threads_matter();
    import_golden(GOLDEN_CHECKPOINT, "half.safetensors");
    be_image image = read_picture("dinov2_q_rois/images/a_425.png");
    for (size_t i = 0; i < 2; i++) {
        char path[96];
        size_t rows, columns;
        snprintf(path, sizeof path, "legacy_pth/dinov2_small%s.pth", tags[i]);
        be_model *model = open_model(path, GOLDEN_HEADS, "half.safetensors");
        be_session *session = open_session(model, 2, NULL);
        float *features = features_of(session, model, &image, &rows, &columns);
        be_output output = predict(session, model, &image);
        check_vertices("legacy_pth", tags[i], 0, 1, output.vertices);
        check_attention("legacy_pth", tags[i], 10, output.attention, rows * columns);
        snprintf(path, sizeof path, "legacy_pth/expected/features_sample%s.npy", tags[i]);
        check_feature_sample(path, 0, 1, features, rows, columns, 96);
        free(features);
        free_output(&output);
        be_session_close(session);
        be_model_close(model);
    }
    be_image_free(&image);
}

static void check_layer(const char *folder, const char *backbone, size_t layer, size_t blocks, size_t channels)
{
    static const char *const pictures[] = {"dinov2_q_rois/images/a_425.png", "dinov2_q_rois/images/b_425.png"};
    char checkpoint[96], path[96];
    snprintf(checkpoint, sizeof checkpoint, "%s/checkpoint.pth", folder);
    import_golden(checkpoint, "layer.safetensors");
    be_model *model = open_model(backbone, GOLDEN_HEADS, "layer.safetensors");
    be_session *session = open_session(model, 2, NULL);
    assert_int_equal(be_subject_get_info(be_model_subject(model, 0))->member[0].tap.layer, layer);
    assert_int_equal(be_model_backbone(model)->blocks_needed, blocks);
    for (size_t i = 0; i < 2; i++) {
        be_image image = read_picture(pictures[i]);
        size_t rows, columns;
        float *features = features_of(session, model, &image, &rows, &columns);
        be_output output = predict(session, model, &image);
        check_vertices(folder, "", i, 2, output.vertices);
        if (i == 0)
            check_attention(folder, "", 3, output.attention, rows * columns);
        snprintf(path, sizeof path, "%s/expected/output_tokens.npy", folder);
        float *tokens = golden_f32(path, 2 * GOLDEN_QUERIES * channels);
        assert_close(path, output.tokens, tokens + i * GOLDEN_QUERIES * channels, GOLDEN_QUERIES * channels,
                     vertex_tolerance);
        snprintf(path, sizeof path, "%s/expected/features_sample.npy", folder);
        check_feature_sample(path, i, 2, features, rows, columns, channels);
        free(tokens), free(features);
        free_output(&output);
        be_image_free(&image);
    }
    be_session_close(session);
    be_model_close(model);
}

static void test_third_layer_from_the_end(void **state)
{
    (void)state;
    skip_where_threads_matter();
    check_layer("variants/dinov2q_enc3", "dinov2_q_rois/dinov2_small_pretrain.pth", 3, 1, 96);
}

static void test_twelve_blocks(void **state)
{
    (void)state;
    skip_where_threads_matter();
    check_layer("dinov2_depth12/dinov2q_enc7", "dinov2_depth12/dinov2_tiny12_pretrain.pth", 7, 5, 48);
}

/* Two subjects on two layers of one backbone: one pass gives each the numbers it has alone. */
static void test_two_subjects(void **state)
{
    (void)state;
    char backbone[1024], first[1024], second[1024], folder[1024];
    const char *subjects[] = {first, second};
    be_model *model = NULL;
    be_error error;
    snprintf(backbone, sizeof backbone, "%s", golden(GOLDEN_BACKBONE));
    snprintf(first, sizeof first, "%s", scratch("first.safetensors"));
    snprintf(second, sizeof second, "%s", scratch("second.safetensors"));
    snprintf(folder, sizeof folder, "%s", golden(GOLDEN_DATA));
    import_golden(GOLDEN_CHECKPOINT, "first.safetensors");
    be_model_options options = {.backbone = backbone, .subjects = subjects, .n_subjects = 2};
    be_import_options import = {.data = folder, .output = second};
    import.checkpoint = golden("variants/dinov2q_enc3/checkpoint.pth");
    assert_ok(be_subject_import(&import, &error), &error); /* both are called subj01 */
    assert_error(be_model_open(&options, &model, &error), BE_ERROR_ARGUMENT, &error, "subj01");
    import.checkpoint = golden("variants/dinov2q_enc3/checkpoint.pth");
    import.name = "third layer";
    assert_ok(be_subject_import(&import, &error), &error);
    assert_ok(be_model_open(&options, &model, &error), &error);
    size_t index = 9;
    assert_ok(be_model_find_subject(model, "third layer", &index, &error), &error);
    assert_int_equal(index, 1);
    assert_error(be_model_find_subject(model, "subj07", &index, &error), BE_ERROR_NOT_FOUND, &error, "subj01, third layer");
    be_session *session = open_session(model, 2, NULL);
    be_image image = read_picture("dinov2_q_rois/images/a_425.png");
    float vertices[2][GOLDEN_VERTICES];
    be_output outputs[2] = {{.vertices = vertices[0]}, {.vertices = vertices[1]}};
    assert_ok(be_session_predict(session, &image, 1, outputs, NULL, &error), &error);
    check_vertices("dinov2_q_rois", "", 0, 2, vertices[0]);
    check_vertices("variants/dinov2q_enc3", "", 0, 2, vertices[1]);
    be_image_free(&image);
    be_session_close(session);
    be_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_main_case),              cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_meta_names_and_legacy_form), cmocka_unit_test(test_half_precision_weights),
        cmocka_unit_test(test_third_layer_from_the_end), cmocka_unit_test(test_twelve_blocks),
        cmocka_unit_test(test_two_subjects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
