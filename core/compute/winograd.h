/* The transforms that turn four results of a 3x3 convolution, 36 multiplications, into 16 (Winograd's F(2x2, 3x3)).
 *
 * With Y the 2x2 results of a 4x4 tile D of the input and the kernel G, Y = A' [(U G U') * (B' D B)] A, where * multiplies
 * element by element. For many channels each of the 16 elements ("planes") is a matrix product. A and B hold only 0, 1 and
 * -1, so that the rounding error stays close to that of plain sums; U also holds 1/2. For convolution.c only.
 */
#ifndef BRAINENC_COMPUTE_WINOGRAD_H
#define BRAINENC_COMPUTE_WINOGRAD_H

#include <stddef.h>

#include "core/compute/convolution.h"

enum { WINOGRAD_PLANES = 16, WINOGRAD_RESULTS = 4 };

/* planes = U G U' of kernel[y * 3 + x]. */
void be_winograd_weight(const double kernel[9], double planes[WINOGRAD_PLANES]);

/* B' D B for every channel: pixels[y * 4 + x] points at the channels of a pixel of the tile; plane p goes to
 * planes + p * stride. */
void be_winograd_input(const float *const pixels[WINOGRAD_PLANES], size_t channels, float *planes, size_t stride);

/* A' M A for every channel, finished into the four pixels results[y * 2 + x]. */
void be_winograd_output(const float *planes, size_t stride, size_t channels, const float *bias, be_convolution_finish finish,
                        float *const results[WINOGRAD_RESULTS]);

#endif
