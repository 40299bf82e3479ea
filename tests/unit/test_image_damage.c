/* Damaged pictures are refused with a sentence, never answered in part, and never crash the decoder. */
#include "tests/unit/image_support.h"

#include <stdio.h>

static void test_damaged_files(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        be_status status;
        const char *part;
    } cases[] = {
        {"truncated.png", BE_ERROR_FORMAT, "truncated.png: damaged PNG: the file ends too early"},
        {"bad_crc.png", BE_ERROR_FORMAT, "bad_crc.png: damaged PNG: IDAT: "},
        {"zero_width.png", BE_ERROR_FORMAT, "zero_width.png: damaged PNG: Invalid IHDR data"},
        {"truncated.jpg", BE_ERROR_FORMAT, "truncated.jpg: damaged JPEG: "},
        {"bomb_30000x30000.png", BE_ERROR_LIMIT,
         "bomb_30000x30000.png: 30000 x 30000 pixels are more than the limit of 40000000"},
        {"empty.png", BE_ERROR_UNSUPPORTED, "empty.png: "},
        {"text.png", BE_ERROR_UNSUPPORTED, "text.png: "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[128];
        size_t size;
        be_error error;
        be_image image;
        snprintf(path, sizeof path, "corrupt/%s", cases[i].name);
        unsigned char *bytes = read_bytes(golden(path), &size);
        assert_error(be_image_decode(bytes, size, cases[i].name, PIXEL_LIMIT, &image, &error), cases[i].status, &error,
                     cases[i].part);
        free(bytes);
    }
}

static void test_size_of_damaged_files(void **state)
{
    (void)state;
    size_t size, width, height;
    be_error error;
    unsigned char *bytes = read_bytes(golden("corrupt/bomb_30000x30000.png"), &size);
    assert_ok(be_image_size(bytes, size, "bomb.png", &width, &height, &error), &error);
    assert_int_equal(width, 30000);
    assert_int_equal(height, 30000);
    free(bytes);
    bytes = read_bytes(golden("corrupt/zero_width.png"), &size);
    assert_error(be_image_size(bytes, size, "zero.png", &width, &height, &error), BE_ERROR_FORMAT, &error,
                 "zero.png: ");
    free(bytes);
    bytes = read_bytes(golden("corrupt/text.png"), &size);
    assert_error(be_image_size(bytes, size, "text.png", &width, &height, &error), BE_ERROR_UNSUPPORTED, &error,
                 "text.png: ");
    free(bytes);
    bytes = read_bytes(golden("corrupt/truncated.jpg"), &size);
    assert_error(be_image_size(bytes, 100, "a.jpg", &width, &height, &error), BE_ERROR_FORMAT, &error, "a.jpg: ");
    free(bytes);
}

/* Decodes a copy that ends where its memory ends, so that a read past the end shows. */
static be_status decode_copy(const unsigned char *bytes, size_t size, be_image *image, be_error *error)
{
    unsigned char *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, size);
    be_status status = be_image_decode(copy, size, "copy", 200000, image, error);
    free(copy);
    return status;
}

/* A truncated file is an error at every length, for both formats end with a marker. */
static void check_truncation(const char *name, size_t step)
{
    size_t size;
    be_image image;
    be_error error;
    unsigned char *bytes = read_bytes(golden(name), &size);
    for (size_t length = 0; length < size; length += step) {
        if (decode_copy(bytes, length, &image, &error) == BE_OK)
            fail_msg("%s: a picture from %zu of %zu bytes", name, length, size);
        assert_memory_equal(error.message, "copy: ", 6);
    }
    free(bytes);
}

static void test_truncation_at_every_length(void **state)
{
    (void)state;
    check_truncation("preprocess/images/bilevel_70x50.png", 1);
    check_truncation("preprocess/images/gray4_53x40.png", 1);
    check_truncation("preprocess/images/interlaced_83x61.png", 61);
    check_truncation("preprocess/images/gray_90x60.jpg", 1);
    check_truncation("preprocess/images/exif_rotated_96x64.jpg", 7);
    check_truncation("preprocess/images/cmyk_96x64.jpg", 13);
    check_truncation("preprocess/images/progressive_500x333.jpg", 211);
}

static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static uint32_t load_u32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Makes every checksum of a PNG right again, so that what was changed is seen and not only refused. */
static void repair_checksums(unsigned char *png, size_t size)
{
    for (size_t at = 8; at + 12 <= size;) {
        size_t length = load_u32(png + at);
        if (length > size - at - 12)
            return;
        uint32_t crc = png_checksum(png + at + 4, length + 4);
        for (int i = 0; i < 4; i++)
            png[at + 8 + length + (size_t)i] = (unsigned char)(crc >> (24 - 8 * i));
        at += 12 + length;
    }
}

static void mutate(unsigned char *bytes, size_t size, uint64_t *random)
{
    static const unsigned char extremes[] = {0x00, 0x01, 0x7f, 0x80, 0xff, 0xd8, 0xda, 0xc4};
    uint32_t changes = 1 + next_random(random) % 4;
    /* half of the changes go into the first part, where the headers are */
    size_t range = next_random(random) % 2 && size > 300 ? 300 : size;
    for (uint32_t i = 0; i < changes; i++) {
        size_t at = 3 + next_random(random) % (range - 3);
        switch (next_random(random) % 3) {
        case 0: bytes[at] ^= (unsigned char)(1u << next_random(random) % 8); break;
        case 1: bytes[at] = (unsigned char)next_random(random); break;
        default: bytes[at] = extremes[next_random(random) % sizeof extremes];
        }
    }
}

static void check_answer(be_status status, const be_image *image, const be_error *error)
{
    if (status == BE_OK) {
        assert_in_range(image->width * image->height, 1, 200000);
        uint32_t sum = 0; /* every byte is there to be read */
        for (size_t i = 0; i < image->width * image->height * 3; i++)
            sum += image->rgb[i];
        assert_in_range(sum, 0, 200000u * 3 * 255);
        return;
    }
    assert_true(status == BE_ERROR_FORMAT || status == BE_ERROR_LIMIT || status == BE_ERROR_UNSUPPORTED);
    assert_int_equal(error->status, status);
    assert_memory_equal(error->message, "copy: ", 6);
}

static void check_mutations(const char *name, int rounds, bool repair)
{
    size_t size;
    unsigned char *bytes = read_bytes(golden(name), &size), *changed = malloc(size);
    assert_non_null(changed);
    uint64_t random = 1;
    for (int round = 0; round < rounds; round++) {
        be_image image = {0};
        be_error error;
        memcpy(changed, bytes, size);
        mutate(changed, size, &random);
        if (repair)
            repair_checksums(changed, size);
        be_status status = decode_copy(changed, size, &image, &error);
        check_answer(status, &image, &error);
        if (status == BE_OK)
            be_image_free(&image);
    }
    free(bytes);
    free(changed);
}

static void test_mutations(void **state)
{
    (void)state;
    check_mutations("preprocess/images/bilevel_70x50.png", 300, false);
    check_mutations("preprocess/images/bilevel_70x50.png", 1500, true);
    check_mutations("preprocess/images/gray4_53x40.png", 1500, true);
    check_mutations("preprocess/images/palette_180x140.png", 150, true);
    check_mutations("preprocess/images/interlaced_83x61.png", 150, true);
    check_mutations("preprocess/images/gray_90x60.jpg", 1500, false);
    check_mutations("preprocess/images/cmyk_96x64.jpg", 500, false);
    check_mutations("preprocess/images/exif_rotated_96x64.jpg", 1000, false);
    check_mutations("preprocess/images/progressive_500x333.jpg", 100, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_damaged_files),
        cmocka_unit_test(test_size_of_damaged_files),
        cmocka_unit_test(test_truncation_at_every_length),
        cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests_name("image_damage", tests, NULL, NULL);
}
