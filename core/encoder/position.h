/* Position codes of an encoder's grid; for the files of this folder only. MODEL section 3.
 *
 * Both codes are separable: half of a cell's channels depend on its row alone, the other half on its column alone. They are
 * therefore kept as two tables, one after the other: [rows][D/2] and [columns][D/2].
 */
#ifndef BRAINENC_ENCODER_POSITION_H
#define BRAINENC_ENCODER_POSITION_H

#include <stdbool.h>
#include <stddef.h>

typedef struct be_positions {
    const float *by_row, *by_column; /* [rows][D/2], [columns][D/2] */
    size_t rows, columns, width;     /* width = D, even */
    bool column_first;               /* the column's half is the first of a cell's channels (the learned code) */
} be_positions;

/* The tables in one array of (rows + columns) * D / 2 floats. */
be_positions be_positions_in(const float *tables, size_t rows, size_t columns, size_t width, bool column_first);

/* Fills such an array with the sine code, whose row half is the first. */
void be_positions_sine(size_t rows, size_t columns, size_t width, float *tables);

/* x[i] += the code of cell first + i, for `count` cells, row-major; x [count][D]. */
void be_positions_add(const be_positions *positions, size_t first, size_t count, float *x);

#endif
