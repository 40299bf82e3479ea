#include "core/encoder/load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

enum { NAME_SIZE = 256, LARGEST_FREE_SIZE = 1 << 20 };

be_status be_find_tensor(const be_tensor_file *file, const char *prefix, const char *name, size_t rows, size_t columns,
                         const be_tensor **tensor, be_error *error)
{
    char full[NAME_SIZE], expected[64];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const be_tensor *found = be_tensor_file_find(file, full);
    if (!found)
        return be_fail(error, BE_ERROR_FORMAT, "%s: tensor '%s' is missing", be_tensor_file_path(file), full);
    size_t n_dims = found->n_dims;
    while (n_dims > 2 && found->shape[n_dims - 1] == 1) /* a 1x1 convolution is a matrix */
        n_dims--;
    bool dims_right = n_dims == (columns ? 2u : 1u);
    bool rows_right = dims_right && (rows ? found->shape[0] == rows
                                          : found->shape[0] > 0 && found->shape[0] <= LARGEST_FREE_SIZE);
    if (!rows_right || (columns && found->shape[1] != columns)) {
        snprintf(expected, sizeof expected, columns ? "[%zu][%zu]" : "[%zu]", rows, columns);
        return be_fail(error, BE_ERROR_FORMAT, "%s: tensor '%s' has the wrong shape, expected %s%s",
                       be_tensor_file_path(file), full, expected, rows ? "" : " with 0 standing for any size");
    }
    *tensor = found;
    return BE_OK;
}

be_status be_load_tensors(be_tensor_file *file, const char *prefix, const be_wanted_tensor *wanted, size_t count,
                          be_error *error)
{
    for (size_t i = 0; i < count; i++) {
        const be_tensor *tensor;
        be_status status = be_find_tensor(file, prefix, wanted[i].name, wanted[i].rows, wanted[i].columns, &tensor, error);
        if (status == BE_OK)
            status = be_tensor_file_read_weights(file, tensor, wanted[i].out, error);
        if (status != BE_OK)
            return status;
    }
    return BE_OK;
}

float *be_walk_tensor(be_weight_walk *walk, const char *stem, const char *name, size_t rows, size_t columns)
{
    char full[NAME_SIZE];
    const be_tensor *tensor;
    if (walk->status != BE_OK)
        return NULL;
    snprintf(full, sizeof full, "%s%s", stem, name);
    walk->status = be_find_tensor(walk->file, walk->prefix, full, rows, columns, &tensor, walk->error);
    if (walk->status != BE_OK)
        return NULL;
    float *values = be_arena_floats(walk->arena, tensor->count);
    if (values)
        walk->status = be_tensor_file_read_weights(walk->file, tensor, values, walk->error);
    return values;
}

float *be_walk_joined(be_weight_walk *walk, const char *stem, const char *name, size_t rows, size_t columns)
{
    char full[NAME_SIZE];
    const be_tensor *tensor;
    void *values;
    if (walk->status != BE_OK)
        return NULL;
    snprintf(full, sizeof full, "%s%s", stem, name);
    walk->status = be_find_tensor(walk->file, walk->prefix, full, rows, columns, &tensor, walk->error);
    if (walk->status != BE_OK || !walk->arena->base)
        return NULL;
    walk->status = be_allocate_aligned(&values, tensor->count, sizeof(float), "a tensor that is packed", walk->error);
    if (walk->status != BE_OK)
        return NULL;
    walk->status = be_tensor_file_read_weights(walk->file, tensor, values, walk->error);
    return values;
}

be_matrix be_walk_matrix_rows(be_weight_walk *walk, be_precision precision, const float *joined, size_t first, size_t rows,
                              size_t columns)
{
    be_matrix matrix = {0};
    if (walk->status == BE_OK)
        walk->status = be_matrix_keep(&matrix, precision, joined ? joined + first * columns : NULL, rows, columns, walk->arena,
                                      walk->error);
    return matrix;
}

be_matrix be_walk_matrix(be_weight_walk *walk, be_precision precision, const char *stem, const char *name, size_t rows,
                         size_t columns)
{
    float *values = be_walk_joined(walk, stem, name, rows, columns);
    be_matrix matrix = be_walk_matrix_rows(walk, precision, values, 0, rows, columns);
    free(values);
    return matrix;
}

float *be_part_of(float *values, size_t offset)
{
    return values ? values + offset : NULL;
}

be_status be_load_weights(be_tensor_file *file, const char *prefix, be_precision precision,
                          void (*visit)(be_weight_walk *walk, void *model), void *model, be_arena *arena, be_error *error)
{
    be_weight_walk walk = {.file = file, .prefix = prefix, .arena = arena, .precision = precision, .error = error};
    visit(&walk, model);
    if (walk.status == BE_OK && arena->overflowed)
        return be_fail_memory(error, SIZE_MAX, "the weights of an encoder");
    if (walk.status == BE_OK)
        walk.status = be_arena_create(arena, arena->used, "the weights of an encoder", error);
    if (walk.status == BE_OK)
        visit(&walk, model);
    return walk.status;
}
