/* Weights of any size, made up of noise or of names and shapes alone. */
#ifndef BRAINENC_TESTS_MADE_WEIGHTS_H
#define BRAINENC_TESTS_MADE_WEIGHTS_H

#include "tests/unit/backbone_support.h"

typedef struct sizes {
    size_t width, depth, hidden, patch, grid, registers, channels;
    bool gated;
} sizes;

/* Adds a tensor of noise, or of no data when `random` is NULL: vectors of up to 1, the rows of matrices of about 1. The name is
 * formatted. */
void add_weight(weights *it, uint32_t *random, size_t n_dims, const size_t *shape, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* n_dims, shape. */
#define MADE_SHAPE(...) sizeof((size_t[]){__VA_ARGS__}) / sizeof(size_t), (const size_t[]){__VA_ARGS__}

/* block + name + ".weight" and ".bias": [rows][columns] and [rows]; of a norm [width] both. */
void add_layer(weights *it, uint32_t *random, const char *block, const char *name, size_t rows, size_t columns);
void add_norm(weights *it, uint32_t *random, const char *block, const char *name, size_t width);

/* DINOv2 in Meta's names; without data when `random` is NULL. To be released with free_weights. */
weights make_dinov2(const sizes *s, uint32_t *random);
/* CLIP's visual tower in OpenAI's names, without data. */
weights make_clip(const sizes *s);

#endif
