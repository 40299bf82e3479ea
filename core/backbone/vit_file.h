/* A vision transformer in a tensor file: whose names it has, its sizes, its weights; for the vit*, dinov2* and clip* files
 * only. */
#ifndef BRAINENC_BACKBONE_VIT_FILE_H
#define BRAINENC_BACKBONE_VIT_FILE_H

#include "core/backbone/vit.h"

/* How one origin names the tensors. A layer's name is followed by ".weight" and ".bias"; NULL: there is no such tensor. */
typedef struct vit_names {
    const char *origin;       /* "Meta" */
    const char *mark;         /* the whole name of a tensor that tells the origin */
    const char *other_mark;   /* of one that tells it where `mark` is missing */
    const char *patches, *class_token, *positions, *registers, *first_norm, *last_norm;
    bool patch_bias;
    const char *projection;   /* the whole name of [channels][C] */
    bool projection_turned;   /* it is [C][channels] */
    const char *block;        /* what stands before a block's number; after it a '.' and one of the following */
    const char *norm1, *norm2, *out, *widen, *narrow;
    const char *qkv_weight, *qkv_bias;     /* whole names of [3C][C] and [3C]; NULL: there are three layers */
    const char *query, *key, *value;
    const char *scale1, *scale2;           /* whole names: LayerScale */
    const char *gated_widen, *gated_narrow; /* the layers of a SwiGLU feed-forward */
} vit_names;

enum { VIT_PREFIX_SIZE = 64 };

/* The names of a file, and what stands before all of them in it: "", or "dinov2." and the like. */
typedef struct vit_source {
    const vit_names *names;
    char prefix[VIT_PREFIX_SIZE];
} vit_source;

/* Whose marks are in the file. */
void vit_find_signs(const be_tensor_file *file, const vit_names *namings, size_t n_namings, be_backbone_signs *signs);
/* The first of the origins whose mark is in the file. */
bool vit_find_source(const be_tensor_file *file, const vit_names *namings, size_t n_namings, vit_source *found);

/* Fills *info, all but kind, name, heads and image_size, from shapes and taps (none: as if the whole were needed). The
 * activation is GELU unless the tensors are SwiGLU's. BE_ERROR_FORMAT naming a tensor that is missing or of the wrong shape. */
be_status vit_inspect(const be_tensor_file *file, const vit_source *from, const be_tap *taps, size_t n_taps,
                      be_backbone_info *info, be_error *error);

/* The number of heads is in no tensor's shape: the option's, else config.json's, else width / 64, else `assumed` (0: none),
 * which is noted as unverified. */
be_status vit_find_heads(const be_tensor_file *file, const vit_source *from, const be_backbone_options *options,
                         size_t assumed, be_backbone_info *info, be_error *error);

/* Sets kind and name, once the sizes are known; a published width with another depth is noted as unverified. */
void vit_name(be_backbone_info *info, const char *kind);

/* Adds a sentence to the notes of what is not verified. */
void vit_add_note(be_backbone_info *info, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Loads what the taps need. */
be_status vit_load(be_tensor_file *file, const vit_source *from, const be_backbone_info *info, float epsilon,
                   const be_tap *taps, size_t n_taps, be_backbone **backbone, be_error *error);
void vit_unload(be_backbone *backbone);

/* For both of the above: the sizes of a model for these taps, without memory. */
void vit_describe(vit *model, const be_backbone_info *info, const be_tap *taps, size_t n_taps);
/* Checks that every tensor the model needs is there and of the right shape; *floats is how many values they are in memory.
 * The model's arena must be a zeroed one, which then has counted them. */
be_status vit_check_tensors(const be_tensor_file *file, const vit_source *from, vit *model, size_t *floats, be_error *error);

#endif
