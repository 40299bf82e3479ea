#include "tests/unit/image_support.h"

#include "tests/unit/random.h"

be_image decode_picture(const char *name, const unsigned char *bytes, size_t size)
{
    be_image image = {0};
    be_error error;
    assert_ok(be_image_decode(bytes, size, name, PIXEL_LIMIT, &image, &error), &error);
    return image;
}

be_image read_picture(const char *golden_name)
{
    size_t size;
    unsigned char *bytes = read_bytes(golden(golden_name), &size);
    be_image image = decode_picture(golden_name, bytes, size);
    free(bytes);
    return image;
}

be_image make_noise(size_t width, size_t height, uint32_t seed)
{
    be_image image = {.width = width, .height = height, .rgb = malloc(width * height * 3)};
    assert_non_null(image.rgb);
    for (size_t i = 0; i < width * height * 3; i++)
        image.rgb[i] = (uint8_t)(next_random(&seed) >> 24);
    return image;
}

uint32_t png_checksum(const unsigned char *data, size_t size)
{
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0xedb88320u : crc >> 1;
    }
    return ~crc;
}
