/* Ensembles against the golden case: two runs of two layers, weighted a vertex at a time by their validation correlations; and
 * the maps of single vertices. */
#include "tests/unit/model_support.h"

#include <math.h>

#include "core/files/npy.h"

enum { MEMBERS = 4, LEFT = 300, RIGHT = 320, VERTICES = LEFT + RIGHT, CELLS = 961, IMAGES = 2 };

static const char *const pictures[IMAGES] = {"dinov2_q_rois/images/a_425.png", "dinov2_q_rois/images/b_425.png"};

#define RUN_FOLDER "ensemble/results/nsd_test/dinov2_q_transformer/subj_01/rois_all/enc_%zu/run_%zu/"

/* The golden members in the order of the expected values: both layers of run 1, then of run 2. */
static size_t layer_of(size_t member)
{
    return member % 2 ? 3 : 1;
}

static size_t run_of(size_t member)
{
    return member / 2 + 1;
}

static void name_file(char out[1024], size_t layer, size_t run, const char *file)
{
    char relative[256];
    snprintf(relative, sizeof relative, RUN_FOLDER "%s", layer, run, file);
    snprintf(out, 1024, "%s", golden(relative));
}

static char paths[MEMBERS][3][1024];

static void import_ensemble(const char *output, size_t n_members, bool scores)
{
    be_import_member members[MEMBERS];
    be_error error;
    char data[1024];
    for (size_t m = 0; m < MEMBERS; m++) {
        name_file(paths[m][0], layer_of(m), run_of(m), "checkpoint.pth");
        name_file(paths[m][1], layer_of(m), run_of(m), "lh_val_corr.npy");
        name_file(paths[m][2], layer_of(m), run_of(m), "rh_val_corr.npy");
        members[m] = (be_import_member){.checkpoint = paths[m][0],
                                        .scores = {scores ? paths[m][1] : NULL, scores ? paths[m][2] : NULL}};
    }
    snprintf(data, sizeof data, "%s", golden(GOLDEN_DATA));
    be_import_options options = {.members = members, .n_members = n_members, .data = data, .output = output};
    if (scores)
        assert_ok(be_subject_import(&options, &error), &error);
    else
        assert_error(be_subject_import(&options, &error), BE_ERROR_FORMAT, &error, "an ensemble needs the tensors 'validation.lh'");
}

static double *golden_f64(const char *name, size_t count)
{
    be_npy npy;
    be_error error;
    double *values = malloc(count * sizeof *values);
    assert_non_null(values);
    assert_ok(be_npy_read(golden(name), &npy, &error), &error);
    assert_true(npy.count == count && npy.dtype == BE_DTYPE_F64);
    memcpy(values, npy.data, count * sizeof *values);
    be_npy_free(&npy);
    return values;
}

/* --- the golden ensemble ------------------------------------------------------------------------------------------ */

static be_model *model;
static be_session *session;

static int open_ensemble(void **state)
{
    (void)state;
    char subject[1024];
    be_error error;
    const char *name = "ensemble.safetensors";
    snprintf(subject, sizeof subject, "%s", scratch(name));
    import_ensemble(subject, MEMBERS, true);
    model = open_model(GOLDEN_BACKBONE, 0, name);
    assert_ok(be_session_open(model, NULL, &session, &error), &error);
    return 0;
}

static int close_ensemble(void **state)
{
    (void)state;
    be_session_close(session);
    be_model_close(model);
    return 0;
}

static void test_what_it_is(void **state)
{
    (void)state;
    const be_subject_info *info = be_subject_get_info(be_model_subject(model, 0));
    assert_true(info->members == MEMBERS && info->runs == 2 && info->maps == 50);
    assert_int_equal(info->member[1].tap.layer, 3);
    assert_true(info->member[1].run_place == 0 && info->member[2].run_place == 1);
    assert_int_equal(be_session_layers(session, 0), 2);
}

static void test_predictions(void **state)
{
    (void)state;
    double *left = golden_f64("ensemble/expected/lh_pred_mean_over_runs.npy", IMAGES * LEFT);
    double *right = golden_f64("ensemble/expected/rh_pred_mean_over_runs.npy", IMAGES * RIGHT);
    float vertices[VERTICES], spread[VERTICES];
    be_error error;
    for (size_t i = 0; i < IMAGES; i++) {
        be_image image = read_picture(pictures[i]);
        be_output output = {.vertices = vertices, .spread = spread};
        assert_ok(be_session_predict(session, &image, 1, &output, NULL, &error), &error);
        for (size_t v = 0; v < VERTICES; v++) {
            double want = v < LEFT ? left[i * LEFT + v] : right[i * RIGHT + v - LEFT];
            assert_true(fabs((double)vertices[v] - want) <= 2e-5);
            assert_true(isfinite(spread[v]) && spread[v] >= 0);
        }
        be_image_free(&image);
    }
    free(left), free(right);
}

/* Of every fifth query, the mean over the members. */
static void test_maps(void **state)
{
    (void)state;
    enum { KNOWN = 10, STEP = 5 };
    float *each = golden_f32("ensemble/expected/attention_rows.npy", MEMBERS * KNOWN * CELLS);
    be_image image = read_picture(pictures[0]);
    be_output output = predict(session, model, &image);
    for (size_t i = 0; i < KNOWN * CELLS; i++) {
        double mean = 0;
        for (size_t m = 0; m < MEMBERS; m++)
            mean += (double)each[m * KNOWN * CELLS + i] / MEMBERS;
        assert_true(fabs((double)output.attention[i / CELLS * STEP * CELLS + i % CELLS] - mean) <= 2e-6);
    }
    free(each);
    free_output(&output);
    be_image_free(&image);
}

/* The spread of two runs, from the predictions of each member alone: |a - b| / sqrt(2) of the runs' own combinations. */
static void test_spread(void **state)
{
    (void)state;
    float *left = golden_f32("ensemble/expected/lh_pred_each.npy", MEMBERS * IMAGES * LEFT), spread[VERTICES];
    double *correlations[MEMBERS];
    be_error error;
    be_image image = read_picture(pictures[0]);
    be_output output = {.spread = spread};
    assert_ok(be_session_predict(session, &image, 1, &output, NULL, &error), &error);
    for (size_t m = 0; m < MEMBERS; m++) {
        char file[256];
        snprintf(file, sizeof file, RUN_FOLDER "lh_val_corr.npy", layer_of(m), run_of(m));
        correlations[m] = golden_f64(file, LEFT);
    }
    for (size_t v = 0; v < LEFT; v++) {
        /* Layer 1's, of two runs. */
        double better = correlations[0][v] + correlations[2][v] - correlations[1][v] - correlations[3][v];
        double share = 1 / (1 + exp(-20 * better));
        double a = share * (double)left[0 * IMAGES * LEFT + v] + (1 - share) * (double)left[1 * IMAGES * LEFT + v];
        double b = share * (double)left[2 * IMAGES * LEFT + v] + (1 - share) * (double)left[3 * IMAGES * LEFT + v];
        assert_true(fabs((double)spread[v] - fabs(a - b) / sqrt(2)) <= 2e-5);
    }
    for (size_t m = 0; m < MEMBERS; m++)
        free(correlations[m]);
    free(left);
    be_image_free(&image);
}

/* --- others ------------------------------------------------------------------------------------------------------- */

/* Layer 1 of run 1 and layer 3 of run 2: each layer has one run, the subject two. */
static void test_runs_are_counted_over_all_layers(void **state)
{
    (void)state;
    be_import_member members[2];
    be_subject *subject;
    be_error error;
    char data[1024], output[1024];
    for (size_t m = 0; m < 2; m++) {
        name_file(paths[m][0], layer_of(m), m + 1, "checkpoint.pth");
        name_file(paths[m][1], layer_of(m), m + 1, "lh_val_corr.npy");
        name_file(paths[m][2], layer_of(m), m + 1, "rh_val_corr.npy");
        members[m] = (be_import_member){.checkpoint = paths[m][0], .scores = {paths[m][1], paths[m][2]}};
    }
    snprintf(data, sizeof data, "%s", golden(GOLDEN_DATA));
    snprintf(output, sizeof output, "%s", scratch("runs.safetensors"));
    assert_ok(be_subject_import(&(be_import_options){.members = members, .n_members = 2, .data = data, .output = output}, &error),
              &error);
    assert_ok(be_subject_open(output, BE_PRECISION_F32, &subject, &error), &error);
    const be_subject_info *info = be_subject_get_info(subject);
    assert_int_equal(info->runs, 2);
    assert_true(info->member[0].run_place == 0 && info->member[1].run_place == 1);
    be_subject_close(subject);
}

static void test_scores_are_needed(void **state)
{
    (void)state;
    char subject[1024];
    snprintf(subject, sizeof subject, "%s", scratch("unweighted.safetensors"));
    import_ensemble(subject, 2, false);
}

static void assert_mean(const float *found, const float *rows, size_t count)
{
    for (size_t t = 0; t < CELLS; t++) {
        double mean = 0;
        for (size_t row = 0; row < count; row++)
            mean += (double)rows[row * CELLS + t] / (double)count;
        assert_true(fabs((double)found[t] - mean) <= 2e-6);
    }
}

/* Every 31st vertex's own map of a readout by vertex, the mean over its heads; and a list's map is the mean of its members'. */
static void test_maps_by_vertex(void **state)
{
    (void)state;
    enum { STEP = 31, ROWS = 20, CHANNELS = 96, HEADS = 16 };
    static float features[CELLS * CHANNELS], mean[CELLS], heads[HEADS * CELLS];
    uint32_t vertices[ROWS];
    be_error error;
    import_golden("variants/voxels/checkpoint.pth", "voxels.safetensors");
    be_model *voxels = open_model(GOLDEN_BACKBONE, 0, "voxels.safetensors");
    be_session *asking = open_session(voxels, 0, NULL);
    const be_subject_info *info = be_subject_get_info(be_model_subject(voxels, 0));
    assert_true(info->by_vertex && info->maps == 0 && info->queries == VERTICES);
    be_image image = read_picture(pictures[0]);
    float *want = golden_f32("variants/voxels/expected/attention.npy", ROWS * CELLS);
    be_output output = {.features = features};
    be_timing timing;
    assert_ok(be_session_predict(asking, &image, 1, &output, &timing, &error), &error);
    assert_true(timing.stages[BE_STAGE_ENCODE] <= 0); /* no query runs for features alone */
    for (uint32_t row = 0; row < ROWS; row++) {
        vertices[row] = row * STEP;
        assert_ok(be_session_maps(asking, 0, features, 31, 31, &(be_vertex_group){&vertices[row], 1}, 1, mean, heads, &error),
                  &error);
        assert_mean(mean, want + row * CELLS, 1);
        assert_mean(mean, heads, HEADS);
    }
    assert_ok(be_session_maps(asking, 0, features, 31, 31, &(be_vertex_group){vertices, ROWS}, 1, mean, NULL, &error), &error);
    assert_mean(mean, want, ROWS);
    const be_vertex_group groups[] = {{vertices + 1, 1}, {NULL, 0}, {vertices, ROWS}};
    float several[3][CELLS];
    assert_ok(be_session_maps(asking, 0, features, 31, 31, groups, 3, several[0], NULL, &error), &error);
    assert_mean(several[0], want + CELLS, 1);
    assert_mean(several[2], want, ROWS);
    assert_true(isnan(several[1][0]) && isnan(several[1][CELLS - 1]));
    free(want);
    be_image_free(&image);
    be_session_close(asking);
    be_model_close(voxels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_it_is), cmocka_unit_test(test_predictions),      cmocka_unit_test(test_maps),
        cmocka_unit_test(test_spread),     cmocka_unit_test(test_scores_are_needed), cmocka_unit_test(test_maps_by_vertex),
        cmocka_unit_test(test_runs_are_counted_over_all_layers),
    };
    return cmocka_run_group_tests(tests, open_ensemble, close_ensemble);
}
