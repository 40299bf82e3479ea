/* The vision transformer behind DINOv2; for the vit*.c files only. Formulas: MODEL section 2. */
#ifndef BRAINENC_BACKBONE_VIT_H
#define BRAINENC_BACKBONE_VIT_H

#include "core/backbone/kind.h"

/* One block: x += ls1 * (attention(LN1(x)) Wo' + bo); x += ls2 * (gelu(LN2(x) W1' + b1) W2' + b2). Weights are [out][in]. */
typedef struct vit_block {
    float *norm1_gain, *norm1_bias;         /* [C] */
    float *qkv_weight, *qkv_bias;           /* [3C][C], [3C]; in the deepest tap's block the q third alone: [C][C], [C] */
    float *out_weight, *out_bias, *scale1;  /* [C][C], [C], [C]; NULL in the deepest tap's block, as all below */
    float *norm2_gain, *norm2_bias;         /* [C] */
    float *hidden_weight, *hidden_bias;     /* [F][C], [F] */
    float *narrow_weight, *narrow_bias, *scale2; /* [C][F], [C], [C] */
} vit_block;

typedef struct vit {
    be_backbone base;
    size_t width, heads, hidden, patch, grid; /* C, heads, F, pixels, side of the position table */
    float *patch_weight, *patch_bias;         /* [C][3 * patch * patch], [C] */
    float *class_token;                       /* [C], its position already added */
    float *positions;                         /* [grid * grid][C] */
    vit_block *blocks;                        /* [last_block + 1] */
    size_t last_block;                        /* the deepest tap's */
    size_t n_taps;
    size_t *tap_blocks;                       /* [n_taps] */
    be_arena weights;
} vit;

bool vit_recognise(const be_tensor_file *file);
be_status vit_inspect(const be_tensor_file *file, const be_backbone_options *options, const be_tap *taps, size_t n_taps,
                      be_backbone_info *info, be_error *error);
be_status vit_load(be_tensor_file *file, const be_backbone_info *info, const be_tap *taps, size_t n_taps,
                   be_backbone **backbone, be_error *error);
void vit_unload(be_backbone *backbone);

/* The position table resampled for a rows x columns grid: out [rows * columns][C]. */
void vit_resample_positions(const vit *model, size_t rows, size_t columns, float *out);

#endif
