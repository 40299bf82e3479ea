/* The restricted unpickler: what every operation and every allowed global makes. */
#include "tests/unit/files_pickle.h"

#include <math.h>

#define ROOT(file) be_tensor_file_root(file)

static void assert_integer(const char *path, int64_t expected)
{
    be_tensor_file *file = open_good(path);
    assert_int_equal(ROOT(file)->kind, BE_VALUE_INT);
    assert_true(ROOT(file)->as.integer == expected);
    be_tensor_file_close(file);
}

static void assert_text(const char *path, be_value_kind kind, const char *expected, size_t length)
{
    be_tensor_file *file = open_good(path);
    assert_int_equal(ROOT(file)->kind, kind);
    assert_int_equal(ROOT(file)->as.text.length, length);
    assert_memory_equal(ROOT(file)->as.text.bytes, expected, length + 1);
    be_tensor_file_close(file);
}

#define TEXT(path, expected) assert_text(path, BE_VALUE_TEXT, expected, sizeof(expected) - 1)
#define BYTES(path, expected) assert_text(path, BE_VALUE_BYTES, expected, sizeof(expected) - 1)

static void assert_kind(const char *path, be_value_kind kind)
{
    be_tensor_file *file = open_good(path);
    assert_int_equal(ROOT(file)->kind, kind);
    be_tensor_file_close(file);
}

static void assert_number(const char *path, double expected)
{
    be_tensor_file *file = open_good(path);
    assert_int_equal(ROOT(file)->kind, BE_VALUE_FLOAT);
    assert_true(ROOT(file)->as.number == expected);
    be_tensor_file_close(file);
}

/* The items of the root as integers. */
static void assert_integers(const char *path, const int64_t *expected, size_t count)
{
    be_tensor_file *file = open_good(path);
    assert_int_equal(ROOT(file)->kind, BE_VALUE_LIST);
    assert_int_equal(ROOT(file)->as.list.count, count);
    for (size_t i = 0; i < count; i++) {
        int64_t integer;
        assert_true(be_value_integer(ROOT(file)->as.list.items[i], &integer));
        assert_true(integer == expected[i]);
    }
    be_tensor_file_close(file);
}

static void test_integers(void **state)
{
    (void)state;
    assert_integer(PICKLE("K\xff."), 255);
    assert_integer(PICKLE("M\xfe\xff."), 65534);
    assert_integer(PICKLE("J\xfe\xff\xff\xff."), -2);
    assert_integer(PICKLE("J\0\0\0\x80."), -2147483648LL);
    assert_integer(PICKLE("\x8a\0."), 0);
    assert_integer(PICKLE("\x8a\x01\x80."), -128);
    assert_integer(PICKLE("\x8a\x03\0\0\x80."), -8388608);
    assert_integer(PICKLE("\x8a\x08\0\0\0\0\0\0\0\x80."), INT64_MIN);
    assert_integer(PICKLE("\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f."), INT64_MAX);
    assert_integer(PICKLE("\x8a\x09\xff\xff\xff\xff\xff\xff\xff\x7f\0."), INT64_MAX);
    assert_integer(PICKLE("\x8b\x02\0\0\0\x39\x30."), 12345);
    assert_integer(PICKLE("I-42\n."), -42);
    assert_integer(PICKLE("L9223372036854775807L\n."), INT64_MAX);
    assert_integer(PICKLE("L-7\n."), -7);
}

static void test_wide_integers_have_no_plain_form(void **state)
{
    (void)state;
    assert_kind(PICKLE("\x8a\x09\0\0\0\0\0\0\0\x80\0."), BE_VALUE_OTHER); /* 2^63 */
    assert_kind(PICKLE("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."), BE_VALUE_OTHER);
    assert_kind(PICKLE("L9223372036854775808L\n."), BE_VALUE_OTHER);
}

static void test_constants_and_floats(void **state)
{
    (void)state;
    assert_kind(PICKLE("N."), BE_VALUE_NONE);
    assert_kind(PICKLE("\x88."), BE_VALUE_BOOL);
    assert_kind(PICKLE("I01\n."), BE_VALUE_BOOL);
    assert_number(PICKLE("G\x3f\xf8\0\0\0\0\0\0."), 1.5);
    assert_number(PICKLE("G\x7f\xf0\0\0\0\0\0\0."), INFINITY);
    assert_number(PICKLE("F-2.5e3\n."), -2500);
}

static void test_strings(void **state)
{
    (void)state;
    TEXT(PICKLE("X\x02\0\0\0\xc3\xa9."), "\xc3\xa9");
    TEXT(PICKLE("\x8c\x03" "a\0b."), "a\0b");
    TEXT(PICKLE("\x8d\x01\0\0\0\0\0\0\0x."), "x");
    TEXT(PICKLE("V\\u20ac\xe9\\U0001f600\\n\n."), "\xe2\x82\xac\xc3\xa9\xf0\x9f\x98\x80\\n");
    TEXT(PICKLE("S'a\\'\\\\\\n\\x41'\n."), "a'\\\nA");
    BYTES(PICKLE("S\"\\xff\"\n."), "\xff");
    TEXT(PICKLE("U\x02hi."), "hi");
    BYTES(PICKLE("T\x02\0\0\0\xff\0."), "\xff\0");
    BYTES(PICKLE("C\x02\0\xff."), "\0\xff");
    BYTES(PICKLE("B\x01\0\0\0x."), "x");
    BYTES(PICKLE("\x8e\x01\0\0\0\0\0\0\0x."), "x");
    BYTES(PICKLE("\x96\x01\0\0\0\0\0\0\0x."), "x");
    TEXT(PICKLE("X\0\0\0\0."), "");
}

static void test_containers(void **state)
{
    (void)state;
    static const int64_t one_to_five[] = {1, 2, 3, 4, 5};
    assert_integers(PICKLE("]."), NULL, 0);
    assert_integers(PICKLE(")."), NULL, 0);
    assert_integers(PICKLE("\x8f."), NULL, 0);
    assert_integers(PICKLE("]K\1aK\2a."), one_to_five, 2);
    assert_integers(PICKLE("](K\1K\2K\3K\4K\5e."), one_to_five, 5);
    assert_integers(PICKLE("](K\1K\2e(K\3K\4K\5e(e."), one_to_five, 5);
    assert_integers(PICKLE("(K\1K\2K\3l."), one_to_five, 3);
    assert_integers(PICKLE("(K\1K\2K\3K\4t."), one_to_five, 4);
    assert_integers(PICKLE("K\1\x85."), one_to_five, 1);
    assert_integers(PICKLE("K\1K\2\x86."), one_to_five, 2);
    assert_integers(PICKLE("K\1K\2K\3\x87."), one_to_five, 3);
    assert_integers(PICKLE("\x8f(K\1K\2\x90."), one_to_five, 2);
    assert_integers(PICKLE("(K\1K\2\x91."), one_to_five, 2);
}

/* {"a": 1, "a": 2, 1: 3}: of a key that is there twice the last one counts. */
static void assert_dict(const char *path)
{
    be_tensor_file *file = open_good(path);
    int64_t integer;
    assert_int_equal(ROOT(file)->kind, BE_VALUE_DICT);
    assert_int_equal(ROOT(file)->as.dict.count, 3);
    assert_true(be_value_integer(be_value_get(ROOT(file), "a"), &integer) && integer == 2);
    assert_null(be_value_get(ROOT(file), "b"));
    assert_int_equal(ROOT(file)->as.dict.pairs[2].key->as.integer, 1);
    be_tensor_file_close(file);
}

static void test_dicts(void **state)
{
    (void)state;
    assert_dict(PICKLE("}X\1\0\0\0aK\1sX\1\0\0\0aK\2sK\1K\3s."));
    assert_dict(PICKLE("}(X\1\0\0\0aK\1X\1\0\0\0aK\2K\1K\3u."));
    assert_dict(PICKLE("(X\1\0\0\0aK\1X\1\0\0\0aK\2K\1K\3d."));
}

static void test_stack_and_memo(void **state)
{
    (void)state;
    static const int64_t sevens[] = {7, 7, 7, 7, 7};
    assert_integers(PICKLE("K\7" "2\x86."), sevens, 2);
    assert_integers(PICKLE("](K\7q\0h\0r\1\0\0\0j\1\0\0\0p2\ng2\n\x94h\3e."), sevens, 5);
    assert_integer(PICKLE("K\1K\2" "0."), 1);
    assert_integer(PICKLE("K\1(K\2K\3" "1."), 1);
    assert_integer(PICKLE("K\1(0."), 1);
    assert_integer(PICKLE("\x80\x05\x95\x03\0\0\0\0\0\0\0K\1."), 1);
}

static void test_values_of_torch(void **state)
{
    (void)state;
    static const int64_t size[] = {2, 3};
    TEXT(PICKLE("ctorch\nfloat32\n."), "torch.float32");
    TEXT(PICKLE("\x8c\x05torch\x8c\x08" "bfloat16\x93."), "torch.bfloat16");
    TEXT(PICKLE("ctorch\ndevice\nX\3\0\0\0cpu\x85R."), "cpu");
    TEXT(PICKLE("ctorch\ndevice\nX\4\0\0\0cudaK\1\x86R."), "cuda:1");
    assert_integers(PICKLE("ctorch\nSize\nK\2K\3\x86\x85R."), size, 2);
    TEXT(PICKLE("cpathlib\nPosixPath\n(X\1\0\0\0/X\4\0\0\0homeX\1\0\0\0xtR."), "/home/x");
    TEXT(PICKLE("cpathlib._local\nPurePosixPath\n(X\1\0\0\0aX\1\0\0\0btR."), "a/b");
    TEXT(PICKLE("cpathlib\nPosixPath\n)R."), "");
    BYTES(PICKLE("c_codecs\nencode\nX\3\0\0\0a\xc3\xbfX\6\0\0\0latin1\x86R."), "a\xff");
    assert_kind(PICKLE("ccollections\nOrderedDict\n)R."), BE_VALUE_DICT);
    assert_kind(PICKLE("ccollections\nOrderedDict\n)\x81}b."), BE_VALUE_DICT);
}

static void test_ordered_dict_of_pairs(void **state)
{
    (void)state;
    be_tensor_file *file =
        open_good(PICKLE("ccollections\nOrderedDict\n](X\1\0\0\0aK\1\x86](X\1\0\0\0bK\2ee\x85R}X\1\0\0\0xK\1sb."));
    int64_t integer;
    assert_int_equal(ROOT(file)->as.dict.count, 2);
    assert_true(be_value_integer(be_value_get(ROOT(file), "a"), &integer) && integer == 1);
    assert_true(be_value_integer(be_value_get(ROOT(file), "b"), &integer) && integer == 2);
    be_tensor_file_close(file);
}

static void test_namespace(void **state)
{
    (void)state;
    be_tensor_file *file = open_good(PICKLE("cargparse\nNamespace\n)\x81}X\5\0\0\0layerK\7sb."));
    int64_t integer;
    assert_int_equal(ROOT(file)->kind, BE_VALUE_DICT);
    assert_true(be_value_integer(be_value_get(ROOT(file), "layer"), &integer) && integer == 7);
    be_tensor_file_close(file);
}

/* numpy.core.multiarray.scalar(numpy.dtype(TYPE, False, True) with the byte order ORDER, DATA) */
#define SCALAR(type, order, data)                                                                                      \
    "cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nX\2\0\0\0" type "\x89\x88\x87R(K\3X\1\0\0\0" order                 \
    "NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb" data "\x86R."

static void test_numpy_scalars_are_numbers(void **state)
{
    (void)state;
    assert_number(PICKLE(SCALAR("f8", "<", "C\x08\0\0\0\0\0\0\xf8\x3f")), 1.5);
    assert_number(PICKLE(SCALAR("f4", "<", "C\x04\0\0\xc0\x3f")), 1.5);
    assert_number(PICKLE(SCALAR("f2", "<", "C\x02\0\x3e")), 1.5);
    assert_integer(PICKLE(SCALAR("i8", "<", "C\x08\xff\xff\xff\xff\xff\xff\xff\xff")), -1);
    assert_integer(PICKLE(SCALAR("i4", "<", "C\x04\xff\xff\xff\xff")), -1);
    assert_integer(PICKLE(SCALAR("u4", "<", "C\x04\xff\xff\xff\xff")), 4294967295LL);
    assert_integer(PICKLE(SCALAR("u1", "|", "C\x01\xff")), 255);
    assert_kind(PICKLE(SCALAR("b1", "|", "C\x01\1")), BE_VALUE_BOOL);
    assert_kind(PICKLE(SCALAR("u8", "<", "C\x08\0\0\0\0\0\0\0\x80")), BE_VALUE_OTHER);
    assert_kind(PICKLE(SCALAR("S3", "|", "C\x03" "abc")), BE_VALUE_OTHER);
    /* as protocol 2 writes the bytes */
    assert_number(PICKLE(SCALAR("f4", "<", "c_codecs\nencode\nX\5\0\0\0\0\0\xc3\x80\x3fX\6\0\0\0latin1\x86R")), 1.5);
    assert_refused(PICKLE(SCALAR("f8", ">", "C\x08\x3f\xf8\0\0\0\0\0\0")), BE_ERROR_UNSUPPORTED, "big-endian");
    assert_refused(PICKLE(SCALAR("f8", "<", "C\x04\0\0\xc0\x3f")), BE_ERROR_FORMAT, "bytes of a wrong number");
    assert_refused(PICKLE(SCALAR("f8", "<", "N")), BE_ERROR_FORMAT, "numpy.core.multiarray.scalar");
}

#define OBJECTS(shape, list)                                                                                           \
    "cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85" "C\1b\x87R(K\1" shape                            \
    "cnumpy\ndtype\nX\2\0\0\0O8\x89\x88\x87R\x89" list "tb."

static void test_numpy_arrays(void **state)
{
    (void)state;
    static const int64_t one_to_three[] = {1, 2, 3};
    assert_integers(PICKLE(OBJECTS("K\3\x85", "](K\1K\2K\3e")), one_to_three, 3);
    assert_refused(PICKLE(OBJECTS("K\4\x85", "](K\1K\2K\3e")), BE_ERROR_FORMAT, "too few or too many objects");
    assert_refused(PICKLE(OBJECTS("J\xff\xff\xff\xff\x85", "]")), BE_ERROR_FORMAT, "too few or too many objects");
    assert_refused(PICKLE(OBJECTS(")", "C\1x")), BE_ERROR_FORMAT, "too few or too many objects");
    assert_kind(PICKLE("cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85" "C\1b\x87R(K\1K\1\x85"
                       "cnumpy\ndtype\nX\2\0\0\0u1\x89\x88\x87R\x89" "C\1xtb."),
                BE_VALUE_OTHER);
}

static void test_plain_readings(void **state)
{
    (void)state;
    const be_value whole = {.kind = BE_VALUE_FLOAT, .as.number = -3}, half = {.kind = BE_VALUE_FLOAT, .as.number = 0.5};
    const be_value large = {.kind = BE_VALUE_FLOAT, .as.number = 0x1p63};
    const be_value least = {.kind = BE_VALUE_FLOAT, .as.number = -0x1p63};
    const be_value yes = {.kind = BE_VALUE_BOOL, .as.boolean = true}, seven = {.kind = BE_VALUE_INT, .as.integer = 7};
    const be_value nan_value = {.kind = BE_VALUE_FLOAT, .as.number = NAN};
    const be_value cut = {.kind = BE_VALUE_TEXT, .as.text = {"a\0b", 3}};
    int64_t integer = 99;
    double number;
    bool boolean;
    const char *text = "untouched";
    assert_true(be_value_integer(&whole, &integer) && integer == -3);
    assert_true(be_value_integer(&least, &integer) && integer == INT64_MIN);
    assert_true(be_value_integer(&yes, &integer) && integer == 1);
    assert_false(be_value_integer(&half, &integer) || be_value_integer(&large, &integer) ||
                 be_value_integer(&nan_value, &integer) || be_value_integer(NULL, &integer));
    assert_int_equal(integer, 1);
    assert_true(be_value_number(&seven, &number) && number == 7);
    assert_true(be_value_number(&yes, &number) && number == 1);
    assert_false(be_value_number(&cut, &number));
    assert_false(be_value_boolean(&seven, &boolean) || be_value_boolean(NULL, &boolean));
    assert_false(be_value_text(&cut, &text) || be_value_text(&seven, &text) || be_value_text(NULL, &text));
    assert_string_equal(text, "untouched");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_wide_integers_have_no_plain_form),
        cmocka_unit_test(test_constants_and_floats),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_containers),
        cmocka_unit_test(test_dicts),
        cmocka_unit_test(test_stack_and_memo),
        cmocka_unit_test(test_values_of_torch),
        cmocka_unit_test(test_ordered_dict_of_pairs),
        cmocka_unit_test(test_namespace),
        cmocka_unit_test(test_numpy_scalars_are_numbers),
        cmocka_unit_test(test_numpy_arrays),
        cmocka_unit_test(test_plain_readings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
