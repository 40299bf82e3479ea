/* Private to this folder: the two decoders behind be_image_decode, and what they share. */
#ifndef BRAINENC_IMAGE_DECODE_H
#define BRAINENC_IMAGE_DECODE_H

#include "core/image/image.h"

/* *image = a picture of black pixels. */
be_status be_image_create(size_t width, size_t height, be_image *image, be_error *error);

/* BE_ERROR_LIMIT when the picture has more than `max_pixels` pixels or a side of more than 65500, which bounds what a
 * decoder keeps for a row and what a resize of a long strip costs. */
be_status be_image_check_limits(const char *name, size_t width, size_t height, size_t max_pixels, be_error *error);

/* As be_image_size and be_image_decode, for bytes that begin as this format does. */
be_status be_png_size(const void *bytes, size_t size, const char *name, size_t *width, size_t *height, be_error *error);
be_status be_png_decode(const void *bytes, size_t size, const char *name, size_t max_pixels, be_image *image,
                        be_error *error);
be_status be_jpeg_size(const void *bytes, size_t size, const char *name, size_t *width, size_t *height,
                       be_error *error);
be_status be_jpeg_decode(const void *bytes, size_t size, const char *name, size_t max_pixels, be_image *image,
                         be_error *error);

#endif
