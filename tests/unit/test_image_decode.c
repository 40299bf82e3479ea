/* Decoding equals PIL's convert("RGB") bit for bit, for every kind of PNG and JPEG. */
#include "tests/unit/image_support.h"

#include <stdio.h>

#include <png.h>

static const char *const NAMES[][2] = {
    {"baseline_425", "jpg"},    {"bilevel_70x50", "png"},        {"cmyk_96x64", "jpg"},
    {"gray4_53x40", "png"},     {"exif_rotated_96x64", "jpg"},   {"gray_200x150", "png"},
    {"gray_90x60", "jpg"},      {"interlaced_83x61", "png"},     {"jpeg444_101x70", "jpg"},
    {"la_80x60", "png"},        {"palette_180x140", "png"},      {"progressive_500x333", "jpg"},
    {"rgb16_120x90", "png"},    {"rgb_425", "png"},              {"rgba_160x120", "png"},
};

static unsigned char *read_encoded(const char *name, const char *kind, size_t *size)
{
    char path[128];
    snprintf(path, sizeof path, "preprocess/images/%s.%s", name, kind);
    return read_bytes(golden(path), size);
}

static void test_golden(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        char path[128];
        be_npy expected;
        be_error error;
        size_t size, width, height;
        snprintf(path, sizeof path, "preprocess/expected/%s_%s_rgb.npy", NAMES[i][0], NAMES[i][1]);
        assert_ok(be_npy_read(golden(path), &expected, &error), &error);
        unsigned char *bytes = read_encoded(NAMES[i][0], NAMES[i][1], &size);
        assert_ok(be_image_size(bytes, size, path, &width, &height, &error), &error);
        assert_int_equal(height, expected.shape[0]);
        assert_int_equal(width, expected.shape[1]);
        be_image image = decode_picture("test", bytes, size);
        assert_int_equal(image.width, width);
        assert_int_equal(image.height, height);
        if (memcmp(image.rgb, expected.data, expected.count) != 0)
            fail_msg("%s differs", path);
        be_image_free(&image);
        assert_null(image.rgb);
        be_npy_free(&expected);
        free(bytes);
    }
}

/* The golden answer is clipped at 255; the high byte is taken here, from the samples as libpng alone reads them. */
static void test_grey_16_bit(void **state)
{
    (void)state;
    size_t size;
    unsigned char *bytes = read_encoded("gray16_120x90", "png", &size);
    be_image image = decode_picture("test", bytes, size);
    free(bytes);
    FILE *stream = fopen(golden("preprocess/images/gray16_120x90.png"), "rb");
    assert_non_null(stream);
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_init_io(png, stream);
    png_read_png(png, info, PNG_TRANSFORM_IDENTITY, NULL);
    assert_int_equal(png_get_bit_depth(png, info), 16);
    png_bytepp rows = png_get_rows(png, info);
    for (size_t y = 0; y < image.height; y++) {
        for (size_t x = 0; x < image.width; x++) {
            for (size_t c = 0; c < 3; c++)
                assert_int_equal(image.rgb[(y * image.width + x) * 3 + c], rows[y][2 * x]);
        }
    }
    png_destroy_read_struct(&png, &info, NULL);
    fclose(stream);
    be_image_free(&image);
}

static void test_sniff(void **state)
{
    (void)state;
    assert_int_equal(be_image_sniff("\x89PNG\r\n\x1a\n", 8), BE_IMAGE_PNG);
    assert_int_equal(be_image_sniff("\x89PNG\r\n\x1a\n", 7), BE_IMAGE_UNKNOWN);
    assert_int_equal(be_image_sniff("\xff\xd8\xff\xe0", 4), BE_IMAGE_JPEG);
    assert_int_equal(be_image_sniff("\xff\xd8\xff", 2), BE_IMAGE_UNKNOWN);
    assert_int_equal(be_image_sniff("GIF89a..........", 16), BE_IMAGE_UNKNOWN);
    assert_int_equal(be_image_sniff("", 0), BE_IMAGE_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_grey_16_bit),
        cmocka_unit_test(test_sniff),
    };
    return cmocka_run_group_tests_name("image_decode", tests, NULL, NULL);
}
