/* Resizing equals PIL bit for bit, and fitting is a crop, a pad or nothing before it. */
#include "tests/unit/image_support.h"

#include <math.h>
#include <stdio.h>

static const uint8_t GROUND[3] = {124, 116, 104};

static be_image make_picture(size_t width, size_t height)
{
    be_image image = {.width = width, .height = height, .rgb = malloc(width * height * 3)};
    assert_non_null(image.rgb);
    uint32_t random = 12345;
    for (size_t i = 0; i < width * height * 3; i++) {
        random = random * 1664525u + 1013904223u;
        /* noise over large steps, with a good share of black and white: sums leave 0..255 and must be clipped */
        image.rgb[i] = random >> 30 == 0 ? 0 : random >> 30 == 1 ? 255 : (uint8_t)(random >> 22);
    }
    return image;
}

static be_image resize(const be_image *image, size_t width, size_t height)
{
    be_image out = {0};
    be_error error;
    assert_ok(be_image_resize(image, width, height, &out, &error), &error);
    assert_int_equal(out.width, width);
    assert_int_equal(out.height, height);
    return out;
}

static be_image fit(const be_image *image, be_fit how, size_t size)
{
    be_image out = {0};
    be_error error;
    assert_ok(be_image_fit(image, how, size, &out, &error), &error);
    return out;
}

static void assert_same(const be_image *a, const be_image *b)
{
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->height, b->height);
    assert_ptr_not_equal(a->rgb, b->rgb);
    assert_memory_equal(a->rgb, b->rgb, a->width * a->height * 3);
}

static const char *const RESIZED[][2] = {{"rgb_425.png", "rgb_425_png"},
                                         {"rgba_160x120.png", "rgba_160x120_png"},
                                         {"gray_200x150.png", "gray_200x150_png"},
                                         {"progressive_500x333.jpg", "progressive_500x333_jpg"}};

static void test_golden_resize(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof RESIZED / sizeof *RESIZED; i++) {
        char path[128];
        be_npy npy;
        be_error error;
        snprintf(path, sizeof path, "preprocess/images/%s", RESIZED[i][0]);
        be_image image = read_picture(path);
        snprintf(path, sizeof path, "preprocess/expected/%s_resize224_rgb.npy", RESIZED[i][1]);
        assert_ok(be_npy_read(golden(path), &npy, &error), &error);
        assert_int_equal(npy.count, 224 * 224 * 3);
        be_image expected = {.width = 224, .height = 224, .rgb = npy.data};
        be_image resized = resize(&image, 224, 224), stretched = fit(&image, BE_FIT_STRETCH, 224);
        assert_same(&resized, &expected);
        assert_same(&stretched, &expected);
        be_image_free(&resized);
        be_image_free(&stretched);
        be_image_free(&image);
        be_npy_free(&npy);
    }
}

/* --- an independent resize, in floating point -------------------------------------------------------------------- */

static double kernel(double x)
{
    x = fabs(x);
    return x < 1 ? 1.5 * x * x * x - 2.5 * x * x + 1 : x < 2 ? -0.5 * x * x * x + 2.5 * x * x - 4 * x + 2 : 0;
}

/* One sample of `line` (size samples, `step` apart) brought to `out_size` samples: the number `at`. */
static double sample_line(const uint8_t *line, size_t size, size_t step, size_t out_size, size_t at)
{
    double scale = (double)size / (double)out_size, stretch = scale > 1 ? scale : 1;
    double centre = ((double)at + 0.5) * scale, sum = 0, total = 0;
    for (size_t x = 0; x < size; x++) {
        double weight = kernel(((double)x + 0.5 - centre) / stretch);
        /* the window's ends are rounded to whole samples */
        if ((double)x < floor(centre - 2 * stretch + 0.5) || (double)x >= floor(centre + 2 * stretch + 0.5))
            continue;
        sum += weight * line[x * step];
        total += weight;
    }
    return sum / total;
}

static uint8_t round_to_byte(double value)
{
    return value <= 0 ? 0 : value >= 255 ? 255 : (uint8_t)floor(value + 0.5);
}

static be_image reference_resize(const be_image *image, size_t width, size_t height)
{
    be_image across = {.width = width, .height = image->height, .rgb = malloc(width * image->height * 3)};
    be_image out = {.width = width, .height = height, .rgb = malloc(width * height * 3)};
    assert_non_null(across.rgb);
    assert_non_null(out.rgb);
    for (size_t y = 0; y < image->height; y++) {
        for (size_t i = 0; i < width * 3; i++)
            across.rgb[y * width * 3 + i] =
                round_to_byte(sample_line(image->rgb + y * image->width * 3 + i % 3, image->width, 3, width, i / 3));
    }
    for (size_t y = 0; y < height; y++) {
        for (size_t i = 0; i < width * 3; i++)
            out.rgb[y * width * 3 + i] =
                round_to_byte(sample_line(across.rgb + i, image->height, width * 3, height, y));
    }
    be_image_free(&across);
    return out;
}

/* Within one level everywhere (the weights here are not rounded), and equal nearly everywhere. */
static void assert_near(const be_image *actual, const be_image *expected)
{
    size_t count = expected->width * expected->height * 3, unequal = 0;
    assert_int_equal(actual->width, expected->width);
    assert_int_equal(actual->height, expected->height);
    for (size_t i = 0; i < count; i++) {
        int difference = abs(actual->rgb[i] - expected->rgb[i]);
        if (difference > 1)
            fail_msg("sample %zu is %d, expected %d", i, actual->rgb[i], expected->rgb[i]);
        unequal += difference != 0;
    }
    assert_in_range(unequal, 0, count / 100);
}

static void test_resize_against_reference(void **state)
{
    (void)state;
    static const size_t cases[][4] = {{1, 1, 7, 5},     {7, 5, 1, 1},     {2, 3, 64, 3},
                                      {31, 17, 30, 18}, {31, 17, 31, 40}, {31, 17, 90, 17},
                                      {40, 40, 7, 120}, {4000, 3, 9, 3},  {5, 3000, 5, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        be_image image = make_picture(cases[i][0], cases[i][1]);
        be_image actual = resize(&image, cases[i][2], cases[i][3]);
        be_image expected = reference_resize(&image, cases[i][2], cases[i][3]);
        assert_near(&actual, &expected);
        be_image_free(&image);
        be_image_free(&actual);
        be_image_free(&expected);
    }
}

/* A picture of one colour stays that colour, whatever the sizes. */
static void test_one_colour_stays(void **state)
{
    (void)state;
    be_image image = make_picture(100000, 2);
    for (size_t i = 0; i < 200000 * 3; i++)
        image.rgb[i] = (uint8_t)(200 + i % 3 * 27);
    be_image out = resize(&image, 3, 50);
    for (size_t i = 0; i < 3 * 50 * 3; i++)
        assert_int_equal(out.rgb[i], 200 + i % 3 * 27);
    be_image_free(&image);
    be_image_free(&out);
}

static void test_resize_to_nothing(void **state)
{
    (void)state;
    be_image image = make_picture(2, 2), out;
    be_error error;
    assert_error(be_image_resize(&image, 0, 3, &out, &error), BE_ERROR_ARGUMENT, &error, "0 x 3");
    assert_error(be_image_fit(&image, BE_FIT_CROP, 0, &out, &error), BE_ERROR_ARGUMENT, &error, "0 x 0");
    assert_error(be_image_resize(&image, SIZE_MAX / 2, 3, &out, &error), BE_ERROR_LIMIT, &error, "too large");
    be_image_free(&image);
}

/* --- the four ways to fit ------------------------------------------------------------------------------------- */

static void copy_pixel(const be_image *from, size_t x, size_t y, be_image *to, size_t to_x, size_t to_y)
{
    memcpy(to->rgb + (to_y * to->width + to_x) * 3, from->rgb + (y * from->width + x) * 3, 3);
}

static be_image cropped(const be_image *image, size_t left, size_t top, size_t side)
{
    be_image square = make_picture(side, side);
    for (size_t y = 0; y < side; y++) {
        for (size_t x = 0; x < side; x++)
            copy_pixel(image, left + x, top + y, &square, x, y);
    }
    return square;
}

static be_image padded(const be_image *image, size_t left, size_t top, size_t side)
{
    be_image square = make_picture(side, side);
    for (size_t i = 0; i < side * side * 3; i++)
        square.rgb[i] = GROUND[i % 3];
    for (size_t y = 0; y < image->height; y++) {
        for (size_t x = 0; x < image->width; x++)
            copy_pixel(image, x, y, &square, left + x, top + y);
    }
    return square;
}

/* Fits to the square's own side, where nothing is resampled, and to others, where the square is what is resized. */
static void check_fit(const be_image *image, be_fit how, const be_image *square)
{
    static const size_t sizes[] = {1, 5, 16, 33};
    be_image same = fit(image, how, square->width);
    assert_same(&same, square);
    be_image_free(&same);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        be_image actual = fit(image, how, sizes[i]), expected = resize(square, sizes[i], sizes[i]);
        be_image reference = reference_resize(square, sizes[i], sizes[i]);
        assert_same(&actual, &expected);
        assert_near(&actual, &reference);
        be_image_free(&actual);
        be_image_free(&expected);
        be_image_free(&reference);
    }
}

typedef struct fit_case {
    size_t width, height, crop_left, crop_top, pad_left, pad_top;
} fit_case;

/* Offsets by hand: (20 - 9) / 2 = 5, (9 - 8) / 2 = 0, (16 - 3) / 2 = 6, rounded down. */
static const fit_case FIT_CASES[] = {{20, 9, 5, 0, 0, 5}, {9, 20, 0, 5, 5, 0},  {9, 8, 0, 0, 0, 0},
                                     {8, 9, 0, 0, 0, 0},  {3, 16, 0, 6, 6, 0}, {12, 12, 0, 0, 0, 0},
                                     {1, 16, 0, 7, 7, 0}, {16, 1, 7, 0, 0, 7}};

static void test_crop_and_pad(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof FIT_CASES / sizeof *FIT_CASES; i++) {
        const fit_case *c = &FIT_CASES[i];
        be_image image = make_picture(c->width, c->height);
        size_t small = c->width < c->height ? c->width : c->height, large = c->width + c->height - small;
        be_image square = cropped(&image, c->crop_left, c->crop_top, small);
        check_fit(&image, BE_FIT_CROP, &square);
        be_image_free(&square);
        square = padded(&image, c->pad_left, c->pad_top, large);
        check_fit(&image, BE_FIT_PAD, &square);
        be_image_free(&square);
        be_image_free(&image);
    }
}

static void test_stretch_and_native(void **state)
{
    (void)state;
    be_image image = make_picture(20, 9);
    be_image stretched = fit(&image, BE_FIT_STRETCH, 13), expected = reference_resize(&image, 13, 13);
    assert_near(&stretched, &expected);
    be_image native = fit(&image, BE_FIT_NATIVE, 13);
    assert_same(&native, &image);
    be_image_free(&native);
    native = fit(&image, BE_FIT_NATIVE, 0);
    assert_same(&native, &image);
    be_image_free(&native);
    be_image_free(&stretched);
    be_image_free(&expected);
    be_image_free(&image);
}

/* The square around a long strip would be 120 gigabytes; the strip is too thin to be seen at 16 x 16. */
static void test_pad_of_a_long_strip(void **state)
{
    (void)state;
    for (int upright = 0; upright < 2; upright++) {
        be_image image = upright ? make_picture(1, 200000) : make_picture(200000, 1);
        be_image out = fit(&image, BE_FIT_PAD, 16);
        for (size_t i = 0; i < 16 * 16 * 3; i++)
            assert_in_range(out.rgb[i], GROUND[i % 3] - 1u, GROUND[i % 3] + 1u);
        be_image_free(&image);
        be_image_free(&out);
    }
}

static void test_fit_names(void **state)
{
    (void)state;
    static const char *const names[] = {"crop", "stretch", "pad", "native"};
    static const be_fit fits[] = {BE_FIT_CROP, BE_FIT_STRETCH, BE_FIT_PAD, BE_FIT_NATIVE};
    be_error error;
    be_fit parsed;
    for (size_t i = 0; i < 4; i++) {
        parsed = fits[(i + 1) % 4];
        assert_ok(be_fit_parse(names[i], &parsed, &error), &error);
        assert_int_equal(parsed, fits[i]);
        assert_string_equal(be_fit_name(fits[i]), names[i]);
    }
    assert_error(be_fit_parse("Crop", &parsed, &error), BE_ERROR_ARGUMENT, &error, "\"Crop\"");
    assert_error(be_fit_parse("", &parsed, &error), BE_ERROR_ARGUMENT, &error, "crop, stretch, pad, native");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_resize),
        cmocka_unit_test(test_resize_against_reference),
        cmocka_unit_test(test_one_colour_stays),
        cmocka_unit_test(test_resize_to_nothing),
        cmocka_unit_test(test_crop_and_pad),
        cmocka_unit_test(test_stretch_and_native),
        cmocka_unit_test(test_pad_of_a_long_strip),
        cmocka_unit_test(test_fit_names),
    };
    return cmocka_run_group_tests_name("image_fit", tests, NULL, NULL);
}
