/* Two-dimensional convolutions of feature maps kept channels last, [rows][columns][channels], as matrix products.
 *
 * 1x1 kernels are one product of the map itself; 3x3 kernels of stride 1 go through winograd.h, which takes less than half
 * of the multiplications; all others gather the pixels under the kernel. Work is cut by the sizes of the maps alone.
 */
#ifndef BRAINENC_COMPUTE_CONVOLUTION_H
#define BRAINENC_COMPUTE_CONVOLUTION_H

#include <stdbool.h>
#include <stddef.h>

#include "core/compute/products.h"
#include "core/compute/team.h"

typedef struct be_convolution {
    size_t in, out;                           /* channels */
    size_t kernel, stride, padding, dilation; /* pixels, the same both ways, with PyTorch's meaning */
    float *weight;                            /* [be_convolution_weights], as be_convolution_arrange writes them */
    float *bias;                              /* [out] */
} be_convolution;

/* The rows (or columns) of the result for a map of `size` of them; 0 when the kernel is larger than the padded map. */
size_t be_convolution_size(const be_convolution *convolution, size_t size);

/* How many floats its arranged weights are. */
size_t be_convolution_weights(const be_convolution *convolution);

/* convolution->weight = scale[o] * weight[o][i][y][x], computed in float64 and rounded once, in the order the products
 * want. `weight` is as PyTorch keeps it. */
void be_convolution_arrange(const be_convolution *convolution, const float *weight, const double *scale);

/* What is done with a result beyond adding the bias. */
typedef enum be_convolution_finish {
    BE_CONVOLUTION_BIAS,     /* out = result + bias */
    BE_CONVOLUTION_RELU,     /* out = max(0, result + bias) */
    BE_CONVOLUTION_ADD_RELU  /* out = max(0, out + result + bias): the end of a residual block */
} be_convolution_finish;

/* Convolves in [rows][columns][convolution->in]; both sides are at least 1 and the kernel fits. `out` may not overlap
 * `in`. Each worker's scratch holds be_convolution_scratch bytes. */
void be_convolution_run(const be_team *team, be_stage stage, const be_convolution *convolution, const float *in, size_t rows,
                        size_t columns, float *out, be_convolution_finish finish);
size_t be_convolution_scratch(const be_convolution *convolution);
/* The products it takes of a map [rows][columns]: Winograd's are fewer multiplications than the convolution as it is written. */
void be_convolution_list_products(const be_convolution *convolution, be_stage stage, size_t rows, size_t columns,
                                  const be_product_list *list);

/* The largest of each 3x3 window, stride 2, padding 1: out [(rows + 1) / 2][(columns + 1) / 2][channels]. The padding never
 * wins; NaN always does. */
void be_max_pool(const be_team *team, be_stage stage, const float *in, size_t rows, size_t columns, size_t channels,
                 float *out);

#endif
