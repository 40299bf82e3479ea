/* Products by OpenBLAS, on one thread each: what ours are measured against. */
#ifndef BRAINENC_CLIENT_BLAS_H
#define BRAINENC_CLIENT_BLAS_H

#include <stddef.h>

/* To be called before the first: OpenBLAS's setting is one for the whole process. */
void blas_use_one_thread(void);

/* For which processors the ones are that OpenBLAS chose: "Haswell" is AVX2, "SkylakeX" AVX-512. OPENBLAS_CORETYPE chooses
 * others. */
const char *blas_kernels(void);

/* out[rows][columns] = a[rows][inner] b[columns][inner]', all dense, of at most 2^30 each. */
void blas_product_transposed(float *out, const float *a, const float *b, size_t rows, size_t columns, size_t inner);

/* out[rows][columns] = a[rows][inner] b[inner][columns], all dense. */
void blas_product(float *out, const float *a, const float *b, size_t rows, size_t columns, size_t inner);

#endif
