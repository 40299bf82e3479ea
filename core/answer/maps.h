/* Attention maps drawn over the picture. */
#ifndef BRAINENC_ANSWER_MAPS_H
#define BRAINENC_ANSWER_MAPS_H

#include "core/image/image.h"

/* The map drawn over the picture as in the paper's figures: each pixel of `image` (the model's input, before padding) is
 * 60 % the picture and 40 % the viridis colour of the map's value there, 0 to the map's largest value, read bilinearly
 * between the centres of its `patch`-pixel cells. *out is a new image of the same size. */
be_status be_map_overlay(const be_image *image, const float *map, size_t rows, size_t columns, size_t patch, be_image *out,
                         be_error *error);

/* Two images of one height side by side. *out is new. */
be_status be_images_beside(const be_image *left, const be_image *right, be_image *out, be_error *error);

#endif
