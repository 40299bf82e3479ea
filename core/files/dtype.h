/* Conversions between element types. Values may lie anywhere: nothing is assumed about alignment. */
#ifndef BRAINENC_FILES_DTYPE_H
#define BRAINENC_FILES_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/files/tensor_file.h"

/* The element type of that safetensors name ("F32"); false when there is none. */
bool be_dtype_parse(const char *name, size_t length, be_dtype *dtype);

/* The element type of a NumPy type string without its byte order ("f4"); false when it is none of a .npy's. */
bool be_dtype_parse_numpy(const char *text, be_dtype *dtype);

bool be_dtype_is_float(be_dtype dtype);

/* f16, bf16 and f32 are widened exactly, f64 and integers rounded to nearest; a bool is 0 or 1. */
void be_dtype_to_f32(be_dtype dtype, const void *values, size_t count, float *out);

/* The bfloat16 nearest to each value, a tie to the even one: what is beyond the largest becomes infinity, NaN stays NaN. */
void be_f32_to_bf16(const float *values, size_t count, uint16_t *out);

/* For bools and integers. False when an unsigned value does not fit. */
bool be_dtype_to_i64(be_dtype dtype, const void *values, size_t count, int64_t *out);

/* One number of any float type. */
double be_dtype_to_f64(be_dtype dtype, const void *value);

/* *product = shape[0] * ... * shape[n - 1] (1 for n = 0). False when the product, with every 0 taken as 1, does not
 * leave room for elements of 8 bytes: then no walk over the dimensions can overflow either. */
bool be_shape_count(size_t n_dims, const size_t *shape, size_t *product);

#endif
