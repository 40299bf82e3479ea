/* Both transformers against the formulas of MODEL, sections 3 and 4, in double precision: every setting, alone and with others,
 * for most of which there is no golden case; in every precision of the products. */
#include "tests/unit/reference_encoder.h"

#include <math.h>
#include <stdio.h>

#include "tests/unit/random.h"

static void keep_tokens(void *context, const be_team *team, size_t first, size_t count, const float *tokens)
{
    (void)team;
    memcpy((float *)context + first * WIDTH, tokens, count * WIDTH * sizeof *tokens);
}

static be_arena make_arena(size_t bytes)
{
    be_arena arena;
    be_error error;
    assert_ok(be_arena_create(&arena, bytes, "a test", &error), &error);
    return arena;
}

static be_encoder *load(const weights *it, const be_encoder_settings *settings)
{
    be_tensor_file *file;
    be_encoder *encoder;
    be_error error;
    write_weights(it, scratch("encoder.safetensors"));
    assert_ok(be_tensor_file_open(scratch("encoder.safetensors"), &file, &error), &error);
    assert_ok(be_encoder_load(file, "m.", settings, &encoder, &error), &error);
    be_tensor_file_close(file);
    return encoder;
}

/* How far an answer may be from the formulas in each precision: tokens are up to 4 in size and maps up to 1, of which bfloat16
 * loses 2^-9, and a few times that through the layers; its three parts 2^-17. */
static const double token_errors[] = {2e-5, 4 * 4 * 0x1p-9, 4 * 4 * 0x1p-17}, map_errors[] = {5e-6, 4 * 0x1p-9, 4 * 0x1p-17};

static void assert_near(const char *what, double found, double expected, double tolerance)
{
    if (!(fabs(found - expected) <= tolerance))
        fail_msg("%s: %.9g, expected %.9g", what, found, expected);
}

/* What is wished of some queries; each [heads][count][TOKENS]. */
typedef struct answer {
    float tokens[QUERIES * WIDTH], mean[QUERIES * TOKENS], each[MOST_HEADS * QUERIES * TOKENS];
} answer;

static void ask(const be_encoding *encoding, const uint32_t *list, size_t count, answer *to)
{
    be_encode_queries(encoding, &(be_encoder_wish){.queries = list, .count = count, .take = keep_tokens, .context = to->tokens,
                                                   .attention = to->mean, .attention_heads = to->each});
}

/* Compares the answer for all queries with the reference. */
static void check_answer(const char *what, size_t heads, const answer *found, const reference *expected, be_precision precision)
{
    double token_error = token_errors[precision], map_error = map_errors[precision];
    for (size_t q = 0; q < QUERIES; q++) {
        for (size_t c = 0; c < WIDTH; c++)
            assert_near(what, (double)found->tokens[q * WIDTH + c], expected->state[q][c], token_error);
        for (size_t t = 0; t < TOKENS; t++) {
            double average = 0;
            for (size_t h = 0; h < heads; h++) {
                assert_near(what, (double)found->each[(h * QUERIES + q) * TOKENS + t], expected->maps[h][q][t], map_error);
                average += expected->maps[h][q][t] / (double)heads;
            }
            assert_near(what, (double)found->mean[q * TOKENS + t], average, map_error);
        }
    }
}

/* Queries asked for with others give the same bits. */
static void check_some(const be_encoding *encoding, size_t heads, const answer *all)
{
    static const uint32_t some[] = {36, 0, 5};
    enum { SOME = sizeof some / sizeof *some };
    static answer found;
    ask(encoding, some, SOME, &found);
    for (size_t i = 0; i < SOME; i++) {
        assert_memory_equal(found.tokens + i * WIDTH, all->tokens + some[i] * WIDTH, WIDTH * sizeof(float));
        assert_memory_equal(found.mean + i * TOKENS, all->mean + some[i] * TOKENS, TOKENS * sizeof(float));
        for (size_t h = 0; h < heads; h++)
            assert_memory_equal(found.each + (h * SOME + i) * TOKENS, all->each + (h * QUERIES + some[i]) * TOKENS,
                                TOKENS * sizeof(float));
    }
}

/* Runs an encoder on each instruction set. */
static void check_encoder(const char *what, const be_encoder *encoder, const reference *expected, const float *features,
                          be_precision precision)
{
    static answer found;
    static float constants[(ROWS + COLUMNS) * WIDTH / 2];
    be_arena arena = make_arena(be_encoder_arena_bytes(encoder, TOKENS));
    be_arena of_worker = make_arena(be_encoder_scratch_bytes(encoder, TOKENS));
    size_t heads = be_encoder_get_info(encoder)->heads;
    double stages[BE_STAGES] = {0};
    be_team team = {.scratch = &of_worker, .stages = stages};
    be_encoding encoding;
    be_error error;
    assert_int_equal(be_encoder_grid_floats(encoder, ROWS, COLUMNS), (ROWS + COLUMNS) * WIDTH / 2);
    assert_ok(be_encoder_check_grid(encoder, ROWS, COLUMNS, &error), &error);
    be_encoder_prepare_grid(encoder, ROWS, COLUMNS, constants);
    const be_isa *list[BE_ISA_MAX];
    size_t n_isas = be_isa_available(list);
    for (size_t i = 0; i < n_isas; i++) {
        team.isa = list[i];
        memset(arena.base, 0xff, arena.size), memset(of_worker.base, 0xff, of_worker.size);
        assert_ok(be_encode_begin(encoder, &team, &arena, features, ROWS, COLUMNS, constants, &encoding, &error), &error);
        ask(&encoding, NULL, QUERIES, &found);
        check_answer(what, heads, &found, expected, precision);
        check_some(&encoding, heads, &found);
    }
    for (int stage = 0; stage < BE_STAGES; stage++)
        assert_true(stage == BE_STAGE_ENCODE ? stages[stage] > 0 : stages[stage] <= 0); /* attention among tokens too */
    assert_error(be_encode_begin(encoder, &team, &arena, features, 9 * ROWS, 9 * COLUMNS, constants, &encoding, &error),
                 BE_ERROR_LIMIT, &error, "tokens"); /* more than the arena was made for */
    be_arena_destroy(&arena), be_arena_destroy(&of_worker);
}

#define PRE_NORM .pre_norm = true
#define TRANSFORMER .kind = "transformer", .width = WIDTH, .queries = QUERIES
static const struct { be_encoder_settings settings; const char *unverified; } cases[] = {
    {{TRANSFORMER, .heads = 16, .dec_layers = 1, PRE_NORM}, ""},
    {{TRANSFORMER, .heads = 1, .dec_layers = 1, PRE_NORM}, "nheads 1"},
    {{TRANSFORMER, .heads = 4, .dec_layers = 3, PRE_NORM}, "nheads 4"},
    {{TRANSFORMER, .heads = 8, .dec_layers = 1}, "nheads 8"},
    {{TRANSFORMER, .heads = 16, .dec_layers = 3}, "several decoder layers without pre_norm"},
    {{TRANSFORMER, .heads = 2, .dec_layers = 2}, "nheads 2"},
    {{TRANSFORMER, .heads = 16, .enc_layers = 1, .dec_layers = 1}, "encoder layers without pre_norm"},
    {{TRANSFORMER, .heads = 16, .enc_layers = 3, .memory_layer = 1, .dec_layers = 2}, "encoder layers without pre_norm"},
    {{TRANSFORMER, .heads = 4, .enc_layers = 3, .memory_layer = 2, .dec_layers = 2, PRE_NORM}, "nheads 4"},
    {{TRANSFORMER, .heads = 16, .dec_layers = 1, .learned_position = true, PRE_NORM}, ""},
    {{TRANSFORMER, .heads = 16, .enc_layers = 2, .memory_layer = 1, .dec_layers = 1, .learned_position = true, PRE_NORM}, ""},
    {{TRANSFORMER, .heads = 16, .dec_layers = 1, .input_projection = true, PRE_NORM}, ""},
    {{TRANSFORMER, .heads = 16, .enc_layers = 2, .memory_layer = 1, .dec_layers = 2, .input_projection = true, PRE_NORM}, ""},
    {{TRANSFORMER, .heads = 16, .enc_layers = 2, .dec_layers = 2, .input_projection = true, .learned_position = true},
     "encoder layers without pre_norm"},
    {{.kind = "custom_transformer", .width = WIDTH, .queries = QUERIES, .heads = 4, .dec_layers = 1, PRE_NORM}, ""},
};

static void check_precision(const char *what, const weights *it, const be_encoder_settings *settings, const reference *expected,
                            const float *features, const char *unverified)
{
    be_encoder *encoder = load(it, settings);
    const char *found = be_encoder_get_info(encoder)->unverified;
    check_encoder(what, encoder, expected, features, settings->precision);
    if (*unverified ? !strstr(found, unverified) : *found)
        fail_msg("%s: unverified: '%s'", what, found);
    be_encoder_free(encoder);
}

/* `small`: what each layer adds, and the features, so small that the epsilon of the norms shows. */
static void check_case(size_t number, bool small, uint32_t *random)
{
    static float features[TOKENS * WIDTH];
    static reference expected;
    be_encoder_settings settings = cases[number].settings;
    char what[64];
    settings.channels = settings.input_projection ? CHANNELS : WIDTH;
    weights it = make_encoder(&settings, random);
    if (small)
        shrink_branches(&it);
    for (size_t i = 0; i < TOKENS * WIDTH; i++)
        features[i] = (small ? 0.004f : 2) * next_uniform(random);
    expected.settings = &settings, expected.from = &it;
    compute_reference(&expected, features);
    for (int precision = BE_PRECISION_F32; precision <= BE_PRECISION_BF16X3; precision++) {
        settings.precision = (be_precision)precision;
        snprintf(what, sizeof what, "case %zu%s in %s", number, small ? ", small" : "", be_precision_name(settings.precision));
        check_precision(what, &it, &settings, &expected, features, cases[number].unverified);
    }
    free_weights(&it);
}

static void test_every_setting(void **state)
{
    (void)state;
    uint32_t random = 5;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        check_case(c, false, &random);
        check_case(c, true, &random);
    }
}

static void test_settings_that_are_refused(void **state)
{
    (void)state;
#define CUSTOM .kind = "custom_transformer", .queries = QUERIES, .dec_layers = 1, PRE_NORM
    static const struct { be_encoder_settings settings; be_status status; const char *part; } refused[] = {
        {{CUSTOM, .width = WIDTH + 8}, BE_ERROR_FORMAT, "hidden_dim 40 is no multiple of custom_transformer's 16 heads"},
        {{CUSTOM, .width = 0}, BE_ERROR_FORMAT, "hidden_dim 0"},
        {{CUSTOM, .width = WIDTH, .enc_layers = 1}, BE_ERROR_UNSUPPORTED, "not 1, 1 and 1"},
        {{CUSTOM, .width = WIDTH, .learned_position = true}, BE_ERROR_UNSUPPORTED, "position_embedding 'learned'"},
        {{CUSTOM, .width = WIDTH, .input_projection = true}, BE_ERROR_UNSUPPORTED, "custom_transformer has no input_proj"},
        {{TRANSFORMER, .heads = 5, .dec_layers = 1}, BE_ERROR_FORMAT, "hidden_dim 32 is not a multiple of nheads 5"},
        {{TRANSFORMER, .heads = 4, .dec_layers = 1, .enc_layers = 2, .memory_layer = 2}, BE_ERROR_FORMAT, "enc_output_layer 2"},
        {{TRANSFORMER, .heads = 4, .dec_layers = 1, .enc_layers = 65}, BE_ERROR_UNSUPPORTED, "enc_layers 65"},
        {{TRANSFORMER, .heads = 4, .dec_layers = 1, .class_token = true}, BE_ERROR_UNSUPPORTED, "class token"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        be_encoder_settings settings = refused[i].settings;
        be_error error;
        settings.channels = settings.width;
        assert_error(be_encoder_check(&settings, "x.pth", &error), refused[i].status, &error, refused[i].part);
        assert_memory_equal(error.message, "x.pth: ", 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_setting), cmocka_unit_test(test_settings_that_are_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
