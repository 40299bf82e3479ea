/* In what numbers the matrix products are computed. Everything between them (residual stream, norms, softmax, activations)
 * is float32 in each of the modes. */
#ifndef BRAINENC_COMPUTE_PRECISION_H
#define BRAINENC_COMPUTE_PRECISION_H

#include "core/base/error.h"

typedef enum be_precision {
    BE_PRECISION_F32,   /* float32: what the others are measured against */
    BE_PRECISION_BF16,  /* both operands rounded to bfloat16 (8 significant bits), sums in float32 */
    BE_PRECISION_BF16X3 /* each operand x = high + low, both bfloat16: high high' + high low' + low high', sums in float32;
                           what is left out is at most 3 * 2^-18 of the sum of the absolute products */
} be_precision;

/* "f32", "bf16", "bf16x3". */
const char *be_precision_name(be_precision precision);
/* *precision = the one of this name; BE_ERROR_ARGUMENT for any other word. */
be_status be_precision_parse(const char *name, be_precision *precision, be_error *error);

#endif
