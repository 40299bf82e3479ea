/* Correlations, noise ceilings and encoding accuracies, by numbers worked out by hand from MODEL section 7. */
#include "tests/unit/subject_pieces.h"

#include <math.h>
#include <stdio.h>

#include "core/subject/quality.h"

/* The first vertices of the right hemisphere; all others have the correlation 0.1 and the ncsnr 1. */
enum { VERTICES = 5 };
static const float correlations[VERTICES] = {0.5f, 0.9f, -0.2f, NAN, 0.3f};
static const float ncsnr[VERTICES] = {1, 0.2f, 2, 0, NAN};
/* ncsnr^2 / (ncsnr^2 + 1/3) */
static const double ceilings[VERTICES] = {3.0 / 4, 0.04 / (0.04 + 1 / 3.0), 12.0 / 13, 0, NAN};
/* r^2 / ceiling: 1/4 over 3/4; far above 1; of a negative r; of nothing; of what is unknown */
static const double accuracies[VERTICES] = {1.0 / 3, 1, 0, NAN, NAN};
static const uint32_t vertices[VERTICES] = {0, 1, 2, 3, 4};

static bool same(double a, double b)
{
    return (isnan(a) && isnan(b)) || fabs(a - b) < 1e-6;
}

static void add_tensor(pieces *to, const char *name, const float *first, float other, size_t count)
{
    float *values = malloc(count * sizeof *values);
    assert_non_null(values);
    for (size_t v = 0; v < count; v++)
        values[v] = v < VERTICES ? first[v] : other;
    assert_true(to->all.count < MOST_WEIGHTS);
    to->all.tensors[to->all.count++] = (be_tensor_source){.name = strdup(name), .dtype = BE_DTYPE_F32, .n_dims = 2,
                                                          .shape = {1, count},
                                                      .data = values};
}

static be_subject *open_with(bool has_correlations, bool has_ncsnr)
{
    pieces it = take_apart();
    be_subject *subject;
    be_error error;
    if (has_correlations)
        add_tensor(&it, "validation.rh", correlations, 0.1f, GOLDEN_RIGHT);
    if (has_ncsnr)
        add_tensor(&it, "ncsnr.rh", ncsnr, 1, GOLDEN_RIGHT);
    char *metadata = cJSON_PrintUnformatted(it.root);
    const be_text_pair pair = {"brainenc", metadata};
    assert_ok(be_safetensors_write(scratch("rated.safetensors"), it.all.tensors, it.all.count, &pair, 1, &error), &error);
    assert_ok(be_subject_open(scratch("rated.safetensors"), BE_PRECISION_F32, &subject, &error), &error);
    free(metadata);
    free_pieces(&it);
    return subject;
}

static void test_means_over_some_vertices(void **state)
{
    (void)state;
    be_quality quality;
    be_subject *subject = open_with(true, true);
    be_quality_of(subject, BE_RIGHT, vertices, VERTICES, &quality);
    assert_int_equal(quality.vertices, 5);
    assert_int_equal(quality.explainable, 3);
    assert_true(same(quality.correlation, (0.5 + 0.9 - 0.2 + 0 + 0.3) / 5)); /* none counts as 0 */
    assert_true(same(quality.ceiling, (ceilings[0] + ceilings[1] + ceilings[2] + 0) / 4));
    assert_true(same(quality.accuracy, (1.0 / 3 + 1 + 0) / 3));
    be_quality_of(subject, BE_RIGHT, vertices + 4, 1, &quality);
    assert_true(quality.explainable == 0 && same(quality.correlation, 0.3) && isnan(quality.ceiling) && isnan(quality.accuracy));
    be_quality_of(subject, BE_RIGHT, vertices, 0, &quality);
    assert_true(quality.vertices == 0 && isnan(quality.correlation) && isnan(quality.ceiling) && isnan(quality.accuracy));
    be_subject_close(subject);
}

static void test_a_whole_hemisphere(void **state)
{
    (void)state;
    be_quality quality;
    be_subject *subject = open_with(true, true);
    be_quality_of(subject, BE_RIGHT, NULL, 0, &quality);
    assert_int_equal(quality.vertices, GOLDEN_RIGHT);
    assert_int_equal(quality.explainable, GOLDEN_RIGHT - 2);
    assert_true(same(quality.correlation, (1.5 + 0.1 * (GOLDEN_RIGHT - 5)) / GOLDEN_RIGHT));
    assert_true(same(quality.accuracy, (4.0 / 3 + (0.01 / 0.75) * (GOLDEN_RIGHT - 5)) / (GOLDEN_RIGHT - 2)));
    be_subject_close(subject);
}

static void test_each_vertex(void **state)
{
    (void)state;
    float r[GOLDEN_RIGHT], ceiling[GOLDEN_RIGHT], accuracy[GOLDEN_RIGHT];
    be_subject *subject = open_with(true, true);
    be_quality_vertices(subject, BE_RIGHT, r, ceiling, accuracy);
    for (size_t v = 0; v < VERTICES; v++) {
        assert_true(same((double)r[v], v == 3 ? 0 : (double)correlations[v]));
        assert_true(same((double)ceiling[v], ceilings[v]));
        assert_true(same((double)accuracy[v], accuracies[v]));
    }
    be_quality_vertices(subject, BE_RIGHT, NULL, NULL, NULL);
    be_subject_close(subject);
}

static void test_what_the_file_does_not_hold(void **state)
{
    (void)state;
    be_quality quality;
    be_subject *subject = open_with(true, false);
    be_quality_of(subject, BE_RIGHT, vertices, VERTICES, &quality);
    assert_true(same(quality.correlation, 0.3) && isnan(quality.ceiling) && isnan(quality.accuracy));
    be_quality_of(subject, BE_LEFT, vertices, VERTICES, &quality);
    assert_true(quality.vertices == VERTICES && isnan(quality.correlation));
    be_subject_close(subject);
    subject = open_with(false, true);
    be_quality_of(subject, BE_RIGHT, vertices, VERTICES, &quality);
    assert_true(isnan(quality.correlation) && !isnan(quality.ceiling) && isnan(quality.accuracy) && quality.explainable == 0);
    be_subject_close(subject);
}

/* The first two members of the golden ensemble: layers 1 and 3 of run 1, weighted by a softmax of 40 times their correlations. */
static void test_an_ensemble_s_is_weighted_as_its_predictions_are(void **state)
{
    (void)state;
#define RUN "ensemble/results/nsd_test/dinov2_q_transformer/subj_01/rois_all/enc_%d/run_1/%s"
    static char paths[2][3][1024];
    static const char *const files[] = {"checkpoint.pth", "lh_val_corr.npy", "rh_val_corr.npy"};
    be_import_member members[2];
    double *each[2];
    char data[1024], output[1024];
    be_subject *subject;
    be_error error;
    float found[GOLDEN_RIGHT];
    for (int m = 0; m < 2; m++) {
        be_npy npy;
        for (size_t i = 0; i < 3; i++) {
            char name[256];
            snprintf(name, sizeof name, RUN, m ? 3 : 1, files[i]);
            snprintf(paths[m][i], sizeof paths[m][i], "%s", golden(name));
        }
        members[m] = (be_import_member){.checkpoint = paths[m][0], .scores = {paths[m][1], paths[m][2]}};
        assert_ok(be_npy_read(paths[m][2], &npy, &error), &error);
        assert_true(npy.dtype == BE_DTYPE_F64 && npy.count == GOLDEN_RIGHT);
        each[m] = npy.data;
    }
    snprintf(data, sizeof data, "%s", golden(GOLDEN_DATA));
    snprintf(output, sizeof output, "%s", scratch("ensemble.safetensors"));
    assert_ok(be_subject_import(&(be_import_options){.members = members, .n_members = 2, .data = data, .output = output}, &error),
              &error);
    assert_ok(be_subject_inspect(output, &subject, &error), &error);
    be_quality_vertices(subject, BE_RIGHT, found, NULL, NULL);
    for (size_t v = 0; v < GOLDEN_RIGHT; v++) {
        double a = exp(40 * each[0][v]), b = exp(40 * each[1][v]);
        assert_true(same((double)found[v], (a * each[0][v] + b * each[1][v]) / (a + b)));
    }
    free(each[0]), free(each[1]);
    be_subject_close(subject);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_means_over_some_vertices), cmocka_unit_test(test_a_whole_hemisphere),
        cmocka_unit_test(test_each_vertex),
        cmocka_unit_test(test_what_the_file_does_not_hold), cmocka_unit_test(test_an_ensemble_s_is_weighted_as_its_predictions_are),
    };
    return cmocka_run_group_tests(tests, make_good_file, NULL);
}
