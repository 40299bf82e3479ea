/* From the parts of a request to decoded, fitted images. */
#ifndef BRAINENCD_BODY_H
#define BRAINENCD_BODY_H

#include "server/request.h"

/* The limits that images are held to. */
typedef struct body_limits {
    size_t pixels, tokens, images;
    size_t bytes_in_flight; /* of all requests together */
} body_limits;

/* Makes it->images from it->parts: image files (PNG, JPEG), .npy arrays of uint8 [H][W][3] or [N][H][W][3], or JSON with
 * base64 ("image" or "images"). Decodes and fits each. The sentence names the image by its place ("image 2"). */
be_status body_read_images(request *it, const body_limits *limits, be_error *error);

/* Counts bytes the request is going to hold; BE_ERROR_MEMORY when they would be more than limits->bytes_in_flight with those
 * of all others. */
be_status body_count_bytes(request *it, size_t bytes, const body_limits *limits, be_error *error);

#endif
