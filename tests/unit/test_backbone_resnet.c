/* Residual networks against the golden cases, and at every size of image against plain loops. */
#include "tests/unit/resnet_support.h"

#include <stdio.h>

#include "core/backbone/resnet.h"

static const char *const picture_names[] = {"resnet/images/e_224.png", "resnet/images/f_224.png"};

/* --- golden features ---------------------------------------------------------------------------------------------- */

/* expected/features.npy is [2][channels][rows][columns]. */
static void check_features(const char *file, be_features features, const char *expected_name, float tolerance)
{
    enum { SIDE = 7, CELLS = SIDE * SIDE };
    be_backbone *backbone = open_resnet(golden(file), features, false);
    size_t channels = be_backbone_get_info(backbone)->channels;
    float *expected = golden_f32(expected_name, 2 * channels * CELLS), turned[CELLS], column[CELLS];
    for (size_t i = 0; i < 2; i++) {
        be_image image = read_picture(picture_names[i]);
        float *ours = resnet_features(backbone, &image);
        for (size_t c = 0; c < channels; c++) {
            for (size_t t = 0; t < CELLS; t++) {
                turned[t] = ours[t * channels + c];
                column[t] = expected[(i * channels + c) * CELLS + t];
            }
            assert_close(expected_name, turned, column, CELLS, tolerance);
        }
        free(ours);
        be_image_free(&image);
    }
    free(expected);
    be_backbone_close(backbone);
}

static void test_golden_features(void **state)
{
    (void)state;
    check_features(RESNET18_FILE, BE_FEATURES_RESNET18, "resnet/resnet18/expected/features.npy", resnet18_tolerance);
    check_features(RESNET50_FILE, BE_FEATURES_RESNET50, "resnet/resnet50/expected/features.npy", resnet50_tolerance);
}

/* `expected` holds [channels / deep][rows / step][columns / step] of a map, starting at image `image`. */
static void check_sample(const char *name, size_t image, size_t images, const float *map, size_t rows, size_t columns,
                         size_t channels, size_t deep, size_t step, float tolerance)
{
    size_t high = (rows + step - 1) / step, wide = (columns + step - 1) / step;
    size_t count = (channels + deep - 1) / deep * high * wide;
    float *expected = golden_f32(name, images * count);
    for (size_t i = 0; i < count; i++) {
        size_t channel = i / wide / high * deep, row = i / wide % high * step, column = i % wide * step;
        assert_close(name, &map[(row * columns + column) * channels + channel], &expected[image * count + i], 1, tolerance);
    }
    free(expected);
}

static void test_golden_dilation(void **state)
{
    (void)state;
    enum { SIDE = 14, CHANNELS = 256 };
    be_backbone *backbone = open_resnet(golden(RESNET50_FILE), BE_FEATURES_RESNET50, true);
    assert_int_equal(be_backbone_get_info(backbone)->patch, 16);
    assert_int_equal(be_backbone_get_info(backbone)->channels, CHANNELS);
    for (size_t i = 0; i < 2; i++) {
        be_image image = read_picture(picture_names[i]);
        float *ours = resnet_features(backbone, &image);
        check_sample("resnet/resnet50_dilation/expected/features_sample.npy", i, 2, ours, SIDE, SIDE, CHANNELS, 8, 5,
                     resnet50_tolerance);
        free(ours);
        be_image_free(&image);
    }
    be_backbone_close(backbone);
}

static void test_golden_other_size(void **state)
{
    (void)state;
    be_backbone *backbone = open_resnet(golden(RESNET18_FILE), BE_FEATURES_RESNET18, false);
    be_image image = read_picture("dinov2_q_rois/images/a_425.png");
    float *ours = resnet_features(backbone, &image);
    check_sample("resnet/resnet18/expected/features_sample_a425.npy", 0, 1, ours, 14, 14, 64, 8, 5, resnet18_tolerance);
    free(ours);
    be_image_free(&image);
    be_backbone_close(backbone);
}

/* --- golden stages ------------------------------------------------------------------------------------------------ */

static void check_stage(const char *model, const char *stage, const float *map, size_t side, size_t channels, float tolerance)
{
    char name[96];
    snprintf(name, sizeof name, "resnet/%s/expected/stage_%s_sample.npy", model, stage);
    check_sample(name, 0, 1, map, side, side, channels, channels / 8 ? channels / 8 : 1, 7, tolerance);
}

static float *make_floats(size_t count)
{
    float *values = malloc(count * sizeof *values);
    assert_non_null(values);
    return values;
}

/* The image as the stem gets it. */
static float *normalised_pixels(const be_image *image)
{
    size_t pixels = image->width * image->height;
    float *planes = make_floats(3 * pixels), *out = make_floats(3 * pixels);
    be_image_normalise(image, 1, planes);
    for (size_t i = 0; i < 3 * pixels; i++)
        out[i] = planes[i % 3 * pixels + i / 3];
    free(planes);
    return out;
}

/* The first convolution without its batch norm, which the library never computes. */
static void check_bare_convolution(const char *file, const char *model, const float *pixels, const be_team *team, float *out,
                                   float tolerance)
{
    enum { STEM = 8, WEIGHTS = STEM * 3 * 49 };
    static const double ones[STEM] = {1, 1, 1, 1, 1, 1, 1, 1};
    float weight[WEIGHTS], zeros[STEM] = {0};
    be_convolution bare = {.in = 3, .out = STEM, .kernel = 7, .stride = 2, .padding = 3, .dilation = 1, .bias = zeros};
    bare.weight = make_floats(be_convolution_weights(&bare));
    be_tensor_file *tensors = NULL;
    be_error error;
    assert_ok(be_tensor_file_open(golden(file), &tensors, &error), &error);
    const be_tensor *tensor = be_tensor_file_find(tensors, "conv1.weight");
    assert_true(tensor && tensor->count == WEIGHTS);
    assert_ok(be_tensor_file_read_f32(tensors, tensor, weight, &error), &error);
    be_tensor_file_close(tensors);
    be_convolution_arrange(&bare, weight, ones);
    be_convolution_run(team, BE_STAGE_EMBED, &bare, pixels, 224, 224, out, BE_CONVOLUTION_BIAS);
    check_stage(model, "conv1", out, 112, STEM, tolerance);
    free(bare.weight);
}

static void check_stages(const char *file, be_features features, const char *model, float tolerance)
{
    static const char *const layers[] = {"maxpool", "layer1", "layer2", "layer3", "layer4"};
    be_backbone *backbone = open_resnet(golden(file), features, false);
    const resnet *network = (const resnet *)backbone;
    be_image image = read_picture(picture_names[0]);
    be_error error;
    crew it;
    make_crew(&it, 2, backbone, 49);
    float *pixels = normalised_pixels(&image), *stem = make_floats(112 * 112 * network->stem.out);
    check_bare_convolution(file, model, pixels, &it.team, stem, tolerance);
    be_convolution_run(&it.team, BE_STAGE_EMBED, &network->stem, pixels, 224, 224, stem, BE_CONVOLUTION_BIAS);
    check_stage(model, "bn1", stem, 112, network->stem.out, tolerance);
    be_convolution_run(&it.team, BE_STAGE_EMBED, &network->stem, pixels, 224, 224, stem, BE_CONVOLUTION_RELU);
    check_stage(model, "relu", stem, 112, network->stem.out, tolerance);
    size_t blocks = 0;
    for (size_t layer = 0; layer < 5; layer++) {
        resnet_map map;
        blocks += layer == 0 ? 0 : network->counts[layer - 1];
        assert_ok(resnet_run_blocks(network, &it.team, &it.arena, &image, blocks, &map, &error), &error);
        assert_int_equal(map.rows, map.columns);
        assert_int_equal(map.rows, layer == 0 ? 56 : 112 >> layer);
        check_stage(model, layers[layer], map.values, map.rows, map.channels, tolerance);
    }
    free(pixels), free(stem);
    free_crew(&it);
    be_image_free(&image);
    be_backbone_close(backbone);
}

static void test_golden_stages(void **state)
{
    (void)state;
    check_stages(RESNET18_FILE, BE_FEATURES_RESNET18, "resnet18", resnet18_tolerance);
    check_stages(RESNET50_FILE, BE_FEATURES_RESNET50, "resnet50", resnet50_tolerance);
}

/* --- every size of image ------------------------------------------------------------------------------------------ */

static void check_image(const char *file, be_features features, bool dilation, size_t width, size_t height, float tolerance)
{
    be_backbone *backbone = open_resnet(golden(file), features, dilation);
    be_image image = make_noise(width, height, (uint32_t)(width * 1000 + height));
    float *ours = resnet_features(backbone, &image);
    check_plainly(file, golden(file), "", &image, dilation, ours, tolerance);
    free(ours);
    be_image_free(&image);
    be_backbone_close(backbone);
}

/* Down to one pixel, and as long and thin as they come: each in an arena for exactly its own cells. */
static void test_shapes(void **state)
{
    (void)state;
    static const size_t shapes[][2] = {{1, 1}, {1, 7}, {32, 32}, {33, 31}, {64, 1}, {3, 129}, {320, 32}, {31, 289}, {65, 97}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        check_image(RESNET18_FILE, BE_FEATURES_RESNET18, false, shapes[i][0], shapes[i][1], resnet18_tolerance);
        if (i % 2 == 0)
            check_image(RESNET50_FILE, BE_FEATURES_RESNET50, false, shapes[i][0], shapes[i][1], resnet50_tolerance);
        else
            check_image(RESNET50_FILE, BE_FEATURES_RESNET50, true, shapes[i][0], shapes[i][1], resnet50_tolerance);
    }
}

/* The grid that is told before anything is computed is the map's. */
static void check_grid(const char *file, be_features features, bool dilation)
{
    be_backbone *backbone = open_resnet(golden(file), features, dilation);
    const resnet *network = (const resnet *)backbone;
    be_image whole = make_noise(200, 1, 1);
    crew it;
    make_crew(&it, 1, backbone, 200);
    for (size_t size = 1; size <= 200; size++) {
        for (int upright = 0; upright < 2; upright++) {
            be_image image = {.width = upright ? 1 : size, .height = upright ? size : 1, .rgb = whole.rgb};
            resnet_map map;
            size_t rows, columns;
            be_error error;
            be_backbone_grid(backbone, image.width, image.height, &rows, &columns);
            assert_ok(resnet_run_blocks(network, &it.team, &it.arena, &image, network->n_blocks, &map, &error), &error);
            assert_int_equal(map.rows, rows);
            assert_int_equal(map.columns, columns);
        }
    }
    free_crew(&it);
    be_image_free(&whole);
    be_backbone_close(backbone);
}

static void test_grid(void **state)
{
    (void)state;
    check_grid(RESNET18_FILE, BE_FEATURES_RESNET18, false);
    check_grid(RESNET50_FILE, BE_FEATURES_RESNET50, true);
}

/* An arena for so many cells holds every image of so many, and no larger one. */
static void test_arena(void **state)
{
    (void)state;
    enum { CELLS = 24 };
    for (int dilation = 0; dilation < 2; dilation++) {
        be_backbone *backbone = open_resnet(golden(RESNET50_FILE), BE_FEATURES_RESNET50, dilation);
        size_t channels = be_backbone_get_info(backbone)->channels, patch = be_backbone_get_info(backbone)->patch;
        float *features = make_floats(CELLS * channels);
        be_error error;
        crew it;
        make_crew(&it, 2, backbone, CELLS);
        for (size_t rows = 1; rows <= CELLS; rows++) {
            be_image image = make_noise(CELLS / rows * patch, rows * patch, (uint32_t)rows);
            assert_ok(be_backbone_run(backbone, &it.team, &it.arena, &image, NULL, &features, &error), &error);
            be_image_free(&image);
        }
        be_image larger = make_noise(5 * patch, 4 * patch + 1, 1);
        assert_error(be_backbone_run(backbone, &it.team, &it.arena, &larger, NULL, &features, &error), BE_ERROR_LIMIT, &error,
                     "25");
        be_image_free(&larger);
        free_crew(&it);
        free(features);
        be_backbone_close(backbone);
    }
}

/* --- whoever computes --------------------------------------------------------------------------------------------- */

static void check_bits(const char *file, be_features features, bool dilation, size_t width, size_t height)
{
    static const size_t crews[] = {1, 2, MOST_THREADS, 0};
    be_backbone *backbone = open_resnet(golden(file), features, dilation);
    be_image image = make_noise(width, height, 9);
    size_t rows, columns;
    be_error error;
    be_backbone_grid(backbone, width, height, &rows, &columns);
    size_t count = rows * columns * be_backbone_get_info(backbone)->channels;
    float *first = make_floats(count), *again = make_floats(count);
    for (size_t i = 0; i < sizeof crews / sizeof *crews; i++) {
        crew it;
        make_crew(&it, crews[i], backbone, rows * columns + 7 * i);
        float *out = i == 0 ? first : again;
        assert_ok(be_backbone_run(backbone, &it.team, &it.arena, &image, NULL, &out, &error), &error);
        free_crew(&it);
        if (i > 0)
            assert_memory_equal(first, again, count * sizeof *first);
    }
    free(first), free(again);
    be_image_free(&image);
    be_backbone_close(backbone);
}

static void test_same_bits(void **state)
{
    (void)state;
    check_bits(RESNET18_FILE, BE_FEATURES_RESNET18, false, 224, 224);
    check_bits(RESNET50_FILE, BE_FEATURES_RESNET50, false, 131, 250);
    check_bits(RESNET50_FILE, BE_FEATURES_RESNET50, true, 100, 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_features),   cmocka_unit_test(test_golden_dilation),
        cmocka_unit_test(test_golden_other_size), cmocka_unit_test(test_golden_stages),
        cmocka_unit_test(test_shapes),            cmocka_unit_test(test_grid),
        cmocka_unit_test(test_arena),             cmocka_unit_test(test_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
