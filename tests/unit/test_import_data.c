/* Import reads a folder of someone else's files: each that is missing, damaged or does not fit the others is named. */
#include "tests/unit/model_support.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const families[] = {"prf-visualrois", "floc-bodies", "floc-faces", "floc-places", "floc-words"};
enum { FAMILIES = 5, N_FILES = 3 * FAMILIES + 2, VERTICES = GOLDEN_LEFT };

/* The names of the files that are read. */
static char names[N_FILES][64];
/* The copy of the golden folder in which the tests change things. */
static char folder[512];

static const char *path_of(const char *name)
{
    static char path[2048];
    snprintf(path, sizeof path, "%s/roi_masks/%s", folder, name);
    return path;
}

/* Puts the golden file of that name back. */
static void restore(const char *name)
{
    char from[128];
    size_t size;
    snprintf(from, sizeof from, GOLDEN_DATA "/roi_masks/%s", name);
    unsigned char *bytes = read_bytes(golden(from), &size);
    write_bytes(path_of(name), bytes, size);
    free(bytes);
}

static int copy_folder(void **state)
{
    (void)state;
    size_t n = 0;
    for (size_t f = 0; f < FAMILIES; f++) {
        snprintf(names[n++], sizeof names[0], "lh.%s_challenge_space.npy", families[f]);
        snprintf(names[n++], sizeof names[0], "rh.%s_challenge_space.npy", families[f]);
        snprintf(names[n++], sizeof names[0], "mapping_%s.npy", families[f]);
    }
    snprintf(names[n++], sizeof names[0], "lh.all-vertices_fsaverage_space.npy");
    snprintf(names[n++], sizeof names[0], "rh.all-vertices_fsaverage_space.npy");
    snprintf(folder, sizeof folder, "%s", scratch("subj01"));
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(mkdir(path_of(""), 0700), 0);
    for (size_t i = 0; i < n; i++)
        restore(names[i]);
    return 0;
}

/* The import must name the file, and it must be as a whole in the sentence's beginning. */
static void refuse(const char *name, be_status status, const char *part)
{
    char sentence[2400];
    snprintf(sentence, sizeof sentence, "%s: %s", path_of(name), part);
    refuse_import(golden(GOLDEN_CHECKPOINT), folder, status, sentence);
}

static void refuse_vector(const char *name, be_dtype dtype, size_t count, const void *values, const char *part)
{
    be_error error;
    assert_ok(be_npy_write(path_of(name), dtype, 1, &count, values, &error), &error);
    refuse(name, BE_ERROR_FORMAT, part);
    restore(name);
}

static void test_folder_is_good(void **state)
{
    (void)state;
    be_error error;
    be_import_options options = {.checkpoint = golden(GOLDEN_CHECKPOINT), .data = folder};
    options.output = scratch("good.safetensors");
    assert_ok(be_subject_import(&options, &error), &error);
    import_golden(GOLDEN_CHECKPOINT, "same.safetensors");
    size_t size, other_size;
    unsigned char *bytes = read_bytes(scratch("good.safetensors"), &size);
    unsigned char *other = read_bytes(scratch("same.safetensors"), &other_size);
    assert_int_equal(size, other_size);
    assert_memory_equal(bytes, other, size); /* where the folder lies leaves no trace, nor does the time */
    free(bytes), free(other);
}

static void test_missing_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_FILES; i++) {
        assert_int_equal(unlink(path_of(names[i])), 0);
        refuse(names[i], BE_ERROR_NOT_FOUND, "there is no such file");
        restore(names[i]);
    }
    refuse_import(golden(GOLDEN_CHECKPOINT), "/nowhere", BE_ERROR_NOT_FOUND, "/nowhere: there is no such folder");
    refuse_import(golden(GOLDEN_CHECKPOINT), golden("dinov2_q_rois"), BE_ERROR_NOT_FOUND,
                  "dinov2_q_rois/roi_masks: there is no such folder");
}

static void test_cut_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_FILES; i++) {
        size_t size;
        unsigned char *bytes = read_bytes(path_of(names[i]), &size);
        write_bytes(path_of(names[i]), bytes, size - 1);
        refuse(names[i], BE_ERROR_FORMAT, "");
        write_bytes(path_of(names[i]), bytes, 0);
        refuse(names[i], BE_ERROR_FORMAT, "");
        free(bytes);
        restore(names[i]);
    }
}

static void test_labels(void **state)
{
    (void)state;
    static int64_t labels[VERTICES];
    static float fractions[VERTICES];
    const char *name = "lh.floc-faces_challenge_space.npy";
    refuse_vector(name, BE_DTYPE_I64, VERTICES - 1, labels, "has 299 labels, the families before it have 300");
    refuse_vector(name, BE_DTYPE_F32, VERTICES, fractions, "array of F32 where integers are expected");
    refuse_vector(name, BE_DTYPE_I64, 0, labels, "is no vector");
    const int64_t wrong[] = {99, -1, INT64_MIN, INT64_MAX};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char part[96];
        labels[42] = wrong[i];
        snprintf(part, sizeof part, "label %lld of vertex 42 is not in the family's mapping", (long long)wrong[i]);
        refuse_vector(name, BE_DTYPE_I64, VERTICES, labels, part);
    }
    size_t many = BE_MOST_VERTICES + 1, shape[2] = {VERTICES / 2, 2};
    uint8_t *zeros = calloc(many, 1);
    assert_non_null(zeros);
    refuse_vector(name, BE_DTYPE_U8, many, zeros, "is no vector");
    free(zeros);
    be_error error;
    assert_ok(be_npy_write(path_of(name), BE_DTYPE_I64, 2, shape, labels, &error), &error);
    refuse(name, BE_ERROR_FORMAT, "is no vector");
    restore(name);
}

/* All files fit each other, but not the checkpoint. */
static void test_other_subject(void **state)
{
    (void)state;
    static const int64_t zeros[10];
    static uint8_t surface[20] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    const size_t ten = 10, twenty = 20;
    be_error error;
    for (size_t f = 0; f < FAMILIES; f++)
        assert_ok(be_npy_write(path_of(names[3 * f]), BE_DTYPE_I64, 1, &ten, zeros, &error), &error);
    const char *path = path_of("lh.all-vertices_fsaverage_space.npy");
    assert_ok(be_npy_write(path, BE_DTYPE_U8, 1, &twenty, surface, &error), &error);
    refuse_import(golden(GOLDEN_CHECKPOINT), folder, BE_ERROR_FORMAT,
                  "checkpoint.pth: tensor 'model.lh_embed.0.weight' is for 300 vertices");
    for (size_t i = 0; i < N_FILES; i++)
        restore(names[i]);
}

/* --- mappings ----------------------------------------------------------------------------------------------------- */

static void refuse_mapping(const int64_t *labels, const char *const *texts, size_t count, const char *named,
                           const char *part)
{
    be_error error;
    assert_ok(be_npy_write_mapping(path_of("mapping_floc-places.npy"), labels, texts, count, &error), &error);
    refuse(named, BE_ERROR_FORMAT, part);
    restore("mapping_floc-places.npy");
}

#define SIXTY_FOUR "a name of sixty-four letters: one more than the longest there is"

static void test_mappings(void **state)
{
    (void)state;
    static const char *const good[] = {"Unknown", "OPA", "PPA", "RSC"}, *const twice[] = {"Unknown", "OPA", "PPA", "OPA"},
                      *const taken[] = {"Unknown", "OPA", "EBA", "RSC"}, *const rest[] = {"Unknown", "OPA", "rest", "RSC"},
                      *const comma[] = {"Unknown", "OPA", "P,A", "RSC"}, *const empty[] = {"Unknown", "OPA", "", "RSC"};
    static const char *const lengthy[] = {"Unknown", "OPA", SIXTY_FOUR, "RSC"};
    const char *mapping = "mapping_floc-places.npy", *labelled = "lh.floc-places_challenge_space.npy";
    refuse_mapping((int64_t[]){0, 1, 2, 2}, good, 4, mapping, "label 2 is negative or there twice");
    refuse_mapping((int64_t[]){0, 1, -2, 3}, good, 4, mapping, "label -2 is negative or there twice");
    refuse_mapping((int64_t[]){0, 1, 2, 3}, twice, 4, mapping, "the name OPA is there twice");
    refuse_mapping((int64_t[]){0, 1, 2, 3}, taken, 4, mapping, "the name EBA is there twice");
    refuse_mapping((int64_t[]){0, 1, 2, 3}, comma, 4, mapping, "'P,A' is no name");
    refuse_mapping((int64_t[]){0, 1, 2, 3}, empty, 4, mapping, "'' is no name");
    refuse_mapping((int64_t[]){0, 1, 2, 3}, lengthy, 4, mapping,
                   "'" SIXTY_FOUR "' is no name for a ROI (1 to 63 printable bytes, no comma)");
    refuse_mapping((int64_t[]){0, 1, 2}, good, 3, labelled, "label 3 of vertex");
    refuse_mapping(NULL, NULL, 0, labelled, "label ");
    be_error error;
    assert_ok(be_npy_write_mapping(path_of(mapping), (int64_t[]){0, 1, 2, 3}, rest, 4, &error), &error);
    refuse_import(golden(GOLDEN_CHECKPOINT), folder, BE_ERROR_FORMAT, "subj01: the name rest is there twice");
    /* one region more than the checkpoint has queries for */
    static const char *const more[] = {"Unknown", "OPA", "PPA", "RSC", "LOC"};
    assert_ok(be_npy_write_mapping(path_of(mapping), (int64_t[]){0, 1, 2, 3, 4}, more, 5, &error), &error);
    refuse_import(golden(GOLDEN_CHECKPOINT), folder, BE_ERROR_FORMAT,
                  "the model has 50 queries; readout_res rois_all needs 52: one a hemisphere for each of the 25 ROIs");
    restore(mapping);
}

/* Each region costs a mask of all vertices: few bytes may not ask for much memory. */
static void test_too_many_regions(void **state)
{
    (void)state;
    enum { MANY = BE_MOST_ROIS + 2 };
    static int64_t labels[MANY];
    static char texts[MANY][8];
    static const char *pointers[MANY];
    be_error error;
    for (size_t i = 0; i < MANY; i++) {
        labels[i] = (int64_t)i;
        snprintf(texts[i], sizeof texts[i], "R%zu", i);
        pointers[i] = texts[i];
    }
    assert_ok(be_npy_write_mapping(path_of("mapping_floc-words.npy"), labels, pointers, MANY, &error), &error);
    refuse("mapping_floc-words.npy", BE_ERROR_LIMIT, "names more than 1000 regions");
    restore("mapping_floc-words.npy");
}

static void test_hostile_mapping(void **state)
{
    (void)state;
    size_t size;
    unsigned char *bytes = read_bytes(golden("corrupt/mapping_os_system.npy"), &size);
    write_bytes(path_of("mapping_floc-words.npy"), bytes, size);
    free(bytes);
    refuse("mapping_floc-words.npy", BE_ERROR_FORMAT, "");
    refuse_import(golden(GOLDEN_CHECKPOINT), folder, BE_ERROR_FORMAT, "system");
    restore("mapping_floc-words.npy");
}

/* --- the surface -------------------------------------------------------------------------------------------------- */

static void test_surface(void **state)
{
    (void)state;
    enum { SURFACE = 500 };
    static uint8_t marks[SURFACE];
    const char *name = "rh.all-vertices_fsaverage_space.npy";
    memset(marks, 1, GOLDEN_RIGHT - 1);
    refuse_vector(name, BE_DTYPE_U8, SURFACE, marks, "marks 319 vertices, the ROI masks have 320");
    memset(marks, 1, GOLDEN_RIGHT + 1);
    refuse_vector(name, BE_DTYPE_U8, SURFACE, marks, "marks 321 vertices, the ROI masks have 320");
    marks[7] = 2;
    refuse_vector(name, BE_DTYPE_U8, SURFACE, marks, "element 7 is neither 0 nor 1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_folder_is_good), cmocka_unit_test(test_missing_files), cmocka_unit_test(test_cut_files),
        cmocka_unit_test(test_labels),         cmocka_unit_test(test_other_subject), cmocka_unit_test(test_mappings),
        cmocka_unit_test(test_too_many_regions),
        cmocka_unit_test(test_hostile_mapping), cmocka_unit_test(test_surface),
    };
    return cmocka_run_group_tests(tests, copy_folder, NULL);
}
