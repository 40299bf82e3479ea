/* Every feature map of DINOv2 against the golden ones: several in one pass, each alone, from complete and from bare files. */
#include "tests/unit/backbone_support.h"

#include <stdio.h>

#define SMALL "dinov2_q_rois/dinov2_small_pretrain.pth"
#define SMALL_RENAMED "dinov2_q_rois/dinov2_small.safetensors"
#define DEEP "dinov2_depth12/dinov2_tiny12_pretrain.pth"
enum { GRID = 31, SMALL_WIDTH = 96, DEEP_WIDTH = 48 };

static const be_backbone_options heads = {.heads = GOLDEN_HEADS};

/* One tap of a backbone: where its golden values are and what it takes. */
typedef struct tap_case {
    be_tap tap;
    const char *expected; /* features of images a and b, sampled, or one token each */
    size_t blocks;        /* whole ones that must be computed */
    bool queries, norm;   /* the q third of one more is needed; the last norm is */
} tap_case;

static const tap_case small_cases[] = {
    {{BE_FEATURES_DINOV2_CLS, 1, false}, "variants/linear_dinov2_cls_patched/expected/true_cls_token.npy", 4, false, true},
    {{BE_FEATURES_DINOV2, 3, false}, "variants/dinov2_enc3_patched/expected/features_sample.npy", 2, false, true},
    {{BE_FEATURES_DINOV2_Q, 3, false}, "variants/dinov2q_enc3/expected/features_sample.npy", 1, true, false},
    {{BE_FEATURES_DINOV2_Q_CLS, 1, false}, "variants/linear_q_cls/expected/features_sample.npy", 3, true, false},
    {{BE_FEATURES_DINOV2_CLS_FIRST_PATCH, 1, false}, "variants/linear_dinov2_cls_patched/expected/features_sample.npy", 4, false,
     true},
    {{BE_FEATURES_DINOV2, 1, false}, "variants/dinov2_enc1_patched/expected/features_sample.npy", 4, false, true},
};
static const tap_case deep_cases[] = {
    {{BE_FEATURES_DINOV2_Q, 7, false}, "dinov2_depth12/dinov2q_enc7/expected/features_sample.npy", 5, true, false},
    {{BE_FEATURES_DINOV2, 1, false}, "dinov2_depth12/dinov2_enc1_patched/expected/features_sample.npy", 12, false, true},
    {{BE_FEATURES_DINOV2, 7, false}, "dinov2_depth12/dinov2_enc7_patched/expected/features_sample.npy", 6, false, true},
};
enum { N_SMALL = sizeof small_cases / sizeof *small_cases, N_DEEP = sizeof deep_cases / sizeof *deep_cases, MOST_CASES = 8 };

static be_image pictures[2];

static int read_pictures(void **state)
{
    (void)state;
    pictures[0] = read_picture("dinov2_q_rois/images/a_425.png");
    pictures[1] = read_picture("dinov2_q_rois/images/b_425.png");
    return 0;
}

static int free_pictures(void **state)
{
    (void)state;
    be_image_free(&pictures[0]), be_image_free(&pictures[1]);
    return 0;
}

static void check_features(const tap_case *it, size_t image, const float *features, size_t width)
{
    if (!be_features_is_class(it->tap.features)) {
        check_feature_sample(it->expected, image, 2, features, GRID, GRID, width);
        return;
    }
    float *expected = golden_f32(it->expected, 2 * width);
    assert_close(it->expected, features, expected + image * width, width, FEATURE_TOLERANCE);
    free(expected);
}

static void check_run(const be_backbone *backbone, const char *isa, size_t image, const tap_case *cases, size_t count,
                      size_t width)
{
    be_tap taps[MOST_CASES] = {0};
    float *features[MOST_CASES];
    for (size_t i = 0; i < count; i++)
        taps[i] = cases[i].tap;
    run_backbone(backbone, isa, &pictures[image], taps, count, features);
    for (size_t i = 0; i < count; i++) {
        check_features(&cases[i], image, features[i], width);
        free(features[i]);
    }
}

static be_backbone *open_cases(const char *path, const tap_case *cases, size_t count)
{
    be_tap taps[MOST_CASES] = {0};
    for (size_t i = 0; i < count; i++)
        taps[i] = cases[i].tap;
    return open_backbone(path, &heads, taps, count);
}

/* --- the golden features ------------------------------------------------------------------------------------------ */

static void test_all_in_one_pass(void **state)
{
    (void)state;
    const be_kernels *tables[BE_KERNELS_MAX];
    size_t n_tables = be_kernels_available(tables);
    be_backbone *backbone = open_cases(golden(SMALL), small_cases, N_SMALL);
    for (size_t t = 0; t < n_tables; t++)
        check_run(backbone, tables[t]->name, 0, small_cases, N_SMALL, SMALL_WIDTH);
    check_run(backbone, NULL, 1, small_cases, N_SMALL, SMALL_WIDTH);
    assert_int_equal(be_backbone_get_info(backbone)->blocks_needed, 4);
    be_backbone_close(backbone);
    backbone = open_cases(golden(SMALL_RENAMED), small_cases, N_SMALL);
    assert_string_equal(be_backbone_get_info(backbone)->naming, "Hugging Face");
    check_run(backbone, NULL, 1, small_cases, N_SMALL, SMALL_WIDTH);
    be_backbone_close(backbone);
}

static void test_twelve_blocks(void **state)
{
    (void)state;
    be_backbone *backbone = open_cases(golden(DEEP), deep_cases, N_DEEP);
    check_run(backbone, NULL, 0, deep_cases, N_DEEP, DEEP_WIDTH);
    check_run(backbone, NULL, 1, deep_cases, N_DEEP, DEEP_WIDTH);
    be_backbone_close(backbone);
}

/* The values that must be in memory, by the tensors' sizes. */
static size_t count_parameters(const be_backbone_info *info, size_t blocks, bool queries, bool norm)
{
    size_t c = info->width, hidden = info->hidden, grid = info->position_grid;
    size_t patches = c * 3 * info->patch * info->patch + c, class_token = c, positions = grid * grid * c;
    size_t norms = 2 * 2 * c, attention = 3 * c * c + 3 * c + c * c + c, scales = 2 * c;
    size_t feed_forward = hidden * c + hidden + c * hidden + c;
    return patches + class_token + positions + blocks * (norms + attention + scales + feed_forward) +
           (queries ? 2 * c + c * c + c : 0) + (norm ? 2 * c : 0);
}

/* True when a tensor in Meta's names is needed by that case. */
static bool is_needed(const tap_case *it, const char *name)
{
    size_t block;
    int end = 0;
    if (strcmp(name, "mask_token") == 0)
        return false;
    if (strncmp(name, "norm.", 5) == 0)
        return it->norm;
    if (sscanf(name, "blocks.%zu.%n", &block, &end) != 1)
        return true;
    if (block == 0 && strcmp(name + end, "mlp.fc1.weight") == 0)
        return true; /* its shape tells the width of the hidden part */
    bool of_queries = strncmp(name + end, "norm1.", 6) == 0 || strncmp(name + end, "attn.qkv.", 9) == 0;
    return block < it->blocks || (block == it->blocks && it->queries && of_queries);
}

/* A file without what a tap does not need; the last block leaves its mark by one tensor of no values, which tells the depth. */
static void write_bare_file(const weights *whole, const tap_case *it, const char *path)
{
    weights bare = {.count = 0};
    be_tensor_source mark = {"blocks.3.mlp.w12.bias", BE_DTYPE_F32, 1, {0}, whole->tensors[0].data};
    for (size_t i = 0; i < whole->count; i++) {
        if (is_needed(it, whole->tensors[i].name))
            bare.tensors[bare.count++] = whole->tensors[i];
    }
    assert_true(bare.count < whole->count);
    bare.tensors[bare.count++] = mark;
    write_weights(&bare, path);
}

/* Alone, each is the same; nothing is read, held or computed that it does not need, and the info says so. */
static void test_each_alone(void **state)
{
    (void)state;
    char path[1024];
    weights whole = take_weights(golden(SMALL));
    snprintf(path, sizeof path, "%s", scratch("bare.safetensors"));
    for (size_t i = 0; i < N_SMALL; i++) {
        const tap_case *it = &small_cases[i];
        write_bare_file(&whole, it, path);
        be_backbone *backbone = open_cases(path, it, 1);
        const be_backbone_info *info = be_backbone_get_info(backbone);
        assert_int_equal(info->blocks_needed, it->blocks);
        assert_int_equal(info->parameters, count_parameters(info, it->blocks, it->queries, it->norm));
        check_run(backbone, NULL, i % 2, it, 1, SMALL_WIDTH);
        be_backbone_close(backbone);
    }
    free_weights(&whole);
}

/* Taps of one block share it: queries of layer 1 beside its output, and the same block's output of two kinds. */
static void test_parameters_of_several(void **state)
{
    (void)state;
    static const struct { be_tap taps[2]; size_t blocks; bool queries, norm; } cases[] = {
        {{{BE_FEATURES_DINOV2_Q, 1, false}, {BE_FEATURES_DINOV2, 1, false}}, 4, false, true},
        {{{BE_FEATURES_DINOV2_Q, 1, false}, {BE_FEATURES_DINOV2, 2, false}}, 3, true, true},
        {{{BE_FEATURES_DINOV2_CLS, 3, false}, {BE_FEATURES_DINOV2, 3, false}}, 2, false, true},
        {{{BE_FEATURES_DINOV2_Q, 2, false}, {BE_FEATURES_DINOV2_Q_CLS, 2, false}}, 2, true, false},
        {{{BE_FEATURES_DINOV2_Q_CLS, 4, false}, {BE_FEATURES_DINOV2_Q, 0, false}}, 0, true, false}, /* block 0, both */
        {{{BE_FEATURES_DINOV2, 0, false}, {BE_FEATURES_DINOV2_Q, 0, false}}, 1, false, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        be_backbone *backbone = open_backbone(golden(SMALL), &heads, cases[i].taps, 2);
        const be_backbone_info *info = be_backbone_get_info(backbone);
        assert_int_equal(info->blocks_needed, cases[i].blocks);
        assert_int_equal(info->parameters, count_parameters(info, cases[i].blocks, cases[i].queries, cases[i].norm));
        be_backbone_close(backbone);
    }
    be_backbone_info info;
    be_error error;
    assert_ok(be_backbone_inspect(golden(SMALL), &heads, &info, &error), &error);
    assert_int_equal(info.parameters, count_parameters(&info, 4, false, true));
}

/* Layer 0 is block 0, as is layer `depth`: the features of both are the same bits. */
static void test_layer_zero(void **state)
{
    (void)state;
    static const be_features kinds[] = {BE_FEATURES_DINOV2_Q, BE_FEATURES_DINOV2, BE_FEATURES_DINOV2_CLS};
    enum { KINDS = 3 };
    be_image image = make_noise(50, 40, 1);
    be_tap taps[2 * KINDS];
    float *features[2 * KINDS];
    for (size_t i = 0; i < KINDS; i++) {
        taps[i] = (be_tap){.features = kinds[i], .layer = 0};
        taps[KINDS + i] = (be_tap){.features = kinds[i], .layer = 4};
    }
    be_backbone *backbone = open_backbone(golden(SMALL), &heads, taps, 2 * KINDS);
    run_backbone(backbone, NULL, &image, taps, 2 * KINDS, features);
    for (size_t i = 0; i < KINDS; i++) {
        size_t tokens = be_features_is_class(kinds[i]) ? 1 : 12;
        assert_memory_equal(features[i], features[KINDS + i], tokens * SMALL_WIDTH * sizeof(float));
    }
    for (size_t i = 0; i < 2 * KINDS; i++)
        free(features[i]);
    be_backbone_close(backbone);
    be_image_free(&image);
}

/* --- what is refused ---------------------------------------------------------------------------------------------- */

static const be_tap all_taps[] = {{BE_FEATURES_DINOV2, 1, false}, {BE_FEATURES_DINOV2_Q, 2, false}};

static void test_each_tensor_is_named(void **state)
{
    (void)state;
    static const char *const unneeded[] = {"mask_token", "embeddings.mask_token", NULL};
    weights meta = take_weights(golden(SMALL)), renamed = take_weights(golden(SMALL_RENAMED));
    check_each_tensor(&meta, &heads, all_taps, 2, unneeded);
    check_each_tensor(&renamed, &heads, all_taps, 2, unneeded);
    free_weights(&meta), free_weights(&renamed);
}

/* Queries alone are read as a third of one tensor: it too is checked. */
static void test_damaged_queries(void **state)
{
    (void)state;
    const be_tap tap = {.features = BE_FEATURES_DINOV2_Q, .layer = 4};
    weights it = take_weights(golden(SMALL));
    weight_named(&it, "blocks.0.attn.qkv.weight")->shape[0] = 2 * SMALL_WIDTH;
    write_weights(&it, scratch("queries.safetensors"));
    refuse_backbone(scratch("queries.safetensors"), &heads, &tap, 1, BE_ERROR_FORMAT,
                    "'blocks.0.attn.qkv.weight' has the wrong shape, expected [288][96]");
    free_weights(&it);
}

static void refuse_shape(const char *name, size_t n_dims, const size_t *shape, const char *part)
{
    weights it = take_weights(golden(SMALL));
    be_tensor_source *tensor = weight_named(&it, name);
    tensor->n_dims = n_dims;
    memcpy(tensor->shape, shape, n_dims * sizeof *shape);
    write_weights(&it, scratch("shape.safetensors"));
    refuse_backbone(scratch("shape.safetensors"), &heads, all_taps, 2, BE_ERROR_FORMAT, part);
    free_weights(&it);
}

static void test_shapes_that_tell_sizes(void **state)
{
    (void)state;
    refuse_shape("patch_embed.proj.weight", 4, (size_t[]){96, 1, 14, 14}, "[96][1][14][14], expected [width][3][patch][patch]");
    refuse_shape("patch_embed.proj.weight", 4, (size_t[]){96, 3, 14, 7}, "[96][3][14][7]");
    refuse_shape("patch_embed.proj.weight", 4, (size_t[]){0, 3, 14, 14}, "[0][3][14][14]");
    refuse_shape("patch_embed.proj.weight", 2, (size_t[]){96, 588}, "[96][588]");
    refuse_shape("pos_embed", 3, (size_t[]){1, 1369, 96}, "[1][1369][96], expected a row for the class token");
    refuse_shape("pos_embed", 3, (size_t[]){1, 1, 96}, "[1][1][96]");
    refuse_shape("pos_embed", 3, (size_t[]){1, 96, 1370}, "[1][96][1370]");
    refuse_shape("blocks.0.mlp.fc1.weight", 1, (size_t[]){384}, "[384], expected [hidden][width]");
    refuse_shape("blocks.0.mlp.fc1.weight", 2, (size_t[]){0, 96}, "[0][96]");
}

/* A block that is left out is missed, whatever its number; so many cannot be. */
static void test_block_numbers(void **state)
{
    (void)state;
    weights it = take_weights(golden(SMALL)), gap = {.count = 0};
    for (size_t i = 0; i < it.count; i++) {
        if (strncmp(it.tensors[i].name, "blocks.1.", 9) != 0)
            gap.tensors[gap.count++] = it.tensors[i];
    }
    write_weights(&gap, scratch("gap.safetensors"));
    refuse_backbone(scratch("gap.safetensors"), &heads, all_taps, 2, BE_ERROR_FORMAT, "'blocks.1.norm1.weight' is missing");
    gap = it;
    gap.tensors[gap.count] = *weight_named(&it, "blocks.3.norm1.weight");
    gap.tensors[gap.count++].name = "blocks.99999999999999999999.norm1.weight";
    write_weights(&gap, scratch("gap.safetensors"));
    refuse_backbone(scratch("gap.safetensors"), &heads, all_taps, 2, BE_ERROR_FORMAT, "more than 512 blocks");
    free_weights(&it);
}

static void test_options_and_taps(void **state)
{
    (void)state;
    const be_tap clip = {.features = BE_FEATURES_CLIP, .layer = 1}, deep = {.features = BE_FEATURES_DINOV2_CLS, .layer = 5};
    const char *path = golden(SMALL);
    refuse_backbone(path, &heads, &clip, 1, BE_ERROR_FORMAT, "is a dinov2 backbone, which has no clip features");
    refuse_backbone(path, &heads, &deep, 1, BE_ERROR_FORMAT, "enc_output_layer 5 is deeper than the backbone's 4 blocks");
    refuse_backbone(path, &(be_backbone_options){.kind = "clip"}, all_taps, 2, BE_ERROR_FORMAT,
                    "is a dinov2 backbone, not the clip");
    refuse_backbone(path, &(be_backbone_options){.activation = BE_ACTIVATION_GELU}, all_taps, 2, BE_ERROR_ARGUMENT, "activation");
    refuse_backbone(path, &(be_backbone_options){.heads = 5}, all_taps, 2, BE_ERROR_ARGUMENT,
                    "width 96 is not a multiple of 5 heads");
    be_backbone_close(open_backbone(path, &(be_backbone_options){.kind = "dinov2", .heads = 6}, all_taps, 2));
}

/* Other programs put words before all names. */
static void test_prefix(void **state)
{
    (void)state;
    static char names[MOST_WEIGHTS][128];
    weights it = take_weights(golden(SMALL)), wrapped = it;
    for (size_t i = 0; i < it.count; i++) {
        snprintf(names[i], sizeof names[i], "module.%s", it.tensors[i].name);
        wrapped.tensors[i].name = names[i];
    }
    write_weights(&wrapped, scratch("wrapped.safetensors"));
    be_backbone *backbone = open_cases(scratch("wrapped.safetensors"), &small_cases[1], 1);
    check_run(backbone, NULL, 0, &small_cases[1], 1, SMALL_WIDTH);
    be_backbone_close(backbone);
    free_weights(&it);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_in_one_pass),      cmocka_unit_test(test_twelve_blocks),
        cmocka_unit_test(test_each_alone),           cmocka_unit_test(test_parameters_of_several),
        cmocka_unit_test(test_layer_zero),           cmocka_unit_test(test_each_tensor_is_named),
        cmocka_unit_test(test_damaged_queries),      cmocka_unit_test(test_shapes_that_tell_sizes),
        cmocka_unit_test(test_block_numbers),        cmocka_unit_test(test_options_and_taps),
        cmocka_unit_test(test_prefix),
    };
    return cmocka_run_group_tests(tests, read_pictures, free_pictures);
}
