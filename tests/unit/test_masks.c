/* ROI masks: what a subject's folder says, what the subject file keeps of it, and which queries a vertex is read from. */
#include "tests/unit/model_support.h"

#include <stdio.h>

#include "core/subject/algonauts.h"
#include "core/subject/masks.h"
#include "core/subject/readout_plan.h"

#define TINY "variants/algonauts_tiny/subj02"
enum { N_ROIS = 25 };
static const char *const hemisphere_files[] = {"lh", "rh"};
static const char *const roi_names[N_ROIS] = {
    "V1v", "V1d", "V2v", "V2d", "V3v", "V3d", "hV4", "EBA", "FBA-1", "FBA-2", "mTL-bodies", "OFA", "FFA-1", "FFA-2",
    "mTL-faces", "aTL-faces", "OPA", "PPA", "RSC", "OWFA", "VWFA-1", "VWFA-2", "mfs-words", "mTL-words", "rest",
};

/* The vertex lists against rows of zeros and ones. */
static void check_against_rows(const be_roi_set *set, be_hemisphere hemisphere, const be_npy *rows)
{
    const uint8_t *masks = rows->data;
    size_t vertices = rows->shape[1];
    assert_int_equal(set->count, rows->shape[0]);
    for (size_t r = 0; r < set->count; r++) {
        const be_roi *roi = &set->rois[r];
        size_t next = 0;
        for (size_t v = 0; v < vertices; v++) {
            if (!masks[r * vertices + v])
                continue;
            assert_true(next < roi->n_vertices[hemisphere]);
            assert_int_equal(roi->vertices[hemisphere][next++], v);
        }
        assert_int_equal(next, roi->n_vertices[hemisphere]);
    }
}

static void check_golden_set(const be_roi_set *set)
{
    for (int h = BE_LEFT; h < BE_HEMISPHERES; h++) {
        char path[64];
        be_npy rows;
        be_error error;
        snprintf(path, sizeof path, "dinov2_q_rois/expected/%s_masks.npy", hemisphere_files[h]);
        assert_ok(be_npy_read(golden(path), &rows, &error), &error);
        assert_int_equal(rows.dtype, BE_DTYPE_U8);
        check_against_rows(set, (be_hemisphere)h, &rows);
        be_npy_free(&rows);
    }
    for (size_t r = 0; r < N_ROIS; r++)
        assert_string_equal(set->rois[r].name, roi_names[r]);
    assert_string_equal(set->rois[14].name, "mTL-faces");
    assert_int_equal(set->rois[14].n_vertices[BE_RIGHT], 0);
    assert_true(set->rois[14].n_vertices[BE_LEFT] > 0);
    assert_int_equal(set->rois[24].n_vertices[BE_LEFT], 39);
    assert_int_equal(set->rois[24].n_vertices[BE_RIGHT], 42);
    assert_string_equal(set->rois[0].family, "prf-visualrois");
    assert_string_equal(set->rois[23].family, "floc-words");
    assert_string_equal(set->rois[24].family, "");
}

/* The ones of {lh,rh}.all-vertices_fsaverage_space.npy, in order. */
static void check_fsaverage(const int32_t *index, be_hemisphere hemisphere, size_t expected)
{
    char path[96];
    be_npy surface;
    be_error error;
    snprintf(path, sizeof path, GOLDEN_DATA "/roi_masks/%s.all-vertices_fsaverage_space.npy", hemisphere_files[hemisphere]);
    assert_ok(be_npy_read(golden(path), &surface, &error), &error);
    assert_int_equal(surface.count, 163842);
    int64_t *ones = malloc(surface.count * sizeof *ones);
    assert_non_null(ones);
    assert_ok(be_npy_to_i64(&surface, ones, &error), &error);
    size_t next = 0;
    for (size_t i = 0; i < surface.count; i++) {
        if (ones[i])
            assert_int_equal(index[next++], i);
    }
    assert_int_equal(next, expected);
    free(ones);
    be_npy_free(&surface);
}

static void test_folder(void **state)
{
    (void)state;
    be_algonauts data;
    be_error error;
    assert_ok(be_algonauts_read(golden(GOLDEN_DATA), be_roi_families, &data, &error), &error);
    assert_int_equal(data.n_vertices[BE_LEFT], GOLDEN_LEFT);
    assert_int_equal(data.n_vertices[BE_RIGHT], GOLDEN_RIGHT);
    check_golden_set(&data.rois);
    check_fsaverage(data.fsaverage[BE_LEFT], BE_LEFT, GOLDEN_LEFT);
    check_fsaverage(data.fsaverage[BE_RIGHT], BE_RIGHT, GOLDEN_RIGHT);
    assert_int_equal(data.n_fsaverage[BE_LEFT], 163842);
    be_algonauts_free(&data);
    be_algonauts_free(&data); /* a second time does nothing */
}

static void test_subject_file(void **state)
{
    (void)state;
    be_subject *subject;
    be_error error;
    import_golden(GOLDEN_CHECKPOINT, "subject.safetensors");
    assert_ok(be_subject_open(scratch("subject.safetensors"), BE_PRECISION_F32, &subject, &error), &error);
    const be_subject_info *info = be_subject_get_info(subject);
    assert_int_equal(info->n_vertices[BE_LEFT], GOLDEN_LEFT);
    assert_int_equal(info->n_vertices[BE_RIGHT], GOLDEN_RIGHT);
    assert_int_equal(info->queries, GOLDEN_QUERIES);
    check_golden_set(&info->rois);
    check_fsaverage(be_subject_fsaverage(subject, BE_LEFT), BE_LEFT, GOLDEN_LEFT);
    check_fsaverage(be_subject_fsaverage(subject, BE_RIGHT), BE_RIGHT, GOLDEN_RIGHT);
    assert_int_equal(info->n_fsaverage[BE_RIGHT], 163842);
    be_subject_close(subject);
}

/* --- masks written out by hand: 3 ROIs and the rest, 5 left and 2 right vertices ---------------------------------- */

static const uint8_t left_masks[3 * 5] = {1, 0, 1, 0, 0,
                                          0, 0, 1, 0, 1,
                                          0, 0, 0, 0, 0};
static const uint8_t right_masks[3 * 2] = {0, 0,
                                           1, 0,
                                           1, 0};

static be_roi_set make_set(void)
{
    static const char *const names[] = {"A", "B", "C", "rest"};
    be_roi_set set = {4, calloc(4, sizeof(be_roi))};
    assert_non_null(set.rois);
    for (size_t i = 0; i < 4; i++)
        snprintf(set.rois[i].name, sizeof set.rois[i].name, "%s", names[i]);
    return set;
}

static void test_lists_of_queries(void **state)
{
    (void)state;
    static const size_t vertices[] = {5, 2}, starts[] = {0, 1, 2, 4, 5, 6, 8, 9};
    static const uint16_t queries[] = {0, 3, 0, 1, 3, 1, 5, 6, 7}; /* left 0 to 3, right 4 to 7 */
    be_roi_set set = make_set();
    be_readout_lists lists;
    be_error error;
    uint8_t back[sizeof left_masks] = {0};
    assert_ok(be_masks_to_vertices(&set, BE_LEFT, left_masks, 5, "x", &error), &error);
    assert_ok(be_masks_to_vertices(&set, BE_RIGHT, right_masks, 2, "x", &error), &error);
    assert_int_equal(set.rois[2].n_vertices[BE_LEFT], 0);
    assert_int_equal(set.rois[3].n_vertices[BE_LEFT], 2);
    be_readout_plan plan;
    assert_ok(be_readout_plan_make("rois_all", "transformer", BE_STREAMS_UNKNOWN, &set, vertices, "x", &plan, &error), &error);
    assert_int_equal(plan.queries, 8);
    assert_ok(be_readout_plan_lists(&plan, &set, vertices, &lists, &error), &error);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(lists.start[i], starts[i]);
    for (size_t i = 0; i < 9; i++)
        assert_int_equal(lists.queries[i], queries[i]);
    be_vertices_to_masks(&set, BE_LEFT, back, 5);
    assert_memory_equal(back, left_masks, sizeof back);
    free(lists.start), free(lists.queries);
    be_readout_plan_free(&plan);
    be_roi_set_free(&set);
}

static void test_neither_zero_nor_one(void **state)
{
    (void)state;
    be_roi_set set = make_set();
    be_error error;
    uint8_t masks[sizeof left_masks];
    memcpy(masks, left_masks, sizeof masks);
    masks[7] = 2; /* ROI B, vertex 2 */
    assert_error(be_masks_to_vertices(&set, BE_LEFT, masks, 5, "x.safetensors", &error), BE_ERROR_FORMAT, &error,
                 "x.safetensors: the lh mask of B holds the value 2 at vertex 2");
    be_roi_set_free(&set);
}

/* A second, smaller folder: each ROI's vertices are those with its label. */
static void test_labels(void **state)
{
    (void)state;
    be_algonauts data;
    be_error error;
    assert_ok(be_algonauts_read(golden(TINY), be_roi_families, &data, &error), &error);
    for (size_t f = 0, roi = 0; be_roi_families[f]; f++) {
        char path[128];
        be_npy npy;
        int64_t labels[64];
        snprintf(path, sizeof path, TINY "/roi_masks/lh.%s_challenge_space.npy", be_roi_families[f]);
        assert_ok(be_npy_read(golden(path), &npy, &error), &error);
        assert_in_range(npy.count, 1, 64);
        assert_int_equal(npy.count, data.n_vertices[BE_LEFT]);
        assert_ok(be_npy_to_i64(&npy, labels, &error), &error);
        for (int64_t label = 1; strcmp(data.rois.rois[roi].family, be_roi_families[f]) == 0; label++, roi++) {
            size_t next = 0;
            for (size_t v = 0; v < npy.count; v++) {
                if (labels[v] == label)
                    assert_int_equal(data.rois.rois[roi].vertices[BE_LEFT][next++], v);
            }
            assert_int_equal(next, data.rois.rois[roi].n_vertices[BE_LEFT]);
        }
        be_npy_free(&npy);
    }
    be_algonauts_free(&data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_folder),           cmocka_unit_test(test_subject_file),
        cmocka_unit_test(test_lists_of_queries), cmocka_unit_test(test_neither_zero_nor_one),
        cmocka_unit_test(test_labels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
