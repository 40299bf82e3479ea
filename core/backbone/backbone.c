#include "core/backbone/backbone.h"

#include <string.h>

#include "core/backbone/kind.h"
#include "core/files/tensor_file.h"

/* One row for each kind of backbone. */
static const be_backbone_kind *const kinds[] = {
    &be_backbone_dinov2,
};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

/* One row for each kind of feature map. */
static const char *const feature_names[] = {
    [BE_FEATURES_DINOV2_Q] = "dinov2_q",
};
enum { N_FEATURES = sizeof feature_names / sizeof *feature_names };

be_status be_features_parse(const char *text, be_features *features, be_error *error)
{
    for (size_t i = 0; i < N_FEATURES; i++) {
        if (strcmp(text, feature_names[i]) == 0) {
            *features = (be_features)i;
            return BE_OK;
        }
    }
    return be_fail(error, BE_ERROR_UNSUPPORTED, "backbone_arch: '%s' is not supported; dinov2_q is", text);
}

const char *be_features_name(be_features features)
{
    return feature_names[features];
}

static be_status recognise(const be_tensor_file *file, const be_backbone_kind **kind, be_error *error)
{
    for (size_t i = 0; i < N_KINDS; i++) {
        if (kinds[i]->recognise(file)) {
            *kind = kinds[i];
            return BE_OK;
        }
    }
    return be_fail(error, BE_ERROR_UNSUPPORTED, "%s: holds no backbone known here (DINOv2 in Meta's or Hugging Face's names)",
                   be_tensor_file_path(file));
}

be_status be_backbone_inspect(const char *path, const be_backbone_options *options, be_backbone_info *info, be_error *error)
{
    be_tensor_file *file;
    const be_backbone_kind *kind;
    be_status status = be_tensor_file_open(path, &file, error);
    if (status != BE_OK)
        return status;
    status = recognise(file, &kind, error);
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
    status = recognise(file, &kind, error);
    if (status == BE_OK)
        status = kind->inspect(file, options, taps, n_taps, &info, error);
    if (status == BE_OK)
        status = kind->load(file, &info, taps, n_taps, backbone, error);
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
    return backbone->kind->grid_floats(backbone, rows, columns);
}

void be_backbone_prepare_grid(const be_backbone *backbone, size_t rows, size_t columns, float *constants)
{
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
