/* Tensors in pickles: views of storages, and the names the tree gives them. */
#include "tests/unit/files_pickle.h"

/* _rebuild_tensor_v2(storage "k" of four floats, OFFSET, SIZE, STRIDE, False, OrderedDict()) */
#define STORAGE "((X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0kX\3\0\0\0cpuK\4tQ"
#define TENSOR(offset, size, stride)                                                                                   \
    "ctorch._utils\n_rebuild_tensor_v2\n" STORAGE offset size stride "\x89" "ccollections\nOrderedDict\n)RtR"

static void assert_floats(const char *path, const char *name, const float *expected, size_t count)
{
    be_tensor_file *file = open_good(path);
    const be_tensor *tensor = be_tensor_file_find(file, name);
    assert_non_null(tensor);
    assert_int_equal(tensor->count, count);
    float *values = tensor_f32(file, name);
    assert_same_bits(name, values, expected, count * sizeof *expected);
    free(values);
    be_tensor_file_close(file);
}

static void test_views_of_a_storage(void **state)
{
    (void)state;
    static const float in_order[] = {0, 1, 2, 3}, transposed[] = {0, 2, 1, 3}, one[] = {3}, two[] = {1, 3};
    static const float repeated[] = {2, 2, 2, 3, 3, 3};
    assert_floats(WITH_STORAGE(TENSOR("K\0", "K\4\x85", "K\1\x85") "."), "", in_order, 4);
    assert_floats(WITH_STORAGE(TENSOR("K\0", "K\2K\2\x86", "K\1K\2\x86") "."), "", transposed, 4);
    assert_floats(WITH_STORAGE(TENSOR("K\3", ")", ")") "."), "", one, 1);
    assert_floats(WITH_STORAGE(TENSOR("K\1", "K\2\x85", "K\2\x85") "."), "", two, 2);
    assert_floats(WITH_STORAGE(TENSOR("K\2", "K\2K\3\x86", "K\1K\0\x86") "."), "", repeated, 6);
    assert_floats(WITH_STORAGE(TENSOR("K\4", "K\0\x85", "K\1\x85") "."), "", NULL, 0);
    assert_floats(WITH_STORAGE("}X\1\0\0\0a" TENSOR("K\0", "ctorch\nSize\nK\1K\4\x86\x85R", "M\xff\xffK\1\x86") "s."),
                  "a",
                  in_order, 4);
    /* _rebuild_tensor has four arguments, _rebuild_parameter takes a tensor */
    assert_floats(WITH_STORAGE("ctorch._utils\n_rebuild_tensor\n" STORAGE "K\0K\4\x85K\1\x85tR."), "", in_order, 4);
    assert_floats(WITH_STORAGE("ctorch._utils\n_rebuild_parameter\n" TENSOR("K\0", "K\4\x85", "K\1\x85")
                               "\x88" "ccollections\nOrderedDict\n)R\x87R."), "", in_order, 4);
}

static void test_views_that_leave_their_storage(void **state)
{
    (void)state;
    assert_refused(WITH_STORAGE(TENSOR("K\1", "K\4\x85", "K\1\x85") "."), BE_ERROR_FORMAT,
                   "storage k leaves its storage");
    assert_refused(WITH_STORAGE(TENSOR("K\0", "K\3\x85", "K\2\x85") "."), BE_ERROR_FORMAT, "leaves its storage");
    assert_refused(WITH_STORAGE(TENSOR("K\4", ")", ")") "."), BE_ERROR_FORMAT, "leaves its storage");
    assert_refused(WITH_STORAGE(TENSOR("K\5", "K\0\x85", "K\1\x85") "."), BE_ERROR_FORMAT, "leaves its storage");
    assert_refused(WITH_STORAGE(TENSOR("K\0", "K\2K\2\x86", "\x8a\x08\0\0\0\0\0\0\0\x40"
                                       "\x8a\x08\0\0\0\0\0\0\0\x40\x86") "."),
                   BE_ERROR_FORMAT, "leaves its storage");
    assert_refused(WITH_STORAGE(TENSOR("K\0", "K\4\x85", "J\xff\xff\xff\xff\x85") "."), BE_ERROR_FORMAT,
                   "negative stride");
    assert_refused(WITH_STORAGE(TENSOR("K\0", "J\xff\xff\xff\xff\x85", "K\1\x85") "."), BE_ERROR_FORMAT,
                   "negative size");
    assert_refused(WITH_STORAGE(TENSOR("J\xff\xff\xff\xff", "K\1\x85", "K\1\x85") "."), BE_ERROR_FORMAT,
                   "strange offset");
    assert_refused(WITH_STORAGE(TENSOR("K\0", "K\4\x85", ")") "."), BE_ERROR_FORMAT, "strange offset, size or stride");
    assert_refused(WITH_STORAGE(TENSOR("K\0", "N", "N") "."), BE_ERROR_FORMAT, "strange offset, size or stride");
    assert_refused(WITH_STORAGE(TENSOR("K\0", "\x8a\x08\0\0\0\0\0\0\0\x40\x85", "K\0\x85") "."), BE_ERROR_FORMAT,
                   "impossible size");
    assert_refused(WITH_STORAGE(TENSOR("K\0", "(K\1K\1K\1K\1K\1K\1K\1K\1K\1t", "(K\1K\1K\1K\1K\1K\1K\1K\1K\1t") "."),
                   BE_ERROR_UNSUPPORTED, "more than 8 dimensions");
}

/* 2^40 times the same element would need 4 TiB. */
static void test_expanded_views_are_bounded(void **state)
{
    (void)state;
    assert_refused(WITH_STORAGE(TENSOR("K\0", "\x8a\6\0\0\0\0\0\1\x85", "K\0\x85") "."), BE_ERROR_LIMIT,
                   "repeats its values too often");
}

static void test_storages_and_data_must_agree(void **state)
{
    (void)state;
    static const char good[] = TENSOR("K\0", "K\4\x85", "K\1\x85") ".";
    static const char twice[] = "\x80\x02](X\x01\0\0\0kX\x01\0\0\0ke.", unknown[] = "\x80\x02]X\x01\0\0\0ja.";
    static const char three[] = "\x80\x02]X\x01\0\0\0ka.\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    static const char huge[] = "\x80\x02]X\x01\0\0\0ka.\xff\xff\xff\xff\xff\xff\xff\x3f\0\0\0\0";
    assert_refused(plain_pickle_file(good, sizeof good - 1), BE_ERROR_FORMAT,
                   "storage k is missing");
    assert_refused(pickle_file(good, sizeof good - 1, unknown, sizeof unknown - 1), BE_ERROR_FORMAT,
                   "storage j is listed twice or belongs to no tensor");
    assert_refused(pickle_file(good, sizeof good - 1, three, sizeof three - 1), BE_ERROR_FORMAT,
                   "storage k holds 3 elements, its tensors need 4");
    assert_refused(pickle_file(good, sizeof good - 1, huge, sizeof huge - 1), BE_ERROR_FORMAT,
                   "truncated in storage k");
    assert_refused(pickle_file(good, sizeof good - 1, twice, sizeof twice - 1), BE_ERROR_FORMAT,
                   "truncated in storage k");
    assert_refused(pickle_file(good, sizeof good - 1, one_storage, one_storage_size + 1), BE_ERROR_FORMAT,
                   "something follows the last storage");
    assert_refused(pickle_file(good, sizeof good - 1, one_storage, one_storage_size - 1), BE_ERROR_FORMAT,
                   "truncated in storage k");
}

static void test_strange_storages_are_refused(void **state)
{
    (void)state;
    assert_refused(WITH_STORAGE("K\1Q."), BE_ERROR_FORMAT, "whose persistent id is no tuple");
    assert_refused(WITH_STORAGE(")Q."), BE_ERROR_FORMAT, "with a strange persistent id");
    assert_refused(WITH_STORAGE("(X\7\0\0\0storageK\1X\1\0\0\0kX\3\0\0\0cpuK\4tQ."), BE_ERROR_FORMAT,
                   "of an unknown type");
    assert_refused(WITH_STORAGE("(X\7\0\0\0storagectorch\nSize\nX\1\0\0\0kX\3\0\0\0cpuK\4tQ."), BE_ERROR_FORMAT,
                   "of an unknown type");
    assert_refused(WITH_STORAGE("(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0kX\3\0\0\0cpuJ\xff\xff\xff\xfftQ."),
                   BE_ERROR_FORMAT, "with a strange persistent id");
    assert_refused(WITH_STORAGE("(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0kX\3\0\0\0cpu"
                                "\x8a\x08\0\0\0\0\0\0\0\x40tQ."),
                   BE_ERROR_FORMAT, "of impossible size");
    assert_refused(WITH_STORAGE("(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0kX\3\0\0\0cpuK\4K\1K\0K\1\x87tQ."),
                   BE_ERROR_UNSUPPORTED, "a view of a storage");
    assert_refused(WITH_STORAGE("ctorch._utils\n_rebuild_tensor\n(K\1K\0K\4\x85K\1\x85tR."), BE_ERROR_FORMAT,
                   "a tensor without a storage");
    assert_refused(WITH_STORAGE("ctorch\nComplexFloatStorage\n."), BE_ERROR_FORMAT,
                   "refuses the global torch.ComplexFloatStorage");
}

static void test_names_of_tensors(void **state)
{
    (void)state;
    static const char *const names[] = {"a.b", "a.3", "a.2", "l.1"};
    be_tensor_file *file = open_good(WITH_STORAGE(
        "}(X\1\0\0\0a}(X\1\0\0\0b" TENSOR("K\0", "K\4\x85", "K\1\x85") "q\0K\3h\0Nh\0uX\1\0\0\0l](Nh\0eu."));
    assert_int_equal(be_tensor_file_count(file), 4);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(be_tensor_file_at(file, i)->name, names[i]);
    const be_value *value = be_value_get(be_value_get(be_tensor_file_root(file), "a"), "b");
    assert_non_null(value);
    assert_int_equal(value->kind, BE_VALUE_TENSOR);
    assert_int_equal(value->as.tensor, 0);
    be_tensor_file_close(file);
    assert_refused(WITH_STORAGE("}(X\3\0\0\0a.b" TENSOR("K\0", "K\4\x85", "K\1\x85") "q\0X\1\0\0\0a}X\1\0\0\0bh\0su."),
                   BE_ERROR_FORMAT, "two tensors have the name a.b");
    assert_refused(WITH_STORAGE("}X\2\0\0\0a\0" TENSOR("K\0", "K\4\x85", "K\1\x85") "s."), BE_ERROR_FORMAT,
                   "the name of a tensor holds a zero byte");
    assert_refused(WITH_STORAGE("}" TENSOR("K\0", "K\4\x85", "K\1\x85") "Ns."), BE_ERROR_FORMAT,
                   "a dict key that is no plain value");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_views_of_a_storage),
        cmocka_unit_test(test_views_that_leave_their_storage),
        cmocka_unit_test(test_expanded_views_are_bounded),
        cmocka_unit_test(test_storages_and_data_must_agree),
        cmocka_unit_test(test_strange_storages_are_refused),
        cmocka_unit_test(test_names_of_tensors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
