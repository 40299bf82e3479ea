/* The vision transformer that DINOv2 and CLIP are; for the vit*, dinov2* and clip* files only. Formulas: MODEL section 2. */
#ifndef BRAINENC_BACKBONE_VIT_H
#define BRAINENC_BACKBONE_VIT_H

#include "core/backbone/kind.h"
#include "core/compute/matrix.h"

enum { VIT_GRID_LIMIT = 1024 };

typedef struct vit_norm {
    float *gain, *bias; /* [C] */
} vit_norm;

typedef struct vit_linear {
    be_matrix weight; /* [out][in] */
    float *bias;      /* [out] */
} vit_linear;

/* One block: x += scale1 * out(attention(norm1(x))); x += scale2 * narrow(activation(widen(norm2(x)))). */
typedef struct vit_block {
    vit_norm norm1, norm2;
    vit_linear qkv;          /* [3C][C]; in the block after the whole ones the q third alone: [C][C], and only norm1 beside it */
    vit_linear out;          /* [C][C] */
    vit_linear widen, narrow; /* [F][C] (SwiGLU: [2F][C]), [C][F] */
    float *scale1, *scale2;  /* [C]: LayerScale; NULL: there is none */
} vit_block;

/* A tap and how many whole blocks come before it. Features of the query projection are read in the block after them, all
 * others from the tokens they give. */
typedef struct vit_tap {
    be_features features;
    size_t blocks;
} vit_tap;

typedef struct vit {
    be_backbone base;
    size_t width, heads, hidden, patch; /* C, heads, F, pixels */
    size_t grid;                        /* side of the position table, at most VIT_GRID_LIMIT */
    size_t leading;                     /* tokens before the patches: the class token, register tokens */
    size_t channels;                    /* of the projection */
    be_activation activation;
    float epsilon;                      /* of every LayerNorm */
    be_precision precision;             /* of the products, but for that of the pixels, which is small */
    be_matrix patches;                  /* [C][3 * patch * patch], in float32: its product takes no time to speak of */
    float *patch_bias;                  /* [C]; CLIP has none: NULL */
    float *leading_tokens;              /* [leading][C], the position of the class token already added */
    float *positions;                   /* [grid * grid][C] */
    vit_norm first_norm, last_norm;     /* NULL: there is none, or no tap needs it */
    bool projects;                      /* what went through the last norm is projected: */
    be_matrix projection;               /* [channels][C] */
    size_t n_blocks;                    /* whole ones */
    bool queries;                       /* the q third of one more is needed */
    bool outputs;                       /* the last norm is needed */
    vit_block *blocks;                  /* [n_blocks + queries] */
    size_t n_taps;
    vit_tap *taps;                      /* [n_taps] */
    be_arena weights;
} vit;

/* True for features of the query projection. */
bool vit_reads_queries(be_features features);

/* One image on its way through a model. */
typedef struct vit_run {
    const vit *model;
    const be_team *team;
    const be_image *image;
    const float *positions;        /* [cells][C] */
    size_t columns, cells, tokens; /* of the grid; cells; leading tokens and cells */
    float *x;                      /* [tokens][C]: the residual stream */
    float *qkv;                    /* [tokens][3C]: of the block being computed */
    float *attended;               /* [tokens][C]: its heads' outputs */
    float normal[3][256];          /* what each byte of each colour becomes */
} vit_run;

/* The whole of be_backbone_run. `positions` [cells][C]: what is added to each cell's patch product, its bias included. */
be_status vit_run_image(const vit *model, const be_team *team, be_arena *arena, const be_image *image, const float *positions,
                        float *const *features, be_error *error);

/* Its steps. Image to tokens: */
be_status vit_begin(vit_run *self, const vit *model, const be_team *team, be_arena *arena, const be_image *image,
                    const float *positions, be_error *error);
/* Queries, keys and values of a whole block, of all tokens: */
void vit_project(vit_run *self, size_t block);
/* The rest of that block, for `count` tokens from `first` on: the other rows of x are lost. */
void vit_finish(vit_run *self, size_t block, size_t first, size_t count);

/* be_backbone_list_products of such a backbone. */
void vit_list_products(const be_backbone *backbone, size_t width, size_t height, const be_product_list *list);

/* The floats of arena and scratch for an image of `cells` grid cells: see kind.h. */
size_t vit_arena_bytes(const vit *model, size_t cells);
size_t vit_scratch_bytes(const vit *model, size_t cells);

/* DINOv2's position table resampled for a rows x columns grid: out [rows * columns][C]. */
void dinov2_resample_positions(const vit *model, size_t rows, size_t columns, float *out);

#endif
