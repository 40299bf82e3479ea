/* Which files are residual networks, what is said about them, and what is refused. */
#include "tests/unit/resnet_support.h"

#include <math.h>
#include <stdio.h>


static const be_tap tap18 = {.features = BE_FEATURES_RESNET18, .layer = 1};
static const be_tap tap50 = {.features = BE_FEATURES_RESNET50, .layer = 1};

static be_backbone_info inspect(const char *path)
{
    be_backbone_info info;
    be_error error;
    assert_ok(be_backbone_inspect(path, NULL, &info, &error), &error);
    return info;
}

/* The file is refused when it is inspected and when it is opened; the sentence begins with its path. */
static void refuse(const char *path, const be_tap *tap, be_status status, const char *part)
{
    be_backbone_info info;
    be_backbone *backbone = NULL;
    be_error error;
    assert_error(be_backbone_inspect(path, NULL, &info, &error), status, &error, part);
    assert_memory_equal(error.message, path, strlen(path));
    assert_error(be_backbone_open(path, NULL, tap, 1, &backbone, &error), status, &error, part);
    assert_memory_equal(error.message, path, strlen(path));
    assert_null(backbone);
}

static void refuse_pieces(const resnet_pieces *it, const be_tap *tap, be_status status, const char *part)
{
    const char *path = scratch("refused.safetensors");
    write_resnet(it, path);
    refuse(path, tap, status, part);
}

/* --- what is recognised ------------------------------------------------------------------------------------------- */

static void test_golden_files(void **state)
{
    (void)state;
    be_backbone_info info = inspect(golden(RESNET18_FILE));
    assert_string_equal(info.kind, "resnet");
    assert_string_equal(info.naming, "torchvision");
    assert_string_equal(info.name, "resnet18_width8");
    assert_string_equal(info.unverified, "");
    assert_int_equal(info.channels, 64);
    assert_int_equal(info.depth, 8);
    assert_int_equal(info.patch, 32);
    assert_int_equal(info.heads, 0);
    assert_int_equal(info.position_grid, 0);
    assert_int_equal(info.image_size, 0);
    info = inspect(golden(RESNET50_FILE));
    assert_string_equal(info.name, "resnet50_width8");
    assert_string_equal(info.unverified, "");
    assert_int_equal(info.channels, 256);
    assert_int_equal(info.depth, 16);
}

static void test_names_of_sizes(void **state)
{
    (void)state;
    static const size_t twos[] = {2, 2, 2, 2}, many[] = {3, 4, 6, 3}, ones[] = {1, 1, 1, 1};
    static const size_t widths[] = {64, 128, 256, 512};
    resnet_pieces *it = make_resnet(false, twos, 64, widths, widths);
    for (size_t i = 0; i < it->n_tensors; i++) /* torchvision has no shortcut where nothing changes */
        while (i < it->n_tensors && strstr(it->tensors[i].name, "layer1.0.downsample"))
            remove_resnet_piece(it, i);
    write_resnet(it, scratch("resnet18.safetensors"));
    free_resnet_pieces(it);
    be_backbone_info info = inspect(scratch("resnet18.safetensors"));
    assert_string_equal(info.name, "resnet18");
    assert_string_equal(info.unverified, "");
    assert_int_equal(info.channels, 512);
    /* torchvision counts 11689512; the classifier has 512 * 1000 + 1000, and of each of the 4800 channels' batch norm the gain
     * is folded away */
    assert_int_equal(info.parameters, 11689512 - 513000 - 4800);
    it = make_resnet(false, many, 5, (const size_t[]){5, 10, 20, 40}, (const size_t[]){5, 10, 20, 40});
    write_resnet(it, scratch("resnet34.safetensors"));
    free_resnet_pieces(it);
    info = inspect(scratch("resnet34.safetensors"));
    assert_string_equal(info.name, "resnet34_width5");
    assert_non_null(strstr(info.unverified, "3, 4, 6 and 3 basic blocks"));
    it = make_resnet(true, ones, 4, (const size_t[]){4, 8, 16, 32}, (const size_t[]){16, 32, 64, 128});
    write_resnet(it, scratch("resnet14.safetensors"));
    free_resnet_pieces(it);
    info = inspect(scratch("resnet14.safetensors"));
    assert_string_equal(info.name, "resnet14_width4");
    assert_non_null(strstr(info.unverified, "1, 1, 1 and 1 bottleneck blocks"));
}

/* Networks nobody published, of widths that fill no vector: computed as they are. */
static void check_network(const char *name, bool bottleneck, const size_t counts[4], bool dilation)
{
    static const size_t inside[] = {3, 5, 6, 9}, wide[] = {7, 6, 13, 11};
    const char *path = scratch(name);
    resnet_pieces *it = make_resnet(bottleneck, counts, 5, inside, wide);
    write_resnet(it, path);
    free_resnet_pieces(it);
    be_backbone *backbone = open_resnet(path, bottleneck ? BE_FEATURES_RESNET50 : BE_FEATURES_RESNET18, dilation);
    assert_non_null(strstr(be_backbone_get_info(backbone)->unverified, "of other widths"));
    assert_int_equal(be_backbone_get_info(backbone)->channels, wide[3]);
    be_image image = make_noise(101, 77, 4);
    float *ours = resnet_features(backbone, &image);
    check_plainly(name, path, "", &image, dilation, ours, 1e-4f);
    free(ours);
    be_image_free(&image);
    be_backbone_close(backbone);
}

static void test_other_networks(void **state)
{
    (void)state;
    check_network("basic.safetensors", false, (const size_t[]){1, 3, 2, 1}, false);
    check_network("bottleneck.safetensors", true, (const size_t[]){2, 1, 1, 3}, false);
    check_network("dilated.safetensors", true, (const size_t[]){1, 2, 1, 3}, true);
}

/* What training scripts put before the names. */
static void test_prefixes(void **state)
{
    (void)state;
    static const char *const prefixes[] = {"module.", "model.", "backbone.", "state_dict.module."};
    be_image image = make_noise(60, 40, 4);
    be_backbone *plain = open_resnet(golden(RESNET18_FILE), BE_FEATURES_RESNET18, false);
    float *expected = resnet_features(plain, &image);
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        const char *path = scratch("prefixed.safetensors");
        resnet_pieces *it = take_resnet_apart(golden(RESNET18_FILE), prefixes[i]);
        write_resnet(it, path);
        free_resnet_pieces(it);
        be_backbone *backbone = open_resnet(path, BE_FEATURES_RESNET18, false);
        float *ours = resnet_features(backbone, &image);
        assert_memory_equal(ours, expected, 2 * 2 * 64 * sizeof *ours);
        free(ours);
        be_backbone_close(backbone);
    }
    free(expected);
    be_backbone_close(plain);
    be_image_free(&image);
}

/* --- taps --------------------------------------------------------------------------------------------------------- */

static void refuse_taps(const char *file, const be_tap *taps, size_t n_taps, be_status status, const char *part)
{
    be_backbone *backbone = NULL;
    be_error error;
    assert_error(be_backbone_open(golden(file), NULL, taps, n_taps, &backbone, &error), status, &error, part);
    assert_memory_equal(error.message, golden(file), strlen(golden(file)));
    assert_null(backbone);
}

static void test_refused_taps(void **state)
{
    (void)state;
    be_tap dilated18 = tap18, dilated50 = tap50, dinov2 = {.features = BE_FEATURES_DINOV2_Q, .layer = 1};
    dilated18.dilation = dilated50.dilation = true;
    refuse_taps(RESNET18_FILE, &dilated18, 1, BE_ERROR_UNSUPPORTED, "dilation is for bottleneck blocks");
    refuse_taps(RESNET18_FILE, &tap50, 1, BE_ERROR_FORMAT, "basic blocks, which has no resnet50 features");
    refuse_taps(RESNET50_FILE, &tap18, 1, BE_ERROR_FORMAT, "bottleneck blocks, which has no resnet18 features");
    refuse_taps(RESNET50_FILE, &dinov2, 1, BE_ERROR_FORMAT, "has no dinov2_q features");
    refuse_taps(RESNET50_FILE, (const be_tap[]){tap50, dilated50}, 2, BE_ERROR_UNSUPPORTED, "dilated");
    refuse_taps(RESNET50_FILE, (const be_tap[]){dilated50, tap50}, 2, BE_ERROR_UNSUPPORTED, "dilated");
    refuse_taps(RESNET50_FILE, (const be_tap[]){tap50, tap18}, 2, BE_ERROR_FORMAT, "no resnet18 features");
}

/* enc_output_layer means nothing to a residual network. */
static void test_layers_are_ignored(void **state)
{
    (void)state;
    enum { COUNT = 2 * 64 };
    const be_tap taps[] = {{.features = BE_FEATURES_RESNET18, .layer = 1}, {.features = BE_FEATURES_RESNET18, .layer = 99}};
    float maps[2][COUNT];
    float *features[] = {maps[0], maps[1]};
    be_image image = make_noise(64, 20, 4);
    be_backbone *backbone = NULL;
    be_error error;
    crew it;
    memset(maps, 0xff, sizeof maps);
    assert_ok(be_backbone_open(golden(RESNET18_FILE), NULL, taps, 2, &backbone, &error), &error);
    make_crew(&it, 1, backbone, 2);
    assert_ok(be_backbone_run(backbone, &it.team, &it.arena, &image, NULL, features, &error), &error);
    check_plainly("layer 1", golden(RESNET18_FILE), "", &image, false, maps[0], resnet18_tolerance);
    assert_memory_equal(maps[0], maps[1], sizeof maps[0]);
    free_crew(&it);
    be_backbone_close(backbone);
    be_image_free(&image);
}

/* --- damage ------------------------------------------------------------------------------------------------------- */

/* Small files, of which many are written. */
static resnet_pieces *make_small(bool bottleneck)
{
    return make_resnet(bottleneck, (const size_t[]){1, 2, 1, 2}, 2, (const size_t[]){2, 3, 2, 3}, (const size_t[]){3, 4, 5, 6});
}

static void test_missing_tensors(void **state)
{
    (void)state;
    for (int bottleneck = 0; bottleneck < 2; bottleneck++) {
        resnet_pieces *whole = make_small(bottleneck);
        size_t count = whole->n_tensors;
        free_resnet_pieces(whole);
        assert_true(count > 60);
        for (size_t i = 0; i < count; i++) {
            char name[RESNET_NAME_ROOM + 16];
            resnet_pieces *it = make_small(bottleneck);
            snprintf(name, sizeof name, "'%s' is missing", it->tensors[i].name);
            remove_resnet_piece(it, i);
            refuse_pieces(it, bottleneck ? &tap50 : &tap18, BE_ERROR_FORMAT, name);
            free_resnet_pieces(it);
        }
    }
}

static void test_wrong_dimensions(void **state)
{
    (void)state;
    resnet_pieces *it = make_small(true);
    for (size_t i = 0; i < it->n_tensors; i++) {
        be_tensor_source *tensor = &it->tensors[i];
        be_tensor_source before = *tensor;
        tensor->shape[tensor->n_dims++] = 1;
        refuse_pieces(it, &tap50, BE_ERROR_FORMAT, tensor->name);
        *tensor = before;
    }
    free_resnet_pieces(it);
}

static void test_wrong_sizes(void **state)
{
    (void)state;
    static const struct { const char *name; size_t shape[4]; const char *part; } cases[] = {
        {"conv1.weight", {2, 3, 5, 5}, "'conv1.weight' is [2][3][5][5], expected [2][3][7][7]"},
        {"conv1.weight", {2, 1, 7, 7}, "'conv1.weight' is [2][1][7][7], expected [2][3][7][7]"},
        {"conv1.weight", {1, 3, 7, 7}, "'bn1.weight' has the wrong shape, expected [1]"},
        {"conv1.weight", {0, 3, 7, 7}, "'conv1.weight' has 0 output channels"},
        {"layer1.0.conv1.weight", {2, 1, 1, 1}, "'layer1.0.conv1.weight' is [2][1][1][1], expected [2][2][1][1]"},
        {"layer1.0.conv2.weight", {2, 1, 3, 3}, "'layer1.0.conv2.weight' is [2][1][3][3], expected [2][2][3][3]"},
        {"layer2.1.conv3.weight", {3, 3, 1, 1}, "'layer2.1.conv3.weight' is [3][3][1][1], expected [4][3][1][1]"},
        {"layer3.0.downsample.0.weight", {4, 4, 1, 1}, "'layer3.0.downsample.0.weight' is [4][4][1][1], expected [5][4][1][1]"},
        {"layer4.1.conv2.weight", {3, 3, 1, 3}, "'layer4.1.conv2.weight' is [3][3][1][3], expected [3][3][3][3]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        resnet_pieces *it = make_small(true);
        memcpy(resnet_piece(it, cases[i].name)->shape, cases[i].shape, sizeof cases[i].shape);
        refuse_pieces(it, &tap50, BE_ERROR_FORMAT, cases[i].part);
        free_resnet_pieces(it);
    }
}

/* A stage has the blocks its highest number says, and each must be whole. */
static void test_block_numbers(void **state)
{
    (void)state;
    static const struct { const char *name; be_status status; const char *part; } cases[] = {
        {"layer2.2.bn1.weight", BE_ERROR_FORMAT, "'layer2.2.conv1.weight' is missing"},
        {"layer2.127.anything", BE_ERROR_FORMAT, "'layer2.2.conv1.weight' is missing"},
        {"layer2.128.anything", BE_ERROR_LIMIT, "layer2 has a block number 128"},
        {"layer2.9999.anything", BE_ERROR_LIMIT, "layer2 has a block number 9999"},
    };
    resnet_pieces *it = take_resnet_apart(golden(RESNET18_FILE), "");
    be_tensor_source *unused = resnet_piece(it, "fc.bias");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unused->name = cases[i].name;
        refuse_pieces(it, &tap18, cases[i].status, cases[i].part);
    }
    free_resnet_pieces(it);
}

/* Variances that no batch norm has: found when they are read. */
static void test_impossible_variance(void **state)
{
    (void)state;
    static const struct { float value; const char *part; } cases[] = {
        {-1, "'layer3.0.bn2.running_var' holds no variance for channel 1"},
        {-1e-3f, "'layer3.0.bn2.running_var' holds no variance for channel 1"},
        {NAN, "'layer3.0.bn2.running_var' holds a number that is not finite"},
        {-INFINITY, "'layer3.0.bn2.running_var' holds a number that is not finite"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        be_backbone *backbone = NULL;
        be_error error;
        const char *path = scratch("variance.safetensors");
        resnet_pieces *it = make_small(true);
        ((float *)(uintptr_t)resnet_piece(it, "layer3.0.bn2.running_var")->data)[1] = cases[i].value;
        write_resnet(it, path);
        free_resnet_pieces(it);
        assert_error(be_backbone_open(path, NULL, &tap50, 1, &backbone, &error), BE_ERROR_FORMAT, &error, cases[i].part);
        assert_null(backbone);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_files),       cmocka_unit_test(test_names_of_sizes),
        cmocka_unit_test(test_other_networks),     cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_refused_taps),       cmocka_unit_test(test_layers_are_ignored),
        cmocka_unit_test(test_missing_tensors),    cmocka_unit_test(test_wrong_dimensions),
        cmocka_unit_test(test_wrong_sizes),        cmocka_unit_test(test_block_numbers),
        cmocka_unit_test(test_impossible_variance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
