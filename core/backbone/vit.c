#include "core/backbone/vit.h"

#include <math.h>
#include <string.h>

#include "core/compute/attention.h"
#include "core/compute/product.h"

static const float norm_epsilon = 1e-6f;
enum { COLOURS = 3 };

/* The buffers of one image, T = 1 + grid cells rows (the class token first). */
typedef struct buffers {
    float *x;        /* [T][C]: the residual stream */
    float *qkv;      /* [T][3C] */
    float *attended; /* [T][C]: the heads' outputs */
} buffers;

typedef struct run {
    const vit *model;
    const be_team *team;
    const be_image *image;
    const float *positions; /* [cells][C] */
    size_t rows, columns, tokens;
    buffers at;
    size_t panels;          /* of token rows */
    size_t block;           /* the one being computed */
    float *features;        /* of the tap being read */
    float normal[COLOURS][256];
} run;

static buffers lay_out(const vit *model, size_t tokens, be_arena *arena)
{
    buffers at;
    at.x = be_arena_floats(arena, tokens * model->width);
    at.qkv = be_arena_floats(arena, tokens * 3 * model->width);
    at.attended = be_arena_floats(arena, tokens * model->width);
    return at;
}

/* --- image to tokens ------------------------------------------------------------------------------ */

/* The normalised pixels of the patch at (row, column) as one row of the patch product: [colour][y][x]; zero outside the
 * image, which is the padding to whole patches. */
static void gather_patch(const run *self, size_t row, size_t column, float *out)
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

/* A panel of grid cells: x[1 + cell] = patch pixels times the patch weights + bias + position. */
static void embed(void *context, size_t panel, size_t worker)
{
    const run *self = context;
    const vit *model = self->model;
    const be_kernels *kernels = self->team->kernels;
    size_t cells = self->tokens - 1, inner = COLOURS * model->patch * model->patch, width = model->width;
    size_t first = be_panel_start(cells, be_panels(cells), panel);
    size_t count = be_panel_start(cells, be_panels(cells), panel + 1) - first;
    be_arena *scratch = &self->team->scratch[worker];
    be_arena_reset(scratch);
    float *pixels = be_arena_floats(scratch, count * inner);
    for (size_t i = 0; i < count; i++)
        gather_patch(self, (first + i) / self->columns, (first + i) % self->columns, pixels + i * inner);
    float *x = self->at.x + (1 + first) * width;
    be_product_transposed(x, width, pixels, inner, model->patch_weight, inner, count, width, inner, 1.0f, false);
    kernels->residual_add(x, self->positions + first * width, model->patch_bias, NULL, count, width);
}

/* --- blocks --------------------------------------------------------------------------------------- */

/* qkv = LN1(x) Wqkv' + b of a panel of tokens. */
static void project(const run *self, size_t block_number, size_t first, size_t count, be_arena *scratch)
{
    const vit_block *block = &self->model->blocks[block_number];
    const be_kernels *kernels = self->team->kernels;
    size_t width = self->model->width;
    float *normal = be_arena_floats(scratch, count * width);
    float *qkv = self->at.qkv + first * 3 * width;
    kernels->layer_norm(normal, self->at.x + first * width, block->norm1_gain, block->norm1_bias, count, width, norm_epsilon);
    be_product_transposed(qkv, 3 * width, normal, width, block->qkv_weight, width, count, 3 * width, width, 1.0f, false);
    kernels->bias_add(qkv, block->qkv_bias, count, 3 * width, 3 * width);
}

static void project_panel(void *context, size_t panel, size_t worker)
{
    const run *self = context;
    size_t first = be_panel_start(self->tokens, self->panels, panel);
    be_arena_reset(&self->team->scratch[worker]);
    project(self, self->block, first, be_panel_start(self->tokens, self->panels, panel + 1) - first,
            &self->team->scratch[worker]);
}

/* What follows the attention, for a panel of tokens: the output projection and the feed-forward part, each with its
 * LayerScale and residual. */
static void finish_panel(void *context, size_t panel, size_t worker)
{
    const run *self = context;
    const vit *model = self->model;
    const vit_block *block = &model->blocks[self->block];
    const be_kernels *kernels = self->team->kernels;
    size_t width = model->width, hidden_width = model->hidden;
    size_t first = be_panel_start(self->tokens, self->panels, panel);
    size_t count = be_panel_start(self->tokens, self->panels, panel + 1) - first;
    be_arena *scratch = &self->team->scratch[worker];
    be_arena_reset(scratch);
    float *branch = be_arena_floats(scratch, count * width), *hidden = be_arena_floats(scratch, count * hidden_width);
    float *x = self->at.x + first * width;
    be_product_transposed(branch, width, self->at.attended + first * width, width, block->out_weight, width, count, width,
                          width, 1.0f, false);
    kernels->residual_add(x, branch, block->out_bias, block->scale1, count, width);
    kernels->layer_norm(branch, x, block->norm2_gain, block->norm2_bias, count, width, norm_epsilon);
    be_product_transposed(hidden, hidden_width, branch, width, block->hidden_weight, width, count, hidden_width, width, 1.0f,
                          false);
    kernels->bias_gelu(hidden, block->hidden_bias, count, hidden_width);
    be_product_transposed(branch, width, hidden, hidden_width, block->narrow_weight, hidden_width, count, width, hidden_width,
                          1.0f, false);
    kernels->residual_add(x, branch, block->narrow_bias, block->scale2, count, width);
}

static void run_block(run *self)
{
    const vit *model = self->model;
    size_t width = model->width, head_width = width / model->heads;
    be_team_run(self->team, BE_STAGE_PROJECT, self->panels, project_panel, self);
    be_attention attention = {
        .q = self->at.qkv, .k = self->at.qkv + width, .v = self->at.qkv + 2 * width, .out = self->at.attended,
        .q_stride = 3 * width, .k_stride = 3 * width, .v_stride = 3 * width, .out_stride = width,
        .queries = self->tokens, .tokens = self->tokens, .heads = model->heads, .head_width = head_width,
        .scale = 1.0f / sqrtf((float)head_width),
    };
    be_attention_run(self->team, &attention);
    be_team_run(self->team, BE_STAGE_FEED_FORWARD, self->panels, finish_panel, self);
}

/* --- features ------------------------------------------------------------------------------------- */

/* A panel of grid cells of `dinov2_q`: LN1(x) Wq' + bq of the block x is about to enter; the class token is left out. */
static void read_queries(void *context, size_t panel, size_t worker)
{
    const run *self = context;
    const vit_block *block = &self->model->blocks[self->block];
    const be_kernels *kernels = self->team->kernels;
    size_t width = self->model->width, cells = self->tokens - 1;
    size_t first = be_panel_start(cells, be_panels(cells), panel);
    size_t count = be_panel_start(cells, be_panels(cells), panel + 1) - first;
    be_arena *scratch = &self->team->scratch[worker];
    be_arena_reset(scratch);
    float *normal = be_arena_floats(scratch, count * width), *out = self->features + first * width;
    kernels->layer_norm(normal, self->at.x + (1 + first) * width, block->norm1_gain, block->norm1_bias, count, width,
                        norm_epsilon);
    be_product_transposed(out, width, normal, width, block->qkv_weight, width, count, width, width, 1.0f, false);
    kernels->bias_add(out, block->qkv_bias, count, width, width);
}

static be_status vit_run(const be_backbone *backbone, const be_team *team, be_arena *arena, const be_image *image,
                         const float *positions, float *const *features, be_error *error)
{
    const vit *model = (const vit *)backbone;
    run self = {.model = model, .team = team, .image = image, .positions = positions};
    be_backbone_grid(backbone, image->width, image->height, &self.rows, &self.columns);
    self.tokens = 1 + self.rows * self.columns;
    self.panels = be_panels(self.tokens);
    be_arena_reset(arena);
    self.at = lay_out(model, self.tokens, arena);
    if (arena->overflowed)
        return be_fail(error, BE_ERROR_LIMIT, "tokens: the image has more (%zu) than this session was made for",
                       self.tokens - 1);
    be_image_normalisation(self.normal);
    memcpy(self.at.x, model->class_token, model->width * sizeof(float));
    be_team_run(team, BE_STAGE_EMBED, be_panels(self.tokens - 1), embed, &self);
    for (self.block = 0; self.block <= model->last_block; self.block++) {
        for (size_t tap = 0; tap < model->n_taps; tap++) {
            if (model->tap_blocks[tap] != self.block)
                continue;
            self.features = features[tap];
            be_team_run(team, BE_STAGE_FEATURES, be_panels(self.tokens - 1), read_queries, &self);
        }
        if (self.block < model->last_block)
            run_block(&self);
    }
    return BE_OK;
}

/* --- sizes ---------------------------------------------------------------------------------------- */

static size_t vit_arena_bytes(const be_backbone *backbone, size_t cells)
{
    be_arena counting = {0};
    lay_out((const vit *)backbone, cells + 1, &counting);
    return counting.used;
}

/* The largest of what embed, finish_panel and the attention take. */
static size_t vit_scratch_bytes(const be_backbone *backbone, size_t cells)
{
    const vit *model = (const vit *)backbone;
    be_arena pixels = {0}, feed_forward = {0}, scores = {0};
    be_arena_floats(&pixels, BE_PANEL_ROWS * COLOURS * model->patch * model->patch);
    be_arena_floats(&feed_forward, BE_PANEL_ROWS * model->width);
    be_arena_floats(&feed_forward, BE_PANEL_ROWS * model->hidden);
    be_arena_floats(&scores, be_attention_scratch(cells + 1));
    size_t largest = pixels.used > feed_forward.used ? pixels.used : feed_forward.used;
    return largest > scores.used ? largest : scores.used;
}

static size_t vit_grid_floats(const be_backbone *backbone, size_t rows, size_t columns)
{
    return rows * columns * ((const vit *)backbone)->width;
}

static void vit_prepare_grid(const be_backbone *backbone, size_t rows, size_t columns, float *constants)
{
    vit_resample_positions((const vit *)backbone, rows, columns, constants);
}

static bool vit_offers(be_features features)
{
    return features == BE_FEATURES_DINOV2_Q;
}

const be_backbone_kind be_backbone_dinov2 = {
    .name = "dinov2",
    .files = "DINOv2 (Meta's or Hugging Face's names)",
    .offers = vit_offers,
    .recognise = vit_recognise,
    .inspect = vit_inspect,
    .load = vit_load,
    .unload = vit_unload,
    .grid_floats = vit_grid_floats,
    .prepare_grid = vit_prepare_grid,
    .arena_bytes = vit_arena_bytes,
    .scratch_bytes = vit_scratch_bytes,
    .run = vit_run,
};
