#include <math.h>
#include <string.h>

#include "core/encoder/encoder.h"

/* One axis: half = channels / 2 numbers for coordinate `index` of `count`. */
static void axis_code(size_t index, size_t count, size_t half, float *out)
{
    const float two_pi = 6.28318530717958647692f;
    float at = (float)(index + 1) / ((float)count + 1e-6f) * two_pi;
    for (size_t k = 0; k < half; k++) {
        float frequency = powf(10000.0f, 2.0f * (float)(k / 2) / (float)half);
        out[k] = k % 2 == 0 ? sinf(at / frequency) : cosf(at / frequency);
    }
}

void be_position_sine(size_t rows, size_t columns, size_t channels, float *out)
{
    size_t half = channels / 2;
    for (size_t row = 0; row < rows; row++) {
        for (size_t column = 0; column < columns; column++) { /* each axis is computed once, along the grid's first edge */
            float *cell = out + (row * columns + column) * channels;
            if (column == 0)
                axis_code(row, rows, half, cell);
            else
                memcpy(cell, cell - channels, half * sizeof *cell);
            if (row == 0)
                axis_code(column, columns, half, cell + half);
            else
                memcpy(cell + half, cell - columns * channels + half, half * sizeof *cell);
        }
    }
}
