/* Kinds of JPEG that the golden files do not hold, made here by libjpeg. */
#include "tests/unit/image_support.h"

#include <math.h>
#include <stdio.h>

#include <jpeglib.h>

typedef struct jpeg_options {
    int components;
    J_COLOR_SPACE space;
    bool adobe, ycck;
    int restart;                 /* MCU between restart markers; 0: none */
    const jpeg_scan_info *scans; /* NULL: one scan */
    int n_scans;
} jpeg_options;

enum { SIDE = 40 };

/* SIDE x SIDE pixels of a smooth pattern, one row at a time. */
static unsigned char *make_jpeg(const jpeg_options *options, size_t *size)
{
    struct jpeg_compress_struct info;
    struct jpeg_error_mgr handlers;
    unsigned char *out = NULL, row[SIDE * 4];
    unsigned long length = 0;
    info.err = jpeg_std_error(&handlers);
    jpeg_create_compress(&info);
    jpeg_mem_dest(&info, &out, &length);
    info.image_width = info.image_height = SIDE;
    info.input_components = options->components;
    info.in_color_space = options->space;
    jpeg_set_defaults(&info);
    if (options->ycck)
        jpeg_set_colorspace(&info, JCS_YCCK);
    jpeg_set_quality(&info, 90, TRUE);
    info.write_Adobe_marker = options->adobe;
    info.restart_interval = (unsigned)options->restart;
    if (options->scans) {
        info.scan_info = options->scans;
        info.num_scans = options->n_scans;
    }
    jpeg_start_compress(&info, TRUE);
    for (int y = 0; y < SIDE; y++) {
        for (int x = 0; x < SIDE * options->components; x++)
            row[x] = (unsigned char)(3 * x + 5 * y + (x * y) % 11);
        JSAMPROW line = row;
        jpeg_write_scanlines(&info, &line, 1);
    }
    jpeg_finish_compress(&info);
    jpeg_destroy_compress(&info);
    *size = length;
    return out;
}

/* The golden file has no black ink, so its part of the formula is checked on the samples as libjpeg alone reads them:
 * what the black leaves of the white, less each ink's share of that, rounded to nearest. */
static void check_cmyk(bool ycck)
{
    size_t size;
    unsigned char *jpeg =
        make_jpeg(&(jpeg_options){.components = 4, .space = JCS_CMYK, .adobe = true, .ycck = ycck}, &size);
    unsigned char cmyk[SIDE * 4];
    JSAMPROW row = cmyk;
    struct jpeg_decompress_struct info;
    struct jpeg_error_mgr handlers;
    be_image image = decode_picture("test", jpeg, size);
    info.err = jpeg_std_error(&handlers);
    jpeg_create_decompress(&info);
    jpeg_mem_src(&info, jpeg, size);
    jpeg_read_header(&info, TRUE);
    assert_int_equal(info.jpeg_color_space, ycck ? JCS_YCCK : JCS_CMYK);
    info.out_color_space = JCS_CMYK;
    jpeg_start_decompress(&info);
    for (size_t y = 0; y < SIDE; y++) {
        jpeg_read_scanlines(&info, &row, 1);
        for (size_t x = 0; x < SIDE; x++) {
            double white = cmyk[x * 4 + 3];
            for (size_t c = 0; c < 3; c++) {
                double left = white - round((255.0 - cmyk[x * 4 + c]) * white / 255.0);
                assert_int_equal(image.rgb[(y * SIDE + x) * 3 + c], (int)left);
            }
        }
    }
    jpeg_finish_decompress(&info);
    jpeg_destroy_decompress(&info);
    be_image_free(&image);
    free(jpeg);
}

static void test_cmyk_with_black(void **state)
{
    (void)state;
    check_cmyk(false);
    check_cmyk(true);
}

/* PIL takes CMYK for inverted whether Adobe's marker is there or not. */
static void test_cmyk_without_adobe_marker(void **state)
{
    (void)state;
    size_t size, plain_size;
    unsigned char *with = make_jpeg(&(jpeg_options){.components = 4, .space = JCS_CMYK, .adobe = true}, &size);
    unsigned char *without = make_jpeg(&(jpeg_options){.components = 4, .space = JCS_CMYK}, &plain_size);
    assert_true(plain_size < size);
    be_image a = decode_picture("test", with, size), b = decode_picture("test", without, plain_size);
    assert_memory_equal(a.rgb, b.rgb, SIDE * SIDE * 3);
    be_image_free(&a);
    be_image_free(&b);
    free(with);
    free(without);
}

static void test_two_components_are_unsupported(void **state)
{
    (void)state;
    size_t size;
    be_error error;
    be_image image;
    unsigned char *jpeg = make_jpeg(&(jpeg_options){.components = 2, .space = JCS_UNKNOWN}, &size);
    assert_error(be_image_decode(jpeg, size, "two.jpg", PIXEL_LIMIT, &image, &error), BE_ERROR_UNSUPPORTED, &error,
                 "two.jpg: unsupported JPEG: 2 components");
    free(jpeg);
}

/* One scan of all DC coefficients, then scans of one AC coefficient of one component each. */
static int make_scans(jpeg_scan_info *scans, int n_scans)
{
    scans[0] = (jpeg_scan_info){.comps_in_scan = 3, .component_index = {0, 1, 2}};
    for (int i = 1; i < n_scans; i++) {
        int component = (i - 1) / 63, coefficient = (i - 1) % 63 + 1;
        scans[i] = (jpeg_scan_info){
            .comps_in_scan = 1, .component_index = {component}, .Ss = coefficient, .Se = coefficient};
    }
    return n_scans;
}

/* 100 scans that hold the first component and 36 coefficients of the second; the same picture in fewer scans is the
 * expectation. */
static void test_many_scans(void **state)
{
    (void)state;
    jpeg_scan_info scans[101];
    jpeg_scan_info few[3] = {{.comps_in_scan = 3, .component_index = {0, 1, 2}},
                             {.comps_in_scan = 1, .component_index = {0}, .Ss = 1, .Se = 63},
                             {.comps_in_scan = 1, .component_index = {1}, .Ss = 1, .Se = 36}};
    jpeg_options options = {.components = 3, .space = JCS_RGB, .scans = scans};
    size_t size, few_size;
    be_error error;
    be_image image;
    options.n_scans = make_scans(scans, 101);
    unsigned char *jpeg = make_jpeg(&options, &size);
    assert_error(be_image_decode(jpeg, size, "scans.jpg", PIXEL_LIMIT, &image, &error), BE_ERROR_LIMIT, &error,
                 "scans.jpg: unsupported JPEG: more than 100 scans");
    free(jpeg);
    options.n_scans = make_scans(scans, 100);
    jpeg = make_jpeg(&options, &size);
    options.scans = few;
    options.n_scans = 3;
    unsigned char *other = make_jpeg(&options, &few_size);
    be_image many = decode_picture("test", jpeg, size), expected = decode_picture("test", other, few_size);
    assert_memory_equal(many.rgb, expected.rgb, SIDE * SIDE * 3);
    be_image_free(&many);
    be_image_free(&expected);
    free(jpeg);
    free(other);
}

/* Puts `count` zeros before the last marker of that code; answers the new file. */
static unsigned char *pad_before_marker(const unsigned char *jpeg, size_t size, int code, size_t count)
{
    size_t at = size - 2;
    while (jpeg[at] != 0xff || jpeg[at + 1] != code)
        at--;
    unsigned char *padded = calloc(1, size + count);
    assert_non_null(padded);
    memcpy(padded, jpeg, at);
    memcpy(padded + at + count, jpeg + at, size - at);
    return padded;
}

static void test_padding(void **state)
{
    (void)state;
    enum { PADDING = 5 };
    size_t size;
    be_error error;
    be_image image;
    unsigned char *jpeg = make_jpeg(&(jpeg_options){.components = 3, .space = JCS_RGB, .restart = 2}, &size);
    be_image expected = decode_picture("test", jpeg, size);
    unsigned char *padded = pad_before_marker(jpeg, size, 0xd9, PADDING); /* at the end: harmless */
    image = decode_picture("test", padded, size + PADDING);
    assert_memory_equal(image.rgb, expected.rgb, SIDE * SIDE * 3);
    be_image_free(&image);
    be_image_free(&expected);
    free(padded);
    padded = pad_before_marker(jpeg, size, 0xd1, PADDING); /* inside the picture's data: damage */
    assert_error(be_image_decode(padded, size + PADDING, "a.jpg", PIXEL_LIMIT, &image, &error), BE_ERROR_FORMAT, &error,
                 "a.jpg: damaged JPEG: ");
    free(padded);
    free(jpeg);
}

static void test_trailing_bytes_after_jpeg(void **state)
{
    (void)state;
    size_t size;
    unsigned char *jpeg = read_bytes(golden("preprocess/images/gray_90x60.jpg"), &size), *longer = malloc(size + 100);
    assert_non_null(longer);
    memcpy(longer, jpeg, size);
    memset(longer + size, 0xff, 100);
    be_image a = decode_picture("test", jpeg, size), b = decode_picture("test", longer, size + 100);
    assert_memory_equal(a.rgb, b.rgb, a.width * a.height * 3);
    be_image_free(&a);
    be_image_free(&b);
    free(jpeg);
    free(longer);
}

/* Well-formed kinds of JPEG that hold no 8-bit picture of the usual sort. */
static void test_unsupported_jpeg(void **state)
{
    (void)state;
    size_t size, frame = 0;
    be_error error;
    be_image image;
    unsigned char *jpeg = read_bytes(golden("preprocess/images/gray_90x60.jpg"), &size);
    while (jpeg[frame] != 0xff || jpeg[frame + 1] != 0xc0)
        frame++;
    jpeg[frame + 4] = 12; /* bits a sample */
    assert_error(be_image_decode(jpeg, size, "a.jpg", PIXEL_LIMIT, &image, &error), BE_ERROR_UNSUPPORTED, &error, "a.jpg: ");
    jpeg[frame + 4] = 8;
    jpeg[frame + 1] = 0xc5; /* hierarchical */
    assert_error(be_image_decode(jpeg, size, "a.jpg", PIXEL_LIMIT, &image, &error), BE_ERROR_UNSUPPORTED, &error, "a.jpg: ");
    free(jpeg);
}

static void test_pixel_limit(void **state)
{
    (void)state;
    size_t size;
    be_error error;
    be_image image = {0};
    unsigned char *jpeg = read_bytes(golden("preprocess/images/gray_90x60.jpg"), &size);
    assert_error(be_image_decode(jpeg, size, "a.jpg", 5399, &image, &error), BE_ERROR_LIMIT, &error,
                 "a.jpg: 90 x 60 pixels are more than the limit of 5399");
    assert_ok(be_image_decode(jpeg, size, "a.jpg", 5400, &image, &error), &error);
    be_image_free(&image);
    free(jpeg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cmyk_with_black),
        cmocka_unit_test(test_cmyk_without_adobe_marker),
        cmocka_unit_test(test_two_components_are_unsupported),
        cmocka_unit_test(test_many_scans),
        cmocka_unit_test(test_padding),
        cmocka_unit_test(test_trailing_bytes_after_jpeg),
        cmocka_unit_test(test_unsupported_jpeg),
        cmocka_unit_test(test_pixel_limit),
    };
    return cmocka_run_group_tests_name("image_jpeg", tests, NULL, NULL);
}
