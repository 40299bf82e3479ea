/* What computes matrix products: one table of functions for each instruction set, all compiled from tiles.inc. Used through
 * matrix.h and attention.h.
 *
 * In bfloat16 both operands are cut into tiles of 16 x 32 numbers, 1 KB, one after the other along `inner`, padded with zeros:
 *   activations  [rows / 16][inner / 32][16 rows][32]
 *   weights      [columns / 16][inner / 32][16 pairs][16 columns][2]: two neighbours along `inner` side by side
 * so that a tile is what AMX loads at once, a row of a weight's tile is one AVX-512 register, and one packed form serves
 * every instruction set. In float32 activations stay as they are and weights are cut into strips of as many columns:
 *   weights      [columns / 16][inner][16 columns]
 * An element of a product is summed in the order of `inner` whatever its place: its bits depend on its row of activations and
 * its column of the weight alone.
 */
#ifndef BRAINENC_COMPUTE_TILES_H
#define BRAINENC_COMPUTE_TILES_H

#include <stddef.h>

enum { BE_TILE_ROWS = 16, BE_TILE_INNER = 32, BE_TILE_SIZE = BE_TILE_ROWS * BE_TILE_INNER };

struct be_activations;
struct be_matrix;
struct be_matrix_product;

typedef struct be_tiles {
    /* The numbers factor * in[rows][inner], in bfloat16 rounded to nearest even, as rows `first` and following of `to`. */
    void (*round_rows)(const struct be_activations *to, size_t first, const float *in, size_t stride, size_t rows, float factor);
    /* A whole weight, given as [columns][inner] or, turned, as [inner][columns]; rows are `stride` floats apart. */
    void (*pack)(const struct be_matrix *to, const float *weight, size_t stride);
    void (*pack_turned)(const struct be_matrix *to, const float *weight, size_t stride);
    /* to[r][i] = exp(scores[r][i] - max_r), in bfloat16 rounded (in BF16 alone off by up to 1e-4 of itself before that), of all its
     * rows and columns; inverses[r] = 1 / the sum of row r.
     * In float32 `to` may be over the scores themselves. */
    void (*exponentials)(const struct be_activations *to, float *inverses, const float *scores, size_t stride);
    /* The product; `sums` holds be_matrix_scratch floats and is NULL for one of whole tiles. */
    void (*multiply)(const struct be_matrix_product *product, float *sums);
} be_tiles;

/* So many rows or columns, up to whole tiles. */
static inline size_t be_whole_tiles(size_t count)
{
    return (count + BE_TILE_ROWS - 1) / BE_TILE_ROWS * BE_TILE_ROWS;
}

/* Where the element of a column and a place along `inner` stands in a weight in float32. */
static inline size_t be_strip_place(size_t inner, size_t column, size_t i)
{
    return (column / BE_TILE_ROWS * inner + i) * BE_TILE_ROWS + column % BE_TILE_ROWS;
}

enum { BE_TILES_WIDEST = 48 }; /* columns: of the strip that any of them works on at a time */

extern const be_tiles be_tiles_generic;
#if defined(__x86_64__)
extern const be_tiles be_tiles_avx2, be_tiles_avx512, be_tiles_avx512bf16, be_tiles_amx;
#endif

#endif
