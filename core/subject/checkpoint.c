#include "core/subject/checkpoint.h"

#include <stdio.h>
#include <string.h>

#include "core/backbone/backbone.h"

be_status be_class_token_parse(const char *text, be_class_token *token, be_error *error)
{
    if (strcmp(text, "first-patch") != 0 && strcmp(text, "class-token") != 0)
        return be_fail(error, BE_ERROR_ARGUMENT, "--class-token: '%.40s' is none of: first-patch, class-token", text);
    *token = strcmp(text, "first-patch") == 0 ? BE_CLASS_TOKEN_FIRST_PATCH : BE_CLASS_TOKEN_CLASS;
    return BE_OK;
}

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

static const be_tensor *find(const be_tensor_file *file, const char *stem)
{
    char name[96];
    snprintf(name, sizeof name, BE_CHECKPOINT_PREFIX "%s", stem);
    return be_tensor_file_find(file, name);
}

static be_status read_rows(const be_tensor_file *file, const char *stem, size_t *rows, be_error *error)
{
    const be_tensor *tensor = find(file, stem);
    if (!tensor)
        return be_fail(error, BE_ERROR_FORMAT, "%s: tensor '" BE_CHECKPOINT_PREFIX "%s' is missing", be_tensor_file_path(file),
                       stem);
    *rows = tensor->n_dims > 0 ? tensor->shape[0] : 0;
    return BE_OK;
}

/* How many queries there are, and how wide the feature map is, which no argument says. */
static be_status read_shapes(const be_tensor_file *file, be_checkpoint *to, be_error *error)
{
    const be_tensor *input = find(file, "input_proj.weight"), *readout = find(file, "lh_embed.0.weight");
    bool linear = strcmp(to->encoder_arch, "linear") == 0, resnet = strncmp(to->backbone_arch, "resnet", 6) == 0;
    bool spatial = strcmp(to->encoder_arch, "spatial_feature") == 0;
    be_status status = read_rows(file, "lh_embed.0.weight", &to->n_vertices[BE_LEFT], error);
    if (status == BE_OK)
        status = read_rows(file, "rh_embed.0.weight", &to->n_vertices[BE_RIGHT], error);
    to->queries = 1;
    if (status == BE_OK && !linear)
        status = read_rows(file, spatial ? "spatial_embed.weight" : "query_embed.weight", &to->queries, error);
    if (status != BE_OK)
        return status;
    to->channels = to->hidden_dim;
    to->input_projection = resnet && !linear;
    if (to->input_projection && input && input->n_dims >= 2) /* without it the encoder says so */
        to->channels = input->shape[1];
    else if (linear && input && input->n_dims == 4 && input->shape[2] == 3 && !strstr(to->backbone_arch, "_cls"))
        to->channels = input->shape[1];
    else if (linear && readout->n_dims == 2)
        to->channels = readout->shape[1];
    return BE_OK;
}

/* Flags that are not there are not set. */
static bool read_flag(const be_tensor_file *file, const char *key)
{
    bool flag;
    return be_value_boolean(be_value_get(be_value_get(be_tensor_file_root(file), "args"), key), &flag) && flag;
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
    if (status == BE_OK)
        status = read_shapes(file, &read, error);
    if (status != BE_OK)
        return status;
    read.pre_norm = pre_norm != 0;
    read_subject(file, read.subject);
    const be_value *args = be_value_get(be_tensor_file_root(file), "args");
    const char *dataset;
    int64_t run, wide;
    read.demo = be_value_text(be_value_get(args, "dataset"), &dataset) && strcmp(dataset, BE_CHECKPOINT_DEMO) == 0;
    read.run = be_value_integer(be_value_get(args, "run"), &run) && run > 0 && run < 1 << 20 ? (size_t)run : 0;
    read.dim_feedforward = be_value_integer(be_value_get(args, "dim_feedforward"), &wide) && wide > 0 ? (size_t)wide : 0;
    read.dilation = read_flag(file, "dilation");
    read.return_interm = read_flag(file, "return_interm");
    read.has_validation = be_value_number(be_value_get(args, "val_perf"), &read.validation);
    *out = read;
    return BE_OK;
}

/* --- what is computed ----------------------------------------------------------------------------- */

void be_checkpoint_features(const be_checkpoint *it, be_class_token token, char name[BE_CHECKPOINT_TEXT_SIZE])
{
    bool asks = strcmp(it->backbone_arch, "dinov2_cls") == 0;
    snprintf(name, BE_CHECKPOINT_TEXT_SIZE, "%.40s%s", it->backbone_arch,
             !asks ? "" : token == BE_CLASS_TOKEN_FIRST_PATCH ? "/first-patch" : "/class-token");
}

be_encoder_settings be_checkpoint_settings(const be_checkpoint *it)
{
    bool clip = strncmp(it->backbone_arch, "clip", 4) == 0, resnet = strncmp(it->backbone_arch, "resnet", 6) == 0;
    const char *end = strstr(it->backbone_arch, "_cls");
    return (be_encoder_settings){
        .kind = it->encoder_arch, .channels = it->channels, .width = it->hidden_dim, .queries = it->queries, .heads = it->nheads,
        .enc_layers = it->enc_layers, .dec_layers = it->dec_layers, .hidden = it->dim_feedforward,
        .memory_layer = it->enc_output_layer, .pre_norm = it->pre_norm,
        .learned_position = strcmp(it->position_embedding, "learned") == 0, .class_token = end && !end[4],
        .input_projection = it->input_projection, .stride = resnet ? 1 : clip ? 2 : 3,
    };
}

static be_status check_readout(const be_checkpoint *it, const char *path, be_error *error)
{
    if (!be_readout_families(it->readout_res))
        return be_fail(error, BE_ERROR_UNSUPPORTED, "%s: readout_res '%s' is not supported", path, it->readout_res);
    bool known = strcmp(it->readout_res, "rois_all") == 0 || strcmp(it->readout_res, "voxels") == 0;
    if (strcmp(it->encoder_arch, "spatial_feature") == 0 && !known)
        return be_fail(error, BE_ERROR_UNSUPPORTED,
                       "%s: readout_res '%s' is not supported with spatial_feature, which is known with "
                       "rois_all and voxels", path, it->readout_res);
    return BE_OK;
}

be_status be_checkpoint_supported(const be_checkpoint *it, be_class_token token, be_streams_order order, const char *path,
                                  be_error *error)
{
    char name[BE_CHECKPOINT_TEXT_SIZE];
    be_features features;
    be_error why;
    be_encoder_settings settings = be_checkpoint_settings(it);
    if (strcmp(it->backbone_arch, "dinov2_cls") == 0 && token == BE_CLASS_TOKEN_UNKNOWN)
        return be_fail(error, BE_ERROR_ARGUMENT,
                       "%s: backbone_arch dinov2_cls: the published program takes the first patch's token for it: --class-token "
                       "first-patch (what it computes) or class-token (what its name says)", path);
    if (strcmp(it->backbone_arch, "dinov2_cls") != 0 && token != BE_CLASS_TOKEN_UNKNOWN)
        return be_fail(error, BE_ERROR_ARGUMENT, "%s: --class-token is for backbone_arch dinov2_cls, this is %s", path,
                       it->backbone_arch);
    if (order != BE_STREAMS_UNKNOWN && !be_readout_needs_order(it->readout_res, it->encoder_arch))
        return be_fail(error, BE_ERROR_ARGUMENT,
                       "%s: --streams-order is for queries of readout_res streams_inc, this is %s with %s", path,
                       it->readout_res, it->encoder_arch);
    be_checkpoint_features(it, token, name);
    if (be_features_parse(name, &features, &why) != BE_OK)
        return be_fail(error, why.status, "%s: %s", path, why.message);
    be_status status = check_readout(it, path, error);
    if (status != BE_OK)
        return status;
    if (strcmp(it->position_embedding, "sine") != 0 && !settings.learned_position)
        return be_fail(error, BE_ERROR_UNSUPPORTED, "%s: position_embedding '%s' is not supported; there are: sine, learned", path,
                       it->position_embedding);
    if (it->dilation && strcmp(it->backbone_arch, "resnet18") == 0)
        return be_fail(error, BE_ERROR_UNSUPPORTED, "%s: dilation is not possible with resnet18", path);
    if (it->return_interm)
        return be_fail(error, BE_ERROR_UNSUPPORTED, "%s: return_interm is set: what is computed then is not known here", path);
    if (it->queries == 0)
        return be_fail(error, BE_ERROR_FORMAT, "%s: the model has no queries", path);
    status = be_encoder_check(&settings, path, error);
    return status == BE_OK ? be_readout_check_order(it->readout_res, it->encoder_arch, order, path, error) : status;
}

/* --- the model ------------------------------------------------------------------------------------ */

/* The tables of a learned position: MODEL section 3. */
static be_status check_tables(const be_tensor_file *file, const be_encoder_settings *settings, be_error *error)
{
    static const char inside[] = BE_ENCODER_TABLES_INSIDE "row_embed.weight";
    if (!settings->learned_position || find(file, inside) || find(file, "row_embed.weight"))
        return BE_OK;
    return be_fail(error, BE_ERROR_FORMAT,
                   "%s: position_embedding is 'learned', but tensor '" BE_CHECKPOINT_PREFIX "%s' is missing: the "
                   "training program does not save what it drew for it", be_tensor_file_path(file), inside);
}

be_status be_checkpoint_load(be_tensor_file *file, const be_checkpoint *it, const be_readout_lists *lists, be_encoder **encoder,
                             be_readout **readout, be_error *error)
{
    be_encoder_settings settings = be_checkpoint_settings(it);
    be_status status = check_tables(file, &settings, error);
    if (status == BE_OK)
        status = be_encoder_load(file, BE_CHECKPOINT_PREFIX, &settings, encoder, error);
    if (status == BE_OK)
        status = be_readout_load(file, BE_CHECKPOINT_PREFIX, be_encoder_get_info(*encoder)->width, it->n_vertices[BE_LEFT],
                                 it->n_vertices[BE_RIGHT], lists, readout, error);
    return status;
}
