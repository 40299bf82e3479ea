/* Sessions and models: what is refused, and what is asked for in part. */
#include "tests/unit/model_support.h"

#include <stdatomic.h>
#include <stdio.h>

#include "core/compute/processors.h"
#include "core/model.h"

static be_model *model;

static int open_fixture(void **state)
{
    (void)state;
    model = open_golden_model("subject.safetensors");
    return 0;
}

static int close_fixture(void **state)
{
    (void)state;
    be_model_close(model);
    return 0;
}

static void refuse_session(const be_session_options *options, be_status status, const char *part)
{
    be_session *session = NULL;
    be_error error;
    assert_error(be_session_open(model, options, &session, &error), status, &error, part);
    assert_null(session);
}

static void test_refused_options(void **state)
{
    (void)state;
    refuse_session(&(be_session_options){.threads = 1025}, BE_ERROR_ARGUMENT, "threads: 1025");
    refuse_session(&(be_session_options){.threads = SIZE_MAX}, BE_ERROR_ARGUMENT, "threads");
    refuse_session(&(be_session_options){.threads = 1, .tokens = (1 << 20) + 1}, BE_ERROR_ARGUMENT, "tokens: 1048577");
    refuse_session(&(be_session_options){.threads = 1, .tokens = SIZE_MAX}, BE_ERROR_ARGUMENT, "tokens");
    refuse_session(&(be_session_options){.threads = 1, .isa = "abacus"}, BE_ERROR_ARGUMENT, "isa: 'abacus'");
    be_session_close(NULL);
    be_model_close(NULL);
}

static void test_defaults(void **state)
{
    (void)state;
    be_session *session;
    be_error error;
    const be_isa *best;
    assert_ok(be_session_open(model, NULL, &session, &error), &error);
    assert_ok(be_isa_select(NULL, &best, &error), &error);
    assert_int_equal(be_session_threads(session), be_processors());
    assert_string_equal(be_session_isa(session), best->name);
    be_image largest = make_noise(37 * 14, 37 * 14, 1), larger = make_noise(37 * 14 + 1, 37 * 14, 1);
    be_output output = predict(session, model, &largest);
    assert_error(be_session_predict(session, &larger, 1, &output, NULL, &error), BE_ERROR_LIMIT, &error, "1369");
    free_output(&output);
    be_image_free(&largest), be_image_free(&larger);
    be_session_close(session);
}

/* The sentence names the image's place in the batch; the next batch is as if nothing had been. */
static void test_too_many_tokens(void **state)
{
    (void)state;
    for (size_t threads = 1; threads <= 3; threads++) {
        be_session *session;
        be_error error;
        be_session_options options = {.threads = threads, .tokens = 6};
        assert_ok(be_session_open(model, &options, &session, &error), &error);
        be_image images[4];
        be_output outputs[4];
        for (uint32_t i = 0; i < 4; i++) {
            images[i] = make_noise(i == 2 ? 43 : 42, i == 2 ? 15 : 28, i);
            outputs[i] = make_output(model, &images[i]);
        }
        assert_error(be_session_predict(session, images, 4, outputs, NULL, &error), BE_ERROR_LIMIT, &error,
                     "image 3: 43 x 15 pixels are 4 x 2 tokens, the limit is 6");
        float features[8 * 96], *wanted[] = {features};
        assert_error(be_session_features(session, &images[2], wanted, &error), BE_ERROR_LIMIT, &error, "43 x 15");
        assert_ok(be_session_predict(session, images, 2, outputs, NULL, &error), &error);
        assert_ok(be_session_predict(session, NULL, 0, NULL, NULL, &error), &error);
        for (size_t i = 0; i < 4; i++) {
            free_output(&outputs[i]);
            be_image_free(&images[i]);
        }
        be_session_close(session);
    }
}

/* Each part of an output can be asked for alone, and is the same as when all are. */
static void test_parts_of_an_output(void **state)
{
    (void)state;
    be_session *session = open_session(model, 2, NULL);
    be_image image = make_noise(100, 60, 3);
    be_output whole = predict(session, model, &image);
    for (int part = 0; part < 5; part++) {
        be_error error;
        be_output out = make_output(model, &image);
        be_output asked = {.vertices = part == 0 ? out.vertices : NULL, .attention = part == 1 ? out.attention : NULL,
                           .attention_heads = part == 2 ? out.attention_heads : NULL, .tokens = part == 3 ? out.tokens : NULL};
        assert_ok(be_session_predict(session, &image, 1, &asked, NULL, &error), &error);
        be_output merged = {.vertices = part == 0 ? out.vertices : whole.vertices,
                            .attention = part == 1 ? out.attention : whole.attention,
                            .attention_heads = part == 2 ? out.attention_heads : whole.attention_heads,
                            .tokens = part == 3 ? out.tokens : whole.tokens};
        assert_same_output("a part alone", model, &image, &merged, &whole);
        free_output(&out);
    }
    float *none[] = {NULL};
    be_error error;
    assert_ok(be_session_features(session, &image, none, &error), &error);
    free_output(&whole);
    be_image_free(&image);
    be_session_close(session);
}

static void count_call(void *context, size_t index, size_t worker)
{
    atomic_size_t *calls = context;
    atomic_fetch_add(&calls[index], worker < 2 ? 1 : 100);
}

static void test_work_of_the_callers_own(void **state)
{
    (void)state;
    atomic_size_t calls[50] = {0};
    be_session *session = open_session(model, 2, NULL);
    be_session_run(session, 50, count_call, calls);
    for (size_t i = 0; i < 50; i++)
        assert_int_equal(atomic_load(&calls[i]), 1);
    be_session_close(session);
}

/* More grids in use at once than a model holds: the others live as long as they are used. */
static void test_many_grids_in_use(void **state)
{
    (void)state;
    enum { GRIDS = 7 };
    const be_grid *grids[GRIDS], *again[GRIDS];
    be_error error;
    for (size_t i = 0; i < GRIDS; i++)
        assert_ok(be_model_take_grid(model, i + 1, 2, &grids[i], &error), &error);
    for (size_t i = 0; i < GRIDS; i++) {
        assert_ok(be_model_take_grid(model, i + 1, 2, &again[i], &error), &error);
        assert_true(again[i]->rows == i + 1 && again[i]->columns == 2);
        assert_memory_equal(again[i]->backbone, grids[i]->backbone, (i + 1) * 2 * 96 * sizeof(float));
        assert_memory_equal(again[i]->subjects[0], grids[i]->subjects[0], (i + 1 + 2) * 48 * sizeof(float));
    }
    for (size_t i = 0; i < GRIDS; i++)
        be_model_release_grid(model, grids[GRIDS - 1 - i]);
    for (size_t i = 0; i < GRIDS; i++)
        be_model_release_grid(model, again[i]);
}

/* --- models ------------------------------------------------------------------------------------------------------- */

static void refuse_model(const char *backbone, const char *subject, size_t n_subjects, be_status status, const char *part)
{
    be_model *none = NULL;
    be_error error;
    be_model_options options = {.backbone = backbone, .subjects = &subject, .n_subjects = n_subjects};
    assert_error(be_model_open(&options, &none, &error), status, &error, part);
    assert_null(none);
}

static void test_refused_models(void **state)
{
    (void)state;
    char subject[1024], backbone[1024], narrow[1024];
    snprintf(subject, sizeof subject, "%s", scratch("subject.safetensors"));
    snprintf(backbone, sizeof backbone, "%s", golden(GOLDEN_BACKBONE));
    snprintf(narrow, sizeof narrow, "%s", golden("dinov2_depth12/dinov2_tiny12_pretrain.pth"));
    refuse_model(backbone, subject, 0, BE_ERROR_ARGUMENT, "subject");
    refuse_model(backbone, "/nowhere/x.safetensors", 1, BE_ERROR_NOT_FOUND, "/nowhere/x.safetensors: ");
    refuse_model("/nowhere/b.pth", subject, 1, BE_ERROR_NOT_FOUND, "/nowhere/b.pth: ");
    refuse_model(backbone, backbone, 1, BE_ERROR_UNSUPPORTED, "is no subject file");
    refuse_model(subject, subject, 1, BE_ERROR_UNSUPPORTED, "no backbone");
    refuse_model(narrow, subject, 1, BE_ERROR_FORMAT, "was trained on 96 channels");
}

static void test_hash(void **state)
{
    (void)state;
    char hash[BE_HASH_SIZE];
    be_error error;
    assert_ok(be_hash_file(golden(GOLDEN_BACKBONE), hash, &error), &error);
    assert_string_equal(be_model_backbone_hash(model), hash);
    assert_ok(be_hash_file(scratch("subject.safetensors"), hash, &error), &error);
    assert_string_equal(be_subject_get_info(be_model_subject(model, 0))->weights_hash, hash);
    assert_int_equal(be_model_subjects(model), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_options),    cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_too_many_tokens),    cmocka_unit_test(test_parts_of_an_output),
        cmocka_unit_test(test_work_of_the_callers_own), cmocka_unit_test(test_many_grids_in_use),
        cmocka_unit_test(test_refused_models),     cmocka_unit_test(test_hash),
    };
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
