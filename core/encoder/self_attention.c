#include "core/encoder/self_attention.h"

#include <math.h>
#include <string.h>

#include "core/compute/attention.h"
#include "core/compute/panels.h"
#include "core/encoder/decoder.h"

typedef struct job {
    const self_attention *self;
    const self_attention_layer *layer;
    const be_team *team;
    const be_positions *positions;
    size_t tokens;
    float *state, *qkv, *attended; /* [T][D], [T][3D], [T][D] */
} job;

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
    be_arena_floats(&project, be_activations_floats(self->precision, BE_PANEL_ROWS, self->width));
    be_arena_floats(&project, be_matrix_scratch(BE_PANEL_ROWS));
    be_arena_floats(&finish, be_activations_floats(self->precision, BE_PANEL_ROWS, self->width));
    be_arena_floats(&finish, be_activations_floats(self->precision, BE_PANEL_ROWS, self->hidden));
    be_arena_floats(&finish, be_matrix_scratch(BE_PANEL_ROWS));
    be_arena_floats(&attend, be_attention_room(self->precision, tokens, self->width / self->heads));
    size_t largest = project.used > finish.used ? project.used : finish.used;
    return largest > attend.used ? largest : attend.used;
}

/* q and k of n + p, v of n, where n = LN1(s) with pre_norm and s without. */
static void project_panel(void *context, size_t panel, size_t worker)
{
    const job *it = context;
    const self_attention_layer *layer = it->layer;
    const be_kernels *kernels = it->team->isa->kernels;
    size_t width = it->self->width;
    be_rows rows = be_team_panel(it->team, it->tokens, panel);
    size_t first = rows.first, count = rows.count;
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
    be_matrix_linear(it->team->isa, &layer->queries_keys, layer->projection_bias, placed, count, qkv, 3 * width, scratch);
    be_matrix_linear(it->team->isa, &layer->values, layer->projection_bias + 2 * width, normal, count, qkv + 2 * width, 3 * width,
                     scratch);
}

/* s = s + in W' + bias. */
static void add_branch(const job *it, const be_activations *in, const be_matrix *weight, const float *bias, float *state,
                       be_arena *scratch)
{
    be_matrix_multiply(it->team->isa, &(be_matrix_product){.in = in, .weight = weight, .epilogue = BE_EPILOGUE_RESIDUAL,
                                                           .bias = bias, .out = state, .out_stride = it->self->width}, scratch);
}

/* The feed-forward part's input: LN2(s), or without pre_norm s = LN1(s). */
static be_activations norm_state(const job *it, float *state, size_t count, be_arena *scratch)
{
    const self_attention *self = it->self;
    const self_attention_layer *layer = it->layer;
    const be_isa *isa = it->team->isa;
    be_activations out;
    if (self->pre_norm) {
        be_activations_layer_norm(&out, isa, self->precision, state, layer->norm2_gain, layer->norm2_bias, BE_ENCODER_NORM_EPSILON,
                                  count, self->width, scratch);
        return out;
    }
    isa->kernels->layer_norm(state, state, layer->norm1_gain, layer->norm1_bias, count, self->width, BE_ENCODER_NORM_EPSILON);
    be_activations_round(&out, isa, self->precision, state, self->width, count, self->width, 1.0f, scratch);
    return out;
}

static void finish_panel(void *context, size_t panel, size_t worker)
{
    const job *it = context;
    const self_attention *self = it->self;
    const self_attention_layer *layer = it->layer;
    const be_isa *isa = it->team->isa;
    be_rows rows = be_team_panel(it->team, it->tokens, panel);
    size_t width = self->width, first = rows.first, count = rows.count;
    float *state = it->state + first * width;
    be_arena *scratch = &it->team->scratch[worker];
    be_activations in, hidden;
    be_arena_reset(scratch);
    be_activations_round(&in, isa, self->precision, it->attended + first * width, width, count, width, 1.0f, scratch);
    add_branch(it, &in, &layer->out, layer->out_bias, state, scratch);
    be_arena_reset(scratch);
    in = norm_state(it, state, count, scratch);
    be_activations_make(&hidden, self->precision, count, self->hidden, scratch);
    be_matrix_multiply(isa, &(be_matrix_product){.in = &in, .weight = &layer->widen, .epilogue = BE_EPILOGUE_RELU,
                                                 .bias = layer->hidden_bias, .packed = &hidden}, scratch);
    add_branch(it, &hidden, &layer->narrow, layer->narrow_bias, state, scratch);
    if (!self->pre_norm)
        isa->kernels->layer_norm(state, state, layer->norm2_gain, layer->norm2_bias, count, width, BE_ENCODER_NORM_EPSILON);
}

static void norm_panel(void *context, size_t panel, size_t worker)
{
    const job *it = context;
    size_t width = it->self->width;
    be_rows rows = be_team_panel(it->team, it->tokens, panel);
    size_t first = rows.first, count = rows.count;
    float *state = it->state + first * width;
    (void)worker;
    it->team->isa->kernels->layer_norm(state, state, it->self->norm_gain, it->self->norm_bias, count, width,
                                       BE_ENCODER_NORM_EPSILON);
}

void self_attention_run(const self_attention *self, const be_team *team, const be_positions *positions, float *state,
                        float *buffers)
{
    size_t tokens = positions->rows * positions->columns, width = self->width, panels = be_team_panels(team, tokens);
    job it = {.self = self, .team = team, .positions = positions, .tokens = tokens, .state = state, .qkv = buffers,
              .attended = buffers + 3 * tokens * width};
    be_attention attention = {
        .q = it.qkv, .k = it.qkv + width, .v = it.qkv + 2 * width, .out = it.attended, .q_stride = 3 * width,
        .k_stride = 3 * width, .v_stride = 3 * width, .out_stride = width, .queries = tokens, .tokens = tokens,
        .heads = self->heads, .head_width = width / self->heads, .scale = 1.0f / sqrtf((float)(width / self->heads)),
        .precision = self->precision,
    };
    for (size_t l = 0; l < self->n_layers; l++) {
        it.layer = &self->layers[l];
        be_team_run(team, BE_STAGE_ENCODE, panels, project_panel, &it);
        be_attention_run(team, BE_STAGE_ENCODE, &attention);
        be_team_run(team, BE_STAGE_ENCODE, panels, finish_panel, &it);
    }
    if (self->n_layers > 0 && self->pre_norm)
        be_team_run(team, BE_STAGE_ENCODE, panels, norm_panel, &it);
}

void self_attention_list_products(const self_attention *self, size_t tokens, const be_product_list *list)
{
    size_t width = self->width;
    for (size_t l = 0; l < self->n_layers; l++) {
        be_list_linear(list, BE_STAGE_ENCODE, self->precision, tokens, 2 * width, width);
        be_list_linear(list, BE_STAGE_ENCODE, self->precision, tokens, width, width);
        be_list_attention(list, BE_STAGE_ENCODE, self->precision, tokens, tokens, width / self->heads, self->heads);
        be_list_linear(list, BE_STAGE_ENCODE, self->precision, tokens, width, width);
        be_list_linear(list, BE_STAGE_ENCODE, self->precision, tokens, self->hidden, width);
        be_list_linear(list, BE_STAGE_ENCODE, self->precision, tokens, width, self->hidden);
    }
}
