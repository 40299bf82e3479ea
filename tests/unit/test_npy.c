/* Arrays in .npy files: what is read, and what is refused. */
#include "tests/unit/files_support.h"

#include <math.h>
#include <stdio.h>

#include "core/base/memory.h"

enum { ROOM = 4096 };

/* A file made by hand: magic, version, header, data. */
static size_t put_file(unsigned char *out, int major, const char *header, const void *data, size_t data_size)
{
    size_t length = strlen(header), start = major == 1 ? 10 : 12;
    memcpy(out, "\x93NUMPY", 6);
    out[6] = (unsigned char)major;
    out[7] = 0;
    for (size_t i = 8; i < start; i++)
        out[i] = (unsigned char)(length >> 8 * (i - 8));
    memcpy(out + start, header, length);
    memcpy(out + start + length, data, data_size);
    return start + length + data_size;
}

static be_status parse(int major, const char *header, const void *data, size_t data_size, be_npy *npy,
                       be_error *error)
{
    /* Of exactly this size, so that a sanitizer sees a read beyond the end. */
    unsigned char room[ROOM];
    size_t size = put_file(room, major, header, data, data_size);
    unsigned char *bytes = malloc(size);
    assert_non_null(bytes);
    memcpy(bytes, room, size);
    be_status status = be_npy_parse(bytes, size, "x.npy", npy, error);
    free(bytes);
    return status;
}

static void assert_header_refused(const char *header, be_status expected, const char *part)
{
    static const unsigned char data[64];
    be_npy npy;
    be_error error;
    assert_error(parse(1, header, data, 24, &npy, &error), expected, &error, part);
    assert_int_equal(strncmp(error.message, "x.npy: ", 7), 0);
}

static void test_reference_is_read(void **state)
{
    (void)state;
    be_npy npy;
    be_error error;
    assert_ok(be_npy_read(golden("corrupt/valid_reference.npy"), &npy, &error), &error);
    assert_int_equal(npy.dtype, BE_DTYPE_I64);
    assert_int_equal(npy.n_dims, 2);
    assert_int_equal(npy.shape[0], 3);
    assert_int_equal(npy.shape[1], 4);
    assert_int_equal(npy.count, 12);
    assert_int_equal((uintptr_t)npy.data % BE_ALIGNMENT, 0);
    int64_t values[12];
    assert_ok(be_npy_to_i64(&npy, values, &error), &error);
    for (int i = 0; i < 12; i++)
        assert_int_equal(values[i], i);
    be_npy_free(&npy);
    assert_null(npy.data);
    be_npy_free(&npy);
}

static void test_fortran_order_is_turned_into_c_order(void **state)
{
    (void)state;
    be_npy npy;
    be_error error;
    int64_t values[12];
    assert_ok(be_npy_read(golden("corrupt/fortran_order.npy"), &npy, &error), &error);
    assert_ok(be_npy_to_i64(&npy, values, &error), &error);
    for (int i = 0; i < 12; i++)
        assert_int_equal(values[i], i);
    be_npy_free(&npy);
}

/* Element (i, j, k) of a Fortran array of shape (2, 3, 4) lies at i + 2 j + 6 k. */
static void test_fortran_order_in_three_dimensions(void **state)
{
    (void)state;
    unsigned char data[24];
    be_npy npy;
    be_error error;
    for (int i = 0; i < 24; i++)
        data[i] = (unsigned char)i;
    assert_ok(parse(1, "{'shape': (2, 3, 4), 'fortran_order': True, 'descr': '|u1'}", data, 24, &npy, &error), &error);
    const unsigned char *values = npy.data;
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 3; j++)
            for (int k = 0; k < 4; k++)
                assert_int_equal(values[(i * 3 + j) * 4 + k], i + 2 * j + 6 * k);
    be_npy_free(&npy);
}

static void test_damaged_files_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        be_status status;
        const char *part;
    } files[] = {
        {"corrupt/bad_magic.npy", BE_ERROR_FORMAT, "is no npy file"},
        {"corrupt/big_endian.npy", BE_ERROR_UNSUPPORTED, "npy dtype >i8 is big endian"},
        {"corrupt/object_pickle.npy", BE_ERROR_UNSUPPORTED, "Python objects"},
        {"corrupt/mapping_os_system.npy", BE_ERROR_UNSUPPORTED, "Python objects"},
        {"corrupt/truncated.npy", BE_ERROR_FORMAT, "its shape needs 96 bytes of data, the file holds 76"},
        {"corrupt/header_length.npy", BE_ERROR_FORMAT, "npy header: says 65535 bytes, the file has 214 left"},
        {"corrupt/shape_overflow.npy", BE_ERROR_FORMAT, "the shape is too large"},
        {"corrupt/negative_shape.npy", BE_ERROR_FORMAT, "negative dimension"},
        {"corrupt/empty.pth", BE_ERROR_FORMAT, "is no npy file"},
        {"corrupt/there_is_none.npy", BE_ERROR_NOT_FOUND, "no such file"},
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        be_npy npy;
        be_error error;
        const char *path = golden(files[i].name);
        assert_error(be_npy_read(path, &npy, &error), files[i].status, &error, files[i].part);
        assert_int_equal(strncmp(error.message, path, strlen(path)), 0);
    }
}

static void test_headers_that_python_would_write(void **state)
{
    (void)state;
    static const char *const headers[] = {
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   \n",
        "{'shape':(2,3),'descr':'<f4','fortran_order':False}",
        "{\"fortran_order\": False, \"shape\": (2, 3,), \"descr\": \"<f4\"}\n",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L), }\n",
    };
    static const float data[6] = {0, -1.5f, 3e38f, 4, 5, 6};
    for (int major = 1; major <= 3; major++) {
        for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
            be_npy npy;
            be_error error;
            assert_ok(parse(major, headers[i], data, sizeof data, &npy, &error), &error);
            assert_int_equal(npy.dtype, BE_DTYPE_F32);
            assert_int_equal(npy.shape[0], 2);
            assert_int_equal(npy.shape[1], 3);
            assert_memory_equal(npy.data, data, sizeof data);
            be_npy_free(&npy);
        }
    }
}

static void test_scalars_and_empty_arrays(void **state)
{
    (void)state;
    static const double number = -2.5;
    be_npy npy;
    be_error error;
    float value;
    assert_ok(parse(1, "{'descr': '<f8', 'fortran_order': False, 'shape': (), }", &number, 8, &npy, &error), &error);
    assert_int_equal(npy.n_dims, 0);
    assert_int_equal(npy.count, 1);
    be_npy_to_f32(&npy, &value);
    assert_true(value == -2.5f);
    be_npy_free(&npy);
    assert_ok(parse(1, "{'descr': '<f8', 'fortran_order': True, 'shape': (3, 0), }", "", 0, &npy, &error), &error);
    assert_int_equal(npy.count, 0);
    assert_int_equal(npy.shape[0], 3);
    assert_non_null(npy.data);
    be_npy_free(&npy);
}

static void test_bad_headers_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        be_status status;
        const char *part;
    } headers[] = {
        {"", BE_ERROR_FORMAT, "is no dict"},
        {"{", BE_ERROR_FORMAT, "a string is missing"},
        {"{}", BE_ERROR_FORMAT, "descr, fortran_order or shape is missing"},
        {"{'descr': '<f4', 'fortran_order': False}", BE_ERROR_FORMAT, "is missing"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,), 'more': 1}", BE_ERROR_FORMAT, "unknown key more"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,), 'shape': (6,)}", BE_ERROR_FORMAT,
         "shape is there twice"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,)} x", BE_ERROR_FORMAT, "something follows"},
        {"{'descr': '<f4' 'fortran_order': False, 'shape': (6,)}", BE_ERROR_FORMAT, "a comma is missing"},
        {"{'descr' '<f4', 'fortran_order': False, 'shape': (6,)}", BE_ERROR_FORMAT, "a colon is missing"},
        {"{'descr': '<f4', 'fortran_order': 0, 'shape': (6,)}", BE_ERROR_FORMAT, "neither True nor False"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6)}", BE_ERROR_FORMAT, "the shape is no tuple"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': [6]}", BE_ERROR_FORMAT, "the shape is no tuple"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2 3)}", BE_ERROR_FORMAT, "the shape is no tuple"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6.0,)}", BE_ERROR_FORMAT, "the shape is no tuple"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (x,)}", BE_ERROR_FORMAT, "no number"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-6,)}", BE_ERROR_FORMAT, "negative"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", BE_ERROR_FORMAT, "too large"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (0, 4611686018427387904)}", BE_ERROR_FORMAT, "too large"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,6)}", BE_ERROR_UNSUPPORTED, "more than 8"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (", BE_ERROR_FORMAT, "no number"},
        {"{'descr': '<f4, 'fortran_order': False, 'shape': (6,)}", BE_ERROR_UNSUPPORTED, "npy dtype <f4, "},
        {"{'descr': '<f4", BE_ERROR_FORMAT, "a string does not end"},
        {"{'descr': '<\\x664', 'fortran_order': False, 'shape': (6,)}", BE_ERROR_FORMAT, "strange characters"},
        {"{'descr': '', 'fortran_order': False, 'shape': (6,)}", BE_ERROR_UNSUPPORTED, "npy dtype "},
        {"{'descr': '<c8', 'fortran_order': False, 'shape': (3,)}", BE_ERROR_UNSUPPORTED, "npy dtype <c8"},
        {"{'descr': '|S4', 'fortran_order': False, 'shape': (6,)}", BE_ERROR_UNSUPPORTED, "npy dtype |S4"},
        {"{'descr': '|f4', 'fortran_order': False, 'shape': (6,)}", BE_ERROR_UNSUPPORTED, "npy dtype |f4"},
        {"{'descr': '>f4', 'fortran_order': False, 'shape': (6,)}", BE_ERROR_UNSUPPORTED, "big endian"},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (6,)}", BE_ERROR_UNSUPPORTED, "structured"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (5,)}", BE_ERROR_FORMAT,
         "needs 20 bytes of data, the file holds 24"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (7,)}", BE_ERROR_FORMAT,
         "needs 28 bytes of data, the file holds 24"},
    };
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
        assert_header_refused(headers[i].header, headers[i].status, headers[i].part);
}

static void test_unknown_versions_are_refused(void **state)
{
    (void)state;
    be_npy npy;
    be_error error;
    assert_error(parse(4, "{}", "", 0, &npy, &error), BE_ERROR_FORMAT, &error, "unknown npy version 4.0");
    assert_error(parse(0, "{}", "", 0, &npy, &error), BE_ERROR_FORMAT, &error, "unknown npy version 0.0");
}

static void test_every_integer_type_is_read(void **state)
{
    (void)state;
    static const struct {
        const char *descr;
        be_dtype dtype;
        unsigned char bytes[8];
        int64_t value;
    } types[] = {
        {"|b1", BE_DTYPE_BOOL, {7}, 1},
        {"|u1", BE_DTYPE_U8, {0xff}, 255},
        {"|i1", BE_DTYPE_I8, {0x80}, -128},
        {"<u1", BE_DTYPE_U8, {1}, 1},
        {"<u2", BE_DTYPE_U16, {0xfe, 0xff}, 65534},
        {"<i2", BE_DTYPE_I16, {0xfe, 0xff}, -2},
        {"<u4", BE_DTYPE_U32, {0xff, 0xff, 0xff, 0xff}, 4294967295},
        {"<i4", BE_DTYPE_I32, {0, 0, 0, 0x80}, -2147483648LL},
        {"<u8", BE_DTYPE_U64, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, INT64_MAX},
        {"<i8", BE_DTYPE_I64, {0, 0, 0, 0, 0, 0, 0, 0x80}, INT64_MIN},
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        char header[128];
        be_npy npy;
        be_error error;
        int64_t integer;
        float number;
        snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (1,), }", types[i].descr);
        assert_ok(parse(1, header, types[i].bytes, be_dtype_size(types[i].dtype), &npy, &error), &error);
        assert_int_equal(npy.dtype, types[i].dtype);
        assert_ok(be_npy_to_i64(&npy, &integer, &error), &error);
        assert_true(integer == types[i].value);
        be_npy_to_f32(&npy, &number);
        assert_true(number == (float)types[i].value);
        be_npy_free(&npy);
    }
}

static void test_what_is_no_signed_integer_is_refused(void **state)
{
    (void)state;
    static const unsigned char large[8] = {0, 0, 0, 0, 0, 0, 0, 0x80};
    be_npy npy;
    be_error error;
    int64_t integer;
    float number;
    assert_ok(parse(1, "{'descr': '<u8', 'fortran_order': False, 'shape': (), }", large, 8, &npy, &error), &error);
    assert_error(be_npy_to_i64(&npy, &integer, &error), BE_ERROR_FORMAT, &error, "U64");
    be_npy_to_f32(&npy, &number);
    assert_true(number == 0x1p63f);
    be_npy_free(&npy);
    assert_ok(parse(1, "{'descr': '<f8', 'fortran_order': False, 'shape': (), }", large, 8, &npy, &error), &error);
    assert_error(be_npy_to_i64(&npy, &integer, &error), BE_ERROR_FORMAT, &error, "F64");
    be_npy_free(&npy);
}

static void test_doubles_are_rounded_to_nearest(void **state)
{
    (void)state;
    /* Halfway between 1 and its neighbour above: to even; beyond the largest float: infinity. */
    static const double data[] = {1 + 0x1p-24, 1 + 0x3p-24, 1e300, -1e300, 0x1p-160, -0.0};
    static const float expected[] = {1, 1 + 0x1p-22f, INFINITY, -INFINITY, 0, -0.0f};
    be_npy npy;
    be_error error;
    float values[6];
    assert_ok(parse(1, "{'descr': '<f8', 'fortran_order': False, 'shape': (6,), }", data, sizeof data, &npy, &error),
              &error);
    be_npy_to_f32(&npy, values);
    assert_same_bits("doubles", values, expected, sizeof expected);
    be_npy_free(&npy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_is_read),
        cmocka_unit_test(test_fortran_order_is_turned_into_c_order),
        cmocka_unit_test(test_fortran_order_in_three_dimensions),
        cmocka_unit_test(test_damaged_files_are_refused_by_name),
        cmocka_unit_test(test_headers_that_python_would_write),
        cmocka_unit_test(test_scalars_and_empty_arrays),
        cmocka_unit_test(test_bad_headers_are_refused),
        cmocka_unit_test(test_unknown_versions_are_refused),
        cmocka_unit_test(test_every_integer_type_is_read),
        cmocka_unit_test(test_what_is_no_signed_integer_is_refused),
        cmocka_unit_test(test_doubles_are_rounded_to_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
