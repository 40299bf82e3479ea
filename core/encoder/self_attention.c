#include "core/encoder/self_attention.h"

#include <math.h>
#include <string.h>

#include "core/compute/attention.h"
#include "core/compute/product.h"
#include "core/encoder/decoder.h"

typedef struct job {
    const self_attention *self;
    const self_attention_layer *layer;
    const be_team *team;
    const be_positions *positions;
    size_t tokens;
    float *state, *qkv, *attended; /* [T][D], [T][3D], [T][D] */
} job;

/* Which rows a panel has. */
static size_t panel_start(const job *it, size_t panel)
{
    return be_panel_start(it->tokens, be_panels(it->tokens), panel);
}

size_t self_attention_floats(const self_attention *self, size_t tokens)
{
    return self->n_layers ? 4 * tokens * self->width : 0;
}

size_t self_attention_scratch_bytes(const self_attention *self, size_t tokens)
{
    be_arena project = {0}, finish = {0}, attend = {0};
    if (self->n_layers == 0)
        return 0;
    be_arena_floats(&project, BE_PANEL_ROWS * self->width);
    be_arena_floats(&project, BE_PANEL_ROWS * self->width);
    be_arena_floats(&finish, BE_PANEL_ROWS * self->width);
    be_arena_floats(&finish, BE_PANEL_ROWS * self->hidden);
    be_arena_floats(&attend, be_attention_room(BE_PRECISION_F32, tokens, self->width / self->heads));
    size_t largest = project.used > finish.used ? project.used : finish.used;
    return largest > attend.used ? largest : attend.used;
}

/* q and k of n + p, v of n, where n = LN1(s) with pre_norm and s without. */
static void project_panel(void *context, size_t panel, size_t worker)
{
    const job *it = context;
    const self_attention_layer *layer = it->layer;
    const be_kernels *kernels = it->team->kernels;
    size_t width = it->self->width, first = panel_start(it, panel), count = panel_start(it, panel + 1) - first;
    be_arena *scratch = &it->team->scratch[worker];
    be_arena_reset(scratch);
    float *normal = be_arena_floats(scratch, count * width), *placed = be_arena_floats(scratch, count * width);
    const float *state = it->state + first * width;
    float *qkv = it->qkv + first * 3 * width;
    if (it->self->pre_norm)
        kernels->layer_norm(normal, state, layer->norm1_gain, layer->norm1_bias, count, width, BE_ENCODER_NORM_EPSILON);
    else
        memcpy(normal, state, count * width * sizeof *normal);
    memcpy(placed, normal, count * width * sizeof *placed);
    be_positions_add(it->positions, first, count, placed);
    be_product_transposed(qkv, 3 * width, placed, width, layer->projection_weight, width, count, 2 * width, width, 1.0f, false);
    be_product_transposed(qkv + 2 * width, 3 * width, normal, width, layer->projection_weight + 2 * width * width, width, count,
                          width, width, 1.0f, false);
    kernels->bias_add(qkv, layer->projection_bias, count, 3 * width, 3 * width);
}

static void finish_panel(void *context, size_t panel, size_t worker)
{
    const job *it = context;
    const self_attention_layer *layer = it->layer;
    const be_kernels *kernels = it->team->kernels;
    size_t width = it->self->width, hidden_width = it->self->hidden;
    size_t first = panel_start(it, panel), count = panel_start(it, panel + 1) - first;
    const float epsilon = BE_ENCODER_NORM_EPSILON;
    bool pre_norm = it->self->pre_norm;
    be_arena *scratch = &it->team->scratch[worker];
    be_arena_reset(scratch);
    float *branch = be_arena_floats(scratch, count * width), *hidden = be_arena_floats(scratch, count * hidden_width);
    float *state = it->state + first * width;
    be_product_transposed(branch, width, it->attended + first * width, width, layer->out_weight, width, count, width, width, 1.0f,
                          false);
    kernels->residual_add(state, branch, layer->out_bias, NULL, count, width);
    float *normal = pre_norm ? branch : state;
    kernels->layer_norm(normal, state, pre_norm ? layer->norm2_gain : layer->norm1_gain,
                        pre_norm ? layer->norm2_bias : layer->norm1_bias, count, width, epsilon);
    be_product_transposed(hidden, hidden_width, normal, width, layer->hidden_weight, width, count, hidden_width, width, 1.0f, false);
    kernels->bias_relu(hidden, layer->hidden_bias, count, hidden_width);
    be_product_transposed(branch, width, hidden, hidden_width, layer->narrow_weight, hidden_width, count, width, hidden_width, 1.0f,
                          false);
    kernels->residual_add(state, branch, layer->narrow_bias, NULL, count, width);
    if (!pre_norm)
        kernels->layer_norm(state, state, layer->norm2_gain, layer->norm2_bias, count, width, epsilon);
}

static void norm_panel(void *context, size_t panel, size_t worker)
{
    const job *it = context;
    size_t width = it->self->width, first = panel_start(it, panel), count = panel_start(it, panel + 1) - first;
    float *state = it->state + first * width;
    (void)worker;
    it->team->kernels->layer_norm(state, state, it->self->norm_gain, it->self->norm_bias, count, width, BE_ENCODER_NORM_EPSILON);
}

void self_attention_run(const self_attention *self, const be_team *team, const be_positions *positions, float *state,
                        float *buffers)
{
    size_t tokens = positions->rows * positions->columns, width = self->width, panels = be_panels(tokens);
    job it = {.self = self, .team = team, .positions = positions, .tokens = tokens, .state = state, .qkv = buffers,
              .attended = buffers + 3 * tokens * width};
    be_attention attention = {
        .q = it.qkv, .k = it.qkv + width, .v = it.qkv + 2 * width, .out = it.attended, .q_stride = 3 * width,
        .k_stride = 3 * width, .v_stride = 3 * width, .out_stride = width, .queries = tokens, .tokens = tokens,
        .heads = self->heads, .head_width = width / self->heads, .scale = 1.0f / sqrtf((float)(width / self->heads)),
    };
    for (size_t l = 0; l < self->n_layers; l++) {
        it.layer = &self->layers[l];
        be_team_run(team, BE_STAGE_ENCODE, panels, project_panel, &it);
        be_attention_run(team, &attention);
        be_team_run(team, BE_STAGE_ENCODE, panels, finish_panel, &it);
    }
    if (self->n_layers > 0 && self->pre_norm)
        be_team_run(team, BE_STAGE_ENCODE, panels, norm_panel, &it);
}
