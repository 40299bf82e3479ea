/* CLIP's visual tower: its names, and what is its own. */
#include <string.h>

#include "core/backbone/vit_file.h"
#include "core/files/config_json.h"

/* Hugging Face's first: OpenAI's mark is also the end of its mark. */
static const vit_names namings[] = {
    {
        .origin = "Hugging Face",
        .mark = "vision_model.embeddings.class_embedding", .other_mark = "vision_model.pre_layrnorm.weight",
        .patches = "vision_model.embeddings.patch_embedding", .class_token = "vision_model.embeddings.class_embedding",
        .positions = "vision_model.embeddings.position_embedding.weight",
        .first_norm = "vision_model.pre_layrnorm", .last_norm = "vision_model.post_layernorm", /* spelled so */
        .projection = "visual_projection.weight",
        .block = "vision_model.encoder.layers.", .norm1 = "layer_norm1", .norm2 = "layer_norm2",
        .query = "self_attn.q_proj", .key = "self_attn.k_proj", .value = "self_attn.v_proj", .out = "self_attn.out_proj",
        .widen = "mlp.fc1", .narrow = "mlp.fc2",
    },
    {
        .origin = "OpenAI",
        .mark = "class_embedding", .other_mark = "ln_pre.weight",
        .patches = "conv1", .class_token = "class_embedding", .positions = "positional_embedding",
        .first_norm = "ln_pre", .last_norm = "ln_post", .projection = "proj", .projection_turned = true,
        .block = "transformer.resblocks.", .norm1 = "ln_1", .norm2 = "ln_2",
        .qkv_weight = "attn.in_proj_weight", .qkv_bias = "attn.in_proj_bias", .out = "attn.out_proj",
        .widen = "mlp.c_fc", .narrow = "mlp.c_proj",
    },
};
enum { N_NAMINGS = sizeof namings / sizeof *namings };

static void recognise(const be_tensor_file *file, be_backbone_signs *signs)
{
    vit_find_signs(file, namings, N_NAMINGS, signs);
}

/* No tensor tells the activation: see be_backbone_options. */
static be_status find_activation(const be_tensor_file *file, const vit_source *from, const be_backbone_options *options,
                                 be_backbone_info *info, be_error *error)
{
    char text[40] = "";
    const char *path = be_tensor_file_path(file);
    info->activation = options ? options->activation : BE_ACTIVATION_AUTO;
    if (info->activation == BE_ACTIVATION_AUTO && strcmp(from->names->origin, "Hugging Face") == 0) {
        be_status status = be_config_json_text(path, "hidden_act", text, sizeof text, error);
        if (status == BE_OK && *text && be_activation_parse(text, &info->activation, NULL) != BE_OK)
            status = be_fail(error, BE_ERROR_UNSUPPORTED, "%s: hidden_act '%s' in config.json beside it is none of: quick_gelu, "
                             "gelu", path, text);
        if (status != BE_OK)
            return status;
    }
    if (info->activation == BE_ACTIVATION_AUTO)
        info->activation = BE_ACTIVATION_QUICK_GELU;
    return BE_OK;
}

static be_status inspect(const be_tensor_file *file, const be_backbone_options *options, const be_tap *taps, size_t n_taps,
                         be_backbone_info *info, be_error *error)
{
    vit_source from;
    vit_find_source(file, namings, N_NAMINGS, &from);
    be_status status = vit_inspect(file, &from, taps, n_taps, info, error);
    if (status != BE_OK)
        return status;
    vit_name(info, be_backbone_clip.name);
    info->image_size = info->patch * info->position_grid;
    status = find_activation(file, &from, options, info, error);
    return status == BE_OK ? vit_find_heads(file, &from, options, 0, info, error) : status;
}

static be_status load(be_tensor_file *file, const be_backbone_info *info, const be_tap *taps, size_t n_taps,
                      be_backbone **backbone, be_error *error)
{
    vit_source from;
    vit_find_source(file, namings, N_NAMINGS, &from);
    return vit_load(file, &from, info, 1e-5f, taps, n_taps, backbone, error);
}

/* There is one grid, and its positions are among the weights. */
static size_t arena_bytes(const be_backbone *backbone, size_t cells)
{
    const vit *model = (const vit *)backbone;
    (void)cells;
    return vit_arena_bytes(model, model->grid * model->grid);
}

static size_t scratch_bytes(const be_backbone *backbone, size_t cells)
{
    const vit *model = (const vit *)backbone;
    (void)cells;
    return vit_scratch_bytes(model, model->grid * model->grid);
}

static be_status run(const be_backbone *backbone, const be_team *team, be_arena *arena, const be_image *image,
                     const float *constants, float *const *features, be_error *error)
{
    const vit *model = (const vit *)backbone;
    size_t side = backbone->info.image_size;
    (void)constants;
    if (image->width != side || image->height != side)
        return be_fail(error, BE_ERROR_ARGUMENT, "image: %zu x %zu pixels, but this CLIP backbone takes %zu x %zu alone",
                       image->width, image->height, side, side);
    return vit_run_image(model, team, arena, image, model->positions, features, error);
}

static bool offers(be_features features)
{
    return features == BE_FEATURES_CLIP || features == BE_FEATURES_CLIP_CLS;
}

const be_backbone_kind be_backbone_clip = {
    .name = "clip",
    .files = "CLIP (OpenAI's or Hugging Face's names)",
    .takes_heads = true,
    .takes_activation = true,
    .offers = offers,
    .recognise = recognise,
    .inspect = inspect,
    .load = load,
    .unload = vit_unload,
    .arena_bytes = arena_bytes,
    .scratch_bytes = scratch_bytes,
    .run = run,
    .list_products = vit_list_products,
};
