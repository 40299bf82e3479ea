/* NumPy's .npy files (format versions 1.0, 2.0 and 3.0), in and out.
 *
 * Read: C and Fortran order (the answer is always C order), little endian and single-byte dtypes
 * f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8 b1; big endian is refused by name. Object arrays are refused, except by
 * be_npy_read_mapping, which reads the 0-d object array that holds a pickled dict (Algonauts' mapping_*.npy)
 * through the restricted unpickler.
 */
#ifndef BRAINENC_FILES_NPY_H
#define BRAINENC_FILES_NPY_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/base/error.h"
#include "core/files/tensor_file.h"

typedef struct be_npy {
    be_dtype dtype;
    size_t n_dims;                    /* 0 for a scalar */
    size_t shape[BE_TENSOR_MAX_DIMS];
    size_t count;                     /* product of the shape */
    void *data;                       /* count * be_dtype_size(dtype) bytes, C order; owned, aligned to 64 bytes */
} be_npy;

/* Reads the array in `bytes` (which may be freed afterwards). `name` stands in the error sentence. The bytes must
 * hold exactly the array: fewer or more are an error. *npy is to be released with be_npy_free. */
be_status be_npy_parse(const void *bytes, size_t size, const char *name, be_npy *npy, be_error *error);
/* The same from a file. */
be_status be_npy_read(const char *path, be_npy *npy, be_error *error);
/* Frees npy->data and clears *npy. Safe on a zeroed or already freed one. */
void be_npy_free(be_npy *npy);

/* Widens or rounds to float32 / converts to int64 (BE_ERROR_FORMAT for a float array): `count` elements to `out`. */
void be_npy_to_f32(const be_npy *npy, float *out);
be_status be_npy_to_i64(const be_npy *npy, int64_t *out, be_error *error);

/* A label dictionary: label -> name, in the file's order. */
typedef struct be_npy_mapping {
    size_t count;
    int64_t *labels; /* [count] */
    char **names;    /* [count], UTF-8 */
} be_npy_mapping;

/* Reads a pickled dict of int -> str. Keys may be Python ints or numpy integer scalars. BE_ERROR_FORMAT when it is
 * anything else; a global that is not on the allow-list is refused by name. Release with be_npy_mapping_free. */
be_status be_npy_read_mapping(const char *path, be_npy_mapping *mapping, be_error *error);
void be_npy_mapping_free(be_npy_mapping *mapping);

/* The longest header be_npy_header writes, bytes. */
enum { BE_NPY_HEADER_MAX = 512 };
/* Writes the version 1.0 header for a C-order array into `header`; *length is a multiple of 64. */
be_status be_npy_header(char header[BE_NPY_HEADER_MAX], size_t *length, be_dtype dtype, size_t n_dims,
                        const size_t *shape, be_error *error);
/* Writes a whole array atomically (atomic_file.h). BE_DTYPE_BF16 has no npy form: BE_ERROR_ARGUMENT. */
be_status be_npy_write(const char *path, be_dtype dtype, size_t n_dims, const size_t *shape, const void *data,
                       be_error *error);
/* Writes a mapping in the form be_npy_read_mapping (and numpy.load(..., allow_pickle=True)) reads. */
be_status be_npy_write_mapping(const char *path, const int64_t *labels, const char *const *names, size_t count,
                               be_error *error);

#endif
