/* CLIP's visual tower against the golden one: each step, both activations, both files; and what is refused. */
#include "tests/unit/backbone_support.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/backbone/vit.h"

#define OPENAI "clip/open_clip_narrow.pth"
#define RENAMED "clip/clip_vision_narrow.safetensors"
#define EXPECTED "clip/transformer_rois/expected/"
enum { WIDTH = 128, CHANNELS = 96, SIDE = 16, CELLS = SIDE * SIDE, TOKENS = 1 + CELLS, BLOCKS = 3 };

/* The layer number of the authors' program means nothing here. */
static const be_tap taps[] = {{BE_FEATURES_CLIP, 1, false}, {BE_FEATURES_CLIP_CLS, 99, false}};
static const be_backbone_options plain_gelu = {.activation = BE_ACTIVATION_GELU};
static be_image pictures[2];

static int read_pictures(void **state)
{
    (void)state;
    pictures[0] = read_picture("clip/images/e_224.png");
    pictures[1] = read_picture("clip/images/f_224.png");
    return 0;
}

static int free_pictures(void **state)
{
    (void)state;
    be_image_free(&pictures[0]), be_image_free(&pictures[1]);
    return 0;
}

/* --- the golden values -------------------------------------------------------------------------------------------- */

/* Every `step`th of our rows, from `rows` on, is row number `first` and those after it of the golden file of `all` rows. */
static void check_rows(const char *path, const float *rows, size_t step, size_t width, size_t first, size_t count, size_t all)
{
    float *expected = golden_f32(path, all * width);
    for (size_t i = 0; i < count; i++)
        assert_close(path, rows + i * step * width, expected + (first + i) * width, width, FEATURE_TOLERANCE);
    free(expected);
}

static void test_each_step(void **state)
{
    (void)state;
    enum { STEP = 16, ROWS = (TOKENS + STEP - 1) / STEP };
    be_backbone *backbone = open_backbone(golden(OPENAI), NULL, taps, 2);
    const vit *model = (const vit *)backbone;
    workspace it;
    vit_run run;
    be_error error;
    open_workspace(&it, backbone, NULL, &pictures[0]);
    assert_ok(vit_begin(&run, model, &it.team, &it.arena, &pictures[0], model->positions, &error), &error);
    check_rows(EXPECTED "tokens_after_ln_pre_e.npy", run.x, STEP, WIDTH, 0, ROWS, ROWS);
    for (size_t block = 0; block < BLOCKS; block++) {
        char path[96];
        snprintf(path, sizeof path, EXPECTED "block%zu_out_e.npy", block);
        vit_project(&run, block);
        vit_finish(&run, block, 0, TOKENS);
        check_rows(path, run.x, STEP, WIDTH, 0, ROWS, ROWS);
    }
    close_workspace(&it);
    be_backbone_close(backbone);
}

/* What the last norm gives, without the projection after it. */
static void check_before_projection(const be_backbone *backbone, const char *tag)
{
    vit bare = *(const vit *)backbone;
    char path[96];
    snprintf(path, sizeof path, EXPECTED "patch_tokens_before_projection%s.npy", tag);
    bare.projects = false;
    for (size_t image = 0; image < 2; image++) {
        workspace it;
        be_error error;
        float tokens[CELLS * WIDTH], class_token[WIDTH], *features[] = {tokens, class_token};
        open_workspace(&it, backbone, NULL, &pictures[image]);
        assert_ok(vit_run_image(&bare, &it.team, &it.arena, &pictures[image], bare.positions, features, &error), &error);
        check_rows(path, tokens, 16, WIDTH, image * 16, 16, 32);
        close_workspace(&it);
    }
}

static void check_map(size_t image, const float *features)
{
    float *expected = golden_f32(EXPECTED "features.npy", 2 * CHANNELS * CELLS);
    for (size_t t = 0; t < CELLS; t++) {
        float turned[CHANNELS];
        for (size_t c = 0; c < CHANNELS; c++)
            turned[c] = expected[(image * CHANNELS + c) * CELLS + t];
        assert_close("features", features + t * CHANNELS, turned, CHANNELS, FEATURE_TOLERANCE);
    }
    free(expected);
}

static void check_projected(const be_backbone *backbone, const char *isa, bool quick)
{
    for (size_t image = 0; image < 2; image++) {
        float *features[2];
        run_backbone(backbone, isa, &pictures[image], taps, 2, features);
        if (quick)
            check_map(image, features[0]);
        else
            check_rows(EXPECTED "patch_tokens_projected_plain_gelu.npy", features[0], 8, CHANNELS, image * 32, 32, 64);
        check_rows(quick ? EXPECTED "cls_projected.npy" : EXPECTED "cls_projected_plain_gelu.npy", features[1], 1, CHANNELS,
                   image, 1, 2);
        free(features[0]), free(features[1]);
    }
}

static void test_features(void **state)
{
    (void)state;
    static const char *const files[] = {OPENAI, RENAMED};
    const be_kernels *tables[BE_KERNELS_MAX];
    size_t n_tables = be_kernels_available(tables);
    for (size_t i = 0; i < 2; i++) {
        be_backbone *backbone = open_backbone(golden(files[i]), NULL, taps, 2);
        for (size_t t = 0; t < n_tables; t++)
            check_projected(backbone, tables[t]->name, true);
        check_before_projection(backbone, "");
        be_backbone_close(backbone);
        backbone = open_backbone(golden(files[i]), &plain_gelu, taps, 2);
        check_projected(backbone, NULL, false);
        check_before_projection(backbone, "_plain_gelu");
        be_backbone_close(backbone);
    }
}

/* Each tap alone gives what both together give, with no more in memory than that takes. */
static void test_taps_alone(void **state)
{
    (void)state;
    size_t block = 4 * WIDTH + 4 * WIDTH * WIDTH + 4 * WIDTH + 2 * 512 * WIDTH + 512 + WIDTH;
    size_t all = WIDTH * 3 * 14 * 14 + TOKENS * WIDTH + 4 * WIDTH + BLOCKS * block + CHANNELS * WIDTH;
    float *both[2], *alone;
    be_backbone *backbone = open_backbone(golden(OPENAI), NULL, taps, 2);
    run_backbone(backbone, NULL, &pictures[0], taps, 2, both);
    be_backbone_close(backbone);
    for (size_t i = 0; i < 2; i++) {
        backbone = open_backbone(golden(OPENAI), NULL, &taps[i], 1);
        const be_backbone_info *info = be_backbone_get_info(backbone);
        assert_int_equal(info->blocks_needed, BLOCKS);
        assert_int_equal(info->parameters, all);
        run_backbone(backbone, NULL, &pictures[0], &taps[i], 1, &alone);
        assert_close("alone", alone, both[i], (i == 0 ? CELLS : 1) * CHANNELS, FEATURE_TOLERANCE);
        be_backbone_close(backbone);
        free(alone), free(both[i]);
    }
}

static void test_info(void **state)
{
    (void)state;
    be_backbone_info info;
    be_error error;
    assert_ok(be_backbone_inspect(golden(OPENAI), NULL, &info, &error), &error);
    assert_string_equal(info.kind, "clip");
    assert_string_equal(info.name, "clip_vit128x3");
    assert_string_equal(info.naming, "OpenAI");
    assert_string_equal(info.unverified, "");
    assert_int_equal(info.channels, CHANNELS);
    assert_int_equal(info.width, WIDTH);
    assert_int_equal(info.depth, BLOCKS);
    assert_int_equal(info.heads, 2);
    assert_int_equal(info.hidden, 512);
    assert_int_equal(info.position_grid, SIDE);
    assert_int_equal(info.image_size, 224);
    assert_int_equal(info.activation, BE_ACTIVATION_QUICK_GELU);
    assert_ok(be_backbone_inspect(golden(RENAMED), &plain_gelu, &info, &error), &error);
    assert_string_equal(info.naming, "Hugging Face");
    assert_int_equal(info.activation, BE_ACTIVATION_GELU); /* the option goes before config.json */
}

/* --- config.json -------------------------------------------------------------------------------------------------- */

/* Inspects the renamed file with another config.json beside it. */
static be_status inspect_beside(const char *config, be_backbone_info *info, be_error *error)
{
    static unsigned turn;
    char folder[1024], path[1100], target[4096];
    char name[32];
    snprintf(name, sizeof name, "beside%u", turn++);
    snprintf(folder, sizeof folder, "%s", scratch(name));
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_non_null(realpath(golden(RENAMED), target));
    snprintf(path, sizeof path, "%s/config.json", folder);
    write_bytes(path, config, strlen(config));
    snprintf(path, sizeof path, "%s/clip.safetensors", folder);
    assert_int_equal(symlink(target, path), 0);
    return be_backbone_inspect(path, NULL, info, error);
}

static void test_config(void **state)
{
    (void)state;
    static const struct { const char *config; be_activation activation; size_t heads; } good[] = {
        {"{}", BE_ACTIVATION_QUICK_GELU, 2},
        {"{\"hidden_act\": \"gelu\", \"num_attention_heads\": 4}", BE_ACTIVATION_GELU, 4},
        {"{\"hidden_act\": \"quick_gelu\"}", BE_ACTIVATION_QUICK_GELU, 2},
        {"{\"vision_config\": {\"hidden_act\": \"gelu\", \"num_attention_heads\": 8}, \"hidden_act\": \"quick_gelu\"}",
         BE_ACTIVATION_GELU, 8},
        {"{\"vision_config\": {}, \"num_attention_heads\": 1}", BE_ACTIVATION_QUICK_GELU, 1},
    };
    static const struct { const char *config; be_status status; const char *part; } bad[] = {
        {"{\"hidden_act\": \"relu\"}", BE_ERROR_UNSUPPORTED, "hidden_act 'relu'"},
        {"{\"hidden_act\": 5}", BE_ERROR_FORMAT, "'hidden_act' is no text"},
        {"{\"hidden_act\": \"a word that is far too long to be an activation\"}", BE_ERROR_FORMAT, "'hidden_act'"},
        {"{\"num_attention_heads\": 3}", BE_ERROR_FORMAT, "width 128 is not a multiple of 3 heads"},
        {"{\"num_attention_heads\": \"2\"}", BE_ERROR_FORMAT, "num_attention_heads"},
        {"[]", BE_ERROR_FORMAT, "is no JSON object"}, {"{", BE_ERROR_FORMAT, "is no JSON object"},
    };
    be_backbone_info info;
    be_error error;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_ok(inspect_beside(good[i].config, &info, &error), &error);
        assert_int_equal(info.activation, good[i].activation);
        assert_int_equal(info.heads, good[i].heads);
        assert_int_equal(strstr(info.unverified, "heads for width 128") != NULL, good[i].heads != 2); /* published: width / 64 */
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_error(inspect_beside(bad[i].config, &info, &error), bad[i].status, &error, bad[i].part);
}

/* --- other files and what is refused ------------------------------------------------------------------------------ */

/* The visual tower alone without its prefix, and the whole with another before it. */
static void test_prefixes(void **state)
{
    (void)state;
    static char names[MOST_WEIGHTS][128];
    weights whole = take_weights(golden(OPENAI)), visual = {.count = 0}, wrapped = whole;
    for (size_t i = 0; i < whole.count; i++) {
        snprintf(names[i], sizeof names[i], "module.%s", whole.tensors[i].name);
        wrapped.tensors[i].name = names[i];
        if (strncmp(whole.tensors[i].name, "visual.", 7) == 0) {
            visual.tensors[visual.count] = whole.tensors[i];
            visual.tensors[visual.count++].name += 7;
        }
    }
    const weights *both[] = {&visual, &wrapped};
    for (size_t i = 0; i < 2; i++) {
        write_weights(both[i], scratch("prefix.safetensors"));
        be_backbone *backbone = open_backbone(scratch("prefix.safetensors"), NULL, taps, 2);
        check_projected(backbone, NULL, true);
        be_backbone_close(backbone);
    }
    free_weights(&whole);
}

static void test_each_tensor_is_named(void **state)
{
    (void)state;
    static const char *const unneeded[] = {NULL};
    weights whole = take_weights(golden(OPENAI)), visual = {.count = 0}, renamed = take_weights(golden(RENAMED));
    for (size_t i = 0; i < whole.count; i++) { /* the tower of texts is of no use */
        if (strncmp(whole.tensors[i].name, "visual.", 7) == 0)
            visual.tensors[visual.count++] = whole.tensors[i];
    }
    assert_true(visual.count < whole.count);
    check_each_tensor(&visual, NULL, taps, 2, unneeded);
    check_each_tensor(&renamed, NULL, taps, 2, unneeded);
    free_weights(&whole), free_weights(&renamed);
}

static void test_other_sizes_of_image(void **state)
{
    (void)state;
    static const size_t sizes[][2] = {{223, 224}, {224, 223}, {224, 225}, {425, 425}, {1, 1}};
    be_backbone *backbone = open_backbone(golden(OPENAI), NULL, taps, 2);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        be_image image = make_noise(sizes[i][0], sizes[i][1], 1);
        float *features[2] = {NULL, NULL}; /* nothing is written */
        workspace it;
        be_error error;
        open_workspace(&it, backbone, NULL, &image);
        assert_error(be_backbone_run(backbone, &it.team, &it.arena, &image, it.constants, features, &error), BE_ERROR_ARGUMENT,
                     &error, "takes 224 x 224 alone");
        close_workspace(&it);
        be_image_free(&image);
    }
    be_backbone_close(backbone);
}

static void test_options_and_taps(void **state)
{
    (void)state;
    const be_tap queries = {.features = BE_FEATURES_DINOV2_Q, .layer = 1};
    const char *path = golden(OPENAI);
    refuse_backbone(path, NULL, &queries, 1, BE_ERROR_FORMAT, "is a clip backbone, which has no dinov2_q features");
    refuse_backbone(path, &(be_backbone_options){.kind = "dinov2"}, taps, 2, BE_ERROR_FORMAT, "is a clip backbone, not the dinov2");
    refuse_backbone(path, &(be_backbone_options){.heads = 3}, taps, 2, BE_ERROR_ARGUMENT, "width 128 is not a multiple of 3 heads");
    be_backbone_close(open_backbone(path, &(be_backbone_options){.kind = "clip", .heads = 4}, taps, 2));
    be_activation activation = BE_ACTIVATION_AUTO;
    be_error error;
    assert_ok(be_activation_parse("quick_gelu", &activation, &error), &error);
    assert_int_equal(activation, BE_ACTIVATION_QUICK_GELU);
    assert_ok(be_activation_parse("gelu", &activation, &error), &error);
    assert_int_equal(activation, BE_ACTIVATION_GELU);
    assert_ok(be_activation_parse("auto", &activation, &error), &error);
    assert_int_equal(activation, BE_ACTIVATION_AUTO);
    assert_error(be_activation_parse("swiglu", &activation, &error), BE_ERROR_ARGUMENT, &error, "'swiglu' is none of: auto");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_step),            cmocka_unit_test(test_features),
        cmocka_unit_test(test_taps_alone),           cmocka_unit_test(test_info),
        cmocka_unit_test(test_config),               cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_each_tensor_is_named), cmocka_unit_test(test_other_sizes_of_image),
        cmocka_unit_test(test_options_and_taps),
    };
    return cmocka_run_group_tests(tests, read_pictures, free_pictures);
}
