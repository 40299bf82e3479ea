#include "core/backbone/vit.h"

#include <math.h>
#include <string.h>

/* Keys's cubic convolution with a = -0.75, for a sample `distance` away. */
static float cubic(float distance)
{
    const float a = -0.75f;
    float x = fabsf(distance);
    if (x <= 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2)
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
    return 0;
}

/* The four cells of an axis of `size` cells, and their weights, that output cell `index` of `count` is made of. The scale is
 * the published program's: (count + 0.1) / size, not count / size. Cells past an edge are the edge's. */
static void taps(size_t index, size_t count, size_t size, size_t cells[4], float weights[4])
{
    float step = (float)(1.0 / (((double)count + 0.1) / (double)size));
    float position = step * ((float)index + 0.5f) - 0.5f;
    float base = floorf(position), fraction = position - base;
    for (int k = 0; k < 4; k++) {
        float cell = base + (float)(k - 1);
        cell = cell < 0 ? 0 : cell;
        cells[k] = cell > (float)(size - 1) ? size - 1 : (size_t)cell;
        weights[k] = cubic(fraction - (float)(k - 1));
    }
}

void vit_resample_positions(const vit *model, size_t rows, size_t columns, float *out)
{
    size_t grid = model->grid, width = model->width;
    if (rows == grid && columns == grid) {
        memcpy(out, model->positions, rows * columns * width * sizeof *out);
        return;
    }
    for (size_t row = 0; row < rows; row++) {
        size_t row_cells[4], column_cells[4];
        float row_weights[4], column_weights[4];
        taps(row, rows, grid, row_cells, row_weights);
        for (size_t column = 0; column < columns; column++, out += width) {
            taps(column, columns, grid, column_cells, column_weights);
            memset(out, 0, width * sizeof *out);
            for (int i = 0; i < 4; i++) {
                for (int j = 0; j < 4; j++) {
                    const float *cell = model->positions + (row_cells[i] * grid + column_cells[j]) * width;
                    float weight = row_weights[i] * column_weights[j];
                    for (size_t c = 0; c < width; c++)
                        out[c] += weight * cell[c];
                }
            }
        }
    }
}
