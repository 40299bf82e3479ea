#include "core/backbone/vit.h"

#include <math.h>
#include <string.h>

#include "core/compute/attention.h"
#include "core/compute/panels.h"

enum { COLOURS = 3 };

/* The buffers of one image; the same call counts what they need (be_arena). */
static void lay_out(vit_run *self, be_arena *arena)
{
    size_t floats = self->tokens * self->model->width;
    self->x = be_arena_floats(arena, floats);
    self->qkv = be_arena_floats(arena, 3 * floats);
    self->attended = be_arena_floats(arena, floats);
}

static void normalise(const vit_run *self, const vit_norm *norm, const float *in, float *out, size_t rows)
{
    self->team->isa->kernels->layer_norm(out, in, norm->gain, norm->bias, rows, self->model->width, self->model->epsilon);
}

/* --- image to tokens ------------------------------------------------------------------------------ */

/* The normalised pixels of the patch at (row, column) as one row of the patch product: [colour][y][x]; zero outside the
 * image, which is the padding to whole patches. */
static void gather_patch(const vit_run *self, size_t row, size_t column, float *out)
{
    size_t patch = self->model->patch;
    const be_image *image = self->image;
    for (size_t colour = 0; colour < COLOURS; colour++) {
        for (size_t y = row * patch; y < (row + 1) * patch; y++) {
            for (size_t x = column * patch; x < (column + 1) * patch; x++) {
                bool inside = y < image->height && x < image->width;
                *out++ = inside ? self->normal[colour][image->rgb[(y * image->width + x) * COLOURS + colour]] : 0.0f;
            }
        }
    }
}

/* A panel of grid cells: x = position + patch pixels times the patch weights. */
static void embed(void *context, size_t panel, size_t worker)
{
    const vit_run *self = context;
    const vit *model = self->model;
    size_t inner = COLOURS * model->patch * model->patch, width = model->width;
    be_rows rows = be_team_panel(self->team, self->cells, panel);
    size_t first = rows.first, count = rows.count;
    be_arena *scratch = &self->team->scratch[worker];
    be_arena_reset(scratch);
    float *pixels = be_arena_floats(scratch, count * inner), *x = self->x + (model->leading + first) * width;
    for (size_t i = 0; i < count; i++)
        gather_patch(self, (first + i) / self->columns, (first + i) % self->columns, pixels + i * inner);
    memcpy(x, self->positions + first * width, count * width * sizeof *x);
    be_activations patches;
    be_activations_round(&patches, self->team->isa, BE_PRECISION_F32, pixels, inner, count, inner, 1.0f, scratch);
    be_matrix_multiply(self->team->isa, &(be_matrix_product){.in = &patches, .weight = &model->patches, .epilogue = BE_EPILOGUE_ADD,
                                                             .out = x, .out_stride = width}, scratch);
    if (model->first_norm.gain)
        normalise(self, &model->first_norm, x, x, count);
}

be_status vit_begin(vit_run *self, const vit *model, const be_team *team, be_arena *arena, const be_image *image,
                    const float *positions, be_error *error)
{
    size_t rows;
    *self = (vit_run){.model = model, .team = team, .image = image, .positions = positions};
    be_backbone_grid(&model->base, image->width, image->height, &rows, &self->columns);
    self->cells = rows * self->columns;
    self->tokens = model->leading + self->cells;
    be_arena_reset(arena);
    lay_out(self, arena);
    if (arena->overflowed)
        return be_fail(error, BE_ERROR_LIMIT, "tokens: the image has more (%zu) than this session was made for", self->cells);
    be_image_normalisation(self->normal);
    memcpy(self->x, model->leading_tokens, model->leading * model->width * sizeof(float));
    if (model->first_norm.gain)
        normalise(self, &model->first_norm, self->x, self->x, model->leading);
    be_team_run(team, BE_STAGE_EMBED, be_team_panels(team, self->cells), embed, self);
    return BE_OK;
}

/* --- blocks --------------------------------------------------------------------------------------- */

/* What the tasks of a block work on: `count` tokens from `first` on. */
typedef struct block_job {
    const vit_run *run;
    const vit_block *block;
    size_t first, count;
} block_job;

/* The tokens of one task of it. */
static size_t panel_of(const block_job *self, size_t panel, size_t *first)
{
    be_rows rows = be_team_panel(self->run->team, self->count, panel);
    *first = self->first + rows.first;
    return rows.count;
}

/* out = epilogue(in W') for the rows of a panel. */
static void multiply(const vit_run *run, be_matrix_product product, size_t worker)
{
    be_matrix_multiply(run->team->isa, &product, &run->team->scratch[worker]);
}

/* LayerNorm of `rows` rows of tokens, ready for a product. */
static be_activations normalised(const vit_run *run, const vit_norm *norm, const float *in, size_t rows, size_t worker)
{
    be_activations out;
    be_activations_layer_norm(&out, run->team->isa, run->model->precision, in, norm->gain, norm->bias, run->model->epsilon, rows,
                              run->model->width, &run->team->scratch[worker]);
    return out;
}

/* qkv = norm1(x) Wqkv' + b of a panel of tokens. */
static void project_panel(void *context, size_t panel, size_t worker)
{
    const block_job *self = context;
    const vit_run *run = self->run;
    const vit_linear *layer = &self->block->qkv;
    size_t width = run->model->width, first, count = panel_of(self, panel, &first);
    be_arena_reset(&run->team->scratch[worker]);
    be_activations normal = normalised(run, &self->block->norm1, run->x + first * width, count, worker);
    multiply(run, (be_matrix_product){.in = &normal, .weight = &layer->weight, .epilogue = BE_EPILOGUE_BIAS, .bias = layer->bias,
                                      .out = run->qkv + first * 3 * width, .out_stride = 3 * width}, worker);
}

void vit_project(vit_run *self, size_t block)
{
    block_job job = {self, &self->model->blocks[block], 0, self->tokens};
    be_team_run(self->team, BE_STAGE_PROJECT, be_team_panels(self->team, job.count), project_panel, &job);
}

/* Of the rows before the activation: SwiGLU's are twice as long. */
static size_t widened(const vit *model)
{
    return model->activation == BE_ACTIVATION_SWIGLU ? 2 * model->hidden : model->hidden;
}

/* The feed-forward part's hidden activations of `in`, ready for the product that narrows them. */
static be_activations widen(const vit_run *run, const vit_linear *layer, const be_activations *in, size_t worker)
{
    const vit *model = run->model;
    const be_team *team = run->team;
    be_arena *scratch = &team->scratch[worker];
    size_t wide = widened(model);
    be_activations hidden;
    if (model->activation != BE_ACTIVATION_SWIGLU) {
        bool quick = model->activation == BE_ACTIVATION_QUICK_GELU;
        be_activations_make(&hidden, model->precision, in->rows, model->hidden, scratch);
        multiply(run, (be_matrix_product){.in = in, .weight = &layer->weight, .bias = layer->bias, .packed = &hidden,
                                          .epilogue = quick ? BE_EPILOGUE_QUICK_GELU : BE_EPILOGUE_GELU}, worker);
        return hidden;
    }
    float *both = be_arena_floats(scratch, in->rows * wide);
    multiply(run, (be_matrix_product){.in = in, .weight = &layer->weight, .out = both, .out_stride = wide}, worker);
    team->isa->kernels->bias_swiglu(both, layer->bias, in->rows, model->hidden);
    be_activations_round(&hidden, team->isa, model->precision, both, wide, in->rows, model->hidden, 1.0f, scratch);
    return hidden;
}

/* x = x + scale * (in W' + b). */
static void add_branch(const vit_run *run, const vit_linear *layer, const float *scale, const be_activations *in, float *x,
                       size_t worker)
{
    multiply(run, (be_matrix_product){.in = in, .weight = &layer->weight, .epilogue = BE_EPILOGUE_RESIDUAL, .bias = layer->bias,
                                      .scale = scale, .out = x, .out_stride = run->model->width}, worker);
}

/* What follows the attention, for a panel of tokens: the output projection and the feed-forward part, each with its
 * LayerScale and residual. */
static void finish_panel(void *context, size_t panel, size_t worker)
{
    const block_job *self = context;
    const vit_run *run = self->run;
    const vit_block *block = self->block;
    be_arena *scratch = &run->team->scratch[worker];
    size_t width = run->model->width, first, count = panel_of(self, panel, &first);
    float *x = run->x + first * width;
    be_activations in, hidden;
    be_arena_reset(scratch);
    be_activations_round(&in, run->team->isa, run->model->precision, run->attended + first * width, width, count, width, 1.0f,
                         scratch);
    add_branch(run, &block->out, block->scale1, &in, x, worker);
    be_arena_reset(scratch);
    in = normalised(run, &block->norm2, x, count, worker);
    hidden = widen(run, &block->widen, &in, worker);
    add_branch(run, &block->narrow, block->scale2, &hidden, x, worker);
}

void vit_finish(vit_run *self, size_t block, size_t first, size_t count)
{
    const vit *model = self->model;
    size_t width = model->width, head_width = width / model->heads;
    be_attention attention = {
        .q = self->qkv + first * 3 * width, .k = self->qkv + width, .v = self->qkv + 2 * width,
        .out = self->attended + first * width,
        .q_stride = 3 * width, .k_stride = 3 * width, .v_stride = 3 * width, .out_stride = width,
        .queries = count, .tokens = self->tokens, .heads = model->heads, .head_width = head_width,
        .scale = 1.0f / sqrtf((float)head_width), .precision = model->precision,
    };
    block_job job = {self, &model->blocks[block], first, count};
    be_attention_run(self->team, BE_STAGE_ATTEND, &attention);
    be_team_run(self->team, BE_STAGE_FEED_FORWARD, be_team_panels(self->team, count), finish_panel, &job);
}

/* --- features ------------------------------------------------------------------------------------- */

bool vit_reads_queries(be_features features)
{
    return features == BE_FEATURES_DINOV2_Q || features == BE_FEATURES_DINOV2_Q_CLS;
}

/* The tokens that a tap reads. */
static size_t tap_rows(const vit_run *self, be_features features, size_t *first)
{
    bool class_token = be_features_is_class(features) && features != BE_FEATURES_DINOV2_CLS_FIRST_PATCH;
    *first = class_token ? 0 : self->model->leading;
    return be_features_is_class(features) ? 1 : self->cells;
}

/* One tap: a norm of some tokens, then a linear layer unless it is NULL. */
typedef struct reading {
    const vit_run *run;
    const vit_norm *norm;
    const be_matrix *weight; /* [channels][C] */
    const float *bias;       /* [channels] or NULL */
    size_t first, count, channels;
    float *out;              /* [count][channels] */
} reading;

static void read_panel(void *context, size_t panel, size_t worker)
{
    const reading *self = context;
    const vit_run *run = self->run;
    be_rows rows = be_team_panel(run->team, self->count, panel);
    size_t start = rows.first, count = rows.count;
    const float *x = run->x + (self->first + start) * run->model->width;
    float *out = self->out + start * self->channels;
    if (!self->weight) {
        normalise(run, self->norm, x, out, count);
        return;
    }
    be_arena_reset(&run->team->scratch[worker]);
    be_activations normal = normalised(run, self->norm, x, count, worker);
    multiply(run, (be_matrix_product){.in = &normal, .weight = self->weight, .out = out, .out_stride = self->channels,
                                      .bias = self->bias, .epilogue = self->bias ? BE_EPILOGUE_BIAS : BE_EPILOGUE_NONE}, worker);
}

/* Tap number `tap` from the tokens as they are now. */
static void read_tokens(const vit_run *self, size_t tap, float *out)
{
    const vit *model = self->model;
    reading job = {.run = self, .channels = model->width, .out = out};
    job.count = tap_rows(self, model->taps[tap].features, &job.first);
    if (vit_reads_queries(model->taps[tap].features)) {
        const vit_block *block = &model->blocks[model->n_blocks];
        job.norm = &block->norm1, job.weight = &block->qkv.weight, job.bias = block->qkv.bias;
    } else {
        job.norm = &model->last_norm;
        if (model->projects)
            job.weight = &model->projection, job.channels = model->channels;
    }
    be_team_run(self->team, BE_STAGE_FEATURES, be_team_panels(self->team, job.count), read_panel, &job);
}

/* The same for queries that were computed with a whole block. */
static void copy_queries(const vit_run *self, size_t tap, float *out)
{
    size_t width = self->model->width, first, count = tap_rows(self, self->model->taps[tap].features, &first);
    for (size_t i = 0; i < count; i++)
        memcpy(out + i * width, self->qkv + (first + i) * 3 * width, width * sizeof *out);
}

/* The tokens that the taps after the last whole block read: no other needs to come out of it. */
static size_t last_rows(const vit_run *self, size_t *first)
{
    size_t end = 0;
    *first = self->tokens;
    for (size_t tap = 0; tap < self->model->n_taps; tap++) {
        size_t start, count = tap_rows(self, self->model->taps[tap].features, &start);
        if (self->model->taps[tap].blocks != self->model->n_blocks)
            continue;
        *first = start < *first ? start : *first;
        end = start + count > end ? start + count : end;
    }
    return end - *first;
}

be_status vit_run_image(const vit *model, const be_team *team, be_arena *arena, const be_image *image, const float *positions,
                        float *const *features, be_error *error)
{
    vit_run self;
    be_status status = vit_begin(&self, model, team, arena, image, positions, error);
    if (status != BE_OK)
        return status;
    for (size_t done = 0; done <= model->n_blocks; done++) {
        bool last = done == model->n_blocks;
        for (size_t tap = 0; tap < model->n_taps; tap++) {
            if (model->taps[tap].blocks == done && (last || !vit_reads_queries(model->taps[tap].features)))
                read_tokens(&self, tap, features[tap]);
        }
        if (last)
            break;
        vit_project(&self, done);
        for (size_t tap = 0; tap < model->n_taps; tap++) {
            if (model->taps[tap].blocks == done && vit_reads_queries(model->taps[tap].features))
                copy_queries(&self, tap, features[tap]);
        }
        size_t first = 0, count = done + 1 == model->n_blocks ? last_rows(&self, &first) : self.tokens;
        vit_finish(&self, done, first, count);
    }
    return BE_OK;
}

static void list_block(const vit_run *self, size_t rows, const be_product_list *list)
{
    const vit *model = self->model;
    size_t width = model->width, hidden = model->hidden;
    be_list_linear(list, BE_STAGE_PROJECT, model->precision, self->tokens, 3 * width, width);
    be_list_attention(list, BE_STAGE_ATTEND, model->precision, rows, self->tokens, width / model->heads, model->heads);
    be_list_linear(list, BE_STAGE_FEED_FORWARD, model->precision, rows, width, width);
    be_list_linear(list, BE_STAGE_FEED_FORWARD, model->precision, rows, widened(model), width);
    be_list_linear(list, BE_STAGE_FEED_FORWARD, model->precision, rows, width, hidden);
}

/* As vit_run_image computes them. */
void vit_list_products(const be_backbone *backbone, size_t width, size_t height, const be_product_list *list)
{
    const vit *model = (const vit *)backbone;
    size_t rows, first;
    vit_run self = {.model = model};
    be_backbone_grid(backbone, width, height, &rows, &self.columns);
    self.cells = rows * self.columns, self.tokens = model->leading + self.cells;
    be_list_linear(list, BE_STAGE_EMBED, BE_PRECISION_F32, self.cells, model->width, COLOURS * model->patch * model->patch);
    for (size_t block = 0; block < model->n_blocks; block++)
        list_block(&self, block + 1 == model->n_blocks ? last_rows(&self, &first) : self.tokens, list);
    for (size_t tap = 0; tap < model->n_taps; tap++) {
        bool queries = vit_reads_queries(model->taps[tap].features);
        if (queries ? model->taps[tap].blocks == model->n_blocks : model->projects)
            be_list_linear(list, BE_STAGE_FEATURES, model->precision, tap_rows(&self, model->taps[tap].features, &first),
                           queries ? model->width : model->channels, model->width);
    }
}

/* --- sizes ---------------------------------------------------------------------------------------- */

size_t vit_arena_bytes(const vit *model, size_t cells)
{
    be_arena counting = {0};
    vit_run self = {.model = model, .tokens = model->leading + cells};
    lay_out(&self, &counting);
    return counting.used;
}

/* What the feed-forward part of a panel takes. */
static size_t count_feed_forward(const vit *model)
{
    be_arena counting = {0};
    size_t wide = widened(model), rows = BE_PANEL_ROWS;
    be_arena_floats(&counting, be_activations_floats(model->precision, rows, model->width));
    be_arena_floats(&counting, be_activations_floats(model->precision, rows, model->hidden));
    if (model->activation == BE_ACTIVATION_SWIGLU)
        be_arena_floats(&counting, rows * wide);
    be_arena_floats(&counting, be_matrix_scratch(rows));
    return counting.used;
}

/* The largest of what embed, finish_panel and the attention take; a projection panel takes less. */
size_t vit_scratch_bytes(const vit *model, size_t cells)
{
    be_arena pixels = {0}, scores = {0};
    be_arena_floats(&pixels, BE_PANEL_ROWS * COLOURS * model->patch * model->patch);
    be_arena_floats(&pixels, be_matrix_scratch(BE_PANEL_ROWS));
    be_arena_floats(&scores, be_attention_room(model->precision, model->leading + cells, model->width / model->heads));
    size_t largest = count_feed_forward(model);
    largest = pixels.used > largest ? pixels.used : largest;
    return largest > scores.used ? largest : scores.used;
}
