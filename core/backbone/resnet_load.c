/* What a residual network is called and offers, and loading it. */
#include "core/backbone/resnet.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/backbone/resnet_names.h"
#include "core/base/memory.h"

enum { PUBLISHED_WIDTH = 64 };
static const double norm_epsilon = 1e-5;

/* --- what it is called ---------------------------------------------------------------------------- */

static bool has_counts(const resnet *model, const size_t counts[RESNET_STAGES])
{
    return memcmp(model->counts, counts, sizeof model->counts) == 0;
}

/* Each stage as wide as published, or all of them by the same factor: channels double from stage to stage, and a bottleneck
 * is a quarter as wide inside. */
static bool has_published_widths(const resnet *model)
{
    const resnet_block *block = model->blocks;
    for (size_t stage = 0; stage < RESNET_STAGES; stage++) {
        for (size_t number = 0; number < model->counts[stage]; number++, block++) {
            size_t inside = model->stem.out << stage;
            size_t outside = block->n_steps == BOTTLENECK_STEPS ? 4 * inside : inside;
            if (block->steps[0].out != inside || block->steps[block->n_steps - 2].out != inside ||
                block->steps[block->n_steps - 1].out != outside)
                return false;
        }
    }
    return true;
}

/* The number in the name is that of the convolutions of the longest path and the classifier. */
static void name_backbone(const resnet *model, be_backbone_info *info)
{
    static const size_t counts18[] = {2, 2, 2, 2}, counts50[] = {3, 4, 6, 3};
    size_t steps = model->blocks[0].n_steps;
    size_t length = (size_t)snprintf(info->name, sizeof info->name, "resnet%zu", 2 + steps * model->n_blocks);
    if (model->stem.out != PUBLISHED_WIDTH)
        snprintf(info->name + length, sizeof info->name - length, "_width%zu", model->stem.out);
    if (!has_counts(model, steps == BASIC_STEPS ? counts18 : counts50) || !has_published_widths(model))
        snprintf(info->unverified, sizeof info->unverified,
                 "only resnet18 and resnet50 were compared with the published program; this has %zu, %zu, %zu and %zu %s "
                 "blocks%s", model->counts[0], model->counts[1], model->counts[2], model->counts[3],
                 steps == BASIC_STEPS ? "basic" : "bottleneck", has_published_widths(model) ? "" : " of other widths");
}

/* --- taps ----------------------------------------------------------------------------------------- */

/* One network has one dilation. */
static be_status find_dilation(const be_tensor_file *file, const be_tap *taps, size_t n_taps, bool *dilated, be_error *error)
{
    *dilated = n_taps > 0 && taps[0].dilation;
    for (size_t i = 1; i < n_taps; i++) {
        if (taps[i].dilation != *dilated)
            return be_fail(error, BE_ERROR_UNSUPPORTED,
                           "%s: some subjects want the backbone dilated, others not; one backbone cannot serve both",
                           be_tensor_file_path(file));
    }
    return BE_OK;
}

static be_status check_features(const be_tensor_file *file, const resnet *model, const char *name, const be_tap *taps,
                                size_t n_taps, be_error *error)
{
    bool basic = model->blocks[0].n_steps == BASIC_STEPS;
    for (size_t i = 0; i < n_taps; i++) {
        if (taps[i].features != (basic ? BE_FEATURES_RESNET18 : BE_FEATURES_RESNET50))
            return be_fail(error, BE_ERROR_FORMAT, "%s: is a %s with %s blocks, which has no %s features",
                           be_tensor_file_path(file), name, basic ? "basic" : "bottleneck", be_features_name(taps[i].features));
    }
    return BE_OK;
}

/* --- every convolution in turn -------------------------------------------------------------------- */

typedef struct visitor {
    be_status (*visit)(struct visitor *self, const resnet_place *at, be_convolution *convolution, be_error *error);
    const resnet_source *from;
    be_arena *arena;      /* weights are laid out in it */
    be_tensor_file *file; /* weights are read from it */
    size_t floats;        /* are counted in it: of the file's weights, or of the arranged ones */
    bool arranged;
} visitor;

static be_status visit_all(visitor *self, resnet *model, be_error *error)
{
    resnet_place at = resnet_stem_place();
    be_status status = self->visit(self, &at, &model->stem, error);
    resnet_block *block = model->blocks;
    for (size_t stage = 0; stage < RESNET_STAGES; stage++) {
        for (size_t number = 0; number < model->counts[stage]; number++, block++) {
            for (size_t s = 0; s < block->n_steps && status == BE_OK; s++) {
                at = resnet_step_place(stage, number, s);
                status = self->visit(self, &at, &block->steps[s], error);
            }
            at = resnet_shortcut_place(stage, number);
            if (block->shortcut.kernel != 0 && status == BE_OK)
                status = self->visit(self, &at, &block->shortcut, error);
        }
    }
    return status;
}

static be_status count_floats(visitor *self, const resnet_place *at, be_convolution *convolution, be_error *error)
{
    size_t plain = convolution->out * convolution->in * convolution->kernel * convolution->kernel;
    (void)at, (void)error;
    self->floats += (self->arranged ? be_convolution_weights(convolution) : plain) + convolution->out;
    return BE_OK;
}

/* Takes places for the weights from the arena; the same call counts what they need (be_arena). */
static be_status lay_out(visitor *self, const resnet_place *at, be_convolution *convolution, be_error *error)
{
    (void)at, (void)error;
    convolution->weight = be_arena_floats(self->arena, be_convolution_weights(convolution));
    convolution->bias = be_arena_floats(self->arena, convolution->out);
    return BE_OK;
}

/* The batch norm as a factor and a bias for each channel: `norm` is its four vectors. */
static be_status fold(const resnet_source *from, const resnet_place *at, const float *norm, be_convolution *convolution,
                      double *scale, be_error *error)
{
    size_t out = convolution->out;
    for (size_t o = 0; o < out; o++) {
        double variance = (double)norm[NORM_VARIANCE * out + o] + norm_epsilon;
        if (!(variance > 0))
            return be_fail(error, BE_ERROR_FORMAT, "%s: tensor '%s%s.%s' holds no variance for channel %zu",
                           be_tensor_file_path(from->file), from->prefix, at->norm, resnet_norm_parts[NORM_VARIANCE], o);
        scale[o] = (double)norm[NORM_GAIN * out + o] / sqrt(variance);
        convolution->bias[o] = (float)((double)norm[NORM_SHIFT * out + o] - (double)norm[NORM_MEAN * out + o] * scale[o]);
    }
    return BE_OK;
}

static be_status read_convolution(visitor *self, const resnet_place *at, be_convolution *convolution, be_error *error)
{
    char name[RESNET_NAME_SIZE];
    void *floats, *doubles;
    size_t out = convolution->out, weights = out * convolution->in * convolution->kernel * convolution->kernel;
    be_status status = be_allocate(&floats, weights + NORM_PARTS * out, sizeof(float), "a convolution's weights", error);
    if (status != BE_OK)
        return status;
    float *weight = floats, *norm = weight + weights;
    status = be_allocate(&doubles, out, sizeof(double), "a batch norm's factors", error);
    if (status != BE_OK)
        goto free_floats;
    status = be_tensor_file_read_weights(self->file, resnet_look_up(self->from, at->convolution, "weight", name), weight, error);
    for (size_t i = 0; i < NORM_PARTS && status == BE_OK; i++) {
        const be_tensor *tensor = resnet_look_up(self->from, at->norm, resnet_norm_parts[i], name);
        status = be_tensor_file_read_weights(self->file, tensor, norm + i * out, error);
    }
    if (status == BE_OK)
        status = fold(self->from, at, norm, convolution, doubles, error);
    if (status == BE_OK)
        be_convolution_arrange(convolution, weight, doubles);
    be_tensor_file_release(self->file); /* or all of it would be in memory beside what is made of it */
    free(doubles);
free_floats:
    free(floats);
    return status;
}

/* --- the kind's functions ------------------------------------------------------------------------- */

be_status resnet_inspect(const be_tensor_file *file, const be_backbone_options *options, const be_tap *taps, size_t n_taps,
                         be_backbone_info *info, be_error *error)
{
    resnet_source from;
    resnet model = {0};
    bool dilated;
    (void)options;
    if (!resnet_find(file, &from))
        return be_fail(error, BE_ERROR_UNSUPPORTED, "%s: holds no ResNet", be_tensor_file_path(file));
    be_status status = find_dilation(file, taps, n_taps, &dilated, error);
    if (status == BE_OK)
        status = resnet_describe(&from, dilated, &model, error);
    if (status == BE_OK) {
        const resnet_block *last = &model.blocks[model.n_blocks - 1];
        visitor count = {.visit = count_floats, .arranged = n_taps > 0};
        visit_all(&count, &model, error);
        *info = (be_backbone_info){.kind = "resnet", .naming = "torchvision", .channels = last->steps[last->n_steps - 1].out,
                                   .depth = model.n_blocks, .activation = BE_ACTIVATION_RELU, .patch = dilated ? 16 : 32,
                                   .parameters = count.floats, .blocks_needed = model.n_blocks};
        name_backbone(&model, info);
        status = check_features(file, &model, info->name, taps, n_taps, error);
    }
    free(model.blocks);
    return status;
}

be_status resnet_load(be_tensor_file *file, const be_backbone_info *info, const be_tap *taps, size_t n_taps,
                      be_backbone **backbone, be_error *error)
{
    resnet_source from = {0};
    void *memory;
    (void)info;
    resnet_find(file, &from);
    be_status status = be_allocate(&memory, 1, sizeof(resnet), "a backbone", error);
    if (status != BE_OK)
        return status;
    resnet *model = memory;
    model->n_taps = n_taps;
    status = resnet_describe(&from, n_taps > 0 && taps[0].dilation, model, error);
    visitor places = {.visit = lay_out, .arena = &model->weights};
    visitor values = {.visit = read_convolution, .from = &from, .file = file};
    if (status == BE_OK) {
        visit_all(&places, model, error);
        status = be_arena_create(&model->weights, model->weights.used, "the weights of a backbone", error);
    }
    if (status == BE_OK) {
        visit_all(&places, model, error);
        status = visit_all(&values, model, error);
    }
    if (status != BE_OK) {
        resnet_unload(&model->base);
        return status;
    }
    *backbone = &model->base;
    return BE_OK;
}

void resnet_unload(be_backbone *backbone)
{
    resnet *model = (resnet *)backbone;
    be_arena_destroy(&model->weights);
    free(model->blocks);
    free(model);
}
