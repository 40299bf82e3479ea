#include "core/image/image.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/image/decode.h"

/* The longest side libjpeg reads. A PNG may be longer, but such a strip is no picture, and dear to resize. */
enum { MAX_SIDE = 65500 };

void be_image_free(be_image *image)
{
    free(image->rgb);
    *image = (be_image){0};
}

be_status be_image_create(size_t width, size_t height, be_image *image, be_error *error)
{
    size_t pixels;
    void *rgb;
    if (!be_size_multiply(width, height, &pixels))
        return be_fail(error, BE_ERROR_LIMIT, "a picture of %zu x %zu pixels is too large", width, height);
    be_status status = be_allocate(&rgb, pixels, 3, "the pixels of a picture", error);
    if (status != BE_OK)
        return status;
    *image = (be_image){.width = width, .height = height, .rgb = rgb};
    return BE_OK;
}

be_status be_image_check_limits(const char *name, size_t width, size_t height, size_t max_pixels, be_error *error)
{
    size_t pixels;
    if (!be_size_multiply(width, height, &pixels) || pixels > max_pixels)
        return be_fail(error, BE_ERROR_LIMIT, "%s: %zu x %zu pixels are more than the limit of %zu", name, width,
                       height, max_pixels);
    if (width > MAX_SIDE || height > MAX_SIDE)
        return be_fail(error, BE_ERROR_LIMIT, "%s: %zu x %zu pixels: no side may be longer than %d", name, width,
                       height, MAX_SIDE);
    return BE_OK;
}

be_image_format be_image_sniff(const void *bytes, size_t size)
{
    static const unsigned char png[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    static const unsigned char jpeg[3] = {0xff, 0xd8, 0xff};
    if (size >= sizeof png && memcmp(bytes, png, sizeof png) == 0)
        return BE_IMAGE_PNG;
    if (size >= sizeof jpeg && memcmp(bytes, jpeg, sizeof jpeg) == 0)
        return BE_IMAGE_JPEG;
    return BE_IMAGE_UNKNOWN;
}

static be_status read_picture(const void *bytes, size_t size, const char *name, const size_t *max_pixels, be_image *image,
                              be_error *error)
{
    switch (be_image_sniff(bytes, size)) {
    case BE_IMAGE_PNG: return be_png_read(bytes, size, name, max_pixels, image, error);
    case BE_IMAGE_JPEG: return be_jpeg_read(bytes, size, name, max_pixels, image, error);
    case BE_IMAGE_UNKNOWN: break;
    }
    return be_fail(error, BE_ERROR_UNSUPPORTED, "%s: %s", name,
                   size ? "neither a PNG nor a JPEG picture" : "empty, where a PNG or JPEG picture is expected");
}

be_status be_image_size(const void *bytes, size_t size, const char *name, size_t *width, size_t *height,
                        be_error *error)
{
    be_image header = {0};
    be_status status = read_picture(bytes, size, name, NULL, &header, error);
    if (status != BE_OK)
        return status;
    *width = header.width;
    *height = header.height;
    return BE_OK;
}

be_status be_image_decode(const void *bytes, size_t size, const char *name, size_t max_pixels, be_image *image,
                          be_error *error)
{
    be_image decoded = {0};
    be_status status = read_picture(bytes, size, name, &max_pixels, &decoded, error);
    if (status == BE_OK)
        *image = decoded;
    else
        be_image_free(&decoded);
    return status;
}
