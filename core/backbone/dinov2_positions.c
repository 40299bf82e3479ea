/* DINOv2's position table on another grid. MODEL section 2. */
#include <math.h>
#include <string.h>

#include "core/backbone/vit.h"

/* Keys's cubic convolution for a sample `distance` away. */
static float cubic(float distance, float a)
{
    float x = fabsf(distance);
    if (x <= 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2)
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
    return 0;
}

/* What an output cell of one axis is made of: the weights of the cells first to end - 1. */
typedef struct mixture {
    size_t first, end;
    float weights[VIT_GRID_LIMIT];
} mixture;

/* Without registers: four cells around the place; those past an edge are the edge's. The scale is the published program's:
 * (count + 0.1) / size, not count / size. */
static void mix_clamped(mixture *out, size_t index, size_t count, size_t size)
{
    float step = (float)(1.0 / (((double)count + 0.1) / (double)size));
    float position = step * ((float)index + 0.5f) - 0.5f;
    float base = floorf(position), fraction = position - base;
    memset(out->weights, 0, size * sizeof *out->weights);
    out->first = size;
    out->end = 0;
    for (int k = -1; k <= 2; k++) {
        float place = fminf(fmaxf(base + (float)k, 0), (float)(size - 1));
        size_t cell = (size_t)place;
        out->weights[cell] += cubic(fraction - (float)k, -0.75f);
        out->first = cell < out->first ? cell : out->first;
        out->end = cell >= out->end ? cell + 1 : out->end;
    }
}

/* With registers, "antialiased": the curve is as much wider as the grid shrinks, cells past an edge are left out, and the
 * weights are made to sum to 1. */
static void mix_antialiased(mixture *out, size_t index, size_t count, size_t size)
{
    float scale = (float)size / (float)count, stretch = fmaxf(scale, 1), centre = scale * ((float)index + 0.5f), sum = 0;
    float first = fmaxf(floorf(centre - 2 * stretch + 0.5f), 0);
    float end = fminf(floorf(centre + 2 * stretch + 0.5f), (float)size);
    out->first = (size_t)first;
    out->end = (size_t)end;
    for (size_t cell = out->first; cell < out->end; cell++) {
        out->weights[cell] = cubic(((float)cell + 0.5f - centre) / stretch, -0.5f);
        sum += out->weights[cell];
    }
    for (size_t cell = out->first; cell < out->end; cell++)
        out->weights[cell] /= sum;
}

static void mix_cells(const vit *model, const mixture *rows, const mixture *columns, float *out)
{
    size_t width = model->width;
    memset(out, 0, width * sizeof *out);
    for (size_t i = rows->first; i < rows->end; i++) {
        for (size_t j = columns->first; j < columns->end; j++) {
            const float *cell = model->positions + (i * model->grid + j) * width;
            float weight = rows->weights[i] * columns->weights[j];
            for (size_t c = 0; c < width; c++)
                out[c] += weight * cell[c];
        }
    }
}

void dinov2_resample_positions(const vit *model, size_t rows, size_t columns, float *out)
{
    void (*mix)(mixture *, size_t, size_t, size_t) = model->leading > 1 ? mix_antialiased : mix_clamped;
    size_t grid = model->grid, width = model->width;
    if (rows == grid && columns == grid) {
        memcpy(out, model->positions, rows * columns * width * sizeof *out);
        return;
    }
    for (size_t row = 0; row < rows; row++) {
        mixture of_row, of_column;
        mix(&of_row, row, rows, grid);
        for (size_t column = 0; column < columns; column++, out += width) {
            mix(&of_column, column, columns, grid);
            mix_cells(model, &of_row, &of_column, out);
        }
    }
}
