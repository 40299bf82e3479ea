#include "core/encoder/decoder.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/compute/panels.h"

/* --- loading -------------------------------------------------------------------------------------- */

void decoder_visit_feed_forward(be_weight_walk *walk, const char *stem, const decoder *self, decoder_layer *to)
{
    size_t width = self->width, hidden = self->hidden;
    to->norm3_gain = be_walk_tensor(walk, stem, "norm3.weight", width, 0);
    to->norm3_bias = be_walk_tensor(walk, stem, "norm3.bias", width, 0);
    to->widen = be_walk_matrix(walk, walk->precision, stem, "linear1.weight", hidden, width);
    to->hidden_bias = be_walk_tensor(walk, stem, "linear1.bias", hidden, 0);
    to->narrow = be_walk_matrix(walk, walk->precision, stem, "linear2.weight", width, hidden);
    to->narrow_bias = be_walk_tensor(walk, stem, "linear2.bias", width, 0);
}

be_status decoder_project_queries(decoder *self, size_t count, be_error *error)
{
    const decoder_layer *layer = &self->layers[0];
    size_t width = self->width, panels = be_panels(count);
    const be_isa *isa;
    be_matrix projection;
    be_arena scratch = {0}; /* counts, then holds */
    be_status status = be_matrix_keep(&projection, BE_PRECISION_F32, NULL, width, width, &scratch, error);
    be_arena_floats(&scratch, BE_PANEL_ROWS * width);
    be_arena_floats(&scratch, be_matrix_scratch(BE_PANEL_ROWS));
    if (status == BE_OK)
        status = be_isa_select(NULL, &isa, error);
    if (status == BE_OK)
        status = be_arena_create(&scratch, scratch.used, "query embeddings", error);
    if (status == BE_OK)
        status = be_matrix_keep(&projection, BE_PRECISION_F32, self->first_query, width, width, &scratch, error);
    size_t kept = scratch.used;
    for (size_t panel = 0; panel < panels && status == BE_OK; panel++) {
        size_t first = be_panel_start(count, panels, panel), rows = be_panel_start(count, panels, panel + 1) - first;
        float *query = self->query + first * width;
        scratch.used = kept;
        float *embedding = be_arena_floats(&scratch, rows * width);
        for (size_t i = 0; i < rows * width; i++)
            embedding[i] = query[i] + (layer->norm1_bias ? layer->norm1_bias[i % width] : 0);
        be_matrix_linear(isa, &projection, layer->query_bias, embedding, rows, query, width, &scratch);
    }
    be_arena_destroy(&scratch);
    free(self->first_query);
    self->first_query = NULL;
    return status;
}

/* --- queries -------------------------------------------------------------------------------------- */

/* Many queries go through the projections in panels of more rows, for which their weights are packed less often; their scores are
 * taken by blocks of BE_QUERY_PANEL_ROWS, which stay in the second-level cache. */
enum { MANY_QUERIES = 4096, MANY_ROWS = 512 };

static size_t count_panels(size_t queries)
{
    return queries < MANY_QUERIES ? be_query_panels(queries) : (queries + MANY_ROWS - 1) / MANY_ROWS;
}

/* The buffers of one panel of at most MANY_ROWS queries. */
typedef struct buffers {
    float *state;  /* [rows][D]: t of MODEL section 4 */
    float *query;  /* [rows][D], then the heads' outputs beside each other */
    float *pooled; /* [rows][D] */
    float *branch; /* [rows][D] */
    float *scores; /* [a block's rows][stride]: of one head */
    float *inverses; /* [a block's rows] */
    size_t stride; /* T, up to whole tiles */
} buffers;

typedef struct job {
    const decoder *self;
    const be_team *team;
    float *projected;
    size_t tokens;
    const be_encoder_wish *wish;
} job;

/* The part of the wish a task computes. */
typedef struct panel {
    size_t first, count;
    buffers at;
    be_arena *scratch; /* what is left of the worker's */
} panel;

static buffers lay_out(const decoder *self, size_t tokens, size_t rows, be_arena *arena)
{
    buffers at;
    at.state = be_arena_floats(arena, rows * self->width);
    at.query = be_arena_floats(arena, rows * self->width);
    at.pooled = be_arena_floats(arena, rows * self->width);
    at.branch = be_arena_floats(arena, rows * self->width);
    at.stride = be_whole_tiles(tokens);
    at.scores = be_arena_floats(arena, BE_QUERY_PANEL_ROWS * at.stride);
    at.inverses = be_arena_floats(arena, BE_QUERY_PANEL_ROWS);
    return at;
}

/* What the products of a panel take beside its buffers. */
static void count_products(const decoder *self, size_t rows, be_arena *arena)
{
    be_arena_floats(arena, be_activations_floats(self->precision, rows, self->width));
    be_arena_floats(arena, be_activations_floats(self->precision, rows, self->hidden));
    be_arena_floats(arena, be_matrix_scratch(rows));
}

static void count_attention(const decoder *self, const buffers *at, size_t tokens, be_arena *arena)
{
    be_activations weights;
    be_arena_floats(arena, be_activations_floats(self->precision, BE_QUERY_PANEL_ROWS, self->width / self->heads));
    be_activations_make_over(&weights, self->precision, at->scores, at->stride, BE_QUERY_PANEL_ROWS, tokens, arena);
    be_arena_floats(arena, be_matrix_scratch(BE_QUERY_PANEL_ROWS));
}

size_t decoder_scratch_bytes(const decoder *self, size_t queries_count, size_t tokens)
{
    be_arena queries = {0}, placed = {0};
    size_t rows = queries_count < MANY_QUERIES ? BE_QUERY_PANEL_ROWS : MANY_ROWS;
    buffers at = lay_out(self, tokens, rows, &queries);
    be_arena attending = queries;
    count_products(self, rows, &queries);
    count_attention(self, &at, tokens, &attending);
    be_arena_floats(&placed, BE_PANEL_ROWS * self->width);
    count_products(self, BE_PANEL_ROWS, &placed);
    size_t most = queries.used > attending.used ? queries.used : attending.used;
    return placed.used > most ? placed.used : most;
}

static void copy_rows(const job *self, const panel *part, const float *table, float *out)
{
    size_t width = self->self->width;
    for (size_t i = 0; i < part->count; i++)
        memcpy(out + i * width, table + be_wished_query(self->wish, part->first + i) * width, width * sizeof *out);
}

/* The state before the first layer's attention, and its queries, which are constants. */
static void begin_first_layer(const job *self, const panel *part)
{
    size_t width = self->self->width;
    for (size_t i = 0; i < part->count; i++) {
        if (self->self->start)
            memcpy(part->at.state + i * width, self->self->start, width * sizeof *part->at.state);
        else
            memset(part->at.state + i * width, 0, width * sizeof *part->at.state);
    }
    copy_rows(self, part, self->self->query, part->at.query);
}

/* q = (LN1(t) + e) Wq' + bq; without pre_norm t = LN1(t) as well. */
static void begin_layer(const job *self, const panel *part, const decoder_layer *layer)
{
    const decoder *model = self->self;
    const be_kernels *kernels = self->team->isa->kernels;
    const buffers *at = &part->at;
    size_t width = model->width, count = part->count;
    float *normal = model->pre_norm ? at->branch : at->state;
    kernels->layer_norm(normal, at->state, layer->norm1_gain, layer->norm1_bias, count, width, BE_ENCODER_NORM_EPSILON);
    copy_rows(self, part, model->embedding, at->pooled);
    kernels->accumulate(at->pooled, normal, 1.0f, count * width);
    be_matrix_linear(self->team->isa, &layer->query, layer->query_bias, at->pooled, count, at->query, width, part->scratch);
}

/* Maps of one head for `count` rows of the wish from `first` on: row r of `weights` times factors[r]. */
static void keep_maps(const job *self, size_t first, size_t count, const float *weights, size_t stride, const float *factors,
                      size_t head)
{
    const be_encoder_wish *wish = self->wish;
    const be_kernels *kernels = self->team->isa->kernels;
    size_t tokens = self->tokens, heads = self->self->heads;
    for (size_t row = 0; row < count; row++, weights += stride) {
        if (wish->attention) {
            float *mean = wish->attention + (first + row) * tokens;
            if (head == 0)
                memset(mean, 0, tokens * sizeof *mean);
            kernels->accumulate(mean, weights, factors[row] / (float)heads, tokens);
        }
        if (wish->attention_heads) {
            float *map = wish->attention_heads + (head * wish->count + first + row) * tokens;
            memset(map, 0, tokens * sizeof *map);
            kernels->accumulate(map, weights, factors[row], tokens);
        }
    }
}

/* The same from scores whose exponentials, rounded, are elsewhere (not in F32, where they have taken the scores' place). */
static void keep_rounded_maps(const job *self, size_t first, size_t count, const buffers *at, size_t head)
{
    for (size_t row = 0; row < count; row++)
        at->inverses[row] = 1;
    self->team->isa->kernels->softmax(at->scores, count, self->tokens, at->stride);
    keep_maps(self, first, count, at->scores, at->stride, at->inverses, head);
}

/* pooled = softmax(q k' / sqrt(D / heads)) v of one head, for `count` rows of a panel from `row` on. */
static void attend_head(const job *self, const panel *part, size_t layer, size_t head, size_t row, size_t count)
{
    const decoder *model = self->self;
    const be_isa *isa = self->team->isa;
    const buffers *at = &part->at;
    size_t width = model->width, head_width = width / model->heads, from = row * width + head * head_width,
           used = part->scratch->used;
    bool last = layer + 1 == model->n_layers, maps = last && (self->wish->attention || self->wish->attention_heads);
    be_matrix keys, values;
    be_activations queries, weights;
    decoder_take_head(model, self->projected, self->tokens, layer, head, &keys, &values);
    be_activations_round(&queries, isa, model->precision, at->query + from, width, count, head_width,
                         1.0f / sqrtf((float)head_width), part->scratch);
    be_matrix_multiply(isa, &(be_matrix_product){.in = &queries, .weight = &keys, .out = at->scores, .out_stride = at->stride,
                                                 .whole_tiles = true}, part->scratch);
    be_activations_make_over(&weights, model->precision, at->scores, at->stride, count, self->tokens, part->scratch);
    isa->tiles->exponentials(&weights, at->inverses, at->scores, at->stride);
    if (!last || self->wish->take)
        be_matrix_multiply(isa, &(be_matrix_product){.in = &weights, .weight = &values, .epilogue = BE_EPILOGUE_SCALE_ROWS,
                                                     .scale = at->inverses, .out = at->pooled + from, .out_stride = width},
                           part->scratch);
    if (maps && model->precision == BE_PRECISION_F32)
        keep_maps(self, part->first + row, count, at->scores, at->stride, at->inverses, head);
    else if (maps)
        keep_rounded_maps(self, part->first + row, count, at, head);
    part->scratch->used = used;
}

static void attend(const job *self, const panel *part, size_t layer)
{
    size_t blocks = (part->count + BE_QUERY_PANEL_ROWS - 1) / BE_QUERY_PANEL_ROWS;
    for (size_t block = 0; block < blocks; block++) {
        size_t row = be_panel_start(part->count, blocks, block);
        size_t count = be_panel_start(part->count, blocks, block + 1) - row;
        for (size_t head = 0; head < self->self->heads; head++)
            attend_head(self, part, layer, head, row, count);
    }
}

/* t = t + in W' + bias. */
static void add_branch(const job *self, const panel *part, const be_activations *in, const be_matrix *weight, const float *bias)
{
    be_matrix_multiply(self->team->isa, &(be_matrix_product){.in = in, .weight = weight, .epilogue = BE_EPILOGUE_RESIDUAL,
                                                             .bias = bias, .out = part->at.state,
                                                             .out_stride = self->self->width}, part->scratch);
}

/* FF's input: LN3(t), or without pre_norm t = LN2(t). */
static be_activations norm_state(const job *self, const panel *part, const decoder_layer *layer)
{
    const decoder *model = self->self;
    const be_isa *isa = self->team->isa;
    be_activations out;
    float *state = part->at.state;
    if (model->pre_norm) {
        be_activations_layer_norm(&out, isa, model->precision, state, layer->norm3_gain, layer->norm3_bias, BE_ENCODER_NORM_EPSILON,
                                  part->count, model->width, part->scratch);
        return out;
    }
    isa->kernels->layer_norm(state, state, layer->norm2_gain, layer->norm2_bias, part->count, model->width,
                             BE_ENCODER_NORM_EPSILON);
    be_activations_round(&out, isa, model->precision, state, model->width, part->count, model->width, 1.0f, part->scratch);
    return out;
}

/* t = t + o Wo' + bo; then with pre_norm t = t + FF(LN3(t)), without it t = LN2(t), t = LN3(t + FF(t)). */
static void finish_layer(const job *self, const panel *part, const decoder_layer *layer)
{
    const decoder *model = self->self;
    const be_isa *isa = self->team->isa;
    size_t used = part->scratch->used, width = model->width;
    be_activations in, hidden;
    be_activations_round(&in, isa, model->precision, part->at.pooled, width, part->count, width, 1.0f, part->scratch);
    add_branch(self, part, &in, &layer->out, layer->out_bias);
    part->scratch->used = used;
    in = norm_state(self, part, layer);
    be_activations_make(&hidden, model->precision, part->count, model->hidden, part->scratch);
    be_matrix_multiply(isa, &(be_matrix_product){.in = &in, .weight = &layer->widen, .epilogue = BE_EPILOGUE_RELU,
                                                 .bias = layer->hidden_bias, .packed = &hidden}, part->scratch);
    add_branch(self, part, &hidden, &layer->narrow, layer->narrow_bias);
    part->scratch->used = used;
    if (!model->pre_norm)
        isa->kernels->layer_norm(part->at.state, part->at.state, layer->norm3_gain, layer->norm3_bias, part->count, width,
                                 BE_ENCODER_NORM_EPSILON);
}

static void run_panel(void *context, size_t number, size_t worker)
{
    const job *self = context;
    const decoder *model = self->self;
    size_t panels = count_panels(self->wish->count), first = be_panel_start(self->wish->count, panels, number);
    panel part = {.first = first, .count = be_panel_start(self->wish->count, panels, number + 1) - first,
                  .scratch = &self->team->scratch[worker]};
    be_arena_reset(part.scratch);
    part.at = lay_out(model, self->tokens, part.count, part.scratch);
    for (size_t l = 0; l < model->n_layers; l++) {
        if (l == 0)
            begin_first_layer(self, &part);
        else
            begin_layer(self, &part, &model->layers[l]);
        attend(self, &part, l);
        if (l + 1 < model->n_layers || self->wish->take)
            finish_layer(self, &part, &model->layers[l]);
    }
    if (!self->wish->take) /* maps alone are wanted */
        return;
    if (model->norm_gain)
        self->team->isa->kernels->layer_norm(part.at.state, part.at.state, model->norm_gain, model->norm_bias, part.count,
                                             model->width, BE_ENCODER_NORM_EPSILON);
    self->wish->take(self->wish->context, self->team, first, part.count, part.at.state);
}

void decoder_run(const decoder *self, const be_team *team, float *projected, size_t tokens, const be_encoder_wish *wish)
{
    job it = {self, team, projected, tokens, wish};
    be_team_run(team, BE_STAGE_ENCODE, count_panels(wish->count), run_panel, &it);
}

static void list_layer(const decoder *self, const decoder_layer *layer, size_t queries, size_t tokens, const be_product_list *list)
{
    size_t width = self->width;
    if (layer != self->layers) /* the first one's queries are constants */
        be_list_linear(list, BE_STAGE_ENCODE, self->precision, queries, width, width);
    be_list_attention(list, BE_STAGE_ENCODE, self->precision, queries, tokens, width / self->heads, self->heads);
    be_list_linear(list, BE_STAGE_ENCODE, self->precision, queries, width, width);
    be_list_linear(list, BE_STAGE_ENCODE, self->precision, queries, self->hidden, width);
    be_list_linear(list, BE_STAGE_ENCODE, self->precision, queries, width, self->hidden);
}

void decoder_list_products(const decoder *self, size_t queries, size_t tokens, const be_product_list *list)
{
    for (size_t l = 0; l < self->n_layers; l++) {
        be_list_linear(list, BE_STAGE_ENCODE, self->precision, tokens, self->width, self->width); /* keys */
        if (self->layers[l].values_bias)
            be_list_linear(list, BE_STAGE_ENCODE, self->precision, tokens, self->width, self->width);
    }
    for (size_t l = 0; l < self->n_layers; l++)
        list_layer(self, &self->layers[l], queries, tokens, list);
}
