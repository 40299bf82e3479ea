/* Multi-head attention, by blocks of query rows: the scores of one block of one head are all that exists at a time. */
#ifndef BRAINENC_COMPUTE_ATTENTION_H
#define BRAINENC_COMPUTE_ATTENTION_H

#include "core/compute/team.h"

/* out_h = softmax(scale * q_h k_h') v_h for each head h, whose columns begin at h * head_width of each array.
 * Strides are the floats from one row to the next. `out` may not overlap the inputs.
 *
 * Of another precision than F32: scale * q, k, v and the exponentials are rounded to the operands of its products, and an output's
 * weights sum to one as rounded. Its bits depend on its row and column alone. */
typedef struct be_attention {
    const float *q, *k, *v;    /* [queries][..], [tokens][..], [tokens][..] */
    float *out;                /* [queries][heads * head_width] */
    size_t q_stride, k_stride, v_stride, out_stride;
    size_t queries, tokens, heads, head_width;
    float scale;               /* 1 / sqrt(head_width) */
    be_precision precision;    /* of both products */
} be_attention;

/* Computes it on the team as part of a stage. Each worker's scratch holds be_attention_room floats. */
void be_attention_run(const be_team *team, be_stage stage, const be_attention *attention);
size_t be_attention_room(be_precision precision, size_t tokens, size_t head_width);

#endif
