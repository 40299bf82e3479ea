/* torch's .pth files, zip and legacy: golden checkpoints, odd views, and what is refused. */
#include "tests/unit/files_support.h"

#include <math.h>
#include <stdio.h>

static void test_reference_is_read(void **state)
{
    (void)state;
    const size_t a_shape[] = {20, 20}, b_shape[] = {7};
    be_error error;
    int64_t c;
    be_tensor_file *file = open_good(golden("corrupt/valid_reference.pth"));
    assert_int_equal(be_tensor_file_format(file), BE_FORMAT_TORCH_ZIP);
    assert_int_equal(be_tensor_file_count(file), 3);
    assert_tensor(file, "a", BE_DTYPE_F32, 2, a_shape);
    assert_tensor(file, "b", BE_DTYPE_F32, 1, b_shape);
    const be_tensor *scalar = assert_tensor(file, "c", BE_DTYPE_I64, 0, NULL);
    float *a = tensor_f32(file, "a"), *b = tensor_f32(file, "b");
    for (int i = 0; i < 400; i++)
        assert_true(a[i] == (float)i);
    for (int i = 0; i < 7; i++)
        assert_true(b[i] == 1);
    assert_ok(be_tensor_file_read(file, scalar, &c, &error), &error);
    assert_int_equal(c, 5);
    free(b);
    free(a);
    be_tensor_file_close(file);
}

static void test_handmade_is_read(void **state)
{
    (void)state;
    const size_t shape[] = {2, 3};
    be_tensor_file *file = open_good(golden("corrupt/valid_handmade.pth"));
    assert_tensor(file, "a", BE_DTYPE_F32, 2, shape);
    float *a = tensor_f32(file, "a");
    for (int i = 0; i < 6; i++)
        assert_true(a[i] == (float)i);
    free(a);
    be_tensor_file_close(file);
}

static void test_damaged_files_are_refused_by_name(void **state)
{
    (void)state;
    static const corrupt_file files[] = {
        {"truncated", "damaged or truncated zip archive"},
        {"os_system", "refuses the global os.system, which is not on the list of what a checkpoint may hold"},
        {"os_system_legacy", "refuses the global os.system, which is not on the list of what a checkpoint may hold"},
        {"storage_too_short", "record data/0 holds 16 bytes, its tensors need 400"},
        {"view_out_of_storage", "a tensor in storage 0 leaves its storage"},
        {"huge_stride", "a tensor in storage 0 leaves its storage"},
        {"negative_size", "a tensor in storage 0 has a negative size"},
        {"missing_storage", "record data/9 is missing"},
        {"pickle_string_length", "a string of 4294967295 bytes at byte 2 goes beyond the end"},
        {"pickle_stack_underflow", "bad pickle: nothing on the stack"},
        {"pickle_no_stop", "bad pickle: ends without STOP"},
        {"pickle_deep", "nested deeper than 64 levels"},
        {"empty", "is empty"},
    };
    assert_corrupt_refused(files, sizeof files / sizeof *files, ".pth");
}

/* --- odd tensors --- */

static const struct {
    const char *name;
    be_dtype dtype;
} odd[] = {
    {"transposed", BE_DTYPE_F32}, {"row_slice", BE_DTYPE_F32},  {"col_slice", BE_DTYPE_F32},
    {"strided", BE_DTYPE_F32},    {"expanded", BE_DTYPE_F32},   {"scalar_f32", BE_DTYPE_F32},
    {"scalar_i64", BE_DTYPE_I64}, {"empty", BE_DTYPE_F32},      {"f64", BE_DTYPE_F64},
    {"f16", BE_DTYPE_F16},        {"bf16", BE_DTYPE_BF16},      {"i32", BE_DTYPE_I32},
    {"i16", BE_DTYPE_I16},        {"i8", BE_DTYPE_I8},          {"u8", BE_DTYPE_U8},
    {"bool", BE_DTYPE_BOOL},      {"parameter", BE_DTYPE_F32},  {"channels_last", BE_DTYPE_F32},
};

static void check_odd_tensor(be_tensor_file *file, const char *name, be_dtype dtype)
{
    char npy_name[128];
    be_npy expected;
    be_error error;
    snprintf(npy_name, sizeof npy_name, "legacy_pth/expected/odd_%s.npy", name);
    assert_ok(be_npy_read(golden(npy_name), &expected, &error), &error);
    if (strcmp(name, "f64") == 0) /* the golden folder keeps it as float32 in the .pth too */
        dtype = expected.dtype;
    const be_tensor *tensor = assert_tensor(file, name, dtype, expected.n_dims, expected.shape);
    size_t bytes = expected.count * be_dtype_size(expected.dtype);
    void *values = malloc(bytes + 1);
    assert_non_null(values);
    if (dtype == expected.dtype)
        assert_ok(be_tensor_file_read(file, tensor, values, &error), &error);
    else /* f16 and bf16 */
        assert_ok(be_tensor_file_read_f32(file, tensor, values, &error), &error);
    assert_same_bits(name, values, expected.data, bytes);
    free(values);
    be_npy_free(&expected);
}

static void check_odd_file(const char *path, be_tensor_format format)
{
    be_tensor_file *file = open_good(path);
    assert_int_equal(be_tensor_file_format(file), format);
    assert_int_equal(be_tensor_file_count(file), sizeof odd / sizeof odd[0] + 1);
    /* Forwards and backwards: storages are shared, and the one read last is kept. */
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++)
        check_odd_tensor(file, odd[i].name, odd[i].dtype);
    for (size_t i = sizeof odd / sizeof odd[0]; i-- > 0;)
        check_odd_tensor(file, odd[i].name, odd[i].dtype);
    be_tensor_file_close(file);
}

static void test_odd_tensors_in_a_zip_file(void **state)
{
    (void)state;
    check_odd_file(golden("legacy_pth/odd_tensors.pth"), BE_FORMAT_TORCH_ZIP);
}

static void test_odd_tensors_in_a_legacy_file(void **state)
{
    (void)state;
    check_odd_file(golden("legacy_pth/odd_tensors_legacy.pth"), BE_FORMAT_TORCH_LEGACY);
}

/* {"name": "x", "list": [1, 2.5, None, True, "e with acute"], "tuple": (1, 2, 3), "big": 2**70, "neg": -7,
 * "bytes": b"\0\xff"} */
static void check_plain_values(const char *path)
{
    be_tensor_file *file = open_good(path);
    const be_value *nested = be_value_get(be_tensor_file_root(file), "nested"), *meta = be_value_get(nested, "meta");
    const be_value *weight = be_value_get(nested, "weight");
    const char *text;
    int64_t integer;
    double number;
    bool boolean;
    assert_non_null(weight);
    assert_int_equal(weight->kind, BE_VALUE_TENSOR);
    assert_string_equal(be_tensor_file_at(file, weight->as.tensor)->name, "nested.weight");
    assert_true(be_value_text(be_value_get(meta, "name"), &text));
    assert_string_equal(text, "x");
    const be_value *list = be_value_get(meta, "list"), *tuple = be_value_get(meta, "tuple");
    assert_true(list && list->kind == BE_VALUE_LIST && list->as.list.count == 5);
    assert_true(be_value_integer(list->as.list.items[0], &integer) && integer == 1);
    assert_true(be_value_number(list->as.list.items[1], &number) && number == 2.5);
    assert_false(be_value_integer(list->as.list.items[1], &integer));
    assert_int_equal(list->as.list.items[2]->kind, BE_VALUE_NONE);
    assert_true(be_value_boolean(list->as.list.items[3], &boolean) && boolean);
    assert_true(be_value_text(list->as.list.items[4], &text));
    assert_string_equal(text, "\xc3\xa9");
    assert_true(tuple && tuple->kind == BE_VALUE_LIST && tuple->as.list.count == 3);
    for (int i = 0; i < 3; i++)
        assert_true(be_value_integer(tuple->as.list.items[i], &integer) && integer == i + 1);
    assert_int_equal(be_value_get(meta, "big")->kind, BE_VALUE_OTHER);
    assert_true(be_value_integer(be_value_get(meta, "neg"), &integer) && integer == -7);
    const be_value *bytes = be_value_get(meta, "bytes");
    assert_true(bytes && bytes->kind == BE_VALUE_BYTES && bytes->as.text.length == 2);
    assert_memory_equal(bytes->as.text.bytes, "\0\xff", 3);
    assert_false(be_value_text(bytes, &text));
    be_tensor_file_close(file);
}

static void test_plain_values(void **state)
{
    (void)state;
    check_plain_values(golden("legacy_pth/odd_tensors.pth"));
    check_plain_values(golden("legacy_pth/odd_tensors_legacy.pth"));
}

/* --- the same backbone in five files --- */

static void test_legacy_and_zip_hold_the_same(void **state)
{
    (void)state;
    be_tensor_file *zip = open_good(golden("dinov2_q_rois/dinov2_small_pretrain.pth"));
    be_tensor_file *legacy = open_good(golden("legacy_pth/dinov2_small_legacy.pth"));
    assert_int_equal(be_tensor_file_format(legacy), BE_FORMAT_TORCH_LEGACY);
    assert_int_equal(be_tensor_file_count(zip), be_tensor_file_count(legacy));
    for (size_t i = 0; i < be_tensor_file_count(zip); i++) {
        const be_tensor *tensor = be_tensor_file_at(zip, i);
        assert_string_equal(be_tensor_file_at(legacy, i)->name, tensor->name);
        assert_tensor(legacy, tensor->name, tensor->dtype, tensor->n_dims, tensor->shape);
        float *a = tensor_f32(zip, tensor->name), *b = tensor_f32(legacy, tensor->name);
        assert_same_bits(tensor->name, a, b, tensor->count * sizeof *a);
        free(b);
        free(a);
    }
    be_tensor_file_close(legacy);
    be_tensor_file_close(zip);
}

/* Meta's name is Hugging Face's: the whole tensor, or one of three parts of equal size. */
static void check_pair(be_tensor_file *meta, const char *meta_name, size_t part, size_t parts, be_tensor_file *hf,
                       const char *hf_name)
{
    float *whole = tensor_f32(meta, meta_name), *piece = tensor_f32(hf, hf_name);
    size_t count = be_tensor_file_find(hf, hf_name)->count;
    assert_int_equal(be_tensor_file_find(meta, meta_name)->count, parts * count);
    assert_same_bits(hf_name, piece, whole + part * count, count * sizeof *piece);
    free(piece);
    free(whole);
}

static void test_zip_and_safetensors_hold_the_same(void **state)
{
    (void)state;
    static const struct {
        const char *meta, *hf;
        size_t part, parts;
    } whole[] = {
        {"cls_token", "embeddings.cls_token", 0, 1},
        {"pos_embed", "embeddings.position_embeddings", 0, 1},
        {"patch_embed.proj.weight", "embeddings.patch_embeddings.projection.weight", 0, 1},
        {"patch_embed.proj.bias", "embeddings.patch_embeddings.projection.bias", 0, 1},
        {"norm.weight", "layernorm.weight", 0, 1},
        {"norm.bias", "layernorm.bias", 0, 1},
    }, block[] = {
        {"norm1.weight", "norm1.weight", 0, 1},
        {"norm1.bias", "norm1.bias", 0, 1},
        {"attn.qkv.weight", "attention.attention.query.weight", 0, 3},
        {"attn.qkv.weight", "attention.attention.key.weight", 1, 3},
        {"attn.qkv.weight", "attention.attention.value.weight", 2, 3},
        {"attn.qkv.bias", "attention.attention.query.bias", 0, 3},
        {"attn.qkv.bias", "attention.attention.key.bias", 1, 3},
        {"attn.qkv.bias", "attention.attention.value.bias", 2, 3},
        {"attn.proj.weight", "attention.output.dense.weight", 0, 1},
        {"attn.proj.bias", "attention.output.dense.bias", 0, 1},
        {"ls1.gamma", "layer_scale1.lambda1", 0, 1},
        {"norm2.weight", "norm2.weight", 0, 1},
        {"norm2.bias", "norm2.bias", 0, 1},
        {"mlp.fc1.weight", "mlp.fc1.weight", 0, 1},
        {"mlp.fc1.bias", "mlp.fc1.bias", 0, 1},
        {"mlp.fc2.weight", "mlp.fc2.weight", 0, 1},
        {"mlp.fc2.bias", "mlp.fc2.bias", 0, 1},
        {"ls2.gamma", "layer_scale2.lambda1", 0, 1},
    };
    be_tensor_file *meta = open_good(golden("dinov2_q_rois/dinov2_small_pretrain.pth"));
    be_tensor_file *hf = open_good(golden("dinov2_q_rois/dinov2_small.safetensors"));
    for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++)
        check_pair(meta, whole[i].meta, whole[i].part, whole[i].parts, hf, whole[i].hf);
    for (int b = 0; b < 4; b++) {
        for (size_t i = 0; i < sizeof block / sizeof block[0]; i++) {
            char meta_name[128], hf_name[128];
            snprintf(meta_name, sizeof meta_name, "blocks.%d.%s", b, block[i].meta);
            snprintf(hf_name, sizeof hf_name, "encoder.layer.%d.%s", b, block[i].hf);
            check_pair(meta, meta_name, block[i].part, block[i].parts, hf, hf_name);
        }
    }
    be_tensor_file_close(hf);
    be_tensor_file_close(meta);
}

/* The nearest number with `bits` significant bits and no exponent below `lowest`, ties to even: nearbyint of the
 * number scaled so that its last kept bit is the unit. */
static float round_to(float value, int bits, int lowest)
{
    int exponent;
    frexpf(value, &exponent);
    int unit = (exponent < lowest ? lowest : exponent) - bits;
    return ldexpf(nearbyintf(ldexpf(value, -unit)), unit);
}

static void check_rounded(const char *name, be_dtype dtype, int bits, int lowest)
{
    be_tensor_file *full = open_good(golden("dinov2_q_rois/dinov2_small_pretrain.pth"));
    be_tensor_file *narrow = open_good(golden(name));
    assert_int_equal(be_tensor_file_count(full), be_tensor_file_count(narrow));
    for (size_t i = 0; i < be_tensor_file_count(full); i++) {
        const be_tensor *tensor = be_tensor_file_at(full, i);
        assert_tensor(narrow, tensor->name, dtype, tensor->n_dims, tensor->shape);
        float *a = tensor_f32(full, tensor->name), *b = tensor_f32(narrow, tensor->name);
        for (size_t k = 0; k < tensor->count; k++)
            a[k] = round_to(a[k], bits, lowest);
        assert_same_bits(tensor->name, b, a, tensor->count * sizeof *a);
        free(b);
        free(a);
    }
    be_tensor_file_close(narrow);
    be_tensor_file_close(full);
}

/* 11 significant bits; the smallest normal number 2^-14 is 0.5 * 2^-13. */
static void test_halves_are_the_rounded_floats(void **state)
{
    (void)state;
    check_rounded("legacy_pth/dinov2_small_f16.pth", BE_DTYPE_F16, 11, -13);
}

static void test_bfloats_are_the_rounded_floats(void **state)
{
    (void)state;
    check_rounded("legacy_pth/dinov2_small_bf16.pth", BE_DTYPE_BF16, 8, -125);
}

/* --- a checkpoint of the published program --- */

static void test_checkpoint_with_its_arguments(void **state)
{
    (void)state;
    const size_t shape[] = {300, 96};
    be_tensor_file *file = open_good(golden("dinov2_q_rois/subj01/rois_all/checkpoint.pth"));
    const be_value *root = be_tensor_file_root(file), *args = be_value_get(root, "args");
    const char *text;
    int64_t integer;
    double number;
    bool boolean;
    assert_tensor(file, "model.lh_embed.0.weight", BE_DTYPE_F32, 2, shape);
    assert_non_null(args);
    assert_int_equal(args->kind, BE_VALUE_DICT);
    assert_true(be_value_text(be_value_get(args, "backbone_arch"), &text));
    assert_string_equal(text, "dinov2_q");
    assert_true(be_value_integer(be_value_get(args, "hidden_dim"), &integer) && integer == 96);
    assert_true(be_value_integer(be_value_get(args, "rh_vs"), &integer) && integer == 320);
    assert_true(be_value_number(be_value_get(args, "lr"), &number) && number == 0.0005);
    assert_true(be_value_boolean(be_value_get(args, "horizontal_flip"), &boolean) && boolean);
    assert_int_equal(be_value_get(args, "image_size")->kind, BE_VALUE_NONE);
    assert_true(be_value_text(be_value_get(args, "device"), &text));
    assert_string_equal(text, "cpu");
    /* a pickled numpy.float64; args.json has its digits */
    assert_true(be_value_number(be_value_get(args, "val_perf"), &number) && number == 0.5552083333333333);
    assert_true(be_value_integer(be_value_get(root, "epoch"), &integer) && integer == 0);
    assert_int_equal(be_value_get(root, "lr_scheduler")->kind, BE_VALUE_DICT);
    assert_null(be_value_get(args, "no_such_setting"));
    assert_null(be_value_get(be_value_get(root, "epoch"), "x"));
    be_tensor_file_close(file);
}

static void test_backbone_of_twelve_blocks(void **state)
{
    (void)state;
    const size_t shape[] = {144, 48};
    be_tensor_file *file = open_good(golden("dinov2_depth12/dinov2_tiny12_pretrain.pth"));
    assert_tensor(file, "blocks.11.attn.qkv.weight", BE_DTYPE_F32, 2, shape);
    assert_null(be_tensor_file_find(file, "blocks.12.attn.qkv.weight"));
    be_tensor_file_close(file);
}

/* A byte of a stored record changes: its CRC no longer fits. */
static void test_changed_weights_are_noticed(void **state)
{
    (void)state;
    static const float nine = 9;
    size_t size;
    unsigned char *bytes = read_bytes(golden("corrupt/valid_reference.pth"), &size);
    unsigned char *found = memmem(bytes, size, &nine, sizeof nine);
    assert_non_null(found);
    found[0] ^= 1;
    be_tensor_file *file = open_good(scratch_bytes("changed.pth", bytes, size));
    float values[400];
    be_error error;
    assert_error(be_tensor_file_read_f32(file, be_tensor_file_find(file, "a"), values, &error), BE_ERROR_FORMAT, &error,
                 "CRC");
    assert_int_equal(strncmp(error.message, be_tensor_file_path(file), strlen(be_tensor_file_path(file))), 0);
    assert_ok(be_tensor_file_read_f32(file, be_tensor_file_find(file, "b"), values, &error), &error);
    be_tensor_file_close(file);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_is_read),
        cmocka_unit_test(test_handmade_is_read),
        cmocka_unit_test(test_damaged_files_are_refused_by_name),
        cmocka_unit_test(test_odd_tensors_in_a_zip_file),
        cmocka_unit_test(test_odd_tensors_in_a_legacy_file),
        cmocka_unit_test(test_plain_values),
        cmocka_unit_test(test_legacy_and_zip_hold_the_same),
        cmocka_unit_test(test_zip_and_safetensors_hold_the_same),
        cmocka_unit_test(test_halves_are_the_rounded_floats),
        cmocka_unit_test(test_bfloats_are_the_rounded_floats),
        cmocka_unit_test(test_checkpoint_with_its_arguments),
        cmocka_unit_test(test_backbone_of_twelve_blocks),
        cmocka_unit_test(test_changed_weights_are_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
