#include "core/subject/checkpoint.h"

#include <stdio.h>
#include <string.h>

static const char *const wanted_backbone = "dinov2_q", *const wanted_encoder = "transformer",
                         *const wanted_readout = "rois_all", *const wanted_position = "sine";

bool be_checkpoint_recognise(const be_tensor_file *file)
{
    const be_value *root = be_tensor_file_root(file);
    return be_value_get(root, "args") && be_value_get(root, "model");
}

static be_status read_text(const be_tensor_file *file, const char *key, char out[BE_CHECKPOINT_TEXT_SIZE], be_error *error)
{
    const char *text;
    if (!be_value_text(be_value_get(be_value_get(be_tensor_file_root(file), "args"), key), &text))
        return be_fail(error, BE_ERROR_FORMAT, "%s: args.%s is missing or no text", be_tensor_file_path(file), key);
    if (strlen(text) >= BE_CHECKPOINT_TEXT_SIZE)
        return be_fail(error, BE_ERROR_FORMAT, "%s: args.%s is longer than any known value", be_tensor_file_path(file), key);
    snprintf(out, BE_CHECKPOINT_TEXT_SIZE, "%s", text);
    return BE_OK;
}

static be_status read_size(const be_tensor_file *file, const char *key, size_t *out, be_error *error)
{
    enum { LARGEST = 1 << 20 };
    int64_t value;
    if (!be_value_integer(be_value_get(be_value_get(be_tensor_file_root(file), "args"), key), &value))
        return be_fail(error, BE_ERROR_FORMAT, "%s: args.%s is missing or no whole number", be_tensor_file_path(file), key);
    if (value < 0 || value > LARGEST)
        return be_fail(error, BE_ERROR_FORMAT, "%s: args.%s is %lld, not between 0 and %d", be_tensor_file_path(file), key,
                       (long long)value, LARGEST);
    *out = (size_t)value;
    return BE_OK;
}

/* image_size may be None, which means that images are not resized. */
static be_status read_image_size(const be_tensor_file *file, size_t *out, be_error *error)
{
    const be_value *value = be_value_get(be_value_get(be_tensor_file_root(file), "args"), "image_size");
    *out = 0;
    return value && value->kind != BE_VALUE_NONE ? read_size(file, "image_size", out, error) : BE_OK;
}

static be_status read_rows(const be_tensor_file *file, const char *name, size_t *rows, be_error *error)
{
    const be_tensor *tensor = be_tensor_file_find(file, name);
    if (!tensor)
        return be_fail(error, BE_ERROR_FORMAT, "%s: tensor '%s' is missing", be_tensor_file_path(file), name);
    *rows = tensor->n_dims > 0 ? tensor->shape[0] : 0;
    return BE_OK;
}

/* args.subj is "01"; users say subj01. */
static void read_subject(const be_tensor_file *file, char out[BE_CHECKPOINT_TEXT_SIZE])
{
    const be_value *value = be_value_get(be_value_get(be_tensor_file_root(file), "args"), "subj");
    const char *text;
    int64_t number;
    if (be_value_text(value, &text) && strlen(text) < 8 && strspn(text, "0123456789") == strlen(text))
        snprintf(out, BE_CHECKPOINT_TEXT_SIZE, "subj%s", text);
    else if (be_value_integer(value, &number) && number >= 0 && number < 10000)
        snprintf(out, BE_CHECKPOINT_TEXT_SIZE, "subj%02lld", (long long)number);
}

be_status be_checkpoint_read(const be_tensor_file *file, be_checkpoint *out, be_error *error)
{
    be_checkpoint read = {0};
    const struct { const char *key; char *to; } texts[] = {
        {"backbone_arch", read.backbone_arch}, {"encoder_arch", read.encoder_arch}, {"readout_res", read.readout_res},
        {"position_embedding", read.position_embedding},
    };
    size_t pre_norm = 0;
    const struct { const char *key; size_t *to; } sizes[] = {
        {"enc_output_layer", &read.enc_output_layer}, {"enc_layers", &read.enc_layers}, {"dec_layers", &read.dec_layers},
        {"hidden_dim", &read.hidden_dim}, {"nheads", &read.nheads}, {"pre_norm", &pre_norm},
    };
    const struct { const char *tensor; size_t *to; } rows[] = {
        {BE_CHECKPOINT_PREFIX "lh_embed.0.weight", &read.n_vertices[BE_LEFT]},
        {BE_CHECKPOINT_PREFIX "rh_embed.0.weight", &read.n_vertices[BE_RIGHT]},
        {BE_CHECKPOINT_PREFIX "query_embed.weight", &read.queries},
    };
    if (!be_checkpoint_recognise(file))
        return be_fail(error, BE_ERROR_UNSUPPORTED, "%s: is no checkpoint of the training program ('model' and 'args' are missing)",
                       be_tensor_file_path(file));
    be_status status = BE_OK;
    for (size_t i = 0; i < sizeof texts / sizeof *texts && status == BE_OK; i++)
        status = read_text(file, texts[i].key, texts[i].to, error);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && status == BE_OK; i++)
        status = read_size(file, sizes[i].key, sizes[i].to, error);
    if (status == BE_OK)
        status = read_image_size(file, &read.image_size, error);
    bool readable = status == BE_OK && strcmp(read.encoder_arch, wanted_encoder) == 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows && readable && status == BE_OK; i++)
        status = read_rows(file, rows[i].tensor, rows[i].to, error);
    if (status != BE_OK)
        return status;
    read.pre_norm = pre_norm != 0;
    read_subject(file, read.subject);
    const be_value *args = be_value_get(be_tensor_file_root(file), "args");
    read.has_validation = be_value_number(be_value_get(args, "val_perf"), &read.validation);
    *out = read;
    return BE_OK;
}

static be_status refuse_text(const char *path, const char *key, const char *value, const char *wanted, be_error *error)
{
    return be_fail(error, BE_ERROR_UNSUPPORTED, "%s: %s '%s' is not supported by this version; '%s' is", path, key, value,
                   wanted);
}

static be_status refuse_size(const char *path, const char *key, size_t value, size_t wanted, be_error *error)
{
    return be_fail(error, BE_ERROR_UNSUPPORTED, "%s: %s %zu is not supported by this version; %zu is", path, key, value,
                   wanted);
}

be_status be_checkpoint_supported(const be_checkpoint *it, const char *path, be_error *error)
{
    if (strcmp(it->backbone_arch, wanted_backbone) != 0)
        return refuse_text(path, "backbone_arch", it->backbone_arch, wanted_backbone, error);
    if (strcmp(it->encoder_arch, wanted_encoder) != 0)
        return refuse_text(path, "encoder_arch", it->encoder_arch, wanted_encoder, error);
    if (strcmp(it->readout_res, wanted_readout) != 0)
        return refuse_text(path, "readout_res", it->readout_res, wanted_readout, error);
    if (strcmp(it->position_embedding, wanted_position) != 0)
        return refuse_text(path, "position_embedding", it->position_embedding, wanted_position, error);
    if (it->enc_layers != 0)
        return refuse_size(path, "enc_layers", it->enc_layers, 0, error);
    if (it->dec_layers != 1)
        return refuse_size(path, "dec_layers", it->dec_layers, 1, error);
    if (!it->pre_norm)
        return refuse_size(path, "pre_norm", 0, 1, error);
    if (it->hidden_dim == 0 || it->hidden_dim % 4 != 0)
        return be_fail(error, BE_ERROR_FORMAT, "%s: hidden_dim %zu is no multiple of 4, which the position code needs", path,
                       it->hidden_dim);
    if (it->nheads == 0 || it->hidden_dim % it->nheads != 0)
        return be_fail(error, BE_ERROR_FORMAT, "%s: hidden_dim %zu is not a multiple of nheads %zu", path, it->hidden_dim,
                       it->nheads);
    if (it->queries == 0 || it->queries % 2 != 0)
        return be_fail(error, BE_ERROR_FORMAT, "%s: query_embed has %zu rows; rois_all has as many for each hemisphere", path,
                       it->queries);
    return BE_OK;
}
