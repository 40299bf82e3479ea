/* Loading the part of a vision transformer that the taps need. */
#include "core/backbone/vit_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

enum { NAME_SIZE = 256 };

/* --- what is needed ------------------------------------------------------------------------------- */

/* MODEL section 2: layer L is block depth - L, layer 0 is block 0. A block's queries come before it, its output after. */
static size_t blocks_before(const be_tap *tap, size_t depth)
{
    if (!be_features_have_layers(tap->features))
        return depth;
    return (tap->layer == 0 ? 0 : depth - tap->layer) + !vit_reads_queries(tap->features);
}

void vit_describe(vit *model, const be_backbone_info *info, const be_tap *taps, size_t n_taps)
{
    *model = (vit){
        .width = info->width, .heads = info->heads, .hidden = info->hidden, .patch = info->patch, .grid = info->position_grid,
        .leading = 1 + info->registers, .channels = info->channels, .activation = info->activation, .n_taps = n_taps,
        .precision = info->precision,
    };
    model->n_blocks = n_taps ? 0 : info->depth;
    model->outputs = n_taps == 0;
    for (size_t i = 0; i < n_taps; i++) {
        size_t blocks = blocks_before(&taps[i], info->depth);
        bool deeper = blocks > model->n_blocks, queries = vit_reads_queries(taps[i].features);
        model->n_blocks = deeper ? blocks : model->n_blocks;
        model->queries = deeper ? queries : model->queries || (queries && blocks == model->n_blocks);
        model->outputs = model->outputs || !queries;
    }
}

/* --- tensors -------------------------------------------------------------------------------------- */

/* Goes through the tensors of a model in one order: first to check that they are there and to count the memory they take,
 * then to read them. After the first that fails the rest are passed over. */
typedef struct walk {
    const be_tensor_file *file;
    be_tensor_file *reading; /* the same file; NULL: the tensors are only checked */
    const vit_names *names;
    char prefix[NAME_SIZE];  /* of all names, or of those of one block */
    be_arena *arena;         /* only counts while they are checked: what is taken is NULL then */
    be_precision precision;
    size_t floats;
    be_status status;
    be_error *error;
} walk;

static float *take(walk *self, size_t count)
{
    self->floats += count;
    return be_arena_floats(self->arena, count);
}

static float *offset(float *base, size_t count)
{
    return base ? base + count : NULL;
}

/* The tensor prefix + part + suffix, whose elements must number `rows` * `columns` (vectors: columns 1). */
static void visit(walk *self, const char *part, const char *suffix, size_t rows, size_t columns, float *out)
{
    char name[2 * NAME_SIZE];
    if (self->status != BE_OK)
        return;
    snprintf(name, sizeof name, "%s%s%s", self->prefix, part, suffix);
    const be_tensor *tensor = be_tensor_file_find(self->file, name);
    bool vector = tensor && columns == 1 && tensor->n_dims >= 1;
    if (!tensor)
        self->status = be_fail(self->error, BE_ERROR_FORMAT, "%s: tensor '%s' is missing", be_tensor_file_path(self->file), name);
    else if (tensor->count != rows * columns || (!vector && (tensor->n_dims < 2 || tensor->shape[0] != rows)))
        self->status = be_fail(self->error, BE_ERROR_FORMAT, "%s: tensor '%s' has the wrong shape, expected [%zu][%zu]",
                               be_tensor_file_path(self->file), name, rows, columns);
    else if (self->reading)
        self->status = be_tensor_file_read_weights(self->reading, tensor, out, self->error);
}

/* The same for one that is not kept as it is in the file: the answer, to be freed, is NULL when it is not being read. */
static float *visit_apart(walk *self, const char *part, size_t rows, size_t columns)
{
    void *memory = NULL;
    if (self->reading && self->status == BE_OK)
        self->status = be_allocate(&memory, rows * columns, sizeof(float), "a tensor that is taken apart", self->error);
    visit(self, part, "", rows, columns, memory);
    return memory;
}

static float *visit_vector(walk *self, const char *part, const char *suffix, size_t width)
{
    float *out = take(self, width);
    visit(self, part, suffix, width, 1, out);
    return out;
}

static vit_norm visit_norm(walk *self, const char *part, size_t width)
{
    float *gain = visit_vector(self, part, ".weight", width);
    return (vit_norm){gain, visit_vector(self, part, ".bias", width)};
}

/* A matrix [rows][columns] while it is read: its values, until they are packed. */
typedef struct coming {
    float *values;
    size_t rows, columns;
    be_precision precision;
} coming;

static coming begin_matrix(walk *self, be_precision precision, size_t rows, size_t columns)
{
    void *memory = NULL;
    self->floats += rows * columns;
    if (self->reading && self->status == BE_OK)
        self->status = be_allocate_aligned(&memory, rows * columns, sizeof(float), "a tensor that is packed", self->error);
    return (coming){memory, rows, columns, precision};
}

static be_matrix end_matrix(walk *self, const coming *it)
{
    be_matrix matrix = {0};
    if (self->status == BE_OK)
        self->status = be_matrix_keep(&matrix, it->precision, it->values, it->rows, it->columns, self->arena, self->error);
    free(it->values);
    return matrix;
}

static be_matrix visit_matrix(walk *self, const char *part, const char *suffix, size_t rows, size_t columns)
{
    coming it = begin_matrix(self, self->precision, rows, columns);
    visit(self, part, suffix, rows, columns, it.values);
    return end_matrix(self, &it);
}

static vit_linear visit_linear(walk *self, const char *part, size_t rows, size_t columns)
{
    be_matrix weight = visit_matrix(self, part, ".weight", rows, columns);
    return (vit_linear){weight, visit_vector(self, part, ".bias", rows)};
}

/* The first third of a tensor that holds queries, keys and values. */
static void visit_third(walk *self, const char *name, size_t rows, size_t columns, float *out)
{
    float *whole = visit_apart(self, name, 3 * rows, columns);
    if (whole)
        memcpy(out, whole, rows * columns * sizeof *out);
    free(whole);
}

static vit_linear visit_queries(walk *self, size_t width)
{
    if (!self->names->qkv_weight)
        return visit_linear(self, self->names->query, width, width);
    coming it = begin_matrix(self, self->precision, width, width);
    visit_third(self, self->names->qkv_weight, width, width, it.values);
    be_matrix weight = end_matrix(self, &it);
    float *bias = take(self, width);
    visit_third(self, self->names->qkv_bias, width, 1, bias);
    return (vit_linear){weight, bias};
}

static vit_linear visit_projections(walk *self, size_t width)
{
    const char *parts[] = {self->names->query, self->names->key, self->names->value};
    if (self->names->qkv_weight) {
        be_matrix weight = visit_matrix(self, self->names->qkv_weight, "", 3 * width, width);
        return (vit_linear){weight, visit_vector(self, self->names->qkv_bias, "", 3 * width)};
    }
    coming it = begin_matrix(self, self->precision, 3 * width, width);
    float *bias = take(self, 3 * width);
    for (size_t i = 0; i < 3; i++) {
        visit(self, parts[i], ".weight", width, width, offset(it.values, i * width * width));
        visit(self, parts[i], ".bias", width, 1, offset(bias, i * width));
    }
    return (vit_linear){end_matrix(self, &it), bias};
}

static vit_block visit_block(walk *self, const vit *model, bool whole)
{
    const vit_names *names = self->names;
    size_t width = model->width, hidden = model->hidden;
    bool gated = model->activation == BE_ACTIVATION_SWIGLU;
    vit_block block = {.norm1 = visit_norm(self, names->norm1, width)};
    if (!whole) {
        block.qkv = visit_queries(self, width);
        return block;
    }
    block.qkv = visit_projections(self, width);
    block.out = visit_linear(self, names->out, width, width);
    block.norm2 = visit_norm(self, names->norm2, width);
    block.widen = visit_linear(self, gated ? names->gated_widen : names->widen, gated ? 2 * hidden : hidden, width);
    block.narrow = visit_linear(self, gated ? names->gated_narrow : names->narrow, width, hidden);
    if (names->scale1) {
        block.scale1 = visit_vector(self, names->scale1, "", width);
        block.scale2 = visit_vector(self, names->scale2, "", width);
    }
    return block;
}

/* The position table's first row belongs to the class token; it is never resampled, so it is added here. Register tokens
 * have no position. */
static void visit_tokens(walk *self, vit *model)
{
    size_t width = model->width, cells = model->grid * model->grid;
    model->leading_tokens = take(self, model->leading * width);
    model->positions = take(self, cells * width);
    visit(self, self->names->class_token, "", width, 1, model->leading_tokens);
    if (model->leading > 1)
        visit(self, self->names->registers, "", (model->leading - 1) * width, 1, offset(model->leading_tokens, width));
    float *table = visit_apart(self, self->names->positions, (1 + cells) * width, 1);
    for (size_t c = 0; table && c < width; c++)
        model->leading_tokens[c] += table[c];
    if (table)
        memcpy(model->positions, table + width, cells * width * sizeof *table);
    free(table);
}

static void visit_projection(walk *self, vit *model)
{
    size_t width = model->width, channels = model->channels;
    model->projects = true;
    if (!self->names->projection_turned) {
        model->projection = visit_matrix(self, self->names->projection, "", channels, width);
        return;
    }
    coming it = begin_matrix(self, self->precision, channels, width);
    float *turned = visit_apart(self, self->names->projection, width, channels);
    for (size_t i = 0; turned && i < width * channels; i++)
        it.values[i % channels * width + i / channels] = turned[i];
    free(turned);
    model->projection = end_matrix(self, &it);
}

static void visit_all(walk *self, vit *model, const char *prefix)
{
    const vit_names *names = self->names;
    size_t width = model->width, inner = 3 * model->patch * model->patch;
    snprintf(self->prefix, sizeof self->prefix, "%s", prefix);
    coming patches = begin_matrix(self, BE_PRECISION_F32, width, inner);
    visit(self, names->patches, ".weight", width, inner, patches.values);
    model->patches = end_matrix(self, &patches);
    if (names->patch_bias)
        model->patch_bias = visit_vector(self, names->patches, ".bias", width);
    visit_tokens(self, model);
    if (names->first_norm)
        model->first_norm = visit_norm(self, names->first_norm, width);
    if (model->outputs)
        model->last_norm = visit_norm(self, names->last_norm, width);
    if (names->projection)
        visit_projection(self, model);
    for (size_t i = 0; i < model->n_blocks + model->queries; i++) {
        snprintf(self->prefix, sizeof self->prefix, "%s%s%zu.", prefix, names->block, i);
        vit_block block = visit_block(self, model, i < model->n_blocks);
        if (model->blocks)
            model->blocks[i] = block;
        if (self->reading) /* or all of the file would be in memory beside what is made of it */
            be_tensor_file_release(self->reading);
    }
}

be_status vit_check_tensors(const be_tensor_file *file, const vit_source *from, vit *model, size_t *floats, be_error *error)
{
    walk self = {.file = file, .names = from->names, .arena = &model->weights, .precision = model->precision, .error = error};
    visit_all(&self, model, from->prefix);
    *floats = self.floats;
    return self.status;
}

/* --- loading -------------------------------------------------------------------------------------- */

/* Fills a model whose arrays of taps and blocks are there. */
static be_status read_tensors(be_tensor_file *file, const vit_source *from, vit *model, be_error *error)
{
    size_t floats;
    be_status status = vit_check_tensors(file, from, model, &floats, error);
    if (status == BE_OK)
        status = be_arena_create(&model->weights, model->weights.used, "the weights of a backbone", error);
    if (status != BE_OK)
        return status;
    walk self = {.file = file, .reading = file, .names = from->names, .arena = &model->weights, .precision = model->precision,
                 .error = error};
    visit_all(&self, model, from->prefix);
    return self.status;
}

be_status vit_load(be_tensor_file *file, const vit_source *from, const be_backbone_info *info, float epsilon,
                   const be_tap *taps, size_t n_taps, be_backbone **backbone, be_error *error)
{
    void *memory;
    be_status status = be_allocate(&memory, 1, sizeof(vit), "a backbone", error);
    if (status != BE_OK)
        return status;
    vit *model = memory;
    vit_describe(model, info, taps, n_taps);
    model->epsilon = epsilon;
    status = be_allocate(&memory, n_taps, sizeof(vit_tap), "feature layers", error);
    if (status != BE_OK)
        goto fail;
    model->taps = memory;
    for (size_t i = 0; i < n_taps; i++)
        model->taps[i] = (vit_tap){taps[i].features, blocks_before(&taps[i], info->depth)};
    status = be_allocate(&memory, model->n_blocks + model->queries, sizeof(vit_block), "the blocks of a backbone", error);
    if (status != BE_OK)
        goto fail;
    model->blocks = memory;
    status = read_tensors(file, from, model, error);
    if (status != BE_OK)
        goto fail;
    *backbone = &model->base;
    return BE_OK;
fail:
    vit_unload(&model->base);
    return status;
}

void vit_unload(be_backbone *backbone)
{
    vit *model = (vit *)backbone;
    be_arena_destroy(&model->weights);
    free(model->blocks);
    free(model->taps);
    free(model);
}
