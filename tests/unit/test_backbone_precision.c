/* The golden features of vision transformers whose products are of bfloat16: as near as the precision allows, on every instruction
 * set that runs here. */
#include "tests/unit/backbone_support.h"

#include <math.h>

typedef struct precision_case {
    const char *weights, *picture, *expected;
    size_t heads;
    be_tap tap;
} precision_case;

static const precision_case cases[] = {
    {"dinov2_q_rois/dinov2_small_pretrain.pth", "dinov2_q_rois/images/a_425.png", "dinov2_q_rois/expected/features.npy", 12,
     {BE_FEATURES_DINOV2_Q, 1, false}},
    {"clip/open_clip_narrow.pth", "clip/images/e_224.png", "clip/transformer_rois/expected/features.npy", 0,
     {BE_FEATURES_CLIP, 1, false}},
};
enum { N_CASES = sizeof cases / sizeof *cases };

typedef struct difference {
    double largest, correlation;
} difference;

/* found [tokens][channels], expected [channels][tokens]. */
static difference compare(const float *found, const float *expected, size_t tokens, size_t channels)
{
    double ff = 0, ee = 0, fe = 0, f = 0, e = 0, n = (double)(tokens * channels);
    difference it = {0};
    for (size_t i = 0; i < tokens * channels; i++) {
        double a = (double)found[i], b = (double)expected[i % channels * tokens + i / channels];
        it.largest = fmax(it.largest, fabs(a - b));
        f += a, e += b, ff += a * a, ee += b * b, fe += a * b;
    }
    it.correlation = (fe - f * e / n) / sqrt((ff - f * f / n) * (ee - e * e / n));
    return it;
}

static difference measure(const precision_case *of, be_precision precision, const char *isa)
{
    be_backbone_options options = {.heads = of->heads, .precision = precision};
    be_backbone *backbone = open_backbone(golden(of->weights), &options, &of->tap, 1);
    be_image image = read_picture(of->picture);
    float *features, *expected = golden_f32(of->expected, 0);
    size_t rows, columns, channels = be_backbone_get_info(backbone)->channels;
    assert_int_equal(be_backbone_get_info(backbone)->precision, precision);
    be_backbone_grid(backbone, image.width, image.height, &rows, &columns);
    run_backbone(backbone, isa, &image, &of->tap, 1, &features);
    difference it = compare(features, expected, rows * columns, channels);
    free(features), free(expected);
    be_image_free(&image);
    be_backbone_close(backbone);
    return it;
}

static void test_every_instruction_set(void **state)
{
    (void)state;
    const be_isa *list[BE_ISA_MAX];
    size_t n_isas = be_isa_available(list);
    for (size_t i = 0; i < N_CASES; i++) {
        for (size_t k = 0; k < n_isas; k++) {
            difference whole = measure(&cases[i], BE_PRECISION_F32, list[k]->name);
            difference three = measure(&cases[i], BE_PRECISION_BF16X3, list[k]->name);
            difference half = measure(&cases[i], BE_PRECISION_BF16, list[k]->name);
            if (!(whole.largest <= 3e-5 && three.largest <= 2e-4 && half.correlation >= 0.9999))
                fail_msg("%s, %s: f32 off by %.2g, bf16x3 by %.2g, bf16 by %.2g (r %.6f)", cases[i].weights, list[k]->name,
                         whole.largest, three.largest, half.largest, half.correlation);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_instruction_set)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
