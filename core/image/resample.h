/* Private to this folder: a picture on a ground of one colour, brought to another size. */
#ifndef BRAINENC_IMAGE_RESAMPLE_H
#define BRAINENC_IMAGE_RESAMPLE_H

#include "core/image/image.h"

/* The canvas is never stored, so that a strip of a picture on a square canvas costs no more than the strip. */
typedef struct be_canvas {
    const uint8_t *rgb;                 /* the picture's first pixel */
    size_t stride;                      /* bytes from one of its rows to the next */
    size_t width, height;               /* of the picture, at least 1 */
    size_t left, top;                   /* where its first pixel lies on the canvas */
    size_t canvas_width, canvas_height; /* hold the whole picture */
    uint8_t ground[3];                  /* the colour around the picture */
} be_canvas;

/* The canvas at width x height pixels, bit for bit as be_image_resize of a picture of the whole canvas. */
be_status be_resample(const be_canvas *canvas, size_t width, size_t height, be_image *out, be_error *error);

#endif
