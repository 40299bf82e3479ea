#include "core/encoder/encoder.h"

#include <stdio.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/encoder/kind.h"

/* One row for each kind of encoder. */
static const be_encoder_kind *const kinds[] = {
    &be_encoder_transformer, &be_encoder_custom_transformer, &be_encoder_spatial_feature, &be_encoder_linear,
};
enum { N_KINDS = sizeof kinds / sizeof *kinds, FEW_QUERIES = 256, FEW_ROWS = 32 };

size_t be_query_panels(size_t count)
{
    size_t rows = count <= FEW_QUERIES ? FEW_ROWS : BE_QUERY_PANEL_ROWS;
    return (count + rows - 1) / rows;
}

static const be_encoder_kind *find_kind(const char *name)
{
    for (size_t i = 0; i < N_KINDS; i++) {
        if (strcmp(kinds[i]->name, name) == 0)
            return kinds[i];
    }
    return NULL;
}

be_status be_encoder_check(const be_encoder_settings *settings, const char *path, be_error *error)
{
    const be_encoder_kind *kind = find_kind(settings->kind);
    if (!kind)
        return be_fail(error, BE_ERROR_UNSUPPORTED,
                       "%s: encoder_arch '%.60s' is not supported; there are: transformer, custom_transformer, spatial_feature, "
                       "linear", path, settings->kind);
    if (settings->class_token && strcmp(kind->name, "linear") != 0)
        return be_fail(error, BE_ERROR_UNSUPPORTED,
                       "%s: encoder_arch '%s' cannot be read from a class token, which has no grid; 'linear' can", path,
                       kind->name);
    if (settings->width != settings->channels && !settings->input_projection && kind != &be_encoder_linear)
        return be_fail(error, BE_ERROR_FORMAT, "%s: hidden_dim %zu is not the backbone's width %zu, and there is no input_proj",
                       path, settings->width, settings->channels);
    return kind->check(settings, path, error);
}

/* --- settings against tensors --------------------------------------------------------------------- */

enum { NAME_SIZE = 256 };

/* A tensor stem + "N." + ... with N >= layers, or NULL. */
static const be_tensor *find_layer_beyond(const be_tensor_file *file, const char *stem, size_t layers)
{
    size_t length = strlen(stem);
    for (size_t i = 0; i < be_tensor_file_count(file); i++) {
        const be_tensor *tensor = be_tensor_file_at(file, i);
        size_t number = 0;
        if (strncmp(tensor->name, stem, length) != 0)
            continue;
        const char *digit = tensor->name + length;
        if (*digit < '0' || *digit > '9')
            continue;
        for (; *digit >= '0' && *digit <= '9' && number < layers; digit++)
            number = 10 * number + (size_t)(*digit - '0');
        if (number >= layers)
            return tensor;
    }
    return NULL;
}

/* A layer that the settings leave out would be left out of what is computed, in silence. */
static be_status check_layers(const be_tensor_file *file, const char *prefix, const be_encoder_settings *settings, be_error *error)
{
    const struct { const char *part, *setting; size_t layers; } parts[] = {
        {"encoder", "enc_layers", settings->enc_layers}, {"decoder", "dec_layers", settings->dec_layers},
    };
    bool transformer = strstr(settings->kind, "transformer") != NULL;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char stem[NAME_SIZE], first[NAME_SIZE + 32];
        snprintf(stem, sizeof stem, "%stransformer.%s.layers.", prefix, parts[i].part);
        const be_tensor *beyond = find_layer_beyond(file, stem, transformer ? parts[i].layers : 0);
        if (beyond && !transformer)
            return be_fail(error, BE_ERROR_FORMAT, "%s: encoder_arch is '%s', which has no tensor '%s'", be_tensor_file_path(file),
                           settings->kind, beyond->name);
        if (beyond)
            return be_fail(error, BE_ERROR_FORMAT, "%s: %s is %zu, but tensor '%s' is of a layer beyond", be_tensor_file_path(file),
                           parts[i].setting, parts[i].layers, beyond->name);
        snprintf(first, sizeof first, "%s0.linear1.weight", stem);
        const be_tensor *widens = be_tensor_file_find(file, first);
        if (widens && settings->hidden && widens->n_dims > 0 && widens->shape[0] != settings->hidden)
            return be_fail(error, BE_ERROR_FORMAT, "%s: dim_feedforward is %zu, but tensor '%s' has %zu rows",
                           be_tensor_file_path(file), settings->hidden, first, widens->shape[0]);
    }
    return BE_OK;
}

/* So would what the settings say is not there, which the training program then does not write. */
static be_status check_unread(const be_tensor_file *file, const char *prefix, const be_encoder_settings *settings, be_error *error)
{
    const char *no_norm = !settings->pre_norm ? "pre_norm is 0" : settings->enc_layers == 0 ? "enc_layers is 0" : NULL;
    const char *no_tables = !settings->learned_position ? "position_embedding is 'sine'" : NULL;
    const struct { const char *name, *unread; } tensors[] = {
        {"transformer.encoder.norm.weight", no_norm}, {"transformer.encoder.norm.bias", no_norm},
        {"row_embed.weight", no_tables}, {"col_embed.weight", no_tables},
        {BE_ENCODER_TABLES_INSIDE "row_embed.weight", no_tables}, {BE_ENCODER_TABLES_INSIDE "col_embed.weight", no_tables},
    };
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
        char name[NAME_SIZE];
        snprintf(name, sizeof name, "%s%s", prefix, tensors[i].name);
        if (tensors[i].unread && be_tensor_file_find(file, name))
            return be_fail(error, BE_ERROR_FORMAT, "%s: %s, but there is a tensor '%s', which nothing would read",
                           be_tensor_file_path(file), tensors[i].unread, name);
    }
    return BE_OK;
}

be_status be_encoder_load(be_tensor_file *file, const char *prefix, const be_encoder_settings *settings, be_encoder **out,
                          be_error *error)
{
    be_encoder *encoder;
    const be_encoder_kind *kind = find_kind(settings->kind);
    be_status status = be_encoder_check(settings, be_tensor_file_path(file), error);
    if (status == BE_OK)
        status = check_layers(file, prefix, settings, error);
    if (status == BE_OK)
        status = check_unread(file, prefix, settings, error);
    if (status != BE_OK)
        return status;
    status = kind->load(file, prefix, settings, &encoder, error);
    if (status != BE_OK)
        return status;
    encoder->kind = kind;
    encoder->settings = *settings;
    encoder->settings.kind = kind->name;
    *out = encoder;
    return BE_OK;
}

void be_encoder_free(be_encoder *encoder)
{
    if (encoder)
        encoder->kind->unload(encoder);
}

const be_encoder_info *be_encoder_get_info(const be_encoder *encoder)
{
    return &encoder->info;
}

const char *be_encoder_name(const be_encoder *encoder)
{
    return encoder->kind->name;
}

size_t be_encoder_grid_floats(const be_encoder *encoder, size_t rows, size_t columns)
{
    return encoder->kind->grid_floats ? encoder->kind->grid_floats(encoder, rows, columns) : 0;
}

void be_encoder_prepare_grid(const be_encoder *encoder, size_t rows, size_t columns, float *constants)
{
    if (encoder->kind->prepare_grid)
        encoder->kind->prepare_grid(encoder, rows, columns, constants);
}

be_status be_encoder_check_grid(const be_encoder *encoder, size_t rows, size_t columns, be_error *error)
{
    return encoder->kind->check_grid ? encoder->kind->check_grid(encoder, rows, columns, error) : BE_OK;
}

size_t be_encoder_arena_bytes(const be_encoder *encoder, size_t tokens)
{
    return encoder->kind->arena_bytes(encoder, tokens);
}

size_t be_encoder_scratch_bytes(const be_encoder *encoder, size_t tokens)
{
    return encoder->kind->scratch_bytes(encoder, tokens);
}

be_status be_encode_begin(const be_encoder *encoder, const be_team *team, be_arena *arena, const float *features, size_t rows,
                          size_t columns, const float *constants, be_encoding *encoding, be_error *error)
{
    *encoding = (be_encoding){.encoder = encoder, .team = team, .features = features, .rows = rows, .columns = columns,
                              .tokens = encoder->settings.class_token ? 1 : rows * columns};
    be_arena_reset(arena);
    return encoder->kind->begin(encoding, arena, constants, error);
}

void be_encode_queries(const be_encoding *encoding, const be_encoder_wish *wish)
{
    encoding->encoder->kind->queries(encoding, wish);
}

void be_encoder_list_products(const be_encoder *encoder, size_t rows, size_t columns, const be_product_list *list)
{
    encoder->kind->list_products(encoder, rows, columns, list);
}
