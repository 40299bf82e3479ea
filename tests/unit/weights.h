/* All tensors of a file, to be changed and written again, or made up of noise. */
#ifndef BRAINENC_TESTS_WEIGHTS_H
#define BRAINENC_TESTS_WEIGHTS_H

#include "tests/unit/support.h"

#include "core/files/tensor_source.h"

enum { MOST_WEIGHTS = 640 };
typedef struct weights {
    be_tensor_source tensors[MOST_WEIGHTS]; /* names and data of their own, as the file has them */
    size_t count;
} weights;
weights take_weights(const char *path);
void free_weights(weights *it);
be_tensor_source *weight_named(weights *it, const char *name);
void write_weights(const weights *it, const char *path);

/* Adds a tensor of noise, or of no data when `random` is NULL: vectors of up to 1, the rows of matrices of about 1. The name is
 * formatted. */
void add_weight(weights *it, uint32_t *random, size_t n_dims, const size_t *shape, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* n_dims, shape. */
#define SHAPE(...) sizeof((size_t[]){__VA_ARGS__}) / sizeof(size_t), (const size_t[]){__VA_ARGS__}

/* block + name + ".weight" and ".bias": [rows][columns] and [rows]; of a norm [width] both. */
void add_layer(weights *it, uint32_t *random, const char *block, const char *name, size_t rows, size_t columns);
void add_norm(weights *it, uint32_t *random, const char *block, const char *name, size_t width);

#endif
