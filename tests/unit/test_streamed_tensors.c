/* Tensors that are read when their turn to be written comes, memory that is let go in between, and numbers narrowed to bfloat16. */
#include "tests/unit/support.h"

#include <stdio.h>

#include "core/files/dtype.h"
#include "core/files/tensor_file.h"

/* --- written in turn ---------------------------------------------------------------------------------------------- */

enum { SOURCES = 3 };

static const float values[SOURCES][4] = {{1, 2, 3, 4}, {5, 6}, {7, 8, 9}};

static const size_t counts[SOURCES] = {4, 2, 3};

/* `context` counts the calls. */
static be_status read_turn(void *context, size_t index, void *out, be_error *error)
{
    size_t *calls = context;
    (void)error;
    assert_int_equal(index, 2 * (*calls)++);
    memcpy(out, values[index], counts[index] * sizeof(float));
    return BE_OK;
}

/* The second one has data, the others are read. */
static void test_tensors_are_read_in_turn(void **state)
{
    (void)state;
    static const char *const names[SOURCES] = {"a", "b", "c"};
    size_t calls = 0, size, expected_size;
    be_tensor_source held[SOURCES], read[SOURCES];
    be_error error;
    for (size_t i = 0; i < SOURCES; i++) {
        held[i] = (be_tensor_source){.name = names[i], .dtype = BE_DTYPE_F32, .n_dims = 1, .shape = {counts[i]}, .data = values[i]};
        read[i] = held[i];
        if (i != 1)
            read[i].data = NULL;
    }
    const be_tensor_reader reader = {read_turn, &calls};
    assert_ok(be_safetensors_write(scratch("held"), held, SOURCES, NULL, 0, &error), &error);
    assert_ok(be_safetensors_stream(scratch("read"), read, SOURCES, &reader, NULL, 0, &error), &error);
    assert_int_equal(calls, 2);
    unsigned char *expected = read_bytes(scratch("held"), &expected_size), *bytes = read_bytes(scratch("read"), &size);
    assert_int_equal(size, expected_size);
    assert_memory_equal(bytes, expected, size);
    free(bytes), free(expected);
}

static be_status refuse_turn(void *context, size_t index, void *out, be_error *error)
{
    (void)index, (void)out;
    return be_fail(error, BE_ERROR_FORMAT, "%s: is damaged", (const char *)context);
}

static void test_a_tensor_that_cannot_be_read_leaves_the_old_file(void **state)
{
    (void)state;
    char name[] = "weights";
    const be_tensor_reader reader = {refuse_turn, name};
    be_error error;
    size_t size;
    const be_tensor_source sources[] = {
        {.name = "a", .dtype = BE_DTYPE_F32, .n_dims = 1, .shape = {4}, .data = values[0]},
        {.name = "b", .dtype = BE_DTYPE_F32, .n_dims = 1, .shape = {4}},
    };
    write_bytes(scratch("old"), "old", 3);
    assert_error(be_safetensors_stream(scratch("old"), sources, 2, &reader, NULL, 0, &error), BE_ERROR_FORMAT, &error,
                 "weights: is damaged");
    unsigned char *bytes = read_bytes(scratch("old"), &size);
    assert_true(size == 3 && memcmp(bytes, "old", 3) == 0);
    free(bytes);
}

/* --- let go ------------------------------------------------------------------------------------------------------- */

static void compare_after_forgetting(const char *path)
{
    be_tensor_file *file;
    be_error error;
    char hash[BE_HASH_SIZE], again[BE_HASH_SIZE];
    assert_ok(be_tensor_file_open(path, &file, &error), &error);
    for (size_t i = 0; i < be_tensor_file_count(file); i++) {
        const be_tensor *tensor = be_tensor_file_at(file, i);
        size_t size = tensor->count * be_dtype_size(tensor->dtype);
        unsigned char *before = malloc(size + 1), *after = malloc(size + 1);
        assert_true(before && after);
        assert_ok(be_tensor_file_read(file, tensor, before, &error), &error);
        be_tensor_file_forget(file);
        assert_ok(be_tensor_file_read(file, tensor, after, &error), &error);
        if (memcmp(before, after, size) != 0)
            fail_msg("%s: %s is another one after forgetting", path, tensor->name);
        free(before), free(after);
    }
    assert_ok(be_tensor_file_hash(file, hash, &error), &error);
    be_tensor_file_close(file);
    assert_ok(be_hash_file(path, again, &error), &error);
    assert_string_equal(hash, again);
}

static void test_values_come_back_after_forgetting(void **state)
{
    (void)state;
    compare_after_forgetting(golden("corrupt/valid_reference.safetensors"));
    compare_after_forgetting(golden("corrupt/valid_reference.pth"));
    compare_after_forgetting(golden("legacy_pth/odd_tensors.pth"));
}

/* Once the first of two views of one storage is read, the file is made zeros: only what was read then can give the other. */
static void test_a_shared_storage_is_read_once(void **state)
{
    (void)state;
    be_tensor_file *file;
    be_error error;
    float whole[60], slice[20];
    size_t size;
    unsigned char *bytes = read_bytes(golden("legacy_pth/odd_tensors.pth"), &size);
    write_bytes(scratch("shared.pth"), bytes, size);
    assert_ok(be_tensor_file_open(scratch("shared.pth"), &file, &error), &error);
    assert_ok(be_tensor_file_read_f32(file, be_tensor_file_find(file, "transposed"), whole, &error), &error);
    memset(bytes, 0, size);
    write_bytes(scratch("shared.pth"), bytes, size);
    be_tensor_file_release(file);
    assert_ok(be_tensor_file_read_f32(file, be_tensor_file_find(file, "row_slice"), slice, &error), &error);
    be_tensor_file_forget(file);
    assert_int_equal(be_tensor_file_read_f32(file, be_tensor_file_find(file, "row_slice"), slice, &error), BE_ERROR_FORMAT);
    be_tensor_file_close(file);
    free(bytes);
}

/* Longer than the pieces that are hashed, and no multiple of them: the digest of the same bytes at once. */
static void test_a_file_in_pieces_has_the_hash_of_its_bytes(void **state)
{
    (void)state;
    enum { SIZE = (9 << 20) + 5 };
    unsigned char *bytes = malloc(SIZE);
    char whole[BE_HASH_SIZE], pieces[BE_HASH_SIZE];
    be_error error;
    assert_non_null(bytes);
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (unsigned char)(i * 2654435761u >> 24);
    write_bytes(scratch("long"), bytes, SIZE);
    assert_ok(be_hash_bytes(bytes, SIZE, whole, &error), &error);
    assert_ok(be_hash_file(scratch("long"), pieces, &error), &error);
    assert_string_equal(pieces, whole);
    free(bytes);
    write_bytes(scratch("short"), "abc", 3); /* FIPS 180-4's example */
    assert_ok(be_hash_file(scratch("short"), pieces, &error), &error);
    assert_string_equal(pieces, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

/* --- narrowed ----------------------------------------------------------------------------------------------------- */

static void test_bfloat16_is_rounded_to_nearest_even(void **state)
{
    (void)state;
    static const struct { uint32_t from; uint16_t to; const char *what; } cases[] = {
        {0x00000000, 0x0000, "zero"},
        {0x80000000, 0x8000, "minus zero"},
        {0x3f800000, 0x3f80, "one"},
        {0x3f807fff, 0x3f80, "just below a tie"},
        {0x3f808000, 0x3f80, "a tie above an even number"},
        {0x3f808001, 0x3f81, "just above a tie"},
        {0x3f818000, 0x3f82, "a tie above an odd number"},
        {0xbf818000, 0xbf82, "the same below zero"},
        {0x3fff8000, 0x4000, "a tie that carries into the exponent"},
        {0x7f7f0000, 0x7f7f, "the largest"},
        {0x7f7f7fff, 0x7f7f, "just below half a step above the largest"},
        {0x7f7f8000, 0x7f80, "half a step above the largest"},
        {0x7f7fffff, 0x7f80, "the largest float"},
        {0xff7fffff, 0xff80, "the smallest float"},
        {0x7f800000, 0x7f80, "infinity"},
        {0xff800000, 0xff80, "minus infinity"},
        {0x7fc00000, 0x7fc0, "NaN"},
        {0x7f800001, 0x7fc0, "a NaN whose payload is all cut off"},
        {0xffffffff, 0xffff, "a NaN that rounding would carry out of"},
        {0x00008000, 0x0000, "half the smallest: a tie to zero"},
        {0x00008001, 0x0001, "a little more: the smallest"},
        {0x00018000, 0x0002, "a tie of subnormal numbers"},
        {0x007f8000, 0x0080, "the largest subnormal number becomes a normal one"},
        {0x80018001, 0x8002, "a subnormal number below zero"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float value;
        uint16_t narrow;
        memcpy(&value, &cases[i].from, sizeof value);
        be_f32_to_bf16(&value, 1, &narrow);
        if (narrow != cases[i].to)
            fail_msg("%s: %08x became %04x, not %04x", cases[i].what, cases[i].from, narrow, cases[i].to);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tensors_are_read_in_turn), cmocka_unit_test(test_a_tensor_that_cannot_be_read_leaves_the_old_file),
        cmocka_unit_test(test_values_come_back_after_forgetting), cmocka_unit_test(test_a_shared_storage_is_read_once),
        cmocka_unit_test(test_a_file_in_pieces_has_the_hash_of_its_bytes),
        cmocka_unit_test(test_bfloat16_is_rounded_to_nearest_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
