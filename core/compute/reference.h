/* The plain version of each kernel, in float64 and libm: what the fast ones are tested against. Never used to serve. */
#ifndef BRAINENC_COMPUTE_REFERENCE_H
#define BRAINENC_COMPUTE_REFERENCE_H

#include <stddef.h>

/* Shapes and meaning as in kernels.h, matrix.h and attention.h (bias_gelu: x = gelu(x + bias), bias_add: x = x + bias); sums and
 * functions in float64, results rounded once. */
void be_reference_layer_norm(float *out, const float *in, const float *gain, const float *bias, size_t rows, size_t width,
                             double epsilon);
void be_reference_softmax(float *x, size_t rows, size_t width, size_t stride);
void be_reference_bias_gelu(float *x, const float *bias, size_t rows, size_t width);
void be_reference_bias_swiglu(float *x, const float *bias, size_t rows, size_t width);
void be_reference_bias_add(float *x, const float *bias, size_t rows, size_t width, size_t stride);
float be_reference_dot(const float *a, const float *b, size_t width);
void be_reference_accumulate(float *out, const float *in, float factor, size_t width);
/* out[rows][columns] = scale * a[rows][inner] b[columns][inner]'. */
void be_reference_product_transposed(float *out, const float *a, const float *b, size_t rows, size_t columns, size_t inner,
                                     double scale);
/* q [queries][heads * head_width], k and v [tokens][heads * head_width], all dense. */
void be_reference_attention(float *out, const float *q, const float *k, const float *v, size_t queries, size_t tokens,
                            size_t heads, size_t head_width, double scale);

#endif
