#include "core/compute/attention.h"

#include "core/compute/matrix.h"
#include "core/compute/panels.h"

/* Query rows in a block, so that its scores, the exponentials, and the keys and values of its head stay in the second-level
 * cache. */
enum { BLOCK_ROWS = 64, TASKS_EACH = 4 };

typedef struct job {
    const be_team *team;
    const be_attention *attention;
    size_t blocks; /* of query rows, for each head */
    size_t slices; /* of a head's blocks: a task takes one */
} job;

/* What a task works on, in its worker's scratch; the same call counts what it takes (be_arena). */
typedef struct head {
    be_matrix keys, values;  /* keys' rows are the columns of the scores, values' columns those of the output */
    float *scores, *inverses; /* [BLOCK_ROWS][stride], [BLOCK_ROWS] */
    size_t stride;
} head;

static void make_matrix(be_matrix *matrix, be_precision precision, size_t columns, size_t inner, be_arena *arena)
{
    size_t bytes = 0;
    be_matrix_bytes(precision, columns, inner, &bytes); /* of arrays that exist: they do not overflow */
    be_matrix_make(matrix, precision, columns, inner, be_arena_floats(arena, bytes / sizeof(float)));
}

static void lay_out(head *self, be_precision precision, size_t tokens, size_t head_width, be_arena *arena)
{
    self->stride = be_whole_tiles(tokens);
    make_matrix(&self->keys, precision, tokens, head_width, arena);
    make_matrix(&self->values, precision, head_width, tokens, arena);
    self->scores = be_arena_floats(arena, BLOCK_ROWS * self->stride);
    self->inverses = be_arena_floats(arena, BLOCK_ROWS);
}

/* Query rows `first` to `first` + `rows` - 1 of the head whose columns begin at `column`. */
static void attend_block(const be_isa *isa, const be_attention *a, const head *self, size_t column, size_t first, size_t rows,
                         be_arena *scratch)
{
    size_t used = scratch->used;
    be_activations queries, weights;
    be_activations_round(&queries, isa, a->precision, a->q + first * a->q_stride + column, a->q_stride, rows, a->head_width,
                         a->scale, scratch);
    be_matrix_product product = {
        .in = &queries, .weight = &self->keys, .out = self->scores, .out_stride = self->stride, .whole_tiles = true,
    };
    be_matrix_multiply(isa, &product, scratch);
    be_activations_make_over(&weights, a->precision, self->scores, self->stride, rows, a->tokens, scratch);
    isa->tiles->exponentials(&weights, self->inverses, self->scores, self->stride);
    product = (be_matrix_product){
        .in = &weights, .weight = &self->values, .epilogue = BE_EPILOGUE_SCALE_ROWS, .scale = self->inverses,
        .out = a->out + first * a->out_stride + column, .out_stride = a->out_stride,
    };
    be_matrix_multiply(isa, &product, scratch);
    scratch->used = used;
}

/* Some blocks of one head, whose keys and values the task packs for itself. */
static void attend_slice(void *context, size_t task, size_t worker)
{
    const job *self = context;
    const be_attention *a = self->attention;
    const be_isa *isa = self->team->isa;
    size_t column = task / self->slices * a->head_width, slice = task % self->slices;
    be_arena *scratch = &self->team->scratch[worker];
    be_arena_reset(scratch);
    head it;
    lay_out(&it, a->precision, a->tokens, a->head_width, scratch);
    isa->tiles->pack(&it.keys, a->k + column, a->k_stride);
    isa->tiles->pack_turned(&it.values, a->v + column, a->v_stride);
    for (size_t block = be_panel_start(self->blocks, self->slices, slice);
         block < be_panel_start(self->blocks, self->slices, slice + 1); block++) {
        size_t first = block * BLOCK_ROWS, left = a->queries - first;
        attend_block(isa, a, &it, column, first, left < BLOCK_ROWS ? left : BLOCK_ROWS, scratch);
    }
}

/* A head is one task where there are heads enough for the workers, or else several, a few for each worker. */
static size_t slices_of(const be_team *team, size_t heads, size_t blocks)
{
    size_t workers = be_team_workers(team);
    size_t slices = workers == 1 || heads % workers == 0 ? 1 : (TASKS_EACH * workers + heads - 1) / heads;
    return slices < blocks ? slices : blocks;
}

void be_attention_run(const be_team *team, be_stage stage, const be_attention *attention)
{
    job self = {.team = team, .attention = attention};
    if (attention->queries == 0)
        return;
    self.blocks = (attention->queries + BLOCK_ROWS - 1) / BLOCK_ROWS;
    self.slices = slices_of(team, attention->heads, self.blocks);
    be_team_run(team, stage, self.slices * attention->heads, attend_slice, &self);
}

size_t be_attention_room(be_precision precision, size_t tokens, size_t head_width)
{
    be_arena counting = {0};
    be_activations weights;
    head it;
    lay_out(&it, precision, tokens, head_width, &counting);
    be_arena_floats(&counting, be_activations_floats(precision, BLOCK_ROWS, head_width));
    be_activations_make_over(&weights, precision, it.scores, it.stride, BLOCK_ROWS, tokens, &counting);
    be_arena_floats(&counting, be_matrix_scratch(BLOCK_ROWS));
    return counting.used / sizeof(float);
}
