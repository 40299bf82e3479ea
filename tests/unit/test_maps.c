/* Attention maps drawn over a picture. */
#include "tests/unit/support.h"

#include <math.h>

#include "core/answer/maps.h"

/* A picture of one colour. */
static be_image make_picture(size_t width, size_t height, uint8_t red, uint8_t green, uint8_t blue)
{
    be_image image = {.width = width, .height = height, .rgb = malloc(width * height * 3)};
    assert_non_null(image.rgb);
    for (size_t i = 0; i < width * height; i++) {
        image.rgb[3 * i] = red;
        image.rgb[3 * i + 1] = green;
        image.rgb[3 * i + 2] = blue;
    }
    return image;
}

/* --- overlays ----------------------------------------------------------------------------------------------------- */

/* viridis as it is published: #440154, #3b528b, #21918c, #5ec962, #fde725 at quarters. */
static const double viridis[5][3] = {{68, 1, 84}, {59, 82, 139}, {33, 145, 140}, {94, 201, 98}, {253, 231, 37}};

/* The pixel must be 60 % the picture and 40 % viridis at `quarters` / 4. */
static void check_pixel(const be_image *image, const be_image *out, size_t y, size_t x, size_t quarters)
{
    for (size_t c = 0; c < 3; c++) {
        size_t at = (y * image->width + x) * 3 + c;
        double expected = 0.6 * image->rgb[at] + 0.4 * viridis[quarters][c];
        if (!(fabs(out->rgb[at] - expected) <= 1.5))
            fail_msg("pixel %zu, %zu, colour %zu is %u, expected %.1f", y, x, c, out->rgb[at], expected);
    }
}

static be_image draw(const be_image *image, const float *map, size_t rows, size_t columns, size_t patch)
{
    be_image out = {0};
    be_error error;
    assert_ok(be_map_overlay(image, map, rows, columns, patch, &out, &error), &error);
    assert_int_equal(out.width, image->width);
    assert_int_equal(out.height, image->height);
    return out;
}

static void test_colours(void **state)
{
    (void)state;
    static const float map[] = {0, 0.5f, 1, 1.5f, 2};
    be_image image = make_picture(5, 1, 200, 100, 0), out = draw(&image, map, 1, 5, 1);
    for (size_t x = 0; x < 5; x++) /* a pixel a cell: 0 to the largest value */
        check_pixel(&image, &out, 0, x, x);
    be_image_free(&image), be_image_free(&out);
}

/* Two-pixel cells: their centres lie between pixels, and the picture's edge has the edge cell's value. */
static void test_between_cells(void **state)
{
    (void)state;
    static const float across[] = {0, 0.01f}, down[] = {0.01f, 0};
    be_image image = make_picture(4, 4, 10, 250, 130);
    be_image out = draw(&image, across, 1, 2, 2);
    static const size_t quarters[] = {0, 1, 3, 4};
    for (size_t i = 0; i < 4; i++) {
        check_pixel(&image, &out, 0, i, quarters[i]);
        check_pixel(&image, &out, 3, i, quarters[i]);
    }
    be_image_free(&out);
    out = draw(&image, down, 2, 1, 2);
    for (size_t i = 0; i < 4; i++)
        check_pixel(&image, &out, i, 1, 4 - quarters[i]);
    be_image_free(&image), be_image_free(&out);
}

/* A picture that does not fill its last cells. */
static void test_padded_picture(void **state)
{
    (void)state;
    static const float map[] = {1, 1, 1, 1, 1, 1};
    be_image image = make_picture(29, 15, 1, 2, 3), out = draw(&image, map, 2, 3, 14);
    for (size_t y = 0; y < 15; y++) {
        for (size_t x = 0; x < 29; x++)
            check_pixel(&image, &out, y, x, 4);
    }
    be_image_free(&image), be_image_free(&out);
}

/* Maps that broken weights make: every pixel is still a colour. */
static void test_broken_maps(void **state)
{
    (void)state;
    const float maps[][2] = {{0, 0}, {NAN, NAN}, {NAN, 1}, {-1, -2}, {INFINITY, INFINITY}, {-INFINITY, 1}};
    be_image image = make_picture(2, 1, 0, 0, 0);
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
        be_image out = draw(&image, maps[i], 1, 2, 1);
        check_pixel(&image, &out, 0, 0, 0);
        be_image_free(&out);
    }
    be_image_free(&image);
}

static void test_beside(void **state)
{
    (void)state;
    be_image left = make_picture(2, 3, 1, 2, 3), right = make_picture(3, 3, 4, 5, 6), low = make_picture(2, 2, 7, 8, 9);
    be_image out = {0};
    be_error error;
    assert_ok(be_images_beside(&left, &right, &out, &error), &error);
    assert_int_equal(out.width, 5);
    assert_int_equal(out.height, 3);
    for (size_t i = 0; i < 15; i++) {
        const uint8_t expected[] = {1, 2, 3, 4, 5, 6};
        assert_memory_equal(out.rgb + 3 * i, i % 5 < 2 ? expected : expected + 3, 3);
    }
    be_image_free(&out);
    assert_error(be_images_beside(&left, &low, &out, &error), BE_ERROR_ARGUMENT, &error, "3 and 2 rows");
    be_image_free(&left), be_image_free(&right), be_image_free(&low);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_colours), cmocka_unit_test(test_between_cells), cmocka_unit_test(test_padded_picture),
        cmocka_unit_test(test_broken_maps), cmocka_unit_test(test_beside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
