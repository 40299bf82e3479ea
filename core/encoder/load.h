/* Reading an encoder's tensors by name and shape; for the files of this folder only. */
#ifndef BRAINENC_ENCODER_LOAD_H
#define BRAINENC_ENCODER_LOAD_H

#include "core/files/tensor_file.h"

/* A tensor of `rows` x `columns` (columns 0: a vector of `rows`) that is wanted as float32 at `out`. */
typedef struct be_wanted_tensor {
    const char *name;
    size_t rows, columns;
    float *out;
} be_wanted_tensor;

/* *tensor = prefix + name, checked to have that shape; rows 0 means any number from 1 to 2^20. */
be_status be_find_tensor(const be_tensor_file *file, const char *prefix, const char *name, size_t rows, size_t columns,
                         const be_tensor **tensor, be_error *error);

/* Reads each wanted tensor; the sentence names the one that is missing or of the wrong shape. */
be_status be_load_tensors(be_tensor_file *file, const char *prefix, const be_wanted_tensor *wanted, size_t count,
                          be_error *error);

#endif
