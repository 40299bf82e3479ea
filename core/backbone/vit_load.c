/* Finding a DINOv2 in a file, in Meta's or Hugging Face's tensor names, and loading the part the taps need. */
#include "core/backbone/vit.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/files/config_json.h"

enum { NAME_SIZE = 256, PREFIX_SIZE = 64, STEM_SIZE = 128, DEPTH_LIMIT = 512, WIDTH_LIMIT = 1 << 16, HEAD_WIDTH = 64, PUBLISHED_HEADS = 12 };

/* How each origin names the tensors. `query`, `key`, `value` are NULL where `qkv` holds all three. */
typedef struct naming {
    const char *origin;
    const char *patch, *class_token, *positions, *block; /* block: printf format of its prefix */
    const char *qkv, *query, *key, *value, *out, *scale1, *hidden, *narrow, *scale2;
    const char *registers, *gated;                       /* marks of variants */
} naming;

static const naming namings[] = {
    {
        .origin = "Meta",
        .patch = "patch_embed.proj", .class_token = "cls_token", .positions = "pos_embed", .block = "blocks.%zu.",
        .qkv = "attn.qkv", .out = "attn.proj", .scale1 = "ls1.gamma",
        .hidden = "mlp.fc1", .narrow = "mlp.fc2", .scale2 = "ls2.gamma",
        .registers = "register_tokens", .gated = "mlp.w12.weight",
    },
    {
        .origin = "Hugging Face",
        .patch = "embeddings.patch_embeddings.projection", .class_token = "embeddings.cls_token",
        .positions = "embeddings.position_embeddings", .block = "encoder.layer.%zu.",
        .query = "attention.attention.query", .key = "attention.attention.key", .value = "attention.attention.value",
        .out = "attention.output.dense", .scale1 = "layer_scale1.lambda1",
        .hidden = "mlp.fc1", .narrow = "mlp.fc2", .scale2 = "layer_scale2.lambda1",
        .registers = "embeddings.register_tokens", .gated = "mlp.weights_in.weight",
    },
};
enum { N_NAMINGS = sizeof namings / sizeof *namings };

/* A file with its naming and what stands before every name ("", or "dinov2." and the like). */
typedef struct source {
    be_tensor_file *file;
    const naming *names;
    char prefix[PREFIX_SIZE];
} source;

static bool find_source(const be_tensor_file *file, source *found)
{
    for (size_t i = 0; i < N_NAMINGS; i++) {
        char suffix[NAME_SIZE];
        int length = snprintf(suffix, sizeof suffix, "%s.weight", namings[i].patch);
        for (size_t t = 0; t < be_tensor_file_count(file); t++) {
            const char *name = be_tensor_file_at(file, t)->name;
            size_t size = strlen(name);
            if (size < (size_t)length || size - (size_t)length >= sizeof found->prefix ||
                strcmp(name + size - (size_t)length, suffix) != 0)
                continue;
            found->names = &namings[i];
            snprintf(found->prefix, sizeof found->prefix, "%.*s", (int)(size - (size_t)length), name);
            return true;
        }
    }
    return false;
}

bool vit_recognise(const be_tensor_file *file)
{
    source found;
    return find_source(file, &found);
}

/* --- names and shapes ----------------------------------------------------------------------------- */

static void tensor_name(const source *from, char name[NAME_SIZE], const char *stem, const char *suffix)
{
    snprintf(name, NAME_SIZE, "%s%s%s", from->prefix, stem, suffix);
}

/* "blocks.3." + part + suffix, after the prefix. */
static void block_name(const source *from, char name[NAME_SIZE], size_t block, const char *part, const char *suffix)
{
    char stem[STEM_SIZE];
    int length = snprintf(stem, sizeof stem, from->names->block, block);
    snprintf(stem + length, sizeof stem - (size_t)length, "%s", part);
    tensor_name(from, name, stem, suffix);
}

/* The tensor `name` with exactly `n_dims` dimensions. */
static be_status find_tensor(const be_tensor_file *file, const char *name, size_t n_dims, const be_tensor **tensor,
                             be_error *error)
{
    const be_tensor *found = be_tensor_file_find(file, name);
    if (!found)
        return be_fail(error, BE_ERROR_FORMAT, "%s: tensor '%s' is missing", be_tensor_file_path(file), name);
    if (found->n_dims != n_dims)
        return be_fail(error, BE_ERROR_FORMAT, "%s: tensor '%s' has %zu dimensions, expected %zu",
                       be_tensor_file_path(file), name, found->n_dims, n_dims);
    *tensor = found;
    return BE_OK;
}

/* The sizes that the shapes tell. */
typedef struct sizes {
    size_t width, hidden, patch, grid, depth;
} sizes;

static be_status find_depth(const be_tensor_file *file, const source *from, size_t *depth, be_error *error)
{
    char name[NAME_SIZE];
    for (*depth = 0; *depth < DEPTH_LIMIT; (*depth)++) {
        block_name(from, name, *depth, "norm1", ".weight");
        if (!be_tensor_file_find(file, name))
            break;
    }
    if (*depth == 0)
        return be_fail(error, BE_ERROR_FORMAT, "%s: tensor '%s' is missing", be_tensor_file_path(file), name);
    return BE_OK;
}

static be_status find_position_grid(const be_tensor_file *file, const source *from, sizes *size, be_error *error)
{
    char name[NAME_SIZE];
    const be_tensor *table;
    tensor_name(from, name, from->names->positions, "");
    be_status status = find_tensor(file, name, 3, &table, error);
    if (status != BE_OK)
        return status;
    size_t cells = table->shape[1] > 0 ? table->shape[1] - 1 : 0, side = 1;
    while (side * side < cells && side < 4096)
        side++;
    if (table->shape[0] != 1 || cells == 0 || side * side != cells || table->shape[2] != size->width)
        return be_fail(error, BE_ERROR_FORMAT,
                       "%s: tensor '%s' is [%zu][%zu][%zu], expected [1][1 + a square number][%zu]",
                       be_tensor_file_path(file), name, table->shape[0], table->shape[1], table->shape[2], size->width);
    size->grid = side;
    return BE_OK;
}

static be_status refuse_variants(const be_tensor_file *file, const source *from, be_error *error)
{
    char name[NAME_SIZE];
    tensor_name(from, name, from->names->registers, "");
    if (be_tensor_file_find(file, name))
        return be_fail(error, BE_ERROR_UNSUPPORTED, "%s: tensor '%s': a DINOv2 with register tokens is not supported",
                       be_tensor_file_path(file), name);
    block_name(from, name, 0, from->names->gated, "");
    if (be_tensor_file_find(file, name))
        return be_fail(error, BE_ERROR_UNSUPPORTED, "%s: tensor '%s': a SwiGLU feed-forward (ViT-g) is not supported",
                       be_tensor_file_path(file), name);
    return BE_OK;
}

static be_status find_sizes(const be_tensor_file *file, const source *from, sizes *size, be_error *error)
{
    char name[NAME_SIZE];
    const be_tensor *patch, *hidden;
    be_status status = refuse_variants(file, from, error);
    if (status != BE_OK)
        return status;
    tensor_name(from, name, from->names->patch, ".weight");
    status = find_tensor(file, name, 4, &patch, error);
    if (status != BE_OK)
        return status;
    if (patch->shape[0] == 0 || patch->shape[1] != 3 || patch->shape[2] == 0 || patch->shape[2] != patch->shape[3] ||
        patch->shape[0] > WIDTH_LIMIT || patch->shape[2] > 1024)
        return be_fail(error, BE_ERROR_FORMAT, "%s: tensor '%s' is [%zu][%zu][%zu][%zu], expected [width][3][patch][patch]",
                       be_tensor_file_path(file), name, patch->shape[0], patch->shape[1], patch->shape[2], patch->shape[3]);
    size->width = patch->shape[0];
    size->patch = patch->shape[2];
    status = find_position_grid(file, from, size, error);
    if (status == BE_OK)
        status = find_depth(file, from, &size->depth, error);
    block_name(from, name, 0, from->names->hidden, ".weight");
    if (status == BE_OK)
        status = find_tensor(file, name, 2, &hidden, error);
    if (status != BE_OK)
        return status;
    size->hidden = hidden->shape[0];
    if (size->hidden == 0 || size->hidden > 4 * WIDTH_LIMIT)
        return be_fail(error, BE_ERROR_FORMAT, "%s: tensor '%s' has %zu rows", be_tensor_file_path(file), name, size->hidden);
    return BE_OK;
}

/* --- what the shapes do not tell ------------------------------------------------------------------ */

/* The number of heads is in no tensor's shape: see be_backbone_options. */
static be_status find_heads(const be_tensor_file *file, const source *from, const be_backbone_options *options, size_t width,
                            be_backbone_info *info, be_error *error)
{
    size_t heads = options ? options->heads : 0;
    const char *said_by = "the option heads";
    if (heads == 0 && strcmp(from->names->origin, "Hugging Face") == 0) {
        be_status status = be_config_json_size(be_tensor_file_path(file), "num_attention_heads", &heads, error);
        if (status != BE_OK)
            return status;
        said_by = "num_attention_heads in config.json beside it";
    }
    if (heads == 0 && width % HEAD_WIDTH == 0)
        heads = width / HEAD_WIDTH;
    if (heads == 0 && width % PUBLISHED_HEADS == 0) {
        heads = PUBLISHED_HEADS;
        snprintf(info->unverified, sizeof info->unverified,
                 "the backbone's number of heads is in no tensor: %zu, as in ViT-B, is assumed for width %zu", heads, width);
    }
    if (heads == 0)
        return be_fail(error, BE_ERROR_ARGUMENT, "%s: the number of heads cannot be known from width %zu: say it (heads)",
                       be_tensor_file_path(file), width);
    if (width % heads != 0)
        return be_fail(error, options && options->heads ? BE_ERROR_ARGUMENT : BE_ERROR_FORMAT,
                       "%s: width %zu is not a multiple of %zu heads (from %s)",
                       be_tensor_file_path(file), width, heads, said_by);
    info->heads = heads;
    return BE_OK;
}

/* The published sizes have letters; any other is called by its width and depth. */
static void name_backbone(const sizes *size, char name[BE_BACKBONE_NAME_SIZE])
{
    static const struct { size_t width, depth; char letter; } published[] = {
        {384, 12, 's'}, {768, 12, 'b'}, {1024, 24, 'l'}, {1536, 40, 'g'},
    };
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        if (size->width == published[i].width && size->depth == published[i].depth) {
            snprintf(name, BE_BACKBONE_NAME_SIZE, "dinov2_vit%c%zu", published[i].letter, size->patch);
            return;
        }
    }
    snprintf(name, BE_BACKBONE_NAME_SIZE, "dinov2_vit%zux%zu", size->width, size->depth);
}

/* MODEL section 2: layer L is block depth - L; layer 0 is block 0. */
static be_status tap_block(const be_tensor_file *file, const be_tap *tap, size_t depth, size_t *block, be_error *error)
{
    if (tap->layer > depth)
        return be_fail(error, BE_ERROR_ARGUMENT, "%s: enc_output_layer %zu is deeper than the backbone's %zu blocks",
                       be_tensor_file_path(file), tap->layer, depth);
    *block = tap->layer == 0 ? 0 : depth - tap->layer;
    return BE_OK;
}

/* `queries`: the q third and the norm of one more block. */
static size_t count_parameters(const sizes *size, size_t whole_blocks, bool queries)
{
    size_t width = size->width, hidden = size->hidden;
    size_t embedding = width * (3 * size->patch * size->patch + 2 + size->grid * size->grid);
    size_t block = 4 * width * width + 2 * width * hidden + hidden + 11 * width;
    return embedding + whole_blocks * block + (queries ? width * width + 3 * width : 0);
}

/* Shapes that promise more than the file holds are refused before memory is taken for them. */
static size_t count_elements(const be_tensor_file *file)
{
    size_t elements = 0;
    for (size_t i = 0; i < be_tensor_file_count(file); i++)
        elements += be_tensor_file_at(file, i)->count;
    return elements;
}

be_status vit_inspect(const be_tensor_file *file, const be_backbone_options *options, const be_tap *taps, size_t n_taps,
                      be_backbone_info *info, be_error *error)
{
    source from;
    sizes size;
    if (!find_source(file, &from))
        return be_fail(error, BE_ERROR_UNSUPPORTED, "%s: holds no DINOv2", be_tensor_file_path(file));
    be_status status = find_sizes(file, &from, &size, error);
    if (status != BE_OK)
        return status;
    *info = (be_backbone_info){.kind = "dinov2", .naming = from.names->origin, .channels = size.width, .depth = size.depth,
                               .hidden = size.hidden, .patch = size.patch, .position_grid = size.grid};
    name_backbone(&size, info->name);
    for (size_t i = 0; i < n_taps; i++) {
        size_t block = 0;
        status = tap_block(file, &taps[i], size.depth, &block, error);
        if (status != BE_OK)
            return status;
        if (block > info->blocks_needed)
            info->blocks_needed = block;
    }
    info->parameters = count_parameters(&size, n_taps ? info->blocks_needed : size.depth, n_taps > 0);
    if (info->parameters > count_elements(file))
        return be_fail(error, BE_ERROR_FORMAT, "%s: holds fewer weights than a backbone of width %zu and %zu blocks has",
                       be_tensor_file_path(file), size.width, size.depth);
    return find_heads(file, &from, options, size.width, info, error);
}

/* --- loading -------------------------------------------------------------------------------------- */

/* Lays the weights out in the arena; the same call counts what they need (be_arena). */
static void lay_out(vit *model)
{
    size_t width = model->width, hidden = model->hidden;
    be_arena *arena = &model->weights;
    model->patch_weight = be_arena_floats(arena, width * 3 * model->patch * model->patch);
    model->patch_bias = be_arena_floats(arena, width);
    model->class_token = be_arena_floats(arena, width);
    model->positions = be_arena_floats(arena, model->grid * model->grid * width);
    for (size_t i = 0; i <= model->last_block; i++) {
        vit_block *block = &model->blocks[i];
        size_t projections = i < model->last_block ? 3 : 1;
        block->norm1_gain = be_arena_floats(arena, width);
        block->norm1_bias = be_arena_floats(arena, width);
        block->qkv_weight = be_arena_floats(arena, projections * width * width);
        block->qkv_bias = be_arena_floats(arena, projections * width);
        if (i == model->last_block)
            break;
        block->out_weight = be_arena_floats(arena, width * width);
        block->out_bias = be_arena_floats(arena, width);
        block->scale1 = be_arena_floats(arena, width);
        block->norm2_gain = be_arena_floats(arena, width);
        block->norm2_bias = be_arena_floats(arena, width);
        block->hidden_weight = be_arena_floats(arena, hidden * width);
        block->hidden_bias = be_arena_floats(arena, hidden);
        block->narrow_weight = be_arena_floats(arena, width * hidden);
        block->narrow_bias = be_arena_floats(arena, width);
        block->scale2 = be_arena_floats(arena, width);
    }
}

/* Reads the tensor `name`, whose elements must number `rows` * `columns` (vectors: columns 1). */
static be_status read_tensor(const source *from, const char *name, size_t rows, size_t columns, float *out, be_error *error)
{
    const be_tensor *tensor = be_tensor_file_find(from->file, name);
    if (!tensor)
        return be_fail(error, BE_ERROR_FORMAT, "%s: tensor '%s' is missing", be_tensor_file_path(from->file), name);
    bool vector = columns == 1 && tensor->n_dims >= 1;
    if (tensor->count != rows * columns || (!vector && (tensor->n_dims < 2 || tensor->shape[0] != rows)))
        return be_fail(error, BE_ERROR_FORMAT, "%s: tensor '%s' has the wrong shape, expected [%zu][%zu]",
                       be_tensor_file_path(from->file), name, rows, columns);
    return be_tensor_file_read_f32(from->file, tensor, out, error);
}

/* One linear layer: its weight [rows][columns] and bias [rows]. */
static be_status read_linear(const source *from, size_t block, const char *part, size_t rows, size_t columns, float *weight,
                             float *bias, be_error *error)
{
    char name[NAME_SIZE];
    block_name(from, name, block, part, ".weight");
    be_status status = read_tensor(from, name, rows, columns, weight, error);
    block_name(from, name, block, part, ".bias");
    return status == BE_OK ? read_tensor(from, name, rows, 1, bias, error) : status;
}

static be_status read_vector(const source *from, size_t block, const char *part, size_t width, float *out, be_error *error)
{
    char name[NAME_SIZE];
    block_name(from, name, block, part, "");
    return read_tensor(from, name, width, 1, out, error);
}

/* Meta's one qkv tensor, of which the deepest block wants the q third alone. */
static be_status read_joined_queries(const source *from, const vit *model, size_t block, be_error *error)
{
    size_t width = model->width;
    void *whole;
    be_status status = be_allocate(&whole, 3 * width * (width + 1), sizeof(float), "a qkv projection", error);
    if (status != BE_OK)
        return status;
    float *weight = whole, *bias = weight + 3 * width * width;
    status = read_linear(from, block, from->names->qkv, 3 * width, width, weight, bias, error);
    if (status == BE_OK) {
        memcpy(model->blocks[block].qkv_weight, weight, width * width * sizeof(float));
        memcpy(model->blocks[block].qkv_bias, bias, width * sizeof(float));
    }
    free(whole);
    return status;
}

static be_status read_projections(const source *from, const vit *model, size_t block, be_error *error)
{
    const vit_block *to = &model->blocks[block];
    size_t width = model->width;
    bool queries_only = block == model->last_block;
    if (from->names->qkv) {
        if (queries_only)
            return read_joined_queries(from, model, block, error);
        return read_linear(from, block, from->names->qkv, 3 * width, width, to->qkv_weight, to->qkv_bias, error);
    }
    const char *parts[] = {from->names->query, from->names->key, from->names->value};
    be_status status = BE_OK;
    for (size_t i = 0; i < (queries_only ? 1 : 3) && status == BE_OK; i++) {
        status = read_linear(from, block, parts[i], width, width, to->qkv_weight + i * width * width,
                             to->qkv_bias + i * width, error);
    }
    return status;
}

static be_status read_block(const source *from, const vit *model, size_t block, be_error *error)
{
    const vit_block *to = &model->blocks[block];
    const naming *names = from->names;
    size_t width = model->width, hidden = model->hidden;
    be_status status = read_vector(from, block, "norm1.weight", width, to->norm1_gain, error);
    if (status == BE_OK)
        status = read_vector(from, block, "norm1.bias", width, to->norm1_bias, error);
    if (status == BE_OK)
        status = read_projections(from, model, block, error);
    if (status != BE_OK || block == model->last_block)
        return status;
    status = read_linear(from, block, names->out, width, width, to->out_weight, to->out_bias, error);
    if (status == BE_OK)
        status = read_vector(from, block, names->scale1, width, to->scale1, error);
    if (status == BE_OK)
        status = read_vector(from, block, "norm2.weight", width, to->norm2_gain, error);
    if (status == BE_OK)
        status = read_vector(from, block, "norm2.bias", width, to->norm2_bias, error);
    if (status == BE_OK)
        status = read_linear(from, block, names->hidden, hidden, width, to->hidden_weight, to->hidden_bias, error);
    if (status == BE_OK)
        status = read_linear(from, block, names->narrow, width, hidden, to->narrow_weight, to->narrow_bias, error);
    if (status == BE_OK)
        status = read_vector(from, block, names->scale2, width, to->scale2, error);
    return status;
}

/* The position table's first row belongs to the class token; it is never resampled, so it is added here. */
static be_status read_positions(const source *from, vit *model, be_error *error)
{
    char name[NAME_SIZE];
    size_t width = model->width, rows = 1 + model->grid * model->grid;
    void *memory;
    tensor_name(from, name, from->names->class_token, "");
    be_status status = read_tensor(from, name, width, 1, model->class_token, error);
    if (status != BE_OK)
        return status;
    status = be_allocate(&memory, rows * width, sizeof(float), "a position table", error);
    if (status != BE_OK)
        return status;
    float *table = memory;
    tensor_name(from, name, from->names->positions, "");
    status = be_tensor_file_read_f32(from->file, be_tensor_file_find(from->file, name), table, error);
    if (status == BE_OK) {
        for (size_t c = 0; c < width; c++)
            model->class_token[c] += table[c];
        memcpy(model->positions, table + width, (rows - 1) * width * sizeof(float));
    }
    free(table);
    return status;
}

static be_status read_weights(const source *from, vit *model, be_error *error)
{
    char name[NAME_SIZE];
    size_t inner = 3 * model->patch * model->patch;
    tensor_name(from, name, from->names->patch, ".weight");
    be_status status = read_tensor(from, name, model->width, inner, model->patch_weight, error);
    tensor_name(from, name, from->names->patch, ".bias");
    if (status == BE_OK)
        status = read_tensor(from, name, model->width, 1, model->patch_bias, error);
    if (status == BE_OK)
        status = read_positions(from, model, error);
    for (size_t block = 0; block <= model->last_block && status == BE_OK; block++)
        status = read_block(from, model, block, error);
    return status;
}

be_status vit_load(be_tensor_file *file, const be_backbone_info *info, const be_tap *taps, size_t n_taps,
                   be_backbone **backbone, be_error *error)
{
    source from = {0};
    sizes size;
    void *memory;
    find_source(file, &from);
    from.file = file;
    be_status status = find_sizes(file, &from, &size, error);
    if (status != BE_OK)
        return status;
    status = be_allocate(&memory, 1, sizeof(vit), "a backbone", error);
    if (status != BE_OK)
        return status;
    vit *model = memory;
    model->width = size.width, model->hidden = size.hidden, model->patch = size.patch, model->grid = size.grid;
    model->heads = info->heads, model->last_block = info->blocks_needed, model->n_taps = n_taps;
    status = be_allocate(&memory, n_taps, sizeof(size_t), "feature layers", error);
    if (status != BE_OK)
        goto fail;
    model->tap_blocks = memory;
    for (size_t i = 0; i < n_taps && status == BE_OK; i++)
        status = tap_block(file, &taps[i], size.depth, &model->tap_blocks[i], error);
    if (status == BE_OK)
        status = be_allocate(&memory, model->last_block + 1, sizeof(vit_block), "the blocks of a backbone", error);
    if (status != BE_OK)
        goto fail;
    model->blocks = memory;
    lay_out(model);
    status = be_arena_create(&model->weights, model->weights.used, "the weights of a backbone", error);
    if (status != BE_OK)
        goto fail;
    lay_out(model);
    status = read_weights(&from, model, error);
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
    free(model->tap_blocks);
    free(model);
}
