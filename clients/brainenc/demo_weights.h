/* Random models of the shapes the authors' programs write, for `brainenc demo`. */
#ifndef BRAINENC_TOOL_DEMO_WEIGHTS_H
#define BRAINENC_TOOL_DEMO_WEIGHTS_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"

/* The sizes of a demo. */
typedef struct demo_size {
    const char *backbone_file;
    size_t width, depth, position_grid; /* of the ViT; heads are width / 64 */
    size_t heads, hidden;               /* of the encoder's cross-attention and feed-forward part */
    size_t vertices[2];
} demo_size;

/* A seeded stream of random numbers: the same on every machine. */
typedef struct demo_random {
    uint64_t state;
} demo_random;

/* Uniform in [0, 1). */
double demo_uniform(demo_random *random);

/* Writes the backbone as Meta ships DINOv2: a state dict in torch's zip form. */
be_status demo_write_backbone(const char *path, const demo_size *size, demo_random *random, be_error *error);

/* One trained model of a demo. */
typedef struct demo_model {
    const char *readout; /* the authors' `readout_res`: "rois_all" or "voxels" */
    size_t queries;
    size_t layer, run;   /* of an ensemble; otherwise 1 and 1 */
} demo_model;

/* Writes a checkpoint as the authors' training program saves it. */
be_status demo_write_checkpoint(const char *path, const demo_size *size, const demo_model *model, demo_random *random,
                                be_error *error);

#endif
