#include "tests/unit/weights.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "core/files/tensor_file.h"
#include "tests/unit/random.h"

weights take_weights(const char *path)
{
    weights it = {.count = 0};
    be_tensor_file *file;
    be_error error;
    assert_ok(be_tensor_file_open(path, &file, &error), &error);
    it.count = be_tensor_file_count(file);
    assert_in_range(it.count, 1, MOST_WEIGHTS);
    for (size_t i = 0; i < it.count; i++) {
        const be_tensor *tensor = be_tensor_file_at(file, i);
        void *data = malloc(tensor->count * be_dtype_size(tensor->dtype) + 1);
        assert_non_null(data);
        assert_ok(be_tensor_file_read(file, tensor, data, &error), &error);
        it.tensors[i] = (be_tensor_source){.name = strdup(tensor->name), .dtype = tensor->dtype, .n_dims = tensor->n_dims};
        it.tensors[i].data = data;
        memcpy(it.tensors[i].shape, tensor->shape, sizeof tensor->shape);
    }
    be_tensor_file_close(file);
    return it;
}

void free_weights(weights *it)
{
    for (size_t i = 0; i < it->count; i++) {
        free((void *)(uintptr_t)it->tensors[i].name);
        free((void *)(uintptr_t)it->tensors[i].data);
    }
}

be_tensor_source *weight_named(weights *it, const char *name)
{
    for (size_t i = 0; i < it->count; i++) {
        if (strcmp(it->tensors[i].name, name) == 0)
            return &it->tensors[i];
    }
    fail_msg("there is no tensor %s", name);
    return NULL;
}

void write_weights(const weights *it, const char *path)
{
    be_error error;
    assert_ok(be_safetensors_write(path, it->tensors, it->count, NULL, 0, &error), &error);
}

void add_weight(weights *it, uint32_t *random, size_t n_dims, const size_t *shape, const char *format, ...)
{
    char name[128];
    size_t count = 1;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    assert_true(it->count < MOST_WEIGHTS);
    be_tensor_source *tensor = &it->tensors[it->count++];
    *tensor = (be_tensor_source){.name = strdup(name), .dtype = BE_DTYPE_F32, .n_dims = n_dims};
    for (size_t d = 0; d < n_dims; d++)
        count *= tensor->shape[d] = shape[d];
    if (!random)
        return;
    float *data = malloc(count * sizeof *data), size = n_dims == 2 ? 1 / sqrtf((float)shape[1]) : 1;
    assert_non_null(data);
    for (size_t i = 0; i < count; i++)
        data[i] = size * next_uniform(random);
    tensor->data = data;
}

void add_layer(weights *it, uint32_t *random, const char *block, const char *name, size_t rows, size_t columns)
{
    add_weight(it, random, SHAPE(rows, columns), "%s%s.weight", block, name);
    add_weight(it, random, SHAPE(rows), "%s%s.bias", block, name);
}

void add_norm(weights *it, uint32_t *random, const char *block, const char *name, size_t width)
{
    add_weight(it, random, SHAPE(width), "%s%s.weight", block, name);
    add_weight(it, random, SHAPE(width), "%s%s.bias", block, name);
}
