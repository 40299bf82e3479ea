/* Matrix products in float32: thin wrappers on cblas_sgemm.
 *
 * The sums over `inner` are taken by OpenBLAS in an order that depends on the shape of the product: what must give the
 * same bits again must be cut into products of the same shapes. Everything here is therefore cut by its own size, never
 * by the number of threads (see be_panels).
 */
#ifndef BRAINENC_COMPUTE_PRODUCT_H
#define BRAINENC_COMPUTE_PRODUCT_H

#include <stdbool.h>
#include <stddef.h>

/* The largest row count, width or stride a product may have: BLAS counts in 32-bit integers. Whoever takes sizes from
 * outside checks them against it when loading. */
enum { BE_PRODUCT_LIMIT = 1 << 30 };

/* Sets OpenBLAS, whose setting is one for the whole process, to one thread: the bits of a product depend on how it shares
 * it among several. To be called before the first product; the workers of a pool share the work instead. */
void be_product_use_one_thread(void);

/* out[rows][columns] = scale * a[rows][inner] b[columns][inner]', plus what is in `out` when `add` is set. `b` is a weight
 * as PyTorch keeps it, [out][in]. The strides are the floats from one row to the next. */
void be_product_transposed(float *out, size_t out_stride, const float *a, size_t a_stride, const float *b, size_t b_stride,
                           size_t rows, size_t columns, size_t inner, float scale, bool add);

/* out[rows][columns] = a[rows][inner] b[inner][columns]. */
void be_product(float *out, size_t out_stride, const float *a, size_t a_stride, const float *b, size_t b_stride,
                size_t rows, size_t columns, size_t inner);

/* How a matrix of `rows` rows is cut into panels: of equal height to within one, none above BE_PANEL_ROWS. Panel p of n
 * holds rows be_panel_start(rows, n, p) to be_panel_start(rows, n, p + 1) - 1. */
enum { BE_PANEL_ROWS = 256 };
size_t be_panels(size_t rows);
size_t be_panel_start(size_t rows, size_t panels, size_t panel);

#endif
