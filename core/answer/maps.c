#include "core/answer/maps.h"

#include <string.h>

/* matplotlib's viridis at 20 even steps (CC0, Stéfan van der Walt and Nathaniel Smith), interpolated linearly between. */
static const unsigned char viridis[][3] = {
    {68, 1, 84}, {72, 21, 103}, {72, 38, 119}, {69, 55, 129}, {64, 71, 136}, {57, 86, 140},
    {51, 99, 141}, {45, 112, 142}, {40, 125, 142}, {35, 138, 141}, {31, 150, 139}, {32, 163, 135},
    {41, 175, 127}, {60, 187, 117}, {85, 198, 103}, {115, 208, 85}, {149, 216, 64}, {184, 222, 41},
    {220, 227, 25}, {253, 231, 37},
};
enum { STEPS = sizeof viridis / sizeof *viridis - 1 };

/* One colour channel of the colour for `value`, 0 to 1. */
static float colour_of(float value, size_t channel)
{
    float at = value * (float)STEPS;
    size_t step = at < 0 ? 0 : at >= (float)STEPS ? STEPS - 1 : (size_t)at;
    float fraction = at - (float)step;
    return (float)viridis[step][channel] * (1 - fraction) + (float)viridis[step + 1][channel] * fraction;
}

/* The two cells of an axis of `cells` cells between whose centres a pixel lies, and how far it is from the first. */
static void between(size_t pixel, size_t patch, size_t cells, size_t *first, size_t *second, float *fraction)
{
    float at = ((float)pixel + 0.5f) / (float)patch - 0.5f;
    at = at < 0 ? 0 : at > (float)(cells - 1) ? (float)(cells - 1) : at;
    *first = (size_t)at;
    *second = *first + 1 < cells ? *first + 1 : *first;
    *fraction = at - (float)*first;
}

static float value_at(const float *map, size_t rows, size_t columns, size_t patch, size_t y, size_t x)
{
    size_t top, bottom, left, right;
    float down, across;
    between(y, patch, rows, &top, &bottom, &down);
    between(x, patch, columns, &left, &right, &across);
    float upper = map[top * columns + left] * (1 - across) + map[top * columns + right] * across;
    float lower = map[bottom * columns + left] * (1 - across) + map[bottom * columns + right] * across;
    return upper * (1 - down) + lower * down;
}

be_status be_map_overlay(const be_image *image, const float *map, size_t rows, size_t columns, size_t patch, be_image *out,
                         be_error *error)
{
    const float opacity = 0.4f;
    float largest = 0;
    be_status status = be_image_create(image->width, image->height, out, error);
    if (status != BE_OK)
        return status;
    for (size_t i = 0; i < rows * columns; i++)
        largest = map[i] > largest ? map[i] : largest;
    for (size_t y = 0; y < image->height; y++) {
        for (size_t x = 0; x < image->width; x++) {
            float value = value_at(map, rows, columns, patch, y, x) / largest;
            value = value > 0 ? value : 0; /* no map at all, and NaN out of broken weights, are drawn as 0 */
            size_t at = (y * image->width + x) * 3;
            for (size_t c = 0; c < 3; c++)
                out->rgb[at + c] = (uint8_t)((float)image->rgb[at + c] * (1 - opacity) + colour_of(value, c) * opacity + 0.5f);
        }
    }
    return BE_OK;
}

be_status be_images_beside(const be_image *left, const be_image *right, be_image *out, be_error *error)
{
    if (left->height != right->height)
        return be_fail(error, BE_ERROR_ARGUMENT, "pictures of %zu and %zu rows do not fit beside each other", left->height,
                       right->height);
    be_status status = be_image_create(left->width + right->width, left->height, out, error);
    if (status != BE_OK)
        return status;
    for (size_t y = 0; y < left->height; y++) {
        uint8_t *row = out->rgb + y * out->width * 3;
        memcpy(row, left->rgb + y * left->width * 3, left->width * 3);
        memcpy(row + left->width * 3, right->rgb + y * right->width * 3, right->width * 3);
    }
    return BE_OK;
}
