/* Label dictionaries: pickled dicts in .npy files. */
#include "tests/unit/files_support.h"

#include <stdio.h>

static const char *const families[][8] = {
    {"prf-visualrois", "Unknown", "V1v", "V1d", "V2v", "V2d", "V3v", "V3d"}, /* and hV4 */
    {"floc-bodies", "Unknown", "EBA", "FBA-1", "FBA-2", "mTL-bodies"},
    {"floc-faces", "Unknown", "OFA", "FFA-1", "FFA-2", "mTL-faces", "aTL-faces"},
    {"floc-places", "Unknown", "OPA", "PPA", "RSC"},
    {"floc-words", "Unknown", "OWFA", "VWFA-1", "VWFA-2", "mfs-words", "mTL-words"},
};

/* The names are those of the Algonauts 2023 data, in the order of their labels. */
static void test_golden_mappings(void **state)
{
    (void)state;
    for (size_t f = 0; f < sizeof families / sizeof families[0]; f++) {
        char name[128];
        be_npy_mapping mapping;
        be_error error;
        snprintf(name, sizeof name, "dinov2_q_rois/algonauts/subj01/roi_masks/mapping_%s.npy", families[f][0]);
        assert_ok(be_npy_read_mapping(golden(name), &mapping, &error), &error);
        size_t expected = 0;
        for (; expected < 7 && families[f][expected + 1]; expected++) {
            assert_true(expected < mapping.count);
            assert_int_equal(mapping.labels[expected], expected);
            assert_string_equal(mapping.names[expected], families[f][expected + 1]);
        }
        if (f == 0)
            assert_string_equal(mapping.names[expected++], "hV4");
        assert_int_equal(mapping.count, expected);
        be_npy_mapping_free(&mapping);
        be_npy_mapping_free(&mapping);
    }
}

/* The mapping of floc-bodies as NumPy wrote it, with a part of its pickle replaced. */
static const char *altered(const char *from, size_t from_size, const char *to)
{
    static const char name[] = "dinov2_q_rois/algonauts/subj01/roi_masks/mapping_floc-bodies.npy";
    size_t size;
    unsigned char *bytes = read_bytes(golden(name), &size);
    unsigned char *found = memmem(bytes, size, from, from_size);
    assert_non_null(found);
    memcpy(found, to, from_size);
    const char *path = scratch_bytes("altered.npy", bytes, size);
    free(bytes);
    return path;
}

static void assert_mapping_refused(const char *path, be_status status, const char *part)
{
    be_npy_mapping mapping;
    be_error error;
    assert_error(be_npy_read_mapping(path, &mapping, &error), status, &error, part);
    assert_int_equal(strncmp(error.message, path, strlen(path)), 0);
}

static void test_what_is_no_mapping_is_refused(void **state)
{
    (void)state;
    assert_mapping_refused(golden("corrupt/mapping_os_system.npy"), BE_ERROR_FORMAT,
                           "refuses the global os.system, which is not on the list");
    assert_mapping_refused(golden("corrupt/object_pickle.npy"), BE_ERROR_FORMAT, "is no pickled dict");
    assert_mapping_refused(golden("corrupt/valid_reference.npy"), BE_ERROR_FORMAT, "is no pickled dict");
    assert_mapping_refused(scratch("none.npy"), BE_ERROR_NOT_FOUND, "no such file");
    /* label 1 becomes None; name EBA becomes bytes; the array has one object more than its shape says */
    assert_mapping_refused(altered("q\x0eK\x01", 4, "q\x0eNN"), BE_ERROR_FORMAT, "bad pickle: a key without a value");
    assert_mapping_refused(altered("X\x03\x00\x00\x00" "EBA", 8, "B\x03\x00\x00\x00" "EBA"), BE_ERROR_FORMAT,
                           "is no pickled dict");
    assert_mapping_refused(altered("X\x03\x00\x00\x00" "EBA", 8, "X\x03\x00\x00\x00" "E\0A"), BE_ERROR_FORMAT,
                           "is no pickled dict");
    assert_mapping_refused(altered("b\x89]q\x0c", 5, "b\x89]]a"), BE_ERROR_FORMAT, "too many objects");
}

static void test_numpy_integers_are_labels_too(void **state)
{
    (void)state;
    /* {numpy.int16(-3): "three"}, the label as numpy.core.multiarray.scalar(dtype("i2"), bytes) */
    static const char pickle[] =
        "\x80\x03" "cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85" "C\x01" "b\x87R(K\x01)"
        "cnumpy\ndtype\nX\x02\0\0\0O8\x89\x88\x87R(K\x03X\x01\0\0\0|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb"
        "\x89]}(cnumpy._core.multiarray\nscalar\n"
        "cnumpy\ndtype\nX\x02\0\0\0i2\x89\x88\x87R(K\x03X\x01\0\0\0<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
        "C\x02\xfd\xff\x86RX\x05\0\0\0threeuatb.";
    unsigned char bytes[1024];
    static const char header[] = "{'descr': '|O', 'fortran_order': False, 'shape': (), }";
    be_npy_mapping mapping;
    be_error error;
    memcpy(bytes, "\x93NUMPY\x01\x00", 8);
    bytes[8] = sizeof header - 1;
    bytes[9] = 0;
    memcpy(bytes + 10, header, sizeof header - 1);
    memcpy(bytes + 10 + sizeof header - 1, pickle, sizeof pickle - 1);
    size_t size = 10 + sizeof header - 1 + sizeof pickle - 1;
    assert_ok(be_npy_read_mapping(scratch_bytes("i2.npy", bytes, size), &mapping, &error), &error);
    assert_int_equal(mapping.count, 1);
    assert_int_equal(mapping.labels[0], -3);
    assert_string_equal(mapping.names[0], "three");
    be_npy_mapping_free(&mapping);
    assert_mapping_refused(scratch_bytes("long.npy", bytes, size + 1), BE_ERROR_FORMAT, "something follows the pickle");
}

static void test_what_is_written_reads_the_same(void **state)
{
    (void)state;
    static const int64_t labels[] = {0, -1, 300, INT64_MAX, INT64_MIN};
    static const char *const names[] = {"Unknown", "", "caf\xc3\xa9", "a\nb", "x'\"\\"};
    be_npy_mapping mapping;
    be_npy npy;
    be_error error;
    const char *path = scratch("mapping.npy");
    assert_ok(be_npy_write_mapping(path, labels, names, 5, &error), &error);
    assert_ok(be_npy_read_mapping(path, &mapping, &error), &error);
    assert_int_equal(mapping.count, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_true(mapping.labels[i] == labels[i]);
        assert_string_equal(mapping.names[i], names[i]);
    }
    be_npy_mapping_free(&mapping);
    assert_error(be_npy_read(path, &npy, &error), BE_ERROR_UNSUPPORTED, &error, "Python objects");
    assert_ok(be_npy_write_mapping(path, NULL, NULL, 0, &error), &error);
    assert_ok(be_npy_read_mapping(path, &mapping, &error), &error);
    assert_int_equal(mapping.count, 0);
    be_npy_mapping_free(&mapping);
}

static void test_written_mapping_has_numpys_header(void **state)
{
    (void)state;
    size_t written_size, golden_size;
    be_error error;
    assert_ok(be_npy_write_mapping(scratch("mapping.npy"), NULL, NULL, 0, &error), &error);
    unsigned char *written = read_bytes(scratch("mapping.npy"), &written_size);
    unsigned char *expected =
        read_bytes(golden("dinov2_q_rois/algonauts/subj01/roi_masks/mapping_streams.npy"), &golden_size);
    assert_true(written_size > 130 && golden_size > 130);
    assert_same_bits("header and protocol", written, expected, 130);
    free(expected);
    free(written);
}

static void test_names_that_are_no_text_are_not_written(void **state)
{
    (void)state;
    static const int64_t label = 7;
    static const char *const name = "\xff";
    be_error error;
    assert_error(be_npy_write_mapping(scratch("bad.npy"), &label, &name, 1, &error), BE_ERROR_ARGUMENT, &error,
                 "label 7");
    assert_null(fopen(scratch("bad.npy"), "rb"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_mappings),
        cmocka_unit_test(test_what_is_no_mapping_is_refused),
        cmocka_unit_test(test_numpy_integers_are_labels_too),
        cmocka_unit_test(test_what_is_written_reads_the_same),
        cmocka_unit_test(test_written_mapping_has_numpys_header),
        cmocka_unit_test(test_names_that_are_no_text_are_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
