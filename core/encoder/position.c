#include "core/encoder/position.h"

#include <math.h>

be_positions be_positions_in(const float *tables, size_t rows, size_t columns, size_t width, bool column_first)
{
    return (be_positions){.by_row = tables, .by_column = tables + rows * (width / 2), .rows = rows, .columns = columns,
                          .width = width, .column_first = column_first};
}

/* One axis: half = D / 2 numbers for coordinate `index` of `count`. */
static void axis_code(size_t index, size_t count, size_t half, float *out)
{
    const float two_pi = 6.28318530717958647692f;
    float at = (float)(index + 1) / ((float)count + 1e-6f) * two_pi;
    for (size_t k = 0; k < half; k++) {
        float frequency = powf(10000.0f, 2.0f * (float)(k / 2) / (float)half);
        out[k] = k % 2 == 0 ? sinf(at / frequency) : cosf(at / frequency);
    }
}

void be_positions_sine(size_t rows, size_t columns, size_t width, float *tables)
{
    size_t half = width / 2;
    for (size_t row = 0; row < rows; row++)
        axis_code(row, rows, half, tables + row * half);
    for (size_t column = 0; column < columns; column++)
        axis_code(column, columns, half, tables + (rows + column) * half);
}

void be_positions_add(const be_positions *positions, size_t first, size_t count, float *x)
{
    size_t half = positions->width / 2;
    for (size_t cell = first; cell < first + count; cell++, x += 2 * half) {
        const float *row = positions->by_row + cell / positions->columns * half;
        const float *column = positions->by_column + cell % positions->columns * half;
        const float *left = positions->column_first ? column : row, *right = positions->column_first ? row : column;
        for (size_t k = 0; k < half; k++) {
            x[k] += left[k];
            x[half + k] += right[k];
        }
    }
}
