/* Arrays that are written to .npy files: the bytes, and that they read the same. */
#include "tests/unit/files_support.h"

#include <math.h>
#include <stdio.h>

/* Every half: sign, exponent e, fraction f is 2^(e - 15) * (1 + f / 1024), or 2^-14 * f / 1024 for e = 0. */
static void test_every_half_is_widened_exactly(void **state)
{
    (void)state;
    enum { HALVES = 65536 };
    uint16_t *halves = malloc(HALVES * sizeof *halves);
    float *values = malloc(HALVES * sizeof *values);
    const size_t shape = HALVES;
    be_npy npy;
    be_error error;
    assert_true(halves && values);
    for (unsigned i = 0; i < HALVES; i++)
        halves[i] = (uint16_t)i;
    assert_ok(be_npy_write(scratch("halves.npy"), BE_DTYPE_F16, 1, &shape, halves, &error), &error);
    assert_ok(be_npy_read(scratch("halves.npy"), &npy, &error), &error);
    be_npy_to_f32(&npy, values);
    for (unsigned i = 0; i < HALVES; i++) {
        int exponent = (int)(i >> 10 & 31), fraction = (int)(i & 1023);
        float magnitude = exponent == 31 ? INFINITY
                          : exponent     ? ldexpf((float)(1024 + fraction), exponent - 25)
                                         : ldexpf((float)fraction, -24);
        if (exponent == 31 && fraction)
            assert_true(isnan(values[i]));
        else
            assert_true(fabsf(values[i]) == magnitude);
        assert_int_equal(!!signbit(values[i]), i >> 15);
    }
    be_npy_free(&npy);
    free(values);
    free(halves);
}

static void test_written_bytes_are_those_of_the_format(void **state)
{
    (void)state;
    static const int16_t data[6] = {1, 2, 3, 4, 5, -6};
    static const char header[] = "{'descr': '<i2', 'fortran_order': False, 'shape': (2, 3), }";
    const size_t shape[] = {2, 3};
    unsigned char expected[140];
    be_error error;
    size_t size;
    memset(expected, ' ', sizeof expected);
    memcpy(expected, "\x93NUMPY\x01\x00\x76\x00", 10);
    memcpy(expected + 10, header, strlen(header));
    expected[127] = '\n';
    for (size_t i = 0; i < 6; i++) {
        expected[128 + 2 * i] = (unsigned char)(data[i] & 0xff);
        expected[129 + 2 * i] = (unsigned char)(data[i] < 0 ? 0xff : 0);
    }
    assert_ok(be_npy_write(scratch("six.npy"), BE_DTYPE_I16, 2, shape, data, &error), &error);
    unsigned char *bytes = read_bytes(scratch("six.npy"), &size);
    assert_int_equal(size, sizeof expected);
    assert_same_bits("six.npy", bytes, expected, size);
    free(bytes);
}

static void test_headers_of_all_types_read_back(void **state)
{
    (void)state;
    static const size_t shapes[][BE_TENSOR_MAX_DIMS] = {{0}, {1}, {3, 2}, {1, 2, 3, 1, 2, 1, 1, 1}};
    static const size_t n_dims[] = {0, 1, 2, 8};
    static const unsigned char data[12 * 8];
    for (int dtype = BE_DTYPE_BOOL; dtype <= BE_DTYPE_F64; dtype++) {
        for (size_t i = 0; dtype != BE_DTYPE_BF16 && i < 4; i++) {
            be_npy npy;
            be_error error;
            size_t length;
            char header[BE_NPY_HEADER_MAX];
            assert_ok(be_npy_header(header, &length, (be_dtype)dtype, n_dims[i], shapes[i], &error), &error);
            assert_int_equal(length % 64, 0);
            assert_ok(be_npy_write(scratch("any.npy"), (be_dtype)dtype, n_dims[i], shapes[i], data, &error), &error);
            assert_ok(be_npy_read(scratch("any.npy"), &npy, &error), &error);
            assert_int_equal(npy.dtype, dtype);
            assert_int_equal(npy.n_dims, n_dims[i]);
            assert_memory_equal(npy.shape, shapes[i], n_dims[i] * sizeof(size_t));
            be_npy_free(&npy);
        }
    }
}

static void test_longest_header_fits(void **state)
{
    (void)state;
    size_t shape[BE_TENSOR_MAX_DIMS], length;
    char header[BE_NPY_HEADER_MAX];
    be_error error;
    for (size_t i = 0; i < BE_TENSOR_MAX_DIMS; i++)
        shape[i] = SIZE_MAX;
    assert_ok(be_npy_header(header, &length, BE_DTYPE_F32, BE_TENSOR_MAX_DIMS, shape, &error), &error);
    assert_int_equal(header[length - 1], '\n');
    assert_non_null(strstr(header + 10, "18446744073709551615), }"));
}

static void test_what_npy_cannot_hold_is_not_written(void **state)
{
    (void)state;
    size_t shape[BE_TENSOR_MAX_DIMS + 1] = {1, 1, 1, 1, 1, 1, 1, 1, 1}, length, huge[2] = {SIZE_MAX, 2};
    char header[BE_NPY_HEADER_MAX];
    be_error error;
    const char *path = scratch("never.npy");
    assert_error(be_npy_write(path, BE_DTYPE_BF16, 1, shape, "xx", &error), BE_ERROR_ARGUMENT, &error, "BF16");
    assert_int_equal(strncmp(error.message, path, strlen(path)), 0);
    assert_error(be_npy_header(header, &length, BE_DTYPE_U8, BE_TENSOR_MAX_DIMS + 1, shape, &error),
                 BE_ERROR_ARGUMENT, &error, "9 dimensions");
    assert_error(be_npy_write(path, BE_DTYPE_U8, 2, huge, "xx", &error), BE_ERROR_ARGUMENT, &error, "too large");
    assert_error(be_npy_write(scratch("no/folder.npy"), BE_DTYPE_U8, 1, shape, "x", &error), BE_ERROR_IO, &error,
                 "no/folder.npy");
    assert_null(fopen(path, "rb"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_half_is_widened_exactly),
        cmocka_unit_test(test_written_bytes_are_those_of_the_format),
        cmocka_unit_test(test_headers_of_all_types_read_back),
        cmocka_unit_test(test_longest_header_fits),
        cmocka_unit_test(test_what_npy_cannot_hold_is_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
