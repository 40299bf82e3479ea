/* Models, predictions and answers when memory runs out: the caller is told of it, nothing leaks (the leak checker of the
 * sanitizer build looks), and nothing is half done. */
#include "tests/unit/allocation.h"

#include "core/answer/answer.h"
#include "core/answer/gifti.h"

/* --- what all actions share --------------------------------------------------------------------------------------- */

static char checkpoint[1024], data[1024], subject_path[1024], backbone[1024], meta_backbone[1024],
    clip_backbone[1024], renamed_clip_backbone[1024], resnet[1024];
static be_model *model;
static be_session *session;

static int open_fixture(void **state)
{
    (void)state;
    snprintf(checkpoint, sizeof checkpoint, "%s", golden(GOLDEN_CHECKPOINT));
    snprintf(data, sizeof data, "%s", golden(GOLDEN_DATA));
    snprintf(backbone, sizeof backbone, "%s", golden(GOLDEN_BACKBONE));
    snprintf(meta_backbone, sizeof meta_backbone, "%s", golden("dinov2_q_rois/dinov2_small_pretrain.pth"));
    snprintf(clip_backbone, sizeof clip_backbone, "%s", golden("clip/open_clip_narrow.pth"));
    snprintf(renamed_clip_backbone, sizeof renamed_clip_backbone, "%s", golden("clip/clip_vision_narrow.safetensors"));
    snprintf(resnet, sizeof resnet, "%s", golden("resnet/resnet18_narrow.pth"));
    snprintf(subject_path, sizeof subject_path, "%s", scratch("subject.safetensors"));
    make_output_folder();
    model = open_golden_model("subject.safetensors");
    session = open_session(model, 2, NULL);
    return 0;
}

static int close_fixture(void **state)
{
    (void)state;
    be_session_close(session);
    be_model_close(model);
    return 0;
}

/* --- models ------------------------------------------------------------------------------------------------------- */

static be_status import_subject(be_error *error)
{
    be_import_options options = {.checkpoint = checkpoint, .data = data, .output = output};
    return be_subject_import(&options, error);
}

static be_status open_subject(be_error *error)
{
    be_subject *subject = NULL;
    be_status status = be_subject_open(subject_path, BE_PRECISION_F32, &subject, error);
    if (status == BE_OK)
        be_subject_close(subject);
    return status;
}

static be_status open_one_model(const char *weights, be_error *error)
{
    const char *subjects[] = {subject_path};
    be_model_options options = {.backbone = weights, .backbone_options = {.heads = 12}, .subjects = subjects,
                                .n_subjects = 1};
    be_model *opened = NULL;
    be_status status = be_model_open(&options, &opened, error);
    if (status == BE_OK)
        be_model_close(opened);
    return status;
}

static be_status open_safetensors_model(be_error *error)
{
    return open_one_model(backbone, error);
}

static be_status open_measured_model(be_error *error)
{
    const char *subjects[] = {subject_path};
    be_model_options options = {.backbone = backbone, .subjects = subjects, .n_subjects = 1, .precision = BE_PRECISION_BF16};
    be_model *opened = NULL;
    be_status status = be_model_open_measured(&options, &(be_session_options){.threads = 2}, &opened, error);
    if (status == BE_OK)
        be_model_close(opened);
    return status;
}

static be_status open_torch_model(be_error *error)
{
    return open_one_model(meta_backbone, error);
}

static be_status open_backbone(const char *weights, const be_tap *taps, size_t n_taps, be_error *error)
{
    be_backbone *opened = NULL;
    be_status status = be_backbone_open(weights, NULL, taps, n_taps, &opened, error);
    if (status == BE_OK)
        be_backbone_close(opened);
    return status;
}

static be_status open_dinov2(be_error *error)
{
    static const be_tap taps[] = {{BE_FEATURES_DINOV2, 2, false}, {BE_FEATURES_DINOV2_Q_CLS, 1, false}};
    return open_backbone(meta_backbone, taps, 2, error);
}

static const be_tap clip_taps[] = {{BE_FEATURES_CLIP, 1, false}, {BE_FEATURES_CLIP_CLS, 1, false}};

static be_status open_clip(be_error *error)
{
    return open_backbone(clip_backbone, clip_taps, 2, error);
}

static be_status open_renamed_clip(be_error *error)
{
    return open_backbone(renamed_clip_backbone, clip_taps, 2, error);
}

static be_status open_resnet(be_error *error)
{
    static const be_tap tap = {BE_FEATURES_RESNET18, 1, false};
    return open_backbone(resnet, &tap, 1, error);
}

static be_status inspect_resnet(be_error *error)
{
    be_backbone_info info;
    return be_backbone_inspect(resnet, NULL, &info, error);
}

static be_status inspect_backbone(be_error *error)
{
    be_backbone_info info;
    return be_backbone_inspect(backbone, NULL, &info, error);
}

static be_status open_one_session(be_error *error)
{
    be_session *opened = NULL;
    be_status status = be_session_open(model, &(be_session_options){.threads = 3, .tokens = 8}, &opened, error);
    if (status == BE_OK)
        be_session_close(opened);
    return status;
}

static void test_models(void **state)
{
    (void)state;
    fail_each_writer("import", import_subject);
    fail_each("opening a subject", open_subject, NULL);
    fail_each("opening a model", open_safetensors_model, NULL);
    fail_each("opening a model and measuring it", open_measured_model, NULL);
    fail_each("opening a model from .pth", open_torch_model, NULL);
    fail_each("opening DINOv2", open_dinov2, NULL);
    fail_each("opening CLIP", open_clip, NULL);
    fail_each("opening CLIP from .safetensors", open_renamed_clip, NULL);
    fail_each("inspecting a backbone", inspect_backbone, NULL);
    fail_each("opening a residual network", open_resnet, NULL);
    fail_each("inspecting a residual network", inspect_resnet, NULL);
    fail_each("opening a session", open_one_session, NULL);
}

/* --- predicting --------------------------------------------------------------------------------------------------- */

enum { SIDE = 14, CELLS = SIDE * SIDE, PATCH = 14 };
static uint8_t pixels[CELLS * PATCH * PATCH * 3];

/* An image of a grid that was not there before. */
static be_image next_image(void)
{
    static size_t turn;
    assert_true(turn < CELLS);
    be_image image = {.width = PATCH * (1 + turn % SIDE), .height = PATCH * (1 + turn / SIDE), .rgb = pixels};
    turn++;
    return image;
}

static be_status predict_image(be_error *error)
{
    static float vertices[GOLDEN_VERTICES], attention[GOLDEN_QUERIES * CELLS], heads[16 * GOLDEN_QUERIES * CELLS];
    be_image image = next_image();
    be_output out = {.vertices = vertices, .attention = attention, .attention_heads = heads};
    return be_session_predict(session, &image, 1, &out, NULL, error);
}

static be_status predict_batch(be_error *error)
{
    static float vertices[3][GOLDEN_VERTICES];
    be_image images[3] = {next_image(), next_image(), next_image()};
    be_output outputs[3] = {{.vertices = vertices[0]}, {.vertices = vertices[1]}, {.vertices = vertices[2]}};
    return be_session_predict(session, images, 3, outputs, NULL, error);
}

static be_status read_features(be_error *error)
{
    static float features[CELLS * 96];
    float *wanted[] = {features};
    be_image image = next_image();
    return be_session_features(session, &image, wanted, error);
}

/* A grid that is held, and so nothing at all to allocate: the promise of a session. */
static void test_nothing_is_allocated_for_a_known_grid(void **state)
{
    (void)state;
    be_error error;
    be_image image = make_noise(42, 42, 1);
    be_output out = make_output(model, &image);
    assert_ok(be_session_predict(session, &image, 1, &out, NULL, &error), &error);
    atomic_store(&calls, 0);
    atomic_store(&failing, 1);
    be_status status = be_session_predict(session, &image, 1, &out, NULL, &error);
    atomic_store(&failing, 0);
    assert_ok(status, &error);
    assert_int_equal(atomic_load(&calls), 0);
    free_output(&out);
    be_image_free(&image);
}

static void test_predicting(void **state)
{
    (void)state;
    fail_each("predicting", predict_image, NULL);
    fail_each("predicting a batch", predict_batch, NULL);
    fail_each("features", read_features, NULL);
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

static be_output answered;
static const be_answer_image told = {.name = "a.png", .hash = "00", .width = 28, .height = 28, .fit = BE_FIT_NATIVE,
                                     .rows = 2, .columns = 2};

static be_status answer_selection(be_error *error)
{
    const be_subject_info *info = be_subject_get_info(be_model_subject(model, 0));
    const be_map_source source = {.info = info, .output = &answered, .rows = 2, .columns = 2};
    static float values[7 * 4];
    be_map_selection asked = {.hemispheres = {true, false}};
    char *text = NULL;
    be_status status = be_map_select_rois(info, "FBA,floc-words,rest", &asked, error);
    be_answer_options options = {.vertices = true, .rois = true, .space = BE_SPACE_FSAVERAGE, .only = &asked.rois,
                                 .maps = &(be_answer_maps){&asked, values}};
    assert_true(status != BE_OK || be_map_selection_count(&asked) * 4 <= sizeof values / sizeof *values);
    if (status == BE_OK)
        status = be_maps_compute(&source, &asked, values, error);
    if (status == BE_OK)
        status = be_answer_prediction(model, 0, &told, &answered, &options, NULL, &text, error);
    free(text);
    be_map_selection_free(&asked);
    return status;
}

static be_status answer_all(be_error *error)
{
    char *text = NULL;
    be_answer_options options = {.vertices = true, .rois = true};
    be_status status = be_answer_prediction(model, 0, &told, &answered, &options, NULL, &text, error);
    free(text);
    return status;
}

static be_status answer_gifti(be_error *error)
{
    const be_surface surface = be_surface_of(be_model_subject(model, 0));
    be_columns columns = {0};
    unsigned char *bytes = NULL;
    size_t size;
    be_status status = be_columns_make(&surface, BE_SPACE_CHALLENGE, NULL, BE_LEFT, &columns, error);
    const be_gifti file = {.surface = &surface, .columns = &columns,
                           .by = {.backbone = "made", .backbone_hash = "0", .backbone_activation = "gelu",
                                  .backbone_unverified = "by a test", .precision = "f32", .version = "test"},
                           .n_images = 1, .names = &told.name, .vertices = (const float *const[]){answered.vertices}};
    if (status == BE_OK)
        status = be_gifti_make(&file, &bytes, &size, error);
    free(bytes);
    be_columns_free(&columns);
    return status;
}

static void test_answers(void **state)
{
    (void)state;
    be_image image = make_noise(28, 28, 1);
    answered = predict(session, model, &image);
    fail_each_in_json("an answer", answer_all);
    fail_each_in_json("an answer of a selection", answer_selection);
    fail_each("an answer", answer_all, NULL);
    fail_each("an answer of a selection", answer_selection, NULL);
    fail_each("a GIFTI file", answer_gifti, NULL);
    free_output(&answered);
    be_image_free(&image);
}

/* --- import and the JSON library ---------------------------------------------------------------------------------- */

/* There are many of them and all alike, so that after the first ones every 11th must do. */
static void test_json_library(void **state)
{
    (void)state;
    size_t tried = 0, whole_size, size;
    be_error error;
    write_bytes(output, old, sizeof old);
    fail_in_json(true);
    for (json_failing = 1;; json_failing += json_failing < 60 ? STEP : 11 * STEP) {
        json_calls = 0;
        be_status status = import_subject(&error);
        if (json_calls < json_failing) {
            assert_ok(status, &error);
            break;
        }
        assert_error(status, BE_ERROR_MEMORY, &error, "memory");
        check_old_file();
        tried++;
    }
    fail_in_json(false);
    print_message("import and the JSON library: %zu of %zu allocations failed\n", tried, json_calls);
    unsigned char *whole = read_bytes(subject_path, &whole_size), *bytes = read_bytes(output, &size);
    assert_int_equal(size, whole_size);
    assert_memory_equal(bytes, whole, size);
    free(whole), free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_models),  cmocka_unit_test(test_nothing_is_allocated_for_a_known_grid),
        cmocka_unit_test(test_predicting), cmocka_unit_test(test_answers),
        cmocka_unit_test(test_json_library),
    };
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
