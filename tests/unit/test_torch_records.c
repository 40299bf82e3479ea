/* The zip archive of a .pth file: which records must be there, how large they may be, how they may be stored. */
#include "tests/unit/files_support.h"

#include <stdbool.h>

#include <zip.h>

typedef struct record {
    const char *name;
    const void *bytes;
    size_t size;
    bool deflated;
} record;

/* Writes an archive; a name of NULL ends the records. */
static const char *archive_of(const record *records)
{
    const char *path = scratch("made.pth");
    zip_t *archive = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, NULL);
    assert_non_null(archive);
    for (const record *r = records; r->name; r++) {
        zip_source_t *source = zip_source_buffer(archive, r->bytes, r->size, 0);
        assert_non_null(source);
        zip_int64_t index = zip_file_add(archive, r->name, source, 0);
        assert_true(index >= 0);
        assert_int_equal(zip_set_file_compression(archive, (zip_uint64_t)index,
                                                  r->deflated ? ZIP_CM_DEFLATE : ZIP_CM_STORE, 0), 0);
    }
    assert_int_equal(zip_close(archive), 0);
    return path;
}

/* {"a": the tensor (2, 3) in storage "0"}, as the golden file valid_handmade.pth has it. */
static const char pickle[] =
    "\x80\x02}X\1\0\0\0actorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\nFloatStorage\n"
    "X\1\0\0\0" "0X\3\0\0\0cpuJ\6\0\0\0tQJ\0\0\0\0(J\2\0\0\0J\3\0\0\0t(J\3\0\0\0J\1\0\0\0t\x89"
    "ccollections\nOrderedDict\n)RtRs.";
static const float values[6] = {0, 1, 2, 3, 4, 5};

#define PICKLE_RECORD {"archive/data.pkl", pickle, sizeof pickle - 1, false}
#define DATA_RECORD {"archive/data/0", values, sizeof values, false}

static void check_a(const char *path)
{
    be_tensor_file *file = open_good(path);
    assert_int_equal(be_tensor_file_count(file), 1);
    float *a = tensor_f32(file, "a");
    assert_same_bits("a", a, values, sizeof values);
    free(a);
    be_tensor_file_close(file);
}

static void test_order_and_other_records_do_not_matter(void **state)
{
    (void)state;
    check_a(archive_of((const record[]){PICKLE_RECORD, DATA_RECORD, {NULL, NULL, 0, false}}));
    check_a(archive_of((const record[]){{"archive/version", "3\n", 2, false}, DATA_RECORD, {"other", "x", 1, false},
                                        {"archive/byteorder", "little", 6, false}, PICKLE_RECORD,
                                        {"archive/.data/serialization_id", "1", 1, false}, {NULL, NULL, 0, false}}));
}

static void test_deflated_records_are_read(void **state)
{
    (void)state;
    check_a(archive_of((const record[]){{"archive/data.pkl", pickle, sizeof pickle - 1, true},
                                        {"archive/data/0", values, sizeof values, true}, {NULL, NULL, 0, false}}));
}

static void test_missing_records(void **state)
{
    (void)state;
    assert_refused(archive_of((const record[]){{"x", "y", 1, false}, {NULL, NULL, 0, false}}), BE_ERROR_FORMAT,
                   "without the record data.pkl");
    assert_refused(archive_of((const record[]){{"data.pkl", pickle, sizeof pickle - 1, false}, {NULL, NULL, 0, false}}),
                   BE_ERROR_FORMAT, "without the record data.pkl");
    assert_refused(archive_of((const record[]){PICKLE_RECORD, {NULL, NULL, 0, false}}), BE_ERROR_FORMAT,
                   "record data/0 is missing");
    assert_refused(archive_of((const record[]){PICKLE_RECORD, {"other/data/0", values, sizeof values, false},
                                               {NULL, NULL, 0, false}}),
                   BE_ERROR_FORMAT, "record data/0 is missing");
}

static void test_two_pickles_are_refused(void **state)
{
    (void)state;
    assert_refused(archive_of((const record[]){PICKLE_RECORD, DATA_RECORD,
                                               {"b/data.pkl", pickle, sizeof pickle - 1, false}, {NULL, NULL, 0, false}}),
                   BE_ERROR_FORMAT, "two records data.pkl");
}

static void test_sizes_must_agree(void **state)
{
    (void)state;
    assert_refused(archive_of((const record[]){PICKLE_RECORD, {"archive/data/0", values, sizeof values - 1, false},
                                               {NULL, NULL, 0, false}}),
                   BE_ERROR_FORMAT, "record data/0 holds 23 bytes, its tensors need 24");
    assert_refused(archive_of((const record[]){PICKLE_RECORD, {"archive/data/0", pickle, 28, false},
                                               {NULL, NULL, 0, false}}),
                   BE_ERROR_FORMAT, "record data/0 holds 28 bytes, its tensors need 24");
    assert_refused(archive_of((const record[]){{"archive/data.pkl", "", 0, false}, {NULL, NULL, 0, false}}),
                   BE_ERROR_FORMAT, "ends without STOP");
}

static void test_byte_order(void **state)
{
    (void)state;
    assert_refused(archive_of((const record[]){PICKLE_RECORD, DATA_RECORD, {"archive/byteorder", "big", 3, false},
                                               {NULL, NULL, 0, false}}),
                   BE_ERROR_UNSUPPORTED, "record byteorder: is not little");
    assert_refused(archive_of((const record[]){PICKLE_RECORD, DATA_RECORD,
                                               {"archive/byteorder", "little little little", 20, false},
                                               {NULL, NULL, 0, false}}),
                   BE_ERROR_UNSUPPORTED, "record byteorder: is not little");
}

/* 65 MiB of zeros take 65 KiB in the archive. */
static void test_what_unpacks_to_too_much_is_refused(void **state)
{
    (void)state;
    const size_t size = (size_t)65 << 20;
    unsigned char *zeros = calloc(1, size);
    assert_non_null(zeros);
    assert_refused(archive_of((const record[]){{"archive/data.pkl", zeros, size, true}, {NULL, NULL, 0, false}}),
                   BE_ERROR_LIMIT, "unpacks to far more than the file's size");
    assert_refused(archive_of((const record[]){PICKLE_RECORD, {"archive/data/0", zeros, size, true},
                                               {NULL, NULL, 0, false}}),
                   BE_ERROR_LIMIT, "unpacks to far more than the file's size");
    free(zeros);
}

static void test_long_names_are_refused(void **state)
{
    (void)state;
    char name[2000];
    memset(name, 'p', sizeof name);
    memcpy(name + 1500, "/data.pkl", 10);
    assert_refused(archive_of((const record[]){{name, pickle, sizeof pickle - 1, false}, {NULL, NULL, 0, false}}),
                   BE_ERROR_FORMAT, "the names of its records are too long");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_other_records_do_not_matter),
        cmocka_unit_test(test_deflated_records_are_read),
        cmocka_unit_test(test_missing_records),
        cmocka_unit_test(test_two_pickles_are_refused),
        cmocka_unit_test(test_sizes_must_agree),
        cmocka_unit_test(test_byte_order),
        cmocka_unit_test(test_what_unpacks_to_too_much_is_refused),
        cmocka_unit_test(test_long_names_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
