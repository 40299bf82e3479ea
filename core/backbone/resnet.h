/* Residual networks with torchvision's tensor names; for the resnet*.c files only. Formulas: MODEL section 2. */
#ifndef BRAINENC_BACKBONE_RESNET_H
#define BRAINENC_BACKBONE_RESNET_H

#include "core/backbone/kind.h"
#include "core/compute/convolution.h"

enum { RESNET_STAGES = 4, RESNET_MOST_STEPS = 3 };

/* x = relu(shortcut(x) + last(... relu(first(x)))), each batch norm folded into its convolution. */
typedef struct resnet_block {
    be_convolution steps[RESNET_MOST_STEPS];
    size_t n_steps;          /* 2: a basic block; 3: a bottleneck */
    be_convolution shortcut; /* kernel 0: there is none, x is added as it is */
} resnet_block;

typedef struct resnet {
    be_backbone base;
    be_convolution stem;
    resnet_block *blocks;         /* [n_blocks], of all stages */
    size_t n_blocks;
    size_t counts[RESNET_STAGES]; /* blocks a stage */
    size_t n_taps;                /* they all get the same map */
    be_arena weights;
} resnet;

void resnet_recognise(const be_tensor_file *file, be_backbone_signs *signs);
be_status resnet_inspect(const be_tensor_file *file, const be_backbone_options *options, const be_tap *taps, size_t n_taps,
                         be_backbone_info *info, be_error *error);
be_status resnet_load(be_tensor_file *file, const be_backbone_info *info, const be_tap *taps, size_t n_taps,
                      be_backbone **backbone, be_error *error);
void resnet_unload(be_backbone *backbone);

/* A feature map [rows][columns][channels]. */
typedef struct resnet_map {
    float *values; /* in the arena */
    size_t rows, columns, channels;
} resnet_map;

/* The map after the stem, the pooling and the first `n_blocks` blocks. */
be_status resnet_run_blocks(const resnet *model, const be_team *team, be_arena *arena, const be_image *image, size_t n_blocks,
                            resnet_map *map, be_error *error);

#endif
