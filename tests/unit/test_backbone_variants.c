/* DINOv2 with register tokens and with SwiGLU, for which there is no golden case, against the formulas in double precision. */
#include "tests/unit/made_backbone.h"

#include <math.h>
#include <stdio.h>

#include "core/compute/reference.h"
#include "tests/unit/random.h"

/* --- Hugging Face's names ----------------------------------------------------------------------------------------- */

/* A name of Meta's in Hugging Face's words; NULL for the qkv layers, which are three there. */
static const char *renamed(const char *name)
{
    static const char *const words[][2] = {
        {"cls_token", "embeddings.cls_token"}, {"pos_embed", "embeddings.position_embeddings"},
        {"patch_embed.proj.", "embeddings.patch_embeddings.projection."}, {"register_tokens", "embeddings.register_tokens"},
        {"norm.", "layernorm."}, {"norm1.", "norm1."}, {"norm2.", "norm2."}, {"attn.proj.", "attention.output.dense."},
        {"mlp.fc1.", "mlp.fc1."}, {"mlp.fc2.", "mlp.fc2."}, {"mlp.w12.", "mlp.weights_in."}, {"mlp.w3.", "mlp.weights_out."},
        {"ls1.gamma", "layer_scale1.lambda1"}, {"ls2.gamma", "layer_scale2.lambda1"},
    };
    static char out[160];
    size_t block, length = 0;
    int end = 0;
    if (sscanf(name, "blocks.%zu.%n", &block, &end) == 1)
        length = (size_t)snprintf(out, sizeof out, "encoder.layer.%zu.", block);
    if (strncmp(name + end, "attn.qkv.", 9) == 0)
        return NULL;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t size = strlen(words[i][0]);
        if (strncmp(name + end, words[i][0], size) == 0) {
            snprintf(out + length, sizeof out - length, "%s%s", words[i][1], name + (size_t)end + size);
            return out;
        }
    }
    fail_msg("%s has no other name", name);
    return NULL;
}

/* The same values in Hugging Face's names; the data stay the other's. */
static weights rename_weights(const weights *from, size_t width)
{
    static const char *const parts[] = {"query", "key", "value"};
    weights it = {.count = 0};
    for (size_t i = 0; i < from->count; i++) {
        be_tensor_source tensor = from->tensors[i];
        const char *name = renamed(tensor.name);
        char part[160];
        size_t block;
        if (name) {
            tensor.name = strdup(name);
            it.tensors[it.count++] = tensor;
            continue;
        }
        tensor.shape[0] = width;
        for (size_t p = 0; p < 3; p++) {
            assert_int_equal(sscanf(tensor.name, "blocks.%zu.", &block), 1);
            snprintf(part, sizeof part, "encoder.layer.%zu.attention.attention.%s.%s", block, parts[p],
                     strrchr(tensor.name, '.') + 1);
            it.tensors[it.count] = tensor;
            it.tensors[it.count].name = strdup(part);
            size_t third = tensor.n_dims == 2 ? width * width : width;
            it.tensors[it.count++].data = (const float *)tensor.data + p * third;
        }
    }
    return it;
}

static void free_names(weights *it)
{
    for (size_t i = 0; i < it->count; i++)
        free((void *)(uintptr_t)it->tensors[i].name);
}

/* --- the formulas of MODEL, section 2 ----------------------------------------------------------------------------- */

enum { WIDTH = 16, DEPTH = 2, HIDDEN = 24, PATCH = 3, GRID = 3, CELLS = GRID * GRID, REGISTERS = 4, HEADS = 2,
       MOST_TOKENS = 1 + REGISTERS + CELLS };

typedef struct reference {
    weights *from;
    size_t leading, tokens;
    bool gated;
    float x[MOST_TOKENS * WIDTH];
    float queries[DEPTH][MOST_TOKENS * WIDTH], outputs[DEPTH][MOST_TOKENS * WIDTH]; /* of each block; normed */
} reference;

static const float *values(const reference *self, const char *block, const char *name)
{
    char full[128];
    snprintf(full, sizeof full, "%s%s", block, name);
    return weight_named(self->from, full)->data;
}

static void norm(const reference *self, const char *block, const char *weight, const char *bias, float *out)
{
    be_reference_layer_norm(out, self->x, values(self, block, weight), values(self, block, bias), self->tokens, WIDTH, 1e-6);
}

static void linear(const reference *self, const char *block, const char *weight, const char *bias, const float *in, size_t inner,
                   size_t columns, float *out)
{
    be_reference_product_transposed(out, in, values(self, block, weight), self->tokens, columns, inner, 1);
    be_reference_bias_add(out, values(self, block, bias), self->tokens, columns, columns);
}

/* x += scale * branch. */
static void add_branch(reference *self, const char *block, const char *scale, const float *branch)
{
    const float *factors = values(self, block, scale);
    for (size_t i = 0; i < self->tokens * WIDTH; i++)
        self->x[i] += factors[i % WIDTH] * branch[i];
}

static double pixel(const be_image *image, size_t y, size_t x, size_t colour)
{
    static const double mean[] = {0.485, 0.456, 0.406}, deviation[] = {0.229, 0.224, 0.225};
    if (y >= image->height || x >= image->width)
        return 0;
    return (image->rgb[(y * image->width + x) * 3 + colour] / 255.0 - mean[colour]) / deviation[colour];
}

static void embed(reference *self, const be_image *image)
{
    const float *table = values(self, "", "pos_embed"), *filter = values(self, "", "patch_embed.proj.weight");
    for (size_t c = 0; c < WIDTH; c++) {
        self->x[c] = values(self, "", "cls_token")[c] + table[c];
        for (size_t r = 1; r < self->leading; r++)
            self->x[r * WIDTH + c] = values(self, "", "register_tokens")[(r - 1) * WIDTH + c];
        for (size_t cell = 0; cell < CELLS; cell++) {
            double sum = (double)values(self, "", "patch_embed.proj.bias")[c] + (double)table[(1 + cell) * WIDTH + c];
            for (size_t i = 0; i < 3 * PATCH * PATCH; i++)
                sum += pixel(image, cell / GRID * PATCH + i / PATCH % PATCH, cell % GRID * PATCH + i % PATCH, i / (PATCH * PATCH)) *
                       (double)filter[c * 3 * PATCH * PATCH + i];
            self->x[(self->leading + cell) * WIDTH + c] = (float)sum;
        }
    }
}

static void attend(reference *self, const char *block, float *queries)
{
    float normal[MOST_TOKENS * WIDTH], qkv[MOST_TOKENS * 3 * WIDTH], parts[3][MOST_TOKENS * WIDTH], out[MOST_TOKENS * WIDTH];
    norm(self, block, "norm1.weight", "norm1.bias", normal);
    linear(self, block, "attn.qkv.weight", "attn.qkv.bias", normal, WIDTH, 3 * WIDTH, qkv);
    for (size_t i = 0; i < self->tokens * 3 * WIDTH; i++)
        parts[i / WIDTH % 3][i / (3 * WIDTH) * WIDTH + i % WIDTH] = qkv[i];
    memcpy(queries, parts[0], sizeof parts[0]);
    be_reference_attention(out, parts[0], parts[1], parts[2], self->tokens, self->tokens, HEADS, WIDTH / HEADS,
                           1 / sqrt(WIDTH / HEADS));
    linear(self, block, "attn.proj.weight", "attn.proj.bias", out, WIDTH, WIDTH, normal);
    add_branch(self, block, "ls1.gamma", normal);
}

static void feed_forward(reference *self, const char *block)
{
    static const float zeros[2 * HIDDEN];
    float normal[MOST_TOKENS * WIDTH], wide[MOST_TOKENS * 2 * HIDDEN], hidden[MOST_TOKENS * HIDDEN];
    norm(self, block, "norm2.weight", "norm2.bias", normal);
    if (self->gated) { /* [a ; b] = x W12' + b12; y = (silu(a) * b) W3' + b3 */
        linear(self, block, "mlp.w12.weight", "mlp.w12.bias", normal, WIDTH, 2 * HIDDEN, wide);
        for (size_t i = 0; i < self->tokens * HIDDEN; i++) {
            double a = (double)wide[i / HIDDEN * 2 * HIDDEN + i % HIDDEN];
            hidden[i] = (float)(a / (1 + exp(-a)) * (double)wide[i / HIDDEN * 2 * HIDDEN + HIDDEN + i % HIDDEN]);
        }
        linear(self, block, "mlp.w3.weight", "mlp.w3.bias", hidden, HIDDEN, WIDTH, normal);
    } else {
        linear(self, block, "mlp.fc1.weight", "mlp.fc1.bias", normal, WIDTH, HIDDEN, hidden);
        be_reference_bias_gelu(hidden, zeros, self->tokens, HIDDEN);
        linear(self, block, "mlp.fc2.weight", "mlp.fc2.bias", hidden, HIDDEN, WIDTH, normal);
    }
    add_branch(self, block, "ls2.gamma", normal);
}

static void compute_reference(reference *self, const be_image *image)
{
    embed(self, image);
    for (size_t i = 0; i < DEPTH; i++) {
        char block[32];
        snprintf(block, sizeof block, "blocks.%zu.", i);
        attend(self, block, self->queries[i]);
        feed_forward(self, block);
        norm(self, "", "norm.weight", "norm.bias", self->outputs[i]);
    }
}

/* --- variants ----------------------------------------------------------------------------------------------------- */

static void check_variant(const char *path, const reference *expected, const be_image *image)
{
    static const be_tap taps[] = {
        {BE_FEATURES_DINOV2, 1, false}, {BE_FEATURES_DINOV2_Q, 1, false}, {BE_FEATURES_DINOV2_CLS, 1, false},
        {BE_FEATURES_DINOV2_CLS_FIRST_PATCH, 1, false}, {BE_FEATURES_DINOV2, 2, false}, {BE_FEATURES_DINOV2_Q_CLS, 2, false},
        {BE_FEATURES_DINOV2_Q, 2, false},
    };
    enum { TAPS = sizeof taps / sizeof *taps };
    size_t leading = expected->leading * WIDTH;
    const struct { const float *values; size_t tokens; } wanted[TAPS] = {
        {expected->outputs[1] + leading, CELLS}, {expected->queries[1] + leading, CELLS}, {expected->outputs[1], 1},
        {expected->outputs[1] + leading, 1}, {expected->outputs[0] + leading, CELLS}, {expected->queries[0], 1},
        {expected->queries[0] + leading, CELLS},
    };
    const be_backbone_options options = {.heads = HEADS};
    float *features[TAPS], *alone;
    be_backbone *backbone = open_backbone(path, &options, taps, TAPS);
    const be_backbone_info *info = be_backbone_get_info(backbone);
    run_backbone(backbone, NULL, image, taps, TAPS, features);
    for (size_t i = 0; i < TAPS; i++) {
        assert_close(be_features_name(taps[i].features), features[i], wanted[i].values, wanted[i].tokens * WIDTH,
                     FEATURE_TOLERANCE);
        be_backbone *one = open_backbone(path, &options, &taps[i], 1);
        run_backbone(one, NULL, image, &taps[i], 1, &alone);
        assert_close(be_features_name(taps[i].features), alone, wanted[i].values, wanted[i].tokens * WIDTH, FEATURE_TOLERANCE);
        be_backbone_close(one);
        free(features[i]), free(alone);
    }
    assert_int_equal(info->registers, expected->leading - 1);
    assert_int_equal(info->activation, expected->gated ? BE_ACTIVATION_SWIGLU : BE_ACTIVATION_GELU);
    assert_int_equal(info->hidden, HIDDEN);
    assert_int_equal(strstr(info->unverified, "register tokens") != NULL, info->registers > 0);
    assert_int_equal(strstr(info->unverified, "SwiGLU") != NULL, expected->gated);
    be_backbone_close(backbone);
}

/* The image is of the table's own grid, less a border that is padded. */
static void test_variants(void **state)
{
    (void)state;
    char path[1024];
    uint32_t random = 7;
    be_image image = make_noise(GRID * PATCH - 1, GRID * PATCH - 2, 3);
    snprintf(path, sizeof path, "%s", scratch("variant.safetensors"));
    for (unsigned variant = 0; variant < 4; variant++) {
        sizes s = {.width = WIDTH, .depth = DEPTH, .hidden = HIDDEN, .patch = PATCH, .grid = GRID,
                   .registers = variant & 1 ? REGISTERS : 0, .gated = variant & 2};
        weights meta = make_dinov2(&s, &random), other = rename_weights(&meta, WIDTH);
        reference expected = {.from = &meta, .leading = 1 + s.registers, .tokens = 1 + s.registers + CELLS, .gated = s.gated};
        compute_reference(&expected, &image);
        write_weights(&meta, path);
        check_variant(path, &expected, &image);
        write_weights(&other, path);
        check_variant(path, &expected, &image);
        free_names(&other);
        free_weights(&meta);
    }
    be_image_free(&image);
}

static void test_each_tensor_is_named(void **state)
{
    (void)state;
    static const char *const unneeded[] = {"register_tokens", NULL}; /* without them it is one without registers */
    const be_tap taps[] = {{BE_FEATURES_DINOV2, 1, false}};
    uint32_t random = 8;
    sizes s = {.width = WIDTH, .depth = DEPTH, .hidden = HIDDEN, .patch = PATCH, .grid = GRID, .registers = 2, .gated = true};
    weights it = make_dinov2(&s, &random);
    check_each_tensor(&it, &(be_backbone_options){.heads = HEADS}, taps, 1, unneeded);
    be_tensor_source *registers = weight_named(&it, "register_tokens");
    registers->shape[1] = 1, registers->shape[2] = 2 * WIDTH;
    write_weights(&it, scratch("registers.safetensors"));
    refuse_backbone(scratch("registers.safetensors"), NULL, taps, 1, BE_ERROR_FORMAT,
                    "'register_tokens' has the wrong shape [1][1][32], expected [1][registers][width]");
    registers->shape[1] = 2, registers->shape[2] = WIDTH;
    weight_named(&it, "blocks.0.mlp.w12.weight")->shape[0] = 2 * HIDDEN - 1;
    write_weights(&it, scratch("odd.safetensors"));
    refuse_backbone(scratch("odd.safetensors"), NULL, taps, 1, BE_ERROR_FORMAT,
                    "'blocks.0.mlp.w12.weight' has the wrong shape [47][16]");
    free_weights(&it);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_variants), cmocka_unit_test(test_each_tensor_is_named)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
