/* The encoder layers of a transformer: self-attention among an image's tokens; for transformer.c only. MODEL section 4.
 *
 * pre_norm: s = s + MHA(q = k = LN1(s) + p, v = LN1(s)); s = s + W2 relu(W1 LN2(s)); after the last the encoder's norm.
 * Otherwise: s = LN1(s + MHA(q = k = s + p, v = s)); s = LN2(s + FF(s)); no norm after.
 */
#ifndef BRAINENC_ENCODER_SELF_ATTENTION_H
#define BRAINENC_ENCODER_SELF_ATTENTION_H

#include "core/compute/matrix.h"
#include "core/compute/products.h"
#include "core/compute/team.h"
#include "core/encoder/position.h"

/* Weights are [out][in]. */
typedef struct self_attention_layer {
    be_matrix queries_keys, values, out;        /* [Wq; Wk] [2D][D], Wv [D][D], [D][D] */
    float *projection_bias, *out_bias;          /* [3D]: of queries, keys and values; [D] */
    float *norm1_gain, *norm1_bias, *norm2_gain, *norm2_bias; /* [D] */
    be_matrix widen, narrow;                    /* [F][D], [D][F] */
    float *hidden_bias, *narrow_bias;           /* [F], [D] */
} self_attention_layer;

typedef struct self_attention {
    size_t width, heads, hidden, n_layers; /* n_layers: up to the one whose output is the memory */
    bool pre_norm;
    be_precision precision;
    float *norm_gain, *norm_bias;  /* [D]: the encoder's own, with pre_norm alone */
    self_attention_layer *layers;  /* [n_layers] */
} self_attention;

/* Floats that self_attention_run needs beside the state, and bytes of scratch for each worker. */
size_t self_attention_floats(const self_attention *self, size_t tokens);
size_t self_attention_scratch_bytes(const self_attention *self, size_t tokens);

/* state [T][D] in place; buffers [self_attention_floats]. */
void self_attention_run(const self_attention *self, const be_team *team, const be_positions *positions, float *state,
                        float *buffers);
/* Its products for T tokens. */
void self_attention_list_products(const self_attention *self, size_t tokens, const be_product_list *list);

#endif
