/* Reading an encoder's tensors by name and shape; for the files of this folder only. */
#ifndef BRAINENC_ENCODER_LOAD_H
#define BRAINENC_ENCODER_LOAD_H

#include "core/compute/arena.h"
#include "core/compute/matrix.h"
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

/* Goes through an encoder's tensors in one order, twice: first to check that they are there and to count the memory they take,
 * then to read them into it. After the first that fails the rest are passed over. */
typedef struct be_weight_walk {
    be_tensor_file *file;
    const char *prefix;
    be_arena *arena;    /* only counts at first: what is taken is NULL then */
    be_precision precision; /* of the model's products */
    be_status status;
    be_error *error;
} be_weight_walk;

/* The values of tensor prefix + stem + name, of that shape as in be_wanted_tensor; in the arena. */
float *be_walk_tensor(be_weight_walk *walk, const char *stem, const char *name, size_t rows, size_t columns);
/* The same in the form products of a precision want it. */
be_matrix be_walk_matrix(be_weight_walk *walk, be_precision precision, const char *stem, const char *name, size_t rows,
                         size_t columns);

/* A tensor [parts * rows][columns] of several matrices, or one that is not kept: its values, to be freed, or NULL while they are
 * counted; then some of its rows, the first of them number `first`, in the form products want. */
float *be_walk_joined(be_weight_walk *walk, const char *stem, const char *name, size_t rows, size_t columns);
be_matrix be_walk_matrix_rows(be_weight_walk *walk, be_precision precision, const float *joined, size_t first, size_t rows,
                              size_t columns);

/* `offset` floats on; NULL of NULL. */
float *be_part_of(float *values, size_t offset);

/* Lets `visit`, which calls be_walk_tensor for each tensor of `model`, go through them, and in between creates *arena, a zeroed
 * one. It is to be released with be_arena_destroy, on an error too. */
be_status be_load_weights(be_tensor_file *file, const char *prefix, be_precision precision,
                          void (*visit)(be_weight_walk *walk, void *model), void *model, be_arena *arena, be_error *error);

#endif
