#include "tests/unit/files_support.h"

#include <stdbool.h>
#include <stdio.h>

const char *scratch_bytes(const char *name, const void *bytes, size_t size)
{
    const char *path = scratch(name);
    write_bytes(path, bytes, size);
    return path;
}

be_tensor_file *open_good(const char *path)
{
    be_tensor_file *file = NULL;
    be_error error;
    assert_ok(be_tensor_file_open(path, &file, &error), &error);
    assert_string_equal(be_tensor_file_path(file), path);
    return file;
}

void assert_refused(const char *path, be_status status, const char *part)
{
    be_tensor_file *file = NULL;
    be_error error;
    assert_error(be_tensor_file_open(path, &file, &error), status, &error, part);
    assert_null(file);
    if (strncmp(error.message, path, strlen(path)) != 0)
        fail_msg("\"%s\" does not begin with %s", error.message, path);
}

void assert_corrupt_refused(const corrupt_file *files, size_t count, const char *ending)
{
    for (size_t i = 0; i < count; i++) {
        char name[128];
        snprintf(name, sizeof name, "corrupt/%s%s", files[i].name, ending);
        assert_refused(golden(name), BE_ERROR_FORMAT, files[i].part);
    }
}

const be_tensor *assert_tensor(const be_tensor_file *file, const char *name, be_dtype dtype, size_t n_dims,
                               const size_t *shape)
{
    const be_tensor *tensor = be_tensor_file_find(file, name);
    if (!tensor)
        fail_msg("no tensor %s", name);
    assert_string_equal(tensor->name, name);
    assert_string_equal(be_dtype_name(tensor->dtype), be_dtype_name(dtype));
    assert_int_equal(tensor->n_dims, n_dims);
    size_t count = 1;
    for (size_t i = 0; i < n_dims; i++) {
        assert_int_equal(tensor->shape[i], shape[i]);
        count *= shape[i];
    }
    assert_int_equal(tensor->count, count);
    return tensor;
}

float *tensor_f32(be_tensor_file *file, const char *name)
{
    const be_tensor *tensor = be_tensor_file_find(file, name);
    be_error error;
    if (!tensor)
        fail_msg("no tensor %s", name);
    float *values = malloc((tensor->count + 1) * sizeof *values);
    assert_non_null(values);
    values[tensor->count] = 12345.0f; /* what lies behind must stay as it is */
    assert_ok(be_tensor_file_read_f32(file, tensor, values, &error), &error);
    assert_true(values[tensor->count] == 12345.0f);
    return values;
}

void assert_same_bits(const char *what, const void *actual, const void *expected, size_t size)
{
    const unsigned char *a = actual, *b = expected;
    for (size_t i = 0; i < size; i++) {
        if (a[i] != b[i])
            fail_msg("%s: byte %zu is %02x, expected %02x", what, i, a[i], b[i]);
    }
}

bool read_all_tensors(const char *path)
{
    be_tensor_file *file = NULL;
    be_error error;
    if (be_tensor_file_open(path, &file, &error) != BE_OK) {
        assert_true(strlen(error.message) > 0);
        return false;
    }
    for (size_t i = 0; i < be_tensor_file_count(file); i++) {
        const be_tensor *tensor = be_tensor_file_at(file, i);
        float *values = malloc(tensor->count * sizeof *values + 1);
        assert_non_null(values);
        (void)be_tensor_file_read_f32(file, tensor, values, &error);
        assert_ptr_equal(be_tensor_file_find(file, tensor->name), tensor);
        free(values);
    }
    be_tensor_file_close(file);
    return true;
}

/* Numerical Recipes' linear congruential generator: the same mutations everywhere. */
static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* Changes up to four places: a bit, a byte of special meaning, or a run copied from elsewhere in the file. */
static void mutate(unsigned char *bytes, size_t size, uint32_t *state)
{
    static const unsigned char special[] = {0x00, 0xff, 0x80, 0x7f, '(', 't', 'R', 'q', 'h', '.', '}', 'u', '"', '9'};
    for (uint32_t changes = 1 + next_random(state) % 4; changes > 0; changes--) {
        size_t at = next_random(state) % size, from = next_random(state) % size;
        switch (next_random(state) % 3) {
        case 0: bytes[at] ^= (unsigned char)(1u << next_random(state) % 8); break;
        case 1: bytes[at] = special[next_random(state) % sizeof special]; break;
        default: {
            size_t length = 1 + next_random(state) % 8;
            if (at + length <= size && from + length <= size)
                memmove(bytes + at, bytes + from, length);
        }
        }
    }
}

void damage(const char *path, size_t mutations, damage_reader read)
{
    size_t size;
    unsigned char *bytes = read_bytes(path, &size);
    assert_true(read(path));
    for (size_t length = 0; length < size; length++) {
        if (read(scratch_bytes("cut", bytes, length)))
            fail_msg("cut to %zu of %zu bytes it is accepted", length, size);
    }
    unsigned char *changed = malloc(size);
    uint32_t state = 1;
    assert_non_null(changed);
    for (size_t i = 0; i < mutations; i++) {
        memcpy(changed, bytes, size);
        mutate(changed, size, &state);
        (void)read(scratch_bytes("changed", changed, size));
    }
    free(changed);
    free(bytes);
}
