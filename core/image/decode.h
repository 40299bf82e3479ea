/* Private to this folder: the two decoders behind be_image_decode, and what they share. */
#ifndef BRAINENC_IMAGE_DECODE_H
#define BRAINENC_IMAGE_DECODE_H

#include "core/image/image.h"

/* BE_ERROR_LIMIT when the picture has more than `max_pixels` pixels or a side of more than 65500, which bounds what a
 * decoder keeps for a row and what a resize of a long strip costs. */
be_status be_image_check_limits(const char *name, size_t width, size_t height, size_t max_pixels, be_error *error);

/* For bytes that begin as this format does. `max_pixels` as in be_image_decode, or NULL when only the size is wanted: then
 * image->rgb stays NULL. *image begins zeroed and is to be freed with be_image_free whatever the answer. */
be_status be_png_read(const void *bytes, size_t size, const char *name, const size_t *max_pixels, be_image *image,
                      be_error *error);
be_status be_jpeg_read(const void *bytes, size_t size, const char *name, const size_t *max_pixels, be_image *image,
                       be_error *error);

#endif
