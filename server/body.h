/* From the parts of a request to decoded, fitted images. */
#ifndef BRAINENCD_BODY_H
#define BRAINENCD_BODY_H

#include "server/request.h"

/* The limits that images are held to. */
typedef struct body_limits {
    size_t pixels, tokens, images;
} body_limits;

/* Makes it->images from it->parts: image files (PNG, JPEG), .npy arrays of uint8 [H][W][3] or [N][H][W][3], or JSON with
 * base64 ("image" or "images"). Decodes and fits each. The sentence names the image by its place ("image 2"). */
be_status body_read_images(request *it, const body_limits *limits, be_error *error);

#endif
