/* What the tests of pictures share. */
#ifndef BRAINENC_TESTS_IMAGE_SUPPORT_H
#define BRAINENC_TESTS_IMAGE_SUPPORT_H

#include "tests/unit/support.h"

#include "core/image/image.h"

enum { PIXEL_LIMIT = 40000000 };

/* A picture that must be good. */
be_image decode_picture(const char *name, const unsigned char *bytes, size_t size);
be_image read_picture(const char *golden_name);
/* width x height pixels of noise that depends on `seed` alone. */
be_image make_noise(size_t width, size_t height, uint32_t seed);

/* The checksum of a PNG's chunk, over its type and data. */
uint32_t png_checksum(const unsigned char *data, size_t size);

#endif
