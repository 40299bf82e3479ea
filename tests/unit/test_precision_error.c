/* What a precision costs: the measure on numbers worked out by hand, on a model against predictions of the test's own, and the
 * drawn pictures it is taken on. */
#include "tests/unit/model_support.h"

#include <math.h>
#include <stdio.h>

#include "core/image/drawn.h"
#include "core/precision_error.h"

enum { CHECKED = 2 };

static bool is_near(double found, double expected)
{
    return isnan(expected) ? isnan(found) : found == expected || fabs(found - expected) < 1e-12;
}

static void check(const float *found, const float *reference, size_t pictures, size_t vertices, double correlation, double largest)
{
    be_precision_error it = be_precision_error_of(found, reference, pictures, vertices);
    assert_int_equal(it.pictures, pictures);
    assert_true(is_near(it.correlation, correlation) && is_near(it.largest, largest));
}

static void test_the_measure(void **state)
{
    (void)state;
    const float same[] = {1, 2, 3, 4}, turned[] = {4, 3, 2, 1}, moved[] = {11, 12, 13, 14}, apart[] = {1, 2, 4, 3};
    const float one[] = {2, 2, 2, 2}, broken[] = {1, NAN, 3, 4}, endless[] = {1, INFINITY, 3, 4};
    const double spread = sqrt(1.25); /* of 1, 2, 3, 4 */
    check(same, same, 1, 4, 1, 0);
    check(turned, same, 1, 4, -1, 3 / spread);
    check(moved, same, 1, 4, 1, 10 / spread);
    check(apart, same, 1, 4, 0.8, 1 / spread);
    check(same, one, 1, 4, NAN, INFINITY);
    check(one, one, 1, 4, NAN, NAN);
    check(broken, same, 1, 4, NAN, NAN);
    check(endless, same, 1, 4, NAN, INFINITY);
    /* the worst picture of several, wherever it stands; what is no number is the worst of all */
    const float three[] = {1, 2, 3, 4, 1, 2, 4, 3, 1, 2, 3, 4}, references[] = {1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4};
    check(three, references, 3, 4, 0.8, 1 / spread);
    const float first[] = {1, NAN, 3, 4, 1, 2, 4, 3}, last[] = {1, 2, 4, 3, 1, NAN, 3, 4};
    check(first, references, 2, 4, NAN, NAN);
    check(last, references, 2, 4, NAN, NAN);
}

/* --- pictures ------------------------------------------------------------------------------------- */

static void test_pictures(void **state)
{
    (void)state;
    enum { SIDE = 64, WHOLE = 3 * SIDE * SIDE };
    static unsigned char small[CHECKED][WHOLE], again[WHOLE], large[4 * WHOLE];
    for (unsigned n = 0; n < CHECKED; n++) {
        be_image_draw(n, SIDE, small[n]);
        be_image_draw(n, SIDE, again);
        assert_memory_equal(small[n], again, WHOLE);
        /* the same scene in twice the pixels */
        be_image_draw(n, 2 * SIDE, large);
        for (size_t i = 0; i < SIDE * SIDE; i++)
            assert_memory_equal(small[n] + 3 * i, large + 3 * (i / SIDE * 2 * 2 * SIDE + i % SIDE * 2), 3);
        /* full of contrast: all channels span most of their range, and neighbours differ all over it */
        size_t steps = 0;
        for (size_t c = 0; c < 3; c++) {
            unsigned char least = 255, most = 0;
            for (size_t i = c; i < WHOLE; i += 3) {
                least = small[n][i] < least ? small[n][i] : least;
                most = small[n][i] > most ? small[n][i] : most;
                steps += i >= 3 && small[n][i] != small[n][i - 3];
            }
            assert_true(least < 64 && most > 192);
        }
        assert_true(steps > WHOLE / 2);
    }
    assert_memory_not_equal(small[0], small[1], WHOLE);
    be_image_draw(0, 1, again);
}

/* --- models --------------------------------------------------------------------------------------- */

/* How a test opens the golden subject that lies in scratch(subject). */
static be_status open_as(const char *subject, be_precision precision, const be_session_options *measured, be_model **model,
                         be_error *error)
{
    char weights[1024], file[1024];
    const char *subjects[] = {file};
    snprintf(weights, sizeof weights, "%s", golden(GOLDEN_BACKBONE));
    snprintf(file, sizeof file, "%s", scratch(subject));
    be_model_options options = {.backbone = weights, .subjects = subjects, .n_subjects = 1, .precision = precision};
    return measured ? be_model_open_measured(&options, measured, model, error) : be_model_open(&options, model, error);
}

static be_precision_error measure(const char *subject, be_precision precision, const be_session_options *options)
{
    be_model *model;
    be_error error;
    assert_ok(open_as(subject, precision, options, &model, &error), &error);
    assert_int_equal(be_model_precision(model), precision);
    assert_non_null(be_model_precision_error(model, 0));
    be_precision_error found = *be_model_precision_error(model, 0);
    be_model_close(model);
    return found;
}

/* [pictures][GOLDEN_VERTICES] */
static void predict_drawn(be_precision precision, size_t pictures, size_t side, float *out)
{
    be_model *model;
    be_error error;
    be_image image;
    assert_ok(open_as("subject.safetensors", precision, NULL, &model, &error), &error);
    assert_null(be_model_precision_error(model, 0));
    be_session *session = open_session(model, 1, NULL);
    assert_ok(be_image_create(side, side, &image, &error), &error);
    for (size_t p = 0; p < pictures; p++) {
        be_output output = {.vertices = out + p * GOLDEN_VERTICES};
        be_image_draw((unsigned)p, side, image.rgb);
        assert_ok(be_session_predict(session, &image, 1, &output, NULL, &error), &error);
    }
    be_image_free(&image);
    be_session_close(session);
    be_model_close(model);
}

static void note_worst(const float *a, const float *b, double *correlation, double *largest)
{
    long double sums[5] = {0}, n = GOLDEN_VERTICES;
    double most = 0;
    for (size_t v = 0; v < GOLDEN_VERTICES; v++) {
        const long double terms[5] = {a[v], b[v], (long double)a[v] * a[v], (long double)b[v] * b[v], (long double)a[v] * b[v]};
        for (int t = 0; t < 5; t++)
            sums[t] += terms[t];
        most = fmax(most, fabs((double)a[v] - b[v]));
    }
    long double spread_a = sqrtl(sums[2] / n - sums[0] / n * sums[0] / n),
                spread_b = sqrtl(sums[3] / n - sums[1] / n * sums[1] / n);
    *correlation = fmin(*correlation, (double)((sums[4] / n - sums[0] / n * sums[1] / n) / (spread_a * spread_b)));
    *largest = fmax(*largest, most / (double)spread_b);
}

/* The golden subject was trained on pictures of 425 pixels. */
static void test_a_model_is_measured(void **state)
{
    (void)state;
    enum { SIDE = 213 };
    static float exact[CHECKED * GOLDEN_VERTICES], found[CHECKED * GOLDEN_VERTICES];
    static const be_precision precisions[] = {BE_PRECISION_BF16, BE_PRECISION_BF16X3};
    predict_drawn(BE_PRECISION_F32, CHECKED, SIDE, exact);
    for (size_t i = 0; i < sizeof precisions / sizeof *precisions; i++) {
        double correlation = 1, largest = 0;
        predict_drawn(precisions[i], CHECKED, SIDE, found);
        for (size_t p = 0; p < CHECKED; p++)
            note_worst(found + p * GOLDEN_VERTICES, exact + p * GOLDEN_VERTICES, &correlation, &largest);
        for (size_t threads = 1; threads <= 3; threads += 2) {
            be_precision_error told = measure("subject.safetensors", precisions[i], &(be_session_options){.threads = threads});
            assert_int_equal(told.pictures, CHECKED);
            assert_int_equal(told.side, SIDE);
            assert_true(fabs(told.correlation - correlation) < 1e-9);
            assert_true(fabs(told.largest - largest) < 1e-9 && told.largest > 0);
        }
    }
}

/* One of a fixed grid is measured on it. */
static void test_the_whole_picture_where_no_other_is_taken(void **state)
{
    (void)state;
    import_golden("variants/spatial_rois/checkpoint.pth", "spatial.safetensors");
    be_precision_error told = measure("spatial.safetensors", BE_PRECISION_BF16, &(be_session_options){.threads = 2, .tokens = 1});
    assert_int_equal(told.pictures, 1);
    assert_int_equal(told.side, 425);
    assert_true(told.correlation > 0.99 && told.correlation < 1 && told.largest > 0);
}

static void test_float32_is_measured_against_nothing(void **state)
{
    (void)state;
    be_model *model;
    be_error error;
    assert_ok(open_as("subject.safetensors", BE_PRECISION_F32, &(be_session_options){0}, &model, &error), &error);
    assert_null(be_model_precision_error(model, 0));
    be_model_close(model);
}

static void test_what_cannot_be_opened(void **state)
{
    (void)state;
    be_model *model = NULL;
    be_error error;
    assert_error(open_as("missing.safetensors", BE_PRECISION_BF16, &(be_session_options){0}, &model, &error), BE_ERROR_NOT_FOUND,
                 &error, "missing.safetensors");
    assert_error(open_as("subject.safetensors", BE_PRECISION_BF16, &(be_session_options){.threads = 9999}, &model, &error),
                 BE_ERROR_ARGUMENT, &error, "9999");
    assert_null(model);
}

static int import_subject(void **state)
{
    (void)state;
    import_golden(GOLDEN_CHECKPOINT, "subject.safetensors");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_measure), cmocka_unit_test(test_pictures), cmocka_unit_test(test_a_model_is_measured),
        cmocka_unit_test(test_the_whole_picture_where_no_other_is_taken),
        cmocka_unit_test(test_float32_is_measured_against_nothing), cmocka_unit_test(test_what_cannot_be_opened),
    };
    return cmocka_run_group_tests(tests, import_subject, NULL);
}
