#include "core/files/tensor_source.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/utf8.h"
#include "core/files/dtype.h"

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

bool be_texts_repeat(const char **texts, size_t count, const char **repeated)
{
    if (count)
        qsort(texts, count, sizeof *texts, compare_texts);
    for (size_t i = 1; i < count; i++) {
        if (strcmp(texts[i - 1], texts[i]) == 0) {
            *repeated = texts[i];
            return true;
        }
    }
    return false;
}

static be_status check_names(const char *path, const be_tensor_source *tensors, size_t n_tensors, be_error *error)
{
    const char *repeated;
    void *memory;
    be_status status = be_allocate(&memory, n_tensors, sizeof(char *), "the names of tensors", error);
    if (status != BE_OK)
        return status;
    const char **names = memory;
    for (size_t i = 0; i < n_tensors; i++)
        names[i] = tensors[i].name;
    if (be_texts_repeat(names, n_tensors, &repeated))
        status = be_fail(error, BE_ERROR_ARGUMENT, "%s: tensor %s is to be written twice", path, repeated);
    free(names);
    return status;
}

size_t be_tensor_source_size(const be_tensor_source *tensor)
{
    size_t count = 0;
    (void)be_shape_count(tensor->n_dims, tensor->shape, &count);
    return count * be_dtype_size(tensor->dtype);
}

be_status be_tensor_sources_check(const char *path, const be_tensor_source *tensors, size_t n_tensors,
                                  be_error *error)
{
    for (size_t i = 0; i < n_tensors; i++) {
        size_t count;
        if (!be_utf8_valid(tensors[i].name, strlen(tensors[i].name)))
            return be_fail(error, BE_ERROR_ARGUMENT, "%s: the name of tensor %zu is no UTF-8", path, i);
        if (tensors[i].n_dims > BE_TENSOR_MAX_DIMS ||
            !be_shape_count(tensors[i].n_dims, tensors[i].shape, &count))
            return be_fail(error, BE_ERROR_ARGUMENT, "%s: tensor %s has an impossible shape", path, tensors[i].name);
    }
    return check_names(path, tensors, n_tensors, error);
}
