/* The model's input equals torchvision's ToTensor and Normalize to the last bit. */
#include "tests/unit/image_support.h"

#include <math.h>
#include <stdio.h>

/* All of an input, or each `stride`-th row and column of it; equal to the last bit. */
static void check_input(const be_image *image, size_t multiple, const char *expected_name, size_t stride)
{
    size_t width = (image->width + multiple - 1) / multiple * multiple;
    size_t height = (image->height + multiple - 1) / multiple * multiple;
    size_t columns = (width + stride - 1) / stride, rows = (height + stride - 1) / stride;
    float *expected = golden_f32(expected_name, 3 * rows * columns);
    float *input = malloc(3 * height * width * sizeof *input);
    assert_non_null(input);
    memset(input, 0xff, 3 * height * width * sizeof *input);
    be_image_normalise(image, multiple, input);
    for (size_t i = 0; i < 3 * rows * columns; i++) {
        size_t plane = i / (rows * columns), y = i / columns % rows * stride, x = i % columns * stride;
        if (memcmp(&input[(plane * height + y) * width + x], &expected[i], sizeof *input) != 0)
            fail_msg("%s: element %zu is %.9g, expected %.9g", expected_name, i,
                     (double)input[(plane * height + y) * width + x], (double)expected[i]);
    }
    free(input);
    free(expected);
}

static const char *const RESIZED[][2] = {{"rgb_425.png", "rgb_425_png"},
                                         {"rgba_160x120.png", "rgba_160x120_png"},
                                         {"gray_200x150.png", "gray_200x150_png"},
                                         {"progressive_500x333.jpg", "progressive_500x333_jpg"}};

static void test_golden_input(void **state)
{
    (void)state;
    static const struct {
        const char *image, *expected;
        size_t stride; /* summary.json */
    } cases[] = {
        {"rgba_160x120.png", "rgba_160x120_png_input", 1},
        {"baseline_425.jpg", "baseline_425_jpg_input_sample", 17},
        {"bilevel_70x50.png", "bilevel_70x50_png_input_sample", 9},
        {"cmyk_96x64.jpg", "cmyk_96x64_jpg_input_sample", 9},
        {"exif_rotated_96x64.jpg", "exif_rotated_96x64_jpg_input_sample", 9},
        {"gray4_53x40.png", "gray4_53x40_png_input_sample", 9},
        {"gray_200x150.png", "gray_200x150_png_input_sample", 9},
        {"gray_90x60.jpg", "gray_90x60_jpg_input_sample", 9},
        {"interlaced_83x61.png", "interlaced_83x61_png_input_sample", 9},
        {"jpeg444_101x70.jpg", "jpeg444_101x70_jpg_input_sample", 9},
        {"la_80x60.png", "la_80x60_png_input_sample", 9},
        {"palette_180x140.png", "palette_180x140_png_input_sample", 9},
        {"progressive_500x333.jpg", "progressive_500x333_jpg_input_sample", 17},
        {"rgb16_120x90.png", "rgb16_120x90_png_input_sample", 9},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char image_name[128], expected[128];
        snprintf(image_name, sizeof image_name, "preprocess/images/%s", cases[i].image);
        snprintf(expected, sizeof expected, "preprocess/expected/%s.npy", cases[i].expected);
        be_image image = read_picture(image_name);
        check_input(&image, 14, expected, cases[i].stride);
        be_image_free(&image);
    }
    for (size_t i = 0; i < sizeof RESIZED / sizeof *RESIZED; i++) {
        char image_name[128], expected[128];
        snprintf(image_name, sizeof image_name, "preprocess/images/%s", RESIZED[i][0]);
        snprintf(expected, sizeof expected, "preprocess/expected/%s_resize224_input_sample.npy", RESIZED[i][1]);
        be_image image = read_picture(image_name), resized = {0};
        be_error error;
        assert_ok(be_image_resize(&image, 224, 224, &resized, &error), &error);
        check_input(&resized, 1, expected, 13);
        be_image_free(&resized);
        be_image_free(&image);
    }
}

static void test_normalisation_table(void **state)
{
    (void)state;
    static const double mean[3] = {0.485, 0.456, 0.406}, deviation[3] = {0.229, 0.224, 0.225};
    float table[3][256];
    be_image_normalisation(table);
    for (int c = 0; c < 3; c++) {
        for (int value = 0; value < 256; value++) {
            double expected = (value / 255.0 - mean[c]) / deviation[c];
            assert_true(fabs((double)table[c][value] - expected) < 1e-6);
        }
    }
}

static void test_padding_of_the_input(void **state)
{
    (void)state;
    be_image image = {.width = 2, .height = 1, .rgb = (uint8_t[]){0, 1, 2, 3, 4, 5}};
    float out[3][3][3], table[3][256];
    memset(out, 0xff, sizeof out);
    be_image_normalisation(table);
    be_image_normalise(&image, 3, &out[0][0][0]);
    for (size_t c = 0; c < 3; c++) {
        for (size_t i = 0; i < 9; i++) {
            float expected = i < 2 ? table[c][i * 3 + c] : 0.0f;
            assert_memory_equal(&out[c][i / 3][i % 3], &expected, sizeof expected);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_input),
        cmocka_unit_test(test_normalisation_table),
        cmocka_unit_test(test_padding_of_the_input),
    };
    return cmocka_run_group_tests_name("image_input", tests, NULL, NULL);
}
