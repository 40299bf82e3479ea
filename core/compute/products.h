/* The matrix products that a prediction takes, as a list, for who counts them or times them by themselves. Each part of a model
 * lists its own beside the code that computes them: be_backbone_list_products, be_encoder_list_products.
 */
#ifndef BRAINENC_COMPUTE_PRODUCTS_H
#define BRAINENC_COMPUTE_PRODUCTS_H

#include <stdbool.h>
#include <stddef.h>

#include "core/compute/precision.h"
#include "core/compute/team.h"

/* [rows][inner] times [inner][columns]. */
typedef struct be_product {
    be_stage stage;
    be_precision precision;
    size_t rows, columns, inner;
    size_t count;    /* how many of them there are, each with two operands of its own: heads, planes of a convolution */
    bool shared;     /* count is 1, and all rows are multiplied by one operand that is there before: a weight */
    bool transposed; /* the second operand lies [columns][inner] */
} be_product;

/* Whoever wants them: `add` is called for each, in the order they are computed in. */
typedef struct be_product_list {
    void (*add)(void *context, const be_product *product);
    void *context;
} be_product_list;

/* A product with a weight [columns][inner]. */
void be_list_linear(const be_product_list *list, be_stage stage, be_precision precision, size_t rows, size_t columns, size_t inner);
/* Both products of an attention's heads: queries with keys, weights with values. */
void be_list_attention(const be_product_list *list, be_stage stage, be_precision precision, size_t queries, size_t tokens,
                       size_t head_width, size_t heads);

#endif
