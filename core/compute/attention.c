#include "core/compute/attention.h"

#include "core/compute/product.h"

/* Query rows in a block: 128 rows of 962 scores are 0.5 MB, which stays in the second-level cache. */
enum { BLOCK_ROWS = 128 };

typedef struct job {
    const be_team *team;
    const be_attention *attention;
    size_t blocks; /* of query rows, for each head */
} job;

static void attend(void *context, size_t task, size_t worker)
{
    const job *self = context;
    const be_attention *a = self->attention;
    size_t head = task / self->blocks * a->head_width, block = task % self->blocks;
    size_t first = be_panel_start(a->queries, self->blocks, block);
    size_t rows = be_panel_start(a->queries, self->blocks, block + 1) - first;
    be_arena *scratch = &self->team->scratch[worker];
    be_arena_reset(scratch);
    float *scores = be_arena_floats(scratch, rows * a->tokens);
    be_product_transposed(scores, a->tokens, a->q + first * a->q_stride + head, a->q_stride, a->k + head, a->k_stride, rows,
                          a->tokens, a->head_width, a->scale, false);
    self->team->kernels->softmax(scores, rows, a->tokens, a->tokens);
    be_product(a->out + first * a->out_stride + head, a->out_stride, scores, a->tokens, a->v + head, a->v_stride, rows,
               a->head_width, a->tokens);
}

void be_attention_run(const be_team *team, const be_attention *attention)
{
    job self = {team, attention, (attention->queries + BLOCK_ROWS - 1) / BLOCK_ROWS};
    be_team_run(team, BE_STAGE_ATTEND, self.blocks * attention->heads, attend, &self);
}

size_t be_attention_scratch(size_t tokens)
{
    return BLOCK_ROWS * tokens;
}
