/* safetensors files: what is read, what is refused, and that what is written reads the same. */
#include "tests/unit/files_support.h"

#include <stdio.h>

enum { ROOM = 8192 };

/* A file made by hand: length, header, data (24 bytes: the floats 0 .. 5). */
static const char *file_with(const char *header)
{
    static const float data[6] = {0, 1, 2, 3, 4, 5};
    unsigned char bytes[ROOM];
    size_t length = strlen(header);
    assert_true(length + 8 + sizeof data <= sizeof bytes);
    for (size_t i = 0; i < 8; i++)
        bytes[i] = (unsigned char)((uint64_t)length >> 8 * i);
    memcpy(bytes + 8, header, length);
    memcpy(bytes + 8 + length, data, sizeof data);
    return scratch_bytes("made.safetensors", bytes, 8 + length + sizeof data);
}

#define GOOD_A "\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}"

static void test_reference_is_read(void **state)
{
    (void)state;
    const size_t shape[] = {2, 3};
    static const float expected[6] = {0, 1, 2, 3, 4, 5};
    be_tensor_file *file = open_good(golden("corrupt/valid_reference.safetensors"));
    assert_int_equal(be_tensor_file_format(file), BE_FORMAT_SAFETENSORS);
    assert_string_equal(be_tensor_format_name(BE_FORMAT_SAFETENSORS), "safetensors");
    assert_int_equal(be_tensor_file_count(file), 1);
    const be_tensor *tensor = assert_tensor(file, "a", BE_DTYPE_F32, 2, shape);
    assert_ptr_equal(tensor, be_tensor_file_at(file, 0));
    assert_null(be_tensor_file_find(file, "A"));
    assert_null(be_tensor_file_find(file, ""));
    float *values = tensor_f32(file, "a");
    assert_same_bits("a", values, expected, sizeof expected);
    free(values);
    be_tensor_file_close(file);
    be_tensor_file_close(NULL);
}

static void test_backbone_in_hugging_faces_names(void **state)
{
    (void)state;
    const size_t positions[] = {1, 1370, 96}, kernel[] = {96, 3, 14, 14};
    const char *text;
    be_tensor_file *file = open_good(golden("dinov2_q_rois/dinov2_small.safetensors"));
    assert_tensor(file, "embeddings.position_embeddings", BE_DTYPE_F32, 3, positions);
    assert_tensor(file, "embeddings.patch_embeddings.projection.weight", BE_DTYPE_F32, 4, kernel);
    assert_string_equal(be_tensor_file_at(file, 0)->name, "embeddings.cls_token");
    assert_string_equal(be_tensor_file_at(file, 1)->name, "embeddings.mask_token");
    assert_int_equal(be_tensor_file_root(file)->kind, BE_VALUE_DICT);
    assert_true(be_value_text(be_value_get(be_tensor_file_root(file), "format"), &text));
    assert_string_equal(text, "pt");
    assert_null(be_value_get(be_tensor_file_root(file), "Format"));
    be_tensor_file_close(file);
}

static void test_damaged_files_are_refused_by_name(void **state)
{
    (void)state;
    static const corrupt_file files[] = {
        {"header_longer_than_file", "safetensors header: says 1099511627776 bytes, the file has 89 left"},
        {"header_length_wraps", "safetensors header: says 18446744073709551608 bytes"},
        {"offset_out_of_range", "tensor a: data_offsets go beyond the end of the file"},
        {"offset_reversed", "tensor a: data_offsets end before they begin"},
        {"offset_overlap", "tensor b: its data overlap"},
        {"negative_shape", "a number of its shape is no non-negative integer"},
        {"shape_overflow", "tensor a: its shape is too large"},
        {"unknown_dtype", "tensor a: unknown dtype F31"},
        {"shape_mismatch", "tensor a: its shape and dtype need another number of bytes"},
        {"header_not_json", "is no valid JSON"},
        {"header_deep_json", "does not begin with '{'"},
    };
    assert_corrupt_refused(files, sizeof files / sizeof *files, ".safetensors");
}

static void test_headers_that_are_good(void **state)
{
    (void)state;
    static const char *const headers[] = {
        "{" GOOD_A "}",
        "{" GOOD_A "}   \n\t\r ",
        "{ \"a\" : { \"data_offsets\" : [ 0 , 24 ] , \"shape\" : [ 2 , 3 ] , \"dtype\" : \"F32\" } }",
        "{\"__metadata__\":{}," GOOD_A "}",
        "{" GOOD_A ",\"__metadata__\":{\"x\":\"y\"}}",
        "{\"\\u0061\":{\"dt\\u0079pe\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}}",
        "{\"empty\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[24,24]}," GOOD_A "}",
        "{\"empty\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}," GOOD_A "}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,2.4e1]}}", /* a whole number, however written */
    };
    const size_t shape[] = {2, 3};
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        be_tensor_file *file = open_good(file_with(headers[i]));
        assert_tensor(file, "a", BE_DTYPE_F32, 2, shape);
        assert_int_equal(be_tensor_file_root(file)->kind, BE_VALUE_DICT);
        float *values = tensor_f32(file, "a");
        assert_true(values[5] == 5);
        free(values);
        be_tensor_file_close(file);
    }
}

static void test_headers_that_are_bad(void **state)
{
    (void)state;
    static const struct {
        const char *header, *part;
    } headers[] = {
        {"{}", "24 bytes follow the last tensor"},
        {"{" GOOD_A "}x", "is no valid JSON"},
        {"{" GOOD_A "}{}", "is no valid JSON"},
        {"{" GOOD_A ",}", "is no valid JSON"},
        {"{" GOOD_A " " GOOD_A "}", "is no valid JSON"},
        {"{" GOOD_A, "is no valid JSON"},
        {"{" GOOD_A "," GOOD_A "}", "tensor a: its data overlap"},
        {"{" GOOD_A ",\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[24,24]}}", "two tensors have the name a"},
        {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,24]}}",
         "the key dtype is there twice"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,24],\"x\":1}}", "tensor a: unknown key x"},
        {"{\"a\":{\"Dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,24]}}", "tensor a: unknown key Dtype"},
        {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,24]}}", "tensor a: dtype, shape or data_offsets is missing"},
        {"{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[24],\"data_offsets\":[0,24]}}", "unknown dtype F8_E4M3"},
        {"{\"a\":{\"dtype\":\"f32\",\"shape\":[6],\"data_offsets\":[0,24]}}", "unknown dtype f32"},
        {"{\"a\":{\"dtype\":32,\"shape\":[6],\"data_offsets\":[0,24]}}", "of the wrong kind"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[6.5],\"data_offsets\":[0,24]}}", "no non-negative integer"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[6,],\"data_offsets\":[0,24]}}", "is no valid JSON"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[\"6\"],\"data_offsets\":[0,24]}}", "no non-negative integer"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":6,\"data_offsets\":[0,24]}}", "of the wrong kind"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0]}}", "no two non-negative integers"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,24,24]}}", "no two non-negative integers"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,\"24\"]}}", "no two non-negative integers"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,9007199254740993]}}", "below 2^53"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,18446744073709551640]}}",
         "no two non-negative integers below 2^53"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[-1,24]}}", "no two non-negative integers"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[5],\"data_offsets\":[4,24]}}",
         "tensor a: there is a hole before its data"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[5],\"data_offsets\":[0,20]}}", "4 bytes follow the last tensor"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
         "\"b\":{\"dtype\":\"U8\",\"shape\":[16],\"data_offsets\":[8,24]}}",
         "tensor b: there is a hole"},
        {"{\"a\":null}", "tensor a: is no JSON object"},
        {"{\"__metadata__\":{\"x\":1}," GOOD_A "}", "__metadata__: x is no text"},
        {"{\"__metadata__\":[]," GOOD_A "}", "__metadata__ is no JSON object"},
        {"{\"__metadata__\":{},\"__metadata__\":{}," GOOD_A "}", "__metadata__ is there twice"},
        {"{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}," GOOD_A "}", "__metadata__: k is there twice"},
        {"{\"a\\u0000\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,24]}}", "without zero bytes"},
        {"{\"a\\ud800\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,24]}}", "is no valid JSON"},
        {"{\"a\\udc00\\ud800\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,24]}}", "is no valid JSON"},
        {"{\"a\\x\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,24]}}", "is no valid JSON"},
        {"{\"a\xff\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,24]}}", "is no UTF-8"},
        {"{\"a\xc0\xaf\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,24]}}", "is no UTF-8"},
        {"{\"a\xed\xa0\x80\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,24]}}",
         "is no UTF-8"},
        {"{\"a", "is no valid JSON"},
        {"{\"a\\", "is no valid JSON"},
        {" {" GOOD_A "}", "does not begin with '{'"},
        {"", "does not begin with '{'"},
    };
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
        assert_refused(file_with(headers[i].header), BE_ERROR_FORMAT, headers[i].part);
}

static void test_more_dimensions_than_fit_are_refused(void **state)
{
    (void)state;
    assert_refused(file_with("{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,6],\"data_offsets\":[0,24]}}"),
                   BE_ERROR_UNSUPPORTED, "tensor a has more than 8 dimensions");
}

static void test_escapes_in_strings(void **state)
{
    (void)state;
    be_tensor_file *file = open_good(file_with(
        "{\"__metadata__\":{\"k\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\u20AC\\ud83d\\ude00\xc3\xa9\"}," GOOD_A "}"));
    const char *text;
    assert_true(be_value_text(be_value_get(be_tensor_file_root(file), "k"), &text));
    assert_string_equal(text, "\"\\/\b\f\n\r\t\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xc3\xa9");
    be_tensor_file_close(file);
}

/* The data begin at an odd place here: the header has 61 + 8 bytes. */
static void test_unaligned_data_are_read(void **state)
{
    (void)state;
    static const char header[] = "{\"a\":{\"dtype\":\"F64\",\"shape\":[3],\"data_offsets\":[0,24]}}";
    assert_int_not_equal((strlen(header) + 8) % 8, 0);
    be_tensor_file *file = open_good(file_with(header));
    static const float floats[6] = {0, 1, 2, 3, 4, 5};
    double expected[3], values[3];
    be_error error;
    memcpy(expected, floats, sizeof expected);
    assert_ok(be_tensor_file_read(file, be_tensor_file_find(file, "a"), values, &error), &error);
    assert_same_bits("a", values, expected, sizeof expected);
    float *rounded = tensor_f32(file, "a");
    for (int i = 0; i < 3; i++)
        assert_true(rounded[i] == (float)expected[i]);
    free(rounded);
    be_tensor_file_close(file);
}

static void test_every_dtype_is_written_and_read(void **state)
{
    (void)state;
    static const unsigned char data[] = {0, 1, 0x80, 0xff, 0, 0x3c, 0x80, 0x3f, 1, 2, 3, 4, 5, 6, 7, 0x40};
    static const char *const names[] = {"BOOL", "U8", "I8", "U16", "I16", "U32", "I32",
                                        "U64", "I64", "F16", "BF16", "F32", "F64"};
    be_tensor_source sources[BE_DTYPE_F64 + 1];
    be_error error;
    const char *path = scratch("dtypes.safetensors");
    for (int i = 0; i <= BE_DTYPE_F64; i++) {
        assert_string_equal(be_dtype_name((be_dtype)i), names[i]);
        sources[i] = (be_tensor_source){.name = names[i], .dtype = (be_dtype)i, .n_dims = 1, .data = data};
        sources[i].shape[0] = sizeof data / be_dtype_size((be_dtype)i);
    }
    assert_ok(be_safetensors_write(path, sources, BE_DTYPE_F64 + 1, NULL, 0, &error), &error);
    be_tensor_file *file = open_good(path);
    for (int i = 0; i <= BE_DTYPE_F64; i++) {
        unsigned char values[sizeof data];
        const be_tensor *tensor = assert_tensor(file, names[i], (be_dtype)i, 1, sources[i].shape);
        assert_ok(be_tensor_file_read(file, tensor, values, &error), &error);
        assert_same_bits(names[i], values, data, sizeof data);
    }
    float *bf16 = tensor_f32(file, "BF16"), *f16 = tensor_f32(file, "F16"), *u32 = tensor_f32(file, "U32");
    assert_true(bf16[3] == 1.0f && f16[2] == 1.0f && u32[0] == 4286578944.0f);
    free(u32);
    free(f16);
    free(bf16);
    be_tensor_file_close(file);
}

static void test_written_bytes_are_those_of_the_format(void **state)
{
    (void)state;
    static const float data[] = {1, 2};
    static const char header[] = "{\"__metadata__\":{\"k\\\"\":\"\\n\xc3\xa9\\\\\"},"
                                 "\"s\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},"
                                 "\"z\":{\"dtype\":\"U8\",\"shape\":[2,0],\"data_offsets\":[4,4]},"
                                 "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}";
    const be_tensor_source sources[] = {
        {.name = "s", .dtype = BE_DTYPE_F32, .n_dims = 0, .data = &data[0]},
        {.name = "z", .dtype = BE_DTYPE_U8, .n_dims = 2, .shape = {2, 0}, .data = NULL},
        {.name = "a", .dtype = BE_DTYPE_F32, .n_dims = 1, .shape = {1}, .data = &data[1]},
    };
    const be_text_pair metadata = {"k\"", "\n\xc3\xa9\\"};
    unsigned char expected[264];
    size_t size;
    be_error error;
    const char *path = scratch("small.safetensors");
    memset(expected, ' ', sizeof expected);
    memcpy(expected, "\xf8\0\0\0\0\0\0\0", 8);
    assert_true(sizeof header - 1 > 192 - 8 && sizeof header - 1 <= 256 - 8);
    memcpy(expected + 8, header, sizeof header - 1);
    memcpy(expected + 256, data, sizeof data);
    assert_ok(be_safetensors_write(path, sources, 3, &metadata, 1, &error), &error);
    unsigned char *bytes = read_bytes(path, &size);
    assert_int_equal(size, sizeof expected);
    assert_same_bits("small.safetensors", bytes, expected, size);
    free(bytes);
    be_tensor_file *file = open_good(path);
    assert_string_equal(be_tensor_file_at(file, 0)->name, "s");
    assert_string_equal(be_tensor_file_at(file, 2)->name, "a");
    be_tensor_file_close(file);
}

static void test_file_without_tensors(void **state)
{
    (void)state;
    const char *path = scratch("none.safetensors"), *text;
    const be_text_pair metadata = {"key", "value"};
    be_error error;
    assert_ok(be_safetensors_write(path, NULL, 0, &metadata, 1, &error), &error);
    be_tensor_file *file = open_good(path);
    assert_int_equal(be_tensor_file_count(file), 0);
    assert_true(be_value_text(be_value_get(be_tensor_file_root(file), "key"), &text));
    assert_string_equal(text, "value");
    assert_null(be_tensor_file_find(file, "key"));
    be_tensor_file_close(file);
}

static void test_what_the_format_cannot_hold_is_not_written(void **state)
{
    (void)state;
    be_tensor_source two[] = {{.name = "a", .dtype = BE_DTYPE_U8, .n_dims = 1, .shape = {1}, .data = "x"},
                              {.name = "a", .dtype = BE_DTYPE_U8, .n_dims = 1, .shape = {1}, .data = "x"}};
    const be_text_pair same[] = {{"k", "1"}, {"k", "2"}}, raw = {"k", "\xff"};
    const char *path = scratch("never.safetensors");
    be_error error;
    assert_error(be_safetensors_write(path, two, 2, NULL, 0, &error), BE_ERROR_ARGUMENT, &error,
                 "tensor a is to be written twice");
    assert_error(be_safetensors_write(path, two, 1, same, 2, &error), BE_ERROR_ARGUMENT, &error, "metadata k");
    assert_error(be_safetensors_write(path, two, 1, &raw, 1, &error), BE_ERROR_ARGUMENT, &error, "no UTF-8");
    two[0].name = "__metadata__";
    assert_error(be_safetensors_write(path, two, 2, NULL, 0, &error), BE_ERROR_ARGUMENT, &error, "__metadata__");
    two[0].name = "\x80";
    assert_error(be_safetensors_write(path, two, 2, NULL, 0, &error), BE_ERROR_ARGUMENT, &error,
                 "tensor 0 is no UTF-8");
    two[0] = (be_tensor_source){.name = "b", .dtype = BE_DTYPE_F64, .n_dims = 2, .shape = {SIZE_MAX / 4, 2}};
    assert_error(be_safetensors_write(path, two, 2, NULL, 0, &error), BE_ERROR_ARGUMENT, &error,
                 "tensor b has an impossible shape");
    two[0].n_dims = BE_TENSOR_MAX_DIMS + 1;
    assert_error(be_safetensors_write(path, two, 2, NULL, 0, &error), BE_ERROR_ARGUMENT, &error,
                 "tensor b has an impossible shape");
    assert_int_equal(strncmp(error.message, path, strlen(path)), 0);
    assert_null(fopen(path, "rb"));
}

static void test_failed_writing_leaves_the_old_file(void **state)
{
    (void)state;
    be_error error;
    const be_tensor_source one = {.name = "a", .dtype = BE_DTYPE_U8, .n_dims = 1, .shape = {1}, .data = "x"};
    assert_error(be_safetensors_write(scratch("none/x.safetensors"), &one, 1, NULL, 0, &error), BE_ERROR_IO, &error,
                 "none/x.safetensors");
}

static void test_what_is_no_tensor_file(void **state)
{
    (void)state;
    unsigned char tar[1024] = "archive/data";
    memcpy(tar + 257, "ustar", 5);
    assert_refused(scratch_bytes("tar", tar, sizeof tar), BE_ERROR_UNSUPPORTED, "is a tar archive");
    assert_refused(golden("corrupt/text.png"), BE_ERROR_FORMAT, "is neither safetensors nor a torch .pth file");
    assert_refused(golden("corrupt/valid_reference.npy"), BE_ERROR_FORMAT, "is neither safetensors nor");
    assert_refused(golden("corrupt/empty.pth"), BE_ERROR_FORMAT, "is empty");
    assert_refused(scratch("none"), BE_ERROR_NOT_FOUND, "no such file");
    assert_refused("/", BE_ERROR_UNSUPPORTED, "is a folder");
}

static void test_names_are_found_among_many(void **state)
{
    (void)state;
    enum { MANY = 1000 };
    be_tensor_source *sources = calloc(MANY, sizeof *sources);
    char(*names)[16] = calloc(MANY, sizeof *names);
    unsigned char *data = malloc(MANY);
    be_error error;
    assert_true(sources && names && data);
    for (size_t i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "t%zu", i * 7919 % MANY); /* not sorted */
        data[i] = (unsigned char)(i * 31);
        sources[i] = (be_tensor_source){.name = names[i], .dtype = BE_DTYPE_U8, .data = data + i};
    }
    assert_ok(be_safetensors_write(scratch("many.safetensors"), sources, MANY, NULL, 0, &error), &error);
    be_tensor_file *file = open_good(scratch("many.safetensors"));
    assert_int_equal(be_tensor_file_count(file), MANY);
    for (size_t i = 0; i < MANY; i++) {
        float *value = tensor_f32(file, names[i]);
        assert_true(value[0] == (float)data[i]);
        assert_string_equal(be_tensor_file_at(file, i)->name, names[i]);
        free(value);
    }
    be_tensor_file_close(file);
    free(data);
    free(names);
    free(sources);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_is_read),
        cmocka_unit_test(test_backbone_in_hugging_faces_names),
        cmocka_unit_test(test_damaged_files_are_refused_by_name),
        cmocka_unit_test(test_headers_that_are_good),
        cmocka_unit_test(test_headers_that_are_bad),
        cmocka_unit_test(test_more_dimensions_than_fit_are_refused),
        cmocka_unit_test(test_escapes_in_strings),
        cmocka_unit_test(test_unaligned_data_are_read),
        cmocka_unit_test(test_every_dtype_is_written_and_read),
        cmocka_unit_test(test_written_bytes_are_those_of_the_format),
        cmocka_unit_test(test_file_without_tensors),
        cmocka_unit_test(test_what_the_format_cannot_hold_is_not_written),
        cmocka_unit_test(test_failed_writing_leaves_the_old_file),
        cmocka_unit_test(test_what_is_no_tensor_file),
        cmocka_unit_test(test_names_are_found_among_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
