/* .pth files that are written: they read the same, and their bytes are those torch and Python expect. */
#include "tests/unit/files_support.h"

#include <stdio.h>
#include <sys/stat.h>

#include "core/files/torch_writer.h"

static const float weights[] = {0, 1, 2, -3.5f, 4, 5};

/* A matrix, a scalar and an empty tensor. */
static const be_tensor_source sources[] = {
    {.name = "blocks.0.weight", .dtype = BE_DTYPE_F32, .n_dims = 2, .shape = {2, 3}, .data = weights},
    {.name = "scale", .dtype = BE_DTYPE_F32, .n_dims = 0, .data = &weights[3]},
    {.name = "caf\xc3\xa9", .dtype = BE_DTYPE_F32, .n_dims = 2, .shape = {0, 7}, .data = NULL},
};

static void check_tensors(be_tensor_file *file, const char *prefix)
{
    assert_int_equal(be_tensor_file_format(file), BE_FORMAT_TORCH_ZIP);
    assert_int_equal(be_tensor_file_count(file), 3);
    for (size_t i = 0; i < 3; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s%s", prefix, sources[i].name);
        assert_string_equal(be_tensor_file_at(file, i)->name, name);
        const be_tensor *tensor =
            assert_tensor(file, name, BE_DTYPE_F32, sources[i].n_dims, sources[i].shape);
        float *values = tensor_f32(file, name);
        assert_same_bits(name, values, sources[i].data, tensor->count * sizeof *values);
        free(values);
    }
}

static void test_state_dict(void **state)
{
    (void)state;
    be_error error;
    const char *path = scratch("state.pth");
    assert_ok(be_torch_write(path, sources, 3, NULL, 0, &error), &error);
    be_tensor_file *file = open_good(path);
    check_tensors(file, "");
    assert_int_equal(be_tensor_file_root(file)->kind, BE_VALUE_DICT);
    assert_int_equal(be_tensor_file_root(file)->as.dict.count, 3);
    be_tensor_file_close(file);
}

static void test_checkpoint_with_settings(void **state)
{
    (void)state;
    const be_torch_setting settings[] = {
        {"backbone_arch", {.kind = BE_VALUE_TEXT, .as.text = {"dinov2_q", 8}}},
        {"hidden_dim", {.kind = BE_VALUE_INT, .as.integer = 96}},
        {"seed", {.kind = BE_VALUE_INT, .as.integer = INT64_MIN}},
        {"lr", {.kind = BE_VALUE_FLOAT, .as.number = 0.0005}},
        {"dilation", {.kind = BE_VALUE_BOOL, .as.boolean = false}},
        {"flip", {.kind = BE_VALUE_BOOL, .as.boolean = true}},
        {"image_size", {.kind = BE_VALUE_NONE}},
    };
    be_error error;
    const char *path = scratch("checkpoint.pth"), *text;
    int64_t integer;
    double number;
    bool boolean;
    assert_ok(be_torch_write(path, sources, 3, settings, 7, &error), &error);
    be_tensor_file *file = open_good(path);
    check_tensors(file, "model.");
    const be_value *args = be_value_get(be_tensor_file_root(file), "args");
    assert_true(be_value_integer(be_value_get(be_tensor_file_root(file), "epoch"), &integer) && integer == 0);
    assert_true(args && args->kind == BE_VALUE_DICT && args->as.dict.count == 7);
    assert_true(be_value_text(be_value_get(args, "backbone_arch"), &text));
    assert_string_equal(text, "dinov2_q");
    assert_true(be_value_integer(be_value_get(args, "hidden_dim"), &integer) && integer == 96);
    assert_true(be_value_integer(be_value_get(args, "seed"), &integer) && integer == INT64_MIN);
    assert_true(be_value_number(be_value_get(args, "lr"), &number) && number == 0.0005);
    assert_true(be_value_boolean(be_value_get(args, "dilation"), &boolean) && !boolean);
    assert_true(be_value_boolean(be_value_get(args, "flip"), &boolean) && boolean);
    assert_int_equal(be_value_get(args, "image_size")->kind, BE_VALUE_NONE);
    be_tensor_file_close(file);
}

/* The records stand uncompressed in the file: name, then content, as the zip format has them. */
static void assert_record(const unsigned char *bytes, size_t size, const char *name, const char *content,
                          size_t content_size)
{
    unsigned char record[512];
    size_t length = strlen(name);
    memcpy(record, name, length);
    memcpy(record + length, content, content_size);
    if (!memmem(bytes, size, record, length + content_size))
        fail_msg("the record %s is not there, or not as expected", name);
}

static void test_records_are_those_of_torch(void **state)
{
    (void)state;
    static const char pickle[] =
        "\x80\x02" "ccollections\nOrderedDict\n)R("
        "X\x01\0\0\0a" "ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n"
        "X\x01\0\0\0" "0X\x03\0\0\0cpuJ\x06\0\0\0tQJ\0\0\0\0(J\x02\0\0\0J\x03\0\0\0t(J\x03\0\0\0J\x01\0\0\0t\x89"
        "ccollections\nOrderedDict\n)RtRu.";
    be_tensor_source one = sources[0];
    size_t size;
    be_error error;
    one.name = "a";
    assert_ok(be_torch_write(scratch("one.pth"), &one, 1, NULL, 0, &error), &error);
    unsigned char *bytes = read_bytes(scratch("one.pth"), &size);
    assert_memory_equal(bytes, "PK\x03\x04", 4);
    assert_record(bytes, size, "archive/data.pkl", pickle, sizeof pickle - 1);
    assert_record(bytes, size, "archive/byteorder", "little", 6);
    assert_record(bytes, size, "archive/version", "3\n", 2);
    assert_record(bytes, size, "archive/data/0", (const char *)weights, sizeof weights);
    free(bytes);
}

static void test_the_same_model_gives_the_same_bytes(void **state)
{
    (void)state;
    size_t first_size, second_size;
    be_error error;
    assert_ok(be_torch_write(scratch("first.pth"), sources, 3, NULL, 0, &error), &error);
    assert_ok(be_torch_write(scratch("second.pth"), sources, 3, NULL, 0, &error), &error);
    unsigned char *first = read_bytes(scratch("first.pth"), &first_size);
    unsigned char *second = read_bytes(scratch("second.pth"), &second_size);
    assert_int_equal(first_size, second_size);
    assert_memory_equal(first, second, first_size);
    free(second);
    free(first);
}

static void test_old_file_is_replaced_and_nothing_else_left(void **state)
{
    (void)state;
    const char *folder = scratch("folder"), *path = scratch("folder/x.pth");
    be_error error;
    assert_int_equal(mkdir(folder, 0755), 0);
    assert_ok(be_torch_write(path, sources, 2, NULL, 0, &error), &error);
    assert_ok(be_torch_write(path, sources, 3, NULL, 0, &error), &error);
    be_tensor_file *file = open_good(path);
    assert_int_equal(be_tensor_file_count(file), 3);
    be_tensor_file_close(file);
    assert_int_equal(count_files(folder), 1);
    assert_error(be_torch_write(folder, sources, 3, NULL, 0, &error), BE_ERROR_IO, &error, folder);
    assert_error(be_torch_write(scratch("none/x.pth"), sources, 3, NULL, 0, &error), BE_ERROR_IO, &error, "none/x.pth");
    assert_int_equal(count_files(folder), 1);
}

static void test_what_is_not_written(void **state)
{
    (void)state;
    static const struct {
        be_torch_setting setting;
    } bad[] = {
        {{"x", {.kind = BE_VALUE_LIST}}},
        {{"x", {.kind = BE_VALUE_TEXT, .as.text = {"a\0b", 3}}}},
        {{"x", {.kind = BE_VALUE_TEXT, .as.text = {"\xff", 1}}}},
        {{"\xff", {.kind = BE_VALUE_NONE}}},
    };
    const char *path = scratch("never.pth");
    be_tensor_source half = sources[0], twice[2] = {sources[0], sources[0]};
    be_error error;
    half.dtype = BE_DTYPE_F16;
    assert_error(be_torch_write(path, &half, 1, NULL, 0, &error), BE_ERROR_ARGUMENT, &error,
                 "tensor blocks.0.weight: only F32 is written, not F16");
    assert_error(be_torch_write(path, twice, 2, NULL, 0, &error), BE_ERROR_ARGUMENT, &error, "written twice");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_error(be_torch_write(path, sources, 3, &bad[i].setting, 1, &error), BE_ERROR_ARGUMENT, &error,
                     "setting 0 is no plain value");
    assert_int_equal(strncmp(error.message, path, strlen(path)), 0);
    assert_null(fopen(path, "rb"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_state_dict),
        cmocka_unit_test(test_checkpoint_with_settings),
        cmocka_unit_test(test_records_are_those_of_torch),
        cmocka_unit_test(test_the_same_model_gives_the_same_bytes),
        cmocka_unit_test(test_old_file_is_replaced_and_nothing_else_left),
        cmocka_unit_test(test_what_is_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
