#include "core/files/tensor_file_internal.h"

#include "core/base/memory.h"

enum { ALWAYS_PLAUSIBLE = 64 << 20, PLAUSIBLE_PER_BYTE = 16 };

void be_view_set_contiguous(be_view *view, size_t n_dims, const size_t *shape)
{
    size_t stride = 1;
    for (size_t d = n_dims; d-- > 0;) {
        view->stride[d] = stride;
        stride *= shape[d] ? shape[d] : 1;
    }
}

bool be_view_fits(const be_view *view, const be_tensor *tensor, size_t storage_count)
{
    if (tensor->count == 0)
        return view->offset <= storage_count;
    size_t last = view->offset;
    for (size_t d = 0; d < tensor->n_dims; d++) {
        size_t reach;
        if (!be_size_multiply(tensor->shape[d] - 1, view->stride[d], &reach) || !be_size_add(last, reach, &last))
            return false;
    }
    return last < storage_count;
}

bool be_size_is_plausible(size_t size, size_t file_size)
{
    size_t limit;
    return size <= ALWAYS_PLAUSIBLE || !be_size_multiply(file_size, PLAUSIBLE_PER_BYTE, &limit) || size <= limit;
}

be_status be_storage_list_add(be_storage_list *list, const be_storage *storage, be_value_arena *arena,
                              be_error *error)
{
    void *items = list->items;
    be_status status = be_value_arena_charge(arena, sizeof *storage, error);
    if (status == BE_OK)
        status = be_grow(&items, &list->capacity, list->count + 1, sizeof *storage, "the storages of a file", error);
    if (status != BE_OK)
        return status;
    list->items = items;
    list->items[list->count++] = *storage;
    return BE_OK;
}

be_status be_tensor_file_add(be_tensor_file *file, const be_tensor *tensor, const be_view *view, be_error *error)
{
    void *tensors = file->tensors, *views = file->views;
    be_status status = be_value_arena_charge(&file->arena, sizeof *tensor + sizeof *view, error);
    if (status == BE_OK)
        status = be_grow(&tensors, &file->tensor_capacity, file->count + 1, sizeof *tensor, "the tensors of a file", error);
    file->tensors = tensors;
    if (status == BE_OK)
        status = be_grow(&views, &file->view_capacity, file->count + 1, sizeof *view, "the tensors of a file", error);
    file->views = views;
    if (status != BE_OK)
        return status;
    file->tensors[file->count] = *tensor;
    file->views[file->count++] = *view;
    return BE_OK;
}
