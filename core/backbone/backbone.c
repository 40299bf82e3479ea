#include "core/backbone/backbone.h"

#include <stdio.h>
#include <string.h>

#include "core/backbone/kind.h"
#include "core/files/tensor_file.h"

/* One row for each kind of backbone. */
static const be_backbone_kind *const kinds[] = {
    &be_backbone_dinov2, &be_backbone_clip, &be_backbone_resnet,
};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

/* One row for each kind of feature map. */
static const struct { const char *name; bool class_token, layers; } feature_rows[] = {
    [BE_FEATURES_DINOV2_Q] = {"dinov2_q", false, true},
    [BE_FEATURES_DINOV2] = {"dinov2", false, true},
    [BE_FEATURES_DINOV2_Q_CLS] = {"dinov2_q_cls", true, true},
    [BE_FEATURES_DINOV2_CLS_FIRST_PATCH] = {"dinov2_cls/first-patch", true, true},
    [BE_FEATURES_DINOV2_CLS] = {"dinov2_cls/class-token", true, true},
    [BE_FEATURES_CLIP] = {"clip", false, false},
    [BE_FEATURES_CLIP_CLS] = {"clip_cls", true, false},
    [BE_FEATURES_RESNET18] = {"resnet18", false, false},
    [BE_FEATURES_RESNET50] = {"resnet50", false, false},
};
enum { N_FEATURES = sizeof feature_rows / sizeof *feature_rows };

be_status be_features_parse(const char *text, be_features *features, be_error *error)
{
    char names[200] = "";
    for (size_t i = 0; i < N_FEATURES; i++) {
        size_t length = strlen(names);
        if (strcmp(text, feature_rows[i].name) == 0) {
            *features = (be_features)i;
            return BE_OK;
        }
        snprintf(names + length, sizeof names - length, "%s%s", i ? ", " : "", feature_rows[i].name);
    }
    return be_fail(error, BE_ERROR_UNSUPPORTED, "backbone_arch: '%.60s' is not supported; there are: %s", text, names);
}

const char *be_features_name(be_features features)
{
    return feature_rows[features].name;
}

bool be_features_is_class(be_features features)
{
    return feature_rows[features].class_token;
}

bool be_features_have_layers(be_features features)
{
    return feature_rows[features].layers;
}

static const char *const activation_names[] = {
    [BE_ACTIVATION_AUTO] = "auto", [BE_ACTIVATION_QUICK_GELU] = "quick_gelu", [BE_ACTIVATION_GELU] = "gelu",
    [BE_ACTIVATION_SWIGLU] = "swiglu", [BE_ACTIVATION_RELU] = "relu",
};

const char *be_activation_name(be_activation activation)
{
    return activation_names[activation];
}

be_status be_activation_parse(const char *text, be_activation *activation, be_error *error)
{
    for (size_t i = 0; i < BE_ACTIVATION_SWIGLU; i++) {
        if (strcmp(text, activation_names[i]) == 0) {
            *activation = (be_activation)i;
            return BE_OK;
        }
    }
    return be_fail(error, BE_ERROR_ARGUMENT, "activation: '%.40s' is none of: auto, quick_gelu, gelu", text);
}

/* Which kind the file is, from its tensors' names: it holds one backbone. */
static be_status find_kind(const be_tensor_file *file, const be_backbone_kind **kind, be_error *error)
{
    const char *path = be_tensor_file_path(file), *found = NULL;
    char known[300] = "", missing[256] = "";
    for (size_t i = 0; i < N_KINDS; i++) {
        be_backbone_signs signs = {0};
        size_t length = strlen(known);
        snprintf(known + length, sizeof known - length, "%s%s", i ? ", " : "", kinds[i]->files);
        kinds[i]->recognise(file, &signs);
        if (!*missing)
            memcpy(missing, signs.missing, sizeof missing);
        const char *another = found ? signs.first : signs.second;
        if (another)
            return be_fail(error, BE_ERROR_FORMAT, "%s: holds more than one backbone: tensor '%s' is of a %s, '%s' of a %s", path,
                           found ? found : signs.first, found ? (*kind)->name : kinds[i]->name, another, kinds[i]->name);
        if (signs.first) {
            found = signs.first;
            *kind = kinds[i];
        }
    }
    if (found)
        return BE_OK;
    if (*missing)
        return be_fail(error, BE_ERROR_FORMAT, "%s: tensor '%s' is missing", path, missing);
    return be_fail(error, BE_ERROR_UNSUPPORTED, "%s: holds no backbone known here: %s", path, known);
}

/* Which kind the file is; that it is the one asked for, takes the options and gives what is read from it. */
static be_status recognise(const be_tensor_file *file, const be_backbone_options *options, const be_tap *taps, size_t n_taps,
                           const be_backbone_kind **out, be_error *error)
{
    const char *path = be_tensor_file_path(file), *asked = options ? options->kind : NULL;
    be_status status = find_kind(file, out, error);
    if (status != BE_OK)
        return status;
    const be_backbone_kind *kind = *out;
    if (asked && strcmp(asked, kind->name) != 0)
        return be_fail(error, BE_ERROR_FORMAT, "%s: is a %s backbone, not the %.40s it is said to be", path, kind->name, asked);
    if (options && options->activation != BE_ACTIVATION_AUTO && !kind->takes_activation)
        return be_fail(error, BE_ERROR_ARGUMENT, "%s: is a %s backbone, whose activation is no choice: leave --backbone-activation "
                       "(in a configuration: activation) out", path, kind->name);
    if (options && options->heads != 0 && !kind->takes_heads)
        return be_fail(error, BE_ERROR_ARGUMENT, "%s: is a %s backbone, which has no attention heads: leave --backbone-heads (in a "
                       "configuration: heads) out", path, kind->name);
    for (size_t t = 0; t < n_taps; t++) {
        if (!kind->offers(taps[t].features))
            return be_fail(error, BE_ERROR_FORMAT, "%s: is a %s backbone, which has no %s features", path, kind->name,
                           be_features_name(taps[t].features));
    }
    return BE_OK;
}

be_status be_backbone_inspect(const char *path, const be_backbone_options *options, be_backbone_info *info, be_error *error)
{
    be_tensor_file *file;
    const be_backbone_kind *kind;
    be_status status = be_tensor_file_open(path, &file, error);
    if (status != BE_OK)
        return status;
    status = recognise(file, options, NULL, 0, &kind, error);
    if (status == BE_OK)
        status = kind->inspect(file, options, NULL, 0, info, error);
    be_tensor_file_close(file);
    return status;
}

be_status be_backbone_open(const char *path, const be_backbone_options *options, const be_tap *taps, size_t n_taps,
                           be_backbone **backbone, be_error *error)
{
    be_tensor_file *file;
    const be_backbone_kind *kind;
    be_backbone_info info;
    be_status status = be_tensor_file_open(path, &file, error);
    if (status != BE_OK)
        return status;
    status = recognise(file, options, taps, n_taps, &kind, error);
    if (status == BE_OK)
        status = kind->inspect(file, options, taps, n_taps, &info, error);
    if (status == BE_OK) {
        info.precision = options && kind != &be_backbone_resnet ? options->precision : BE_PRECISION_F32;
        status = kind->load(file, &info, taps, n_taps, backbone, error);
    }
    if (status == BE_OK) {
        (*backbone)->kind = kind;
        (*backbone)->info = info;
    }
    be_tensor_file_close(file);
    return status;
}

void be_backbone_close(be_backbone *backbone)
{
    if (backbone)
        backbone->kind->unload(backbone);
}

const be_backbone_info *be_backbone_get_info(const be_backbone *backbone)
{
    return &backbone->info;
}

void be_backbone_grid(const be_backbone *backbone, size_t width, size_t height, size_t *rows, size_t *columns)
{
    size_t patch = backbone->info.patch;
    *rows = height / patch + (height % patch != 0);
    *columns = width / patch + (width % patch != 0);
}

size_t be_backbone_grid_floats(const be_backbone *backbone, size_t rows, size_t columns)
{
    return backbone->kind->grid_floats ? backbone->kind->grid_floats(backbone, rows, columns) : 0;
}

void be_backbone_prepare_grid(const be_backbone *backbone, size_t rows, size_t columns, float *constants)
{
    if (backbone->kind->prepare_grid)
        backbone->kind->prepare_grid(backbone, rows, columns, constants);
}

size_t be_backbone_arena_bytes(const be_backbone *backbone, size_t tokens)
{
    return backbone->kind->arena_bytes(backbone, tokens);
}

size_t be_backbone_scratch_bytes(const be_backbone *backbone, size_t tokens)
{
    return backbone->kind->scratch_bytes(backbone, tokens);
}

be_status be_backbone_run(const be_backbone *backbone, const be_team *team, be_arena *arena, const be_image *image,
                          const float *constants, float *const *features, be_error *error)
{
    return backbone->kind->run(backbone, team, arena, image, constants, features, error);
}

void be_backbone_list_products(const be_backbone *backbone, size_t width, size_t height, const be_product_list *list)
{
    backbone->kind->list_products(backbone, width, height, list);
}
