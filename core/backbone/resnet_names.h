/* The names and shapes of a residual network's tensors; for the resnet*.c files only. */
#ifndef BRAINENC_BACKBONE_RESNET_NAMES_H
#define BRAINENC_BACKBONE_RESNET_NAMES_H

#include "core/backbone/resnet.h"

enum { RESNET_NAME_SIZE = 256, RESNET_PREFIX_SIZE = 64, RESNET_PART_SIZE = 64 };
enum { BASIC_STEPS = 2, BOTTLENECK_STEPS = 3 };

/* A file and what stands before every name ("", or "module." and the like). */
typedef struct resnet_source {
    const be_tensor_file *file;
    char prefix[RESNET_PREFIX_SIZE];
} resnet_source;

bool resnet_find(const be_tensor_file *file, resnet_source *found);

/* Where a convolution and the batch norm after it are in a file: "layer1.0.conv2" and "layer1.0.bn2". All count from 0. */
typedef struct resnet_place {
    char convolution[RESNET_PART_SIZE], norm[RESNET_PART_SIZE];
} resnet_place;

resnet_place resnet_stem_place(void);
resnet_place resnet_step_place(size_t stage, size_t block, size_t step);
resnet_place resnet_shortcut_place(size_t stage, size_t block);

/* The parts of a batch norm. */
enum { NORM_GAIN, NORM_SHIFT, NORM_MEAN, NORM_VARIANCE, NORM_PARTS };
extern const char *const resnet_norm_parts[NORM_PARTS];

/* The tensor called prefix + part + "." + suffix, or NULL; its name in any case. */
const be_tensor *resnet_look_up(const resnet_source *from, const char *part, const char *suffix, char name[RESNET_NAME_SIZE]);

/* Fills what names and shapes tell: every tensor that loading reads is there and of the right shape. `blocks` is allocated,
 * to be freed also after a failure. */
be_status resnet_describe(const resnet_source *from, bool dilated, resnet *model, be_error *error);

#endif
