/* Backbones of any size, made up of noise or of names and shapes alone. */
#ifndef BRAINENC_TESTS_MADE_BACKBONE_H
#define BRAINENC_TESTS_MADE_BACKBONE_H

#include "tests/unit/backbone_support.h"

typedef struct sizes {
    size_t width, depth, hidden, patch, grid, registers, channels;
    bool gated;
} sizes;

/* DINOv2 in Meta's names; without data when `random` is NULL. To be released with free_weights. */
weights make_dinov2(const sizes *s, uint32_t *random);
/* CLIP's visual tower in OpenAI's names, without data. */
weights make_clip(const sizes *s);

#endif
