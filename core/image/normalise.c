#include "core/image/image.h"

#include <string.h>

static const float MEAN[3] = {0.485f, 0.456f, 0.406f};
static const float DEVIATION[3] = {0.229f, 0.224f, 0.225f};

void be_image_normalisation(float table[3][256])
{
    for (size_t c = 0; c < 3; c++) {
        for (int value = 0; value < 256; value++)
            table[c][value] = ((float)value / 255.0f - MEAN[c]) / DEVIATION[c];
    }
}

static size_t round_up(size_t value, size_t multiple)
{
    return (value + multiple - 1) / multiple * multiple;
}

void be_image_normalise(const be_image *image, size_t multiple, float *out)
{
    float table[3][256];
    size_t width = image->width, height = image->height;
    size_t padded_width = round_up(width, multiple), padded_height = round_up(height, multiple);
    be_image_normalisation(table);
    for (size_t c = 0; c < 3; c++) {
        const uint8_t *sample = image->rgb + c;
        for (size_t y = 0; y < height; y++, out += padded_width) {
            for (size_t x = 0; x < width; x++, sample += 3)
                out[x] = table[c][*sample];
            memset(out + width, 0, (padded_width - width) * sizeof *out);
        }
        memset(out, 0, (padded_height - height) * padded_width * sizeof *out);
        out += (padded_height - height) * padded_width;
    }
}
