/* DINOv2: its names, and what is its own. */
#include "core/backbone/vit_file.h"

static const vit_names namings[] = {
    {
        .origin = "Meta",
        .mark = "patch_embed.proj.weight", .other_mark = "blocks.0.attn.qkv.weight",
        .patches = "patch_embed.proj", .patch_bias = true, .class_token = "cls_token", .positions = "pos_embed",
        .registers = "register_tokens", .last_norm = "norm",
        .block = "blocks.", .norm1 = "norm1", .norm2 = "norm2", .out = "attn.proj", .widen = "mlp.fc1", .narrow = "mlp.fc2",
        .qkv_weight = "attn.qkv.weight", .qkv_bias = "attn.qkv.bias", .scale1 = "ls1.gamma", .scale2 = "ls2.gamma",
        .gated_widen = "mlp.w12", .gated_narrow = "mlp.w3",
    },
    {
        .origin = "Hugging Face",
        .mark = "embeddings.patch_embeddings.projection.weight",
        .other_mark = "encoder.layer.0.attention.attention.query.weight",
        .patches = "embeddings.patch_embeddings.projection", .patch_bias = true, .class_token = "embeddings.cls_token",
        .positions = "embeddings.position_embeddings", .registers = "embeddings.register_tokens", .last_norm = "layernorm",
        .block = "encoder.layer.", .norm1 = "norm1", .norm2 = "norm2", .out = "attention.output.dense",
        .widen = "mlp.fc1", .narrow = "mlp.fc2",
        .query = "attention.attention.query", .key = "attention.attention.key", .value = "attention.attention.value",
        .scale1 = "layer_scale1.lambda1", .scale2 = "layer_scale2.lambda1",
        .gated_widen = "mlp.weights_in", .gated_narrow = "mlp.weights_out",
    },
};
enum { N_NAMINGS = sizeof namings / sizeof *namings, PUBLISHED_HEADS = 12 };

static void recognise(const be_tensor_file *file, be_backbone_signs *signs)
{
    vit_find_signs(file, namings, N_NAMINGS, signs);
}

static be_status inspect(const be_tensor_file *file, const be_backbone_options *options, const be_tap *taps, size_t n_taps,
                         be_backbone_info *info, be_error *error)
{
    vit_source from;
    vit_find_source(file, namings, N_NAMINGS, &from);
    be_status status = vit_inspect(file, &from, taps, n_taps, info, error);
    if (status != BE_OK)
        return status;
    vit_name(info, be_backbone_dinov2.name);
    if (info->registers)
        vit_add_note(info, "no golden case covers register tokens");
    if (info->activation == BE_ACTIVATION_SWIGLU)
        vit_add_note(info, "no golden case covers a SwiGLU feed-forward part");
    return vit_find_heads(file, &from, options, PUBLISHED_HEADS, info, error);
}

static be_status load(be_tensor_file *file, const be_backbone_info *info, const be_tap *taps, size_t n_taps,
                      be_backbone **backbone, be_error *error)
{
    vit_source from;
    vit_find_source(file, namings, N_NAMINGS, &from);
    return vit_load(file, &from, info, 1e-6f, taps, n_taps, backbone, error);
}

static size_t grid_floats(const be_backbone *backbone, size_t rows, size_t columns)
{
    return rows * columns * ((const vit *)backbone)->width;
}

static void prepare_grid(const be_backbone *backbone, size_t rows, size_t columns, float *constants)
{
    const vit *model = (const vit *)backbone;
    dinov2_resample_positions(model, rows, columns, constants);
    for (size_t i = 0; i < rows * columns * model->width; i++)
        constants[i] += model->patch_bias[i % model->width];
}

static size_t arena_bytes(const be_backbone *backbone, size_t cells)
{
    return vit_arena_bytes((const vit *)backbone, cells);
}

static size_t scratch_bytes(const be_backbone *backbone, size_t cells)
{
    return vit_scratch_bytes((const vit *)backbone, cells);
}

static be_status run(const be_backbone *backbone, const be_team *team, be_arena *arena, const be_image *image,
                     const float *constants, float *const *features, be_error *error)
{
    return vit_run_image((const vit *)backbone, team, arena, image, constants, features, error);
}

static bool offers(be_features features)
{
    return features <= BE_FEATURES_DINOV2_CLS;
}

const be_backbone_kind be_backbone_dinov2 = {
    .name = "dinov2",
    .files = "DINOv2 (Meta's or Hugging Face's names)",
    .takes_heads = true,
    .offers = offers,
    .recognise = recognise,
    .inspect = inspect,
    .load = load,
    .unload = vit_unload,
    .grid_floats = grid_floats,
    .prepare_grid = prepare_grid,
    .arena_bytes = arena_bytes,
    .scratch_bytes = scratch_bytes,
    .run = run,
    .list_products = vit_list_products,
};
