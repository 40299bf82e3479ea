/* The vector kernels between the matrix products: one table of functions for each instruction set.
 *
 * kernels_generic.c, kernels_avx2.c and kernels_avx512.c compile the same source (kernels.inc) with flags of their own; isa.h
 * picks one table. reference.h holds a plain version of each, the tests' oracle.
 * All arrays are float32, row-major, with any alignment; every function may be called from any thread.
 */
#ifndef BRAINENC_COMPUTE_KERNELS_H
#define BRAINENC_COMPUTE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

typedef struct be_kernels {
    const char *name; /* "generic", "avx2", "avx512": the words of compute.isa */

    /* out[r][i] = (in[r][i] - mean_r) / sqrt(variance_r + epsilon) * gain[i] + bias[i]; the variance is the mean square
     * of the deviations. in and out are [rows][width]; out may be in. */
    void (*layer_norm)(float *out, const float *in, const float *gain, const float *bias, size_t rows, size_t width,
                       float epsilon);

    /* x[r][i] = exp(x[r][i] - max_r) / sum_r in place; row r begins at x + r * stride. */
    void (*softmax)(float *x, size_t rows, size_t width, size_t stride);

    /* x = silu(a) * b in place, [a; b] = x + bias, silu(y) = y / (1 + exp(-y)): SwiGLU. x is [rows][2 * width], of which the
     * first `width` columns are written, bias [2 * width]; worst error of silu against float64 over all finite y:
     * 1e-7 * (1 + |y|) absolute. */
    void (*bias_swiglu)(float *x, const float *bias, size_t rows, size_t width);

    /* sum over i of a[i] * b[i], in one partial sum a vector lane, added in a fixed order. */
    float (*dot)(const float *a, const float *b, size_t width);
    /* The same of bfloat16 b, whose bits are the upper half of a float32's: the bits dot gives for b widened. */
    float (*dot_bf16)(const float *a, const uint16_t *b, size_t width);

    /* out[i] = out[i] + factor * in[i]. */
    void (*accumulate)(float *out, const float *in, float factor, size_t width);

    /* out[i] = exp(in[i]): within 1 unit in the last place for results that are normal numbers, 0 below them (in < -87.3);
     * +infinity above 88.37 (no caller goes above 0); NaN stays NaN. Exposed for the tests. */
    void (*exponential)(float *out, const float *in, size_t count);
    /* out[i] = erf(in[i]): worst absolute error 1.5e-7; NaN stays NaN. Exposed for the tests. */
    void (*error_function)(float *out, const float *in, size_t count);
    /* out[i] = gelu(in[i]), gelu(y) = y / 2 * (1 + erf(y / sqrt(2))) (not the tanh form), or quick_gelu(y) = y /
     * (1 + exp(-1.702 y)); worst error as silu's. What products do in their last step (matrix.h); exposed for the tests. */
    void (*gelu)(float *out, const float *in, size_t count);
    void (*quick_gelu)(float *out, const float *in, size_t count);
} be_kernels;

enum { BE_KERNELS_MAX = 3 };
/* Every table this processor can run, best first; returns how many. They are constant and live as long as the program. */
size_t be_kernels_available(const be_kernels *list[BE_KERNELS_MAX]);

extern const be_kernels be_kernels_generic;
#if defined(__x86_64__)
extern const be_kernels be_kernels_avx2;
extern const be_kernels be_kernels_avx512;
#endif

#endif
