/* Every kind of PNG, written out here byte by byte, and what each becomes as RGB; a written PNG reads back the same. */
#include "tests/unit/image_support.h"

typedef struct bytes {
    unsigned char data[4096];
    size_t size;
} bytes;

static void put(bytes *b, const void *data, size_t size)
{
    assert_true(b->size + size <= sizeof b->data);
    memcpy(b->data + b->size, data, size);
    b->size += size;
}

static void put_u32(bytes *b, uint32_t value)
{
    unsigned char data[4] = {(unsigned char)(value >> 24), (unsigned char)(value >> 16), (unsigned char)(value >> 8),
                             (unsigned char)value};
    put(b, data, 4);
}

static void put_chunk(bytes *b, const char *type, const void *data, size_t size)
{
    put_u32(b, (uint32_t)size);
    size_t start = b->size;
    put(b, type, 4);
    put(b, data, size);
    put_u32(b, png_checksum(b->data + start, size + 4));
}

/* One deflate block, not compressed. */
static void put_data(bytes *b, const void *data, size_t size)
{
    bytes stream = {0};
    uint32_t low = 1, high = 0;
    unsigned char head[7] = {0x78, 0x01, 0x01, (unsigned char)size, (unsigned char)(size >> 8), (unsigned char)~size,
                             (unsigned char)(~size >> 8)};
    put(&stream, head, sizeof head);
    put(&stream, data, size);
    for (size_t i = 0; i < size; i++) {
        low = (low + ((const unsigned char *)data)[i]) % 65521;
        high = (high + low) % 65521;
    }
    put_u32(&stream, high << 16 | low);
    put_chunk(b, "IDAT", stream.data, stream.size);
}

enum { GREY = 0, RGB = 2, PALETTE = 3, GREY_ALPHA = 4, RGB_ALPHA = 6 };

static void start_png(bytes *b, uint32_t width, uint32_t height, int depth, int kind)
{
    bytes header = {0};
    put_u32(&header, width);
    put_u32(&header, height);
    put(&header, (unsigned char[5]){(unsigned char)depth, (unsigned char)kind, 0, 0, 0}, 5);
    b->size = 0;
    put(b, "\x89PNG\r\n\x1a\n", 8);
    put_chunk(b, "IHDR", header.data, header.size);
}

static void finish_png(bytes *b, const void *rows, size_t size)
{
    put_data(b, rows, size);
    put_chunk(b, "IEND", "", 0);
}

static void check_pixels(const bytes *b, const uint8_t *expected, size_t count)
{
    be_image image = decode_picture("test", b->data, b->size);
    assert_int_equal(image.width * image.height * 3, count);
    assert_memory_equal(image.rgb, expected, count);
    be_image_free(&image);
}
#define CHECK_PIXELS(b, ...) check_pixels(b, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void test_grey_of_few_bits(void **state)
{
    (void)state;
    bytes b;
    start_png(&b, 3, 1, 1, GREY);
    finish_png(&b, (unsigned char[]){0, 0xa0}, 2);
    CHECK_PIXELS(&b, 255, 255, 255, 0, 0, 0, 255, 255, 255);
    start_png(&b, 4, 1, 2, GREY);
    finish_png(&b, (unsigned char[]){0, 0x1b}, 2);
    CHECK_PIXELS(&b, 0, 0, 0, 85, 85, 85, 170, 170, 170, 255, 255, 255);
    start_png(&b, 3, 1, 4, GREY);
    finish_png(&b, (unsigned char[]){0, 0x17, 0xf0}, 3);
    CHECK_PIXELS(&b, 17, 17, 17, 119, 119, 119, 255, 255, 255);
}

static void test_16_bit_is_high_byte(void **state)
{
    (void)state;
    bytes b;
    start_png(&b, 2, 1, 16, GREY);
    finish_png(&b, (unsigned char[]){0, 0x12, 0xff, 0x00, 0x80}, 5);
    CHECK_PIXELS(&b, 0x12, 0x12, 0x12, 0, 0, 0);
    start_png(&b, 1, 1, 16, GREY_ALPHA);
    finish_png(&b, (unsigned char[]){0, 0x7f, 0xff, 0x00, 0x01}, 5);
    CHECK_PIXELS(&b, 0x7f, 0x7f, 0x7f);
    start_png(&b, 1, 1, 16, RGB_ALPHA);
    finish_png(&b, (unsigned char[]){0, 1, 0xff, 2, 0xff, 3, 0xff, 0, 0}, 9);
    CHECK_PIXELS(&b, 1, 2, 3);
}

static void test_alpha_is_dropped(void **state)
{
    (void)state;
    bytes b;
    start_png(&b, 2, 1, 8, RGB_ALPHA);
    finish_png(&b, (unsigned char[]){0, 10, 20, 30, 0, 40, 50, 60, 128}, 9);
    CHECK_PIXELS(&b, 10, 20, 30, 40, 50, 60);
    start_png(&b, 2, 1, 8, GREY_ALPHA);
    finish_png(&b, (unsigned char[]){0, 10, 0, 20, 128}, 5);
    CHECK_PIXELS(&b, 10, 10, 10, 20, 20, 20);
    start_png(&b, 2, 1, 8, RGB);
    put_chunk(&b, "tRNS", (unsigned char[]){0, 10, 0, 20, 0, 30}, 6);
    finish_png(&b, (unsigned char[]){0, 10, 20, 30, 40, 50, 60}, 7);
    CHECK_PIXELS(&b, 10, 20, 30, 40, 50, 60);
    start_png(&b, 2, 1, 8, GREY);
    put_chunk(&b, "tRNS", (unsigned char[]){0, 7}, 2);
    finish_png(&b, (unsigned char[]){0, 7, 8}, 3);
    CHECK_PIXELS(&b, 7, 7, 7, 8, 8, 8);
}

static void test_palette(void **state)
{
    (void)state;
    bytes b;
    static const unsigned char colours[] = {11, 12, 13, 21, 22, 23};
    start_png(&b, 4, 1, 8, PALETTE);
    put_chunk(&b, "PLTE", colours, sizeof colours);
    put_chunk(&b, "tRNS", (unsigned char[]){0, 99}, 2);
    finish_png(&b, (unsigned char[]){0, 1, 0, 2, 255}, 5); /* 2 and 255 lie past the palette's end */
    CHECK_PIXELS(&b, 21, 22, 23, 11, 12, 13, 0, 0, 0, 0, 0, 0);
    start_png(&b, 3, 1, 4, PALETTE);
    put_chunk(&b, "PLTE", colours, sizeof colours);
    finish_png(&b, (unsigned char[]){0, 0x0f, 0x10}, 3);
    CHECK_PIXELS(&b, 11, 12, 13, 0, 0, 0, 21, 22, 23);
}

/* Gamma, background and significant bits are no business of convert("RGB"). */
static void test_ancillary_chunks_are_ignored(void **state)
{
    (void)state;
    bytes b;
    start_png(&b, 2, 1, 8, RGB_ALPHA);
    put_chunk(&b, "gAMA", (unsigned char[]){0, 0, 0, 1}, 4);
    put_chunk(&b, "sBIT", (unsigned char[]){3, 3, 3, 3}, 4);
    put_chunk(&b, "bKGD", (unsigned char[]){0, 255, 0, 255, 0, 255}, 6);
    put_chunk(&b, "iCCP", "no profile at all", 17);
    put_chunk(&b, "exAm", "an unknown chunk", 16);
    put_chunk(&b, "tEXt", "no separator", 12);
    b.data[b.size - 1] ^= 1; /* nor is its checksum */
    finish_png(&b, (unsigned char[]){0, 10, 20, 30, 0, 40, 50, 60, 128}, 9);
    put(&b, "bytes after the end", 19);
    CHECK_PIXELS(&b, 10, 20, 30, 40, 50, 60);
}

static void check_refused(const bytes *b, be_status expected, const char *part)
{
    be_error error;
    be_image image;
    assert_error(be_image_decode(b->data, b->size, "made.png", PIXEL_LIMIT, &image, &error), expected, &error, part);
    assert_memory_equal(error.message, "made.png: ", 10);
}

static void test_broken_png(void **state)
{
    (void)state;
    bytes b;
    start_png(&b, 1, 1, 8, PALETTE);
    finish_png(&b, (unsigned char[]){0, 0}, 2);
    check_refused(&b, BE_ERROR_FORMAT, "PLTE");
    start_png(&b, 1, 1, 8, RGB);
    put_chunk(&b, "IEND", "", 0);
    check_refused(&b, BE_ERROR_FORMAT, "IEND");
    start_png(&b, 1, 2, 8, RGB); /* one of two rows */
    finish_png(&b, (unsigned char[]){0, 1, 2, 3}, 4);
    check_refused(&b, BE_ERROR_FORMAT, "damaged PNG");
    start_png(&b, 1, 1, 3, RGB);
    finish_png(&b, (unsigned char[]){0, 1, 2, 3}, 4);
    check_refused(&b, BE_ERROR_FORMAT, "IHDR");
    start_png(&b, 1, 1, 8, RGB);
    put_chunk(&b, "CRIT", "", 0);
    finish_png(&b, (unsigned char[]){0, 1, 2, 3}, 4);
    check_refused(&b, BE_ERROR_FORMAT, "CRIT");
}

static void test_limits(void **state)
{
    (void)state;
    bytes b;
    be_error error;
    be_image image = {0};
    start_png(&b, 20, 10, 8, GREY);
    finish_png(&b, (unsigned char[210]){0}, 210);
    assert_error(be_image_decode(b.data, b.size, "made.png", 199, &image, &error), BE_ERROR_LIMIT, &error,
                 "made.png: 20 x 10 pixels are more than the limit of 199");
    assert_ok(be_image_decode(b.data, b.size, "made.png", 200, &image, &error), &error);
    be_image_free(&image);
    start_png(&b, 0x7fffffff, 0x7fffffff, 8, GREY);
    finish_png(&b, "", 1);
    check_refused(&b, BE_ERROR_LIMIT, "2147483647 x 2147483647");
    start_png(&b, 65501, 1, 1, GREY);
    finish_png(&b, "", 1);
    check_refused(&b, BE_ERROR_LIMIT, "side");
    start_png(&b, 6000, 6000, 8, GREY); /* within the limit, but no 100 bytes hold it */
    finish_png(&b, "", 1);
    check_refused(&b, BE_ERROR_FORMAT, "too short");
}

static void test_png_round_trip(void **state)
{
    (void)state;
    static const size_t sizes[][2] = {{1, 1}, {1, 50}, {50, 1}, {37, 23}, {425, 300}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        be_image image = make_noise(sizes[i][0], sizes[i][1], 12345), decoded = {0};
        unsigned char *png;
        size_t size;
        be_error error;
        assert_ok(be_image_encode_png(&image, &png, &size, &error), &error);
        assert_ok(be_image_decode(png, size, "made", 1000000, &decoded, &error), &error);
        assert_int_equal(decoded.width, image.width);
        assert_int_equal(decoded.height, image.height);
        assert_memory_equal(decoded.rgb, image.rgb, image.width * image.height * 3);
        be_image_free(&decoded);
        be_image_free(&image);
        free(png);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grey_of_few_bits),
        cmocka_unit_test(test_16_bit_is_high_byte),
        cmocka_unit_test(test_alpha_is_dropped),
        cmocka_unit_test(test_palette),
        cmocka_unit_test(test_ancillary_chunks_are_ignored),
        cmocka_unit_test(test_broken_png),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_png_round_trip),
    };
    return cmocka_run_group_tests_name("image_png", tests, NULL, NULL);
}
