#include "clients/brainenc/blas.h"

#include <cblas.h>

void blas_use_one_thread(void)
{
    openblas_set_num_threads(1);
}

const char *blas_kernels(void)
{
    return openblas_get_corename();
}

void blas_product_transposed(float *out, const float *a, const float *b, size_t rows, size_t columns, size_t inner)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)rows, (blasint)columns, (blasint)inner, 1.0f, a, (blasint)inner,
                b, (blasint)inner, 0.0f, out, (blasint)columns);
}

void blas_product(float *out, const float *a, const float *b, size_t rows, size_t columns, size_t inner)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)rows, (blasint)columns, (blasint)inner, 1.0f, a, (blasint)inner,
                b, (blasint)columns, 0.0f, out, (blasint)columns);
}
