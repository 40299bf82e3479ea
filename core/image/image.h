/* From the bytes of a picture to what a backbone is given: decode, convert to RGB, fit, normalise.
 *
 * Every 8-bit stage equals PIL 9.4 / torchvision bit for bit (16-bit grey keeps the high byte, where PIL clips).
 * Source: MODEL section 1.
 */
#ifndef BRAINENC_IMAGE_IMAGE_H
#define BRAINENC_IMAGE_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"

/* 8-bit RGB, rows top to bottom. */
typedef struct be_image {
    size_t width, height; /* pixels, both at least 1 */
    uint8_t *rgb;         /* [height][width][3], owned; free with be_image_free */
} be_image;

/* *image = a picture of black pixels. */
be_status be_image_create(size_t width, size_t height, be_image *image, be_error *error);
/* Frees the pixels and clears *image; safe on a zeroed one. */
void be_image_free(be_image *image);

typedef enum be_image_format { BE_IMAGE_UNKNOWN, BE_IMAGE_PNG, BE_IMAGE_JPEG } be_image_format;

/* What the first bytes say, whatever the file is called. */
be_image_format be_image_sniff(const void *bytes, size_t size);

/* Width and height from the header alone, with the checks of be_image_decode up to the pixel limit; nothing the size of
 * the picture is allocated. */
be_status be_image_size(const void *bytes, size_t size, const char *name, size_t *width, size_t *height, be_error *error);

/* Decodes PNG or JPEG bytes to RGB as PIL's convert("RGB") does: grey replicated, palette looked up, alpha dropped (not
 * blended), plain CMYK, EXIF orientation ignored, 16-bit samples by their high byte. `name` stands in the sentence.
 * `max_pixels` is checked against the header before any allocation the size of the picture: BE_ERROR_LIMIT, which
 * also answers a side of more than 65500 pixels and a JPEG of more than 100 scans.
 * BE_ERROR_UNSUPPORTED for another format, BE_ERROR_FORMAT when the data is damaged or truncated (no partial pictures). */
be_status be_image_decode(const void *bytes, size_t size, const char *name, size_t max_pixels, be_image *image,
                          be_error *error);

/* PIL's Image.resize((width, height)) with its default filter: bicubic (a = -0.5), antialiased when shrinking, 8-bit
 * fixed-point passes, horizontal first. *out is a new image. */
be_status be_image_resize(const be_image *image, size_t width, size_t height, be_image *out, be_error *error);

typedef enum be_fit {
    BE_FIT_CROP,    /* centre square, then resized to size x size: the default */
    BE_FIT_STRETCH, /* resized to size x size whatever its shape */
    BE_FIT_PAD,     /* made square with the mean colour (124, 116, 104), the picture in the centre, then resized */
    BE_FIT_NATIVE   /* as it is */
} be_fit;

/* "crop", "stretch", "pad", "native" -> *fit; BE_ERROR_ARGUMENT naming the four otherwise. */
be_status be_fit_parse(const char *text, be_fit *fit, be_error *error);
const char *be_fit_name(be_fit fit);

/* Brings `image` to the shape the model was trained on: `size` x `size` pixels (not used by BE_FIT_NATIVE). The centre
 * square of a w x h picture starts at ((w - s) / 2, (h - s) / 2), rounded down, s = min(w, h). *out is a new image, a
 * copy when nothing is to be done. */
be_status be_image_fit(const be_image *image, be_fit fit, size_t size, be_image *out, be_error *error);

/* (value / 255 - mean) / std in float32, exactly as torchvision's ToTensor and Normalize compute it, for every 8-bit
 * value of each channel; mean (0.485, 0.456, 0.406), std (0.229, 0.224, 0.225). */
void be_image_normalisation(float table[3][256]);

/* The model input: normalised planes out[3][padded_height][padded_width], zero-padded (after normalisation) on the right
 * and bottom to a multiple of `multiple` (14 for DINOv2, 1 for none). */
void be_image_normalise(const be_image *image, size_t multiple, float *out);

/* Encodes as PNG (8-bit RGB). *bytes is malloc'd, to be freed with free(). */
be_status be_image_encode_png(const be_image *image, unsigned char **bytes, size_t *size, be_error *error);

#endif
