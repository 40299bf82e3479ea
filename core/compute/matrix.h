/* Products of activations with weights in any precision, with what follows the product done in its last step. The bits of an
 * output element depend on its row and column alone: rows may be cut into panels at will.
 */
#ifndef BRAINENC_COMPUTE_MATRIX_H
#define BRAINENC_COMPUTE_MATRIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/compute/arena.h"
#include "core/compute/isa.h"

/* --- weights ------------------------------------------------------------------------------------------------------ */

/* A weight [columns][inner], as PyTorch keeps a linear layer's ([out][in]), in the form its products want. */
typedef struct be_matrix {
    be_precision precision;
    size_t columns, inner;  /* at least 1 */
    float *values;          /* F32; in the order of tiles.h, in memory of the caller's */
    uint16_t *high, *low;   /* else: bfloat16 likewise; low: NULL but for BF16X3 */
} be_matrix;

/* *bytes = the memory a packed weight takes; false when that overflows size_t. */
bool be_matrix_bytes(be_precision precision, size_t columns, size_t inner, size_t *bytes);

/* *matrix = room for a weight; be_tiles.pack and pack_turned fill it. `memory`: as below. */
void be_matrix_make(be_matrix *matrix, be_precision precision, size_t columns, size_t inner, void *memory);

/* *matrix = the weight, whose values are copied, or rounded to nearest even, into `memory`: be_matrix_bytes bytes aligned to
 * BE_ALIGNMENT, which must outlive the matrix. */
void be_matrix_pack(be_matrix *matrix, const be_isa *isa, be_precision precision, const float *weight, size_t columns,
                    size_t inner, void *memory);

/* *matrix = a weight that is packed into memory taken from `arena`. With `weight` NULL only the memory is taken
 * (or counted), and the matrix is not to be used. BE_ERROR_MEMORY when the size overflows. */
be_status be_matrix_keep(be_matrix *matrix, be_precision precision, const float *weight, size_t columns, size_t inner,
                         be_arena *arena, be_error *error);

/* --- activations -------------------------------------------------------------------------------------------------- */

/* [rows][inner] in the form products read; in an arena's memory. What is not a number stays so; values beyond bfloat16's
 * largest become infinity; numbers below 2^-126 may become 0. */
typedef struct be_activations {
    be_precision precision;
    size_t rows, inner;
    const float *values;   /* F32: rows `stride` floats apart */
    float *room;           /* F32: `values` where they may be written; NULL where they are the caller's */
    size_t stride;
    uint16_t *high, *low;  /* else: as a weight's */
} be_activations;

/* Room for the output of a product (be_matrix_product.packed). */
void be_activations_make(be_activations *to, be_precision precision, size_t rows, size_t inner, be_arena *arena);
/* Room for what is computed from values[rows][inner] element by element: in F32 the values themselves, which takes no memory. */
void be_activations_make_over(be_activations *to, be_precision precision, float *values, size_t stride, size_t rows,
                              size_t inner, be_arena *arena);
/* *to = factor * in; in F32 with a factor of 1 a view of `in` that takes no memory. */
void be_activations_round(be_activations *to, const be_isa *isa, be_precision precision, const float *in, size_t stride,
                          size_t rows, size_t inner, float factor, be_arena *arena);
/* *to = LayerNorm(in) as be_kernels computes it; `in` is dense. */
void be_activations_layer_norm(be_activations *to, const be_isa *isa, be_precision precision, const float *in,
                               const float *gain, const float *bias, float epsilon, size_t rows, size_t inner,
                               be_arena *arena);
/* The floats that each of the four takes from its arena, at most. */
size_t be_activations_floats(be_precision precision, size_t rows, size_t inner);

/* --- products ----------------------------------------------------------------------------------------------------- */

/* What becomes of y = in weight', elementwise; the functions are those of be_kernels, but for GELU of an output that is packed in
 * BF16: before its rounding it may be off by 1.6e-4 of the value, or by 2e-8 where that is more. */
typedef enum be_epilogue {
    BE_EPILOGUE_NONE,       /* out = y */
    BE_EPILOGUE_BIAS,       /* out = y + bias */
    BE_EPILOGUE_GELU,       /* out = gelu(y + bias), with erf */
    BE_EPILOGUE_QUICK_GELU, /* out = quick_gelu(y + bias) */
    BE_EPILOGUE_RELU,       /* out = max(0, y + bias) */
    BE_EPILOGUE_ADD,        /* out = out + y; `out` only */
    BE_EPILOGUE_ADD_RELU,   /* out = max(0, out + y + bias); `out` only */
    BE_EPILOGUE_RESIDUAL,   /* out = out + (y + bias) * scale; `out` only */
    BE_EPILOGUE_SCALE_ROWS  /* out[r] = y[r] * scale[r] */
} be_epilogue;

/* The operands are of one precision; their rows and columns say the product's. */
typedef struct be_matrix_product {
    const be_activations *in;
    const be_matrix *weight;
    be_epilogue epilogue;
    const float *bias;            /* [columns], where the epilogue has one */
    const float *scale;           /* RESIDUAL: [columns] or NULL, which means ones; SCALE_ROWS: [rows] */
    float *out;                   /* [rows][columns], rows out_stride floats apart; may not overlap the operands */
    size_t out_stride;
    bool whole_tiles;             /* `out` has room for rows and columns rounded up to BE_TILE_ROWS, what is there may change,
                                     and the epilogue is NONE: such a product needs no scratch and no copy */
    const be_activations *packed; /* instead of `out`: made [rows][columns], of the operands' precision */
} be_matrix_product;

/* Computes it; of no rows, nothing. Takes at most be_matrix_scratch floats from `scratch` and gives them back. */
void be_matrix_multiply(const be_isa *isa, const be_matrix_product *product, be_arena *scratch);
size_t be_matrix_scratch(size_t rows);

/* out = in W' + bias for float32 rows of `in`, which are dense and rounded to the weight's precision: takes be_activations_floats
 * and be_matrix_scratch floats from `scratch` and gives them back. */
void be_matrix_linear(const be_isa *isa, const be_matrix *weight, const float *bias, const float *in, size_t rows, float *out,
                      size_t out_stride, be_arena *scratch);

#endif
