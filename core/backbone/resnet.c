#include "core/backbone/resnet.h"

#include <string.h>

#include "core/compute/panels.h"

enum { COLOURS = 3 };

/* The buffers of one image: two for the residual stream, which moves to the other one where its shape changes, and two for
 * what is inside a block. */
enum { STREAM, OTHER_STREAM, INNER, SECOND_INNER, BUFFERS };

/* --- sizes ---------------------------------------------------------------------------------------- */

static void grow_to(size_t *floats, size_t needed)
{
    if (*floats < needed)
        *floats = needed;
}

/* The floats of each buffer for an image of `cells` grid cells. Every stride of 2 halves a side, rounded up, and a cell
 * is as many pixels wide as all strides together: a cell therefore has side * side pixels of a map, whatever the image's
 * shape, and fewer at its border. */
static void measure(const resnet *model, size_t cells, size_t floats[BUFFERS])
{
    size_t side = model->base.info.patch, stream = OTHER_STREAM;
    floats[INNER] = cells * side * side * COLOURS;
    side /= 2;
    floats[STREAM] = cells * side * side * model->stem.out;
    side /= 2;
    floats[OTHER_STREAM] = cells * side * side * model->stem.out;
    floats[SECOND_INNER] = 0;
    for (size_t b = 0; b < model->n_blocks; b++) {
        const resnet_block *block = &model->blocks[b];
        for (size_t s = 0; s < block->n_steps; s++) {
            side /= block->steps[s].stride;
            if (s + 1 < block->n_steps)
                grow_to(&floats[INNER + s], cells * side * side * block->steps[s].out);
        }
        if (block->shortcut.kernel != 0)
            stream = stream == STREAM ? OTHER_STREAM : STREAM;
        grow_to(&floats[stream], cells * side * side * block->steps[block->n_steps - 1].out);
    }
}

static void lay_out(const resnet *model, size_t cells, be_arena *arena, float *buffers[BUFFERS])
{
    size_t floats[BUFFERS];
    measure(model, cells, floats);
    for (size_t i = 0; i < BUFFERS; i++)
        buffers[i] = be_arena_floats(arena, floats[i]);
}

static size_t resnet_arena_bytes(const be_backbone *backbone, size_t cells)
{
    be_arena counting = {0};
    float *buffers[BUFFERS];
    lay_out((const resnet *)backbone, cells, &counting, buffers);
    return counting.used;
}

static size_t resnet_scratch_bytes(const be_backbone *backbone, size_t cells)
{
    const resnet *model = (const resnet *)backbone;
    size_t bytes = be_convolution_scratch(&model->stem);
    (void)cells;
    for (size_t b = 0; b < model->n_blocks; b++) {
        const resnet_block *block = &model->blocks[b];
        for (size_t s = 0; s < block->n_steps; s++)
            grow_to(&bytes, be_convolution_scratch(&block->steps[s]));
        if (block->shortcut.kernel != 0)
            grow_to(&bytes, be_convolution_scratch(&block->shortcut));
    }
    return bytes;
}

/* --- running -------------------------------------------------------------------------------------- */

typedef struct run {
    const resnet *model;
    const be_team *team;
    const be_image *image;
    float *buffers[BUFFERS];
    size_t pixels; /* of the image */
    float normal[COLOURS][256];
} run;

/* A panel of the image's pixels, normalised: [row][column][colour]. */
static void normalise(void *context, size_t panel, size_t worker)
{
    const run *self = context;
    size_t panels = be_panels(self->pixels);
    size_t first = be_panel_start(self->pixels, panels, panel), end = be_panel_start(self->pixels, panels, panel + 1);
    (void)worker;
    for (size_t i = first * COLOURS; i < end * COLOURS; i++)
        self->buffers[INNER][i] = self->normal[i % COLOURS][self->image->rgb[i]];
}

/* Fills out->values, and says what is there now. */
static void convolve(const run *self, be_stage stage, const be_convolution *convolution, const resnet_map *in, resnet_map *out,
                     be_convolution_finish finish)
{
    out->rows = be_convolution_size(convolution, in->rows);
    out->columns = be_convolution_size(convolution, in->columns);
    out->channels = convolution->out;
    be_convolution_run(self->team, stage, convolution, in->values, in->rows, in->columns, out->values, finish);
}

/* Pixels to the map the first block gets. */
static resnet_map enter(run *self)
{
    const be_image *image = self->image;
    resnet_map pixels = {self->buffers[INNER], image->height, image->width, COLOURS};
    resnet_map wide = {.values = self->buffers[STREAM]};
    self->pixels = image->width * image->height;
    be_image_normalisation(self->normal);
    be_team_run(self->team, BE_STAGE_EMBED, be_panels(self->pixels), normalise, self);
    convolve(self, BE_STAGE_EMBED, &self->model->stem, &pixels, &wide, BE_CONVOLUTION_RELU);
    resnet_map pooled = {self->buffers[OTHER_STREAM], (wide.rows + 1) / 2, (wide.columns + 1) / 2, wide.channels};
    be_max_pool(self->team, BE_STAGE_EMBED, wide.values, wide.rows, wide.columns, wide.channels, pooled.values);
    return pooled;
}

static void run_block(const run *self, const resnet_block *block, resnet_map *stream)
{
    size_t last = block->n_steps - 1;
    resnet_map inner[2] = {{.values = self->buffers[INNER]}, {.values = self->buffers[SECOND_INNER]}};
    for (size_t s = 0; s < last; s++)
        convolve(self, BE_STAGE_FEED_FORWARD, &block->steps[s], s == 0 ? stream : &inner[s - 1], &inner[s],
                 BE_CONVOLUTION_RELU);
    if (block->shortcut.kernel != 0) {
        resnet_map moved = {.values = self->buffers[stream->values == self->buffers[STREAM] ? OTHER_STREAM : STREAM]};
        convolve(self, BE_STAGE_FEED_FORWARD, &block->shortcut, stream, &moved, BE_CONVOLUTION_BIAS);
        *stream = moved;
    }
    convolve(self, BE_STAGE_FEED_FORWARD, &block->steps[last], &inner[last - 1], stream, BE_CONVOLUTION_ADD_RELU);
}

be_status resnet_run_blocks(const resnet *model, const be_team *team, be_arena *arena, const be_image *image, size_t n_blocks,
                            resnet_map *map, be_error *error)
{
    run self = {.model = model, .team = team, .image = image};
    size_t rows, columns;
    be_backbone_grid(&model->base, image->width, image->height, &rows, &columns);
    be_arena_reset(arena);
    lay_out(model, rows * columns, arena, self.buffers);
    if (arena->overflowed)
        return be_fail(error, BE_ERROR_LIMIT, "tokens: the image has more (%zu) than this session was made for",
                       rows * columns);
    *map = enter(&self);
    for (size_t b = 0; b < n_blocks; b++)
        run_block(&self, &model->blocks[b], map);
    return BE_OK;
}

static be_status resnet_run(const be_backbone *backbone, const be_team *team, be_arena *arena, const be_image *image,
                            const float *constants, float *const *features, be_error *error)
{
    const resnet *model = (const resnet *)backbone;
    resnet_map map;
    (void)constants;
    be_status status = resnet_run_blocks(model, team, arena, image, model->n_blocks, &map, error);
    for (size_t tap = 0; tap < model->n_taps && status == BE_OK; tap++)
        memcpy(features[tap], map.values, map.rows * map.columns * map.channels * sizeof(float));
    return status;
}

/* A convolution's products; the map then has the sides of its result. */
static void list_convolution(const be_convolution *convolution, be_stage stage, resnet_map *map, const be_product_list *list)
{
    be_convolution_list_products(convolution, stage, map->rows, map->columns, list);
    map->rows = be_convolution_size(convolution, map->rows);
    map->columns = be_convolution_size(convolution, map->columns);
}

/* As resnet_run_blocks computes them. */
static void resnet_list_products(const be_backbone *backbone, size_t width, size_t height, const be_product_list *list)
{
    const resnet *model = (const resnet *)backbone;
    resnet_map map = {.rows = height, .columns = width};
    list_convolution(&model->stem, BE_STAGE_EMBED, &map, list);
    map = (resnet_map){.rows = (map.rows + 1) / 2, .columns = (map.columns + 1) / 2}; /* be_max_pool */
    for (size_t b = 0; b < model->n_blocks; b++) {
        const resnet_block *block = &model->blocks[b];
        resnet_map beside = map;
        if (block->shortcut.kernel != 0)
            list_convolution(&block->shortcut, BE_STAGE_FEED_FORWARD, &beside, list);
        for (size_t s = 0; s < block->n_steps; s++)
            list_convolution(&block->steps[s], BE_STAGE_FEED_FORWARD, &map, list);
    }
}

/* --- the kind ------------------------------------------------------------------------------------- */

static bool resnet_offers(be_features features)
{
    return features == BE_FEATURES_RESNET18 || features == BE_FEATURES_RESNET50;
}

const be_backbone_kind be_backbone_resnet = {
    .name = "resnet",
    .files = "ResNet (torchvision's names)",
    .offers = resnet_offers,
    .recognise = resnet_recognise,
    .inspect = resnet_inspect,
    .load = resnet_load,
    .unload = resnet_unload,
    .arena_bytes = resnet_arena_bytes,
    .scratch_bytes = resnet_scratch_bytes,
    .run = resnet_run,
    .list_products = resnet_list_products,
};
