#include "core/backbone/vit_file.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/files/config_json.h"

enum { NAME_SIZE = 256, DEPTH_LIMIT = 512, WIDTH_LIMIT = 1 << 16, PATCH_LIMIT = 1024, REGISTER_LIMIT = 1024, HEAD_WIDTH = 64 };

/* --- names ---------------------------------------------------------------------------------------- */

static bool find_prefix(const char *name, const char *mark, char prefix[VIT_PREFIX_SIZE])
{
    size_t size = strlen(name), length = strlen(mark);
    if (size < length || size - length >= VIT_PREFIX_SIZE || strcmp(name + size - length, mark) != 0)
        return false;
    memcpy(prefix, name, size - length);
    prefix[size - length] = '\0';
    return size == length || name[size - length - 1] == '.';
}

void vit_find_signs(const be_tensor_file *file, const vit_names *namings, size_t n_namings, be_backbone_signs *signs)
{
    char prefix[VIT_PREFIX_SIZE];
    for (size_t t = 0; t < be_tensor_file_count(file); t++) {
        const char *name = be_tensor_file_at(file, t)->name;
        for (size_t i = 0; i < n_namings; i++) {
            if (!find_prefix(name, namings[i].mark, prefix)) {
                if (find_prefix(name, namings[i].other_mark, prefix))
                    snprintf(signs->missing, sizeof signs->missing, "%s%s", prefix, namings[i].mark);
                continue;
            }
            if (signs->first)
                signs->second = name;
            else
                signs->first = name;
            break; /* the mark of one origin may be the end of another's */
        }
    }
}

bool vit_find_source(const be_tensor_file *file, const vit_names *namings, size_t n_namings, vit_source *found)
{
    for (size_t i = 0; i < n_namings; i++) {
        found->names = &namings[i];
        for (size_t t = 0; t < be_tensor_file_count(file); t++) {
            if (find_prefix(be_tensor_file_at(file, t)->name, namings[i].mark, found->prefix))
                return true;
        }
    }
    return false;
}

/* The tensor called prefix + stem + suffix. */
static be_status find_tensor(const be_tensor_file *file, const vit_source *from, const char *stem, const char *suffix,
                             const be_tensor **tensor, be_error *error)
{
    char name[NAME_SIZE];
    snprintf(name, sizeof name, "%s%s%s", from->prefix, stem, suffix);
    *tensor = be_tensor_file_find(file, name);
    if (!*tensor)
        return be_fail(error, BE_ERROR_FORMAT, "%s: tensor '%s' is missing", be_tensor_file_path(file), name);
    return BE_OK;
}

/* Whether block 0 has such a layer (NULL: no). */
static bool has_layer(const be_tensor_file *file, const vit_source *from, const char *layer)
{
    char name[NAME_SIZE];
    if (!layer)
        return false;
    snprintf(name, sizeof name, "%s%s0.%s.weight", from->prefix, from->names->block, layer);
    return be_tensor_file_find(file, name) != NULL;
}

static be_status refuse_shape(const be_tensor_file *file, const be_tensor *tensor, const char *expected, be_error *error)
{
    char shape[BE_TENSOR_MAX_DIMS * 24] = "";
    for (size_t d = 0; d < tensor->n_dims; d++) {
        size_t length = strlen(shape);
        snprintf(shape + length, sizeof shape - length, "[%zu]", tensor->shape[d]);
    }
    return be_fail(error, BE_ERROR_FORMAT, "%s: tensor '%s' has the wrong shape %s, expected %s", be_tensor_file_path(file),
                   tensor->name, shape, expected);
}

/* --- sizes ---------------------------------------------------------------------------------------- */

static be_status find_patches(const be_tensor_file *file, const vit_source *from, be_backbone_info *info, be_error *error)
{
    const be_tensor *patches;
    be_status status = find_tensor(file, from, from->names->patches, ".weight", &patches, error);
    if (status != BE_OK)
        return status;
    const size_t *shape = patches->shape;
    if (patches->n_dims != 4 || shape[0] == 0 || shape[0] > WIDTH_LIMIT || shape[1] != 3 || shape[2] == 0 ||
        shape[2] > PATCH_LIMIT || shape[2] != shape[3])
        return refuse_shape(file, patches, "[width][3][patch][patch]", error);
    info->width = info->channels = shape[0];
    info->patch = shape[2];
    return BE_OK;
}

/* The table has a row for the class token and one for each cell of a square grid. */
static be_status find_grid(const be_tensor_file *file, const vit_source *from, be_backbone_info *info, be_error *error)
{
    const be_tensor *table;
    be_status status = find_tensor(file, from, from->names->positions, "", &table, error);
    if (status != BE_OK)
        return status;
    size_t rows = table->count / info->width, side = 1;
    while (1 + side * side < rows && side < VIT_GRID_LIMIT)
        side++;
    if (rows != 1 + side * side || table->n_dims < 2 || table->shape[table->n_dims - 1] != info->width)
        return refuse_shape(file, table, "a row for the class token and a square number of others, as wide as the patches", error);
    info->position_grid = side;
    return BE_OK;
}

static bool ends_in_layer(const char *name, const char *layer)
{
    size_t length = layer ? strlen(layer) : 0;
    return length > 0 && strncmp(name, layer, length) == 0 &&
           (strcmp(name + length, ".weight") == 0 || strcmp(name + length, ".bias") == 0);
}

/* What is in a block beside the layers known here (an adapter, another attention) would change what it computes. */
static be_status check_block_part(const be_tensor_file *file, const vit_source *from, const char *name, const char *part,
                                  be_error *error)
{
    const vit_names *names = from->names;
    const char *const layers[] = {names->norm1, names->norm2, names->out, names->widen, names->narrow, names->query, names->key,
                                  names->value, names->gated_widen, names->gated_narrow};
    const char *const whole[] = {names->qkv_weight, names->qkv_bias, names->scale1, names->scale2};
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        if (ends_in_layer(part, layers[i]))
            return BE_OK;
    }
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        if (whole[i] && strcmp(part, whole[i]) == 0)
            return BE_OK;
    }
    return be_fail(error, BE_ERROR_UNSUPPORTED, "%s: tensor '%s' is of no block known here", be_tensor_file_path(file), name);
}

/* One more than the largest number of a block: the tensors of one that is left out are then named as missing. */
static be_status find_depth(const be_tensor_file *file, const vit_source *from, be_backbone_info *info, be_error *error)
{
    char stem[NAME_SIZE];
    size_t length = (size_t)snprintf(stem, sizeof stem, "%s%s", from->prefix, from->names->block);
    for (size_t i = 0; i < be_tensor_file_count(file); i++) {
        const char *name = be_tensor_file_at(file, i)->name, *digit = name + length;
        size_t number = 0;
        if (strncmp(name, stem, length) != 0)
            continue;
        for (; *digit >= '0' && *digit <= '9' && number < DEPTH_LIMIT; digit++)
            number = 10 * number + (size_t)(*digit - '0');
        if (number >= DEPTH_LIMIT)
            return be_fail(error, BE_ERROR_FORMAT, "%s: tensor '%s' is of more than %d blocks", be_tensor_file_path(file), name,
                           DEPTH_LIMIT);
        if (*digit != '.' || digit == name + length)
            continue;
        if (number >= info->depth)
            info->depth = number + 1;
        be_status status = check_block_part(file, from, name, digit + 1, error);
        if (status != BE_OK)
            return status;
    }
    return BE_OK;
}

/* No tensor tells that the last blocks are not there. */
static be_status check_depth(const be_tensor_file *file, const vit_source *from, const be_backbone_info *info, be_error *error)
{
    size_t said;
    if (strcmp(from->names->origin, "Hugging Face") != 0)
        return BE_OK;
    be_status status = be_config_json_size(be_tensor_file_path(file), "num_hidden_layers", &said, error);
    if (status == BE_OK && said != 0 && said != info->depth)
        status = be_fail(error, BE_ERROR_FORMAT, "%s: has %zu blocks ('%s'), num_hidden_layers in config.json beside it is %zu",
                         be_tensor_file_path(file), info->depth, from->names->block, said);
    return status;
}

static be_status find_hidden(const be_tensor_file *file, const vit_source *from, be_backbone_info *info, be_error *error)
{
    char stem[NAME_SIZE];
    const be_tensor *widen;
    const vit_names *names = from->names;
    bool gated = has_layer(file, from, names->gated_widen) || has_layer(file, from, names->gated_narrow);
    snprintf(stem, sizeof stem, "%s0.%s", names->block, gated ? names->gated_widen : names->widen);
    be_status status = find_tensor(file, from, stem, ".weight", &widen, error);
    if (status != BE_OK)
        return status;
    size_t rows = widen->n_dims == 2 ? widen->shape[0] : 0;
    if (rows == 0 || rows > 8 * WIDTH_LIMIT || (gated && rows % 2 != 0))
        return refuse_shape(file, widen, gated ? "[2 * hidden][width]" : "[hidden][width]", error);
    info->hidden = gated ? rows / 2 : rows;
    info->activation = gated ? BE_ACTIVATION_SWIGLU : BE_ACTIVATION_GELU;
    return BE_OK;
}

static be_status find_registers(const be_tensor_file *file, const vit_source *from, be_backbone_info *info, be_error *error)
{
    const be_tensor *registers;
    if (!from->names->registers || find_tensor(file, from, from->names->registers, "", &registers, NULL) != BE_OK)
        return BE_OK;
    if (registers->n_dims != 3 || registers->shape[0] != 1 || registers->shape[1] == 0 ||
        registers->shape[1] > REGISTER_LIMIT || registers->shape[2] != info->width)
        return refuse_shape(file, registers, "[1][registers][width]", error);
    info->registers = registers->shape[1];
    return BE_OK;
}

static be_status find_channels(const be_tensor_file *file, const vit_source *from, be_backbone_info *info, be_error *error)
{
    const be_tensor *projection;
    if (!from->names->projection)
        return BE_OK;
    be_status status = find_tensor(file, from, from->names->projection, "", &projection, error);
    if (status != BE_OK)
        return status;
    bool turned = from->names->projection_turned;
    size_t channels = projection->n_dims == 2 ? projection->shape[turned] : 0;
    if (channels == 0 || channels > WIDTH_LIMIT || projection->shape[!turned] != info->width)
        return refuse_shape(file, projection, turned ? "[width][channels]" : "[channels][width]", error);
    info->channels = channels;
    return BE_OK;
}

be_status vit_inspect(const be_tensor_file *file, const vit_source *from, const be_tap *taps, size_t n_taps,
                      be_backbone_info *info, be_error *error)
{
    vit model;
    *info = (be_backbone_info){.naming = from->names->origin};
    be_status status = find_patches(file, from, info, error);
    if (status == BE_OK)
        status = find_grid(file, from, info, error);
    if (status == BE_OK)
        status = find_depth(file, from, info, error);
    if (status == BE_OK)
        status = check_depth(file, from, info, error);
    if (status == BE_OK)
        status = find_hidden(file, from, info, error);
    if (status == BE_OK)
        status = find_registers(file, from, info, error);
    if (status == BE_OK)
        status = find_channels(file, from, info, error);
    if (status != BE_OK)
        return status;
    for (size_t i = 0; i < n_taps; i++) {
        if (be_features_have_layers(taps[i].features) && taps[i].layer > info->depth)
            return be_fail(error, BE_ERROR_FORMAT, "%s: enc_output_layer %zu is deeper than the backbone's %zu blocks",
                           be_tensor_file_path(file), taps[i].layer, info->depth);
    }
    vit_describe(&model, info, taps, n_taps);
    info->blocks_needed = n_taps ? model.n_blocks : 0;
    return vit_check_tensors(file, from, &model, &info->parameters, error);
}

/* --- what the shapes do not tell ------------------------------------------------------------------ */

void vit_add_note(be_backbone_info *info, const char *format, ...)
{
    size_t length = strlen(info->unverified);
    va_list arguments;
    if (length)
        length += (size_t)snprintf(info->unverified + length, sizeof info->unverified - length, "; ");
    if (length >= sizeof info->unverified)
        return;
    va_start(arguments, format);
    vsnprintf(info->unverified + length, sizeof info->unverified - length, format, arguments);
    va_end(arguments);
}

/* The published sizes have letters; any other is called by its width and depth. */
void vit_name(be_backbone_info *info, const char *kind)
{
    static const struct { size_t width, depth; char letter; } published[] = {
        {384, 12, 's'}, {768, 12, 'b'}, {1024, 24, 'l'}, {1536, 40, 'g'},
    };
    const char *registers = info->registers ? "_reg" : "";
    info->kind = kind;
    snprintf(info->name, sizeof info->name, "%s_vit%zux%zu%s", kind, info->width, info->depth, registers);
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        if (info->width != published[i].width)
            continue;
        if (info->depth == published[i].depth)
            snprintf(info->name, sizeof info->name, "%s_vit%c%zu%s", kind, published[i].letter, info->patch, registers);
        else
            vit_add_note(info, "%zu blocks of width %zu, where published backbones have %zu", info->depth, info->width,
                         published[i].depth);
    }
}

be_status vit_find_heads(const be_tensor_file *file, const vit_source *from, const be_backbone_options *options,
                         size_t assumed, be_backbone_info *info, be_error *error)
{
    const char *path = be_tensor_file_path(file), *said_by = "--backbone-heads, in a configuration heads";
    size_t heads = options ? options->heads : 0, width = info->width;
    if (heads == 0 && strcmp(from->names->origin, "Hugging Face") == 0) {
        be_status status = be_config_json_size(path, "num_attention_heads", &heads, error);
        if (status != BE_OK)
            return status;
        said_by = "num_attention_heads in config.json beside it";
    }
    if (heads == 0 && width % HEAD_WIDTH == 0)
        heads = width / HEAD_WIDTH;
    if (heads == 0 && assumed && width % assumed == 0) {
        heads = assumed;
        vit_add_note(info, "the backbone's number of heads is in no tensor: %zu, as in ViT-B, is assumed for width %zu", heads,
                     width);
    }
    if (heads == 0)
        return be_fail(error, BE_ERROR_ARGUMENT, "%s: the number of heads cannot be known from width %zu: say it with "
                       "--backbone-heads, in a configuration with heads", path, width);
    if (width % heads != 0)
        return be_fail(error, options && options->heads ? BE_ERROR_ARGUMENT : BE_ERROR_FORMAT,
                       "%s: width %zu is not a multiple of %zu heads (from %s)", path, width, heads, said_by);
    if (width % HEAD_WIDTH == 0 && heads != width / HEAD_WIDTH)
        vit_add_note(info, "%zu attention heads for width %zu, where published backbones have %zu", heads, width,
                     width / HEAD_WIDTH);
    info->heads = heads;
    return BE_OK;
}
