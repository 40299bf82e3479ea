#include "core/compute/product.h"

#include <assert.h>

#include <cblas.h>

void be_product_use_one_thread(void)
{
    if (openblas_get_num_threads() != 1)
        openblas_set_num_threads(1);
}

static blasint blas_size(size_t size)
{
    assert(size <= BE_PRODUCT_LIMIT);
    return (blasint)size;
}

void be_product_transposed(float *out, size_t out_stride, const float *a, size_t a_stride, const float *b, size_t b_stride,
                           size_t rows, size_t columns, size_t inner, float scale, bool add)
{
    if (rows == 0 || columns == 0)
        return;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, blas_size(rows), blas_size(columns), blas_size(inner), scale, a,
                blas_size(a_stride), b, blas_size(b_stride), add ? 1.0f : 0.0f, out, blas_size(out_stride));
}

void be_product(float *out, size_t out_stride, const float *a, size_t a_stride, const float *b, size_t b_stride,
                size_t rows, size_t columns, size_t inner)
{
    if (rows == 0 || columns == 0)
        return;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, blas_size(rows), blas_size(columns), blas_size(inner), 1.0f, a,
                blas_size(a_stride), b, blas_size(b_stride), 0.0f, out, blas_size(out_stride));
}

size_t be_panels(size_t rows)
{
    return (rows + BE_PANEL_ROWS - 1) / BE_PANEL_ROWS;
}

size_t be_panel_start(size_t rows, size_t panels, size_t panel)
{
    return rows / panels * panel + (panel < rows % panels ? panel : rows % panels);
}
