/* The header of a .npy file: a Python dict literal with the keys descr, fortran_order and shape. */
#ifndef BRAINENC_FILES_NPY_HEADER_H
#define BRAINENC_FILES_NPY_HEADER_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/error.h"
#include "core/files/tensor_file.h"

typedef struct be_npy_layout {
    bool is_object;        /* a pickle follows instead of elements; dtype, then, means nothing */
    be_dtype dtype;
    bool is_fortran;
    size_t n_dims;
    size_t shape[BE_TENSOR_MAX_DIMS];
    size_t count;
    size_t data_offset;    /* where the data begins in the file */
} be_npy_layout;

/* Reads magic, version and header. `name` stands in the error sentence. The size of the data is not looked at. */
be_status be_npy_parse_header(const unsigned char *bytes, size_t size, const char *name, be_npy_layout *layout,
                              be_error *error);

#endif
