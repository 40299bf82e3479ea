#include "core/files/torch_objects.h"

#include <string.h>

#include "core/files/dtype.h"

enum { LONGEST_KEY = 255 };

static be_status bad_storage(const be_pickle_machine *machine, const char *what)
{
    return be_fail(machine->error, BE_ERROR_FORMAT, "%s: pickle: a storage %s at byte %zu", machine->pickle->name, what,
                   machine->operation);
}

be_status be_torch_storage(be_pickle_machine *machine, const be_value *id, be_object **object)
{
    if (be_object_of(id)->kind != BE_OBJECT_TUPLE)
        return bad_storage(machine, "whose persistent id is no tuple");
    const be_value *kind = be_torch_argument_of(id, 0, BE_VALUE_TEXT), *type = be_torch_argument(id, 1);
    const be_value *key = be_torch_argument_of(id, 2, BE_VALUE_TEXT), *view = be_torch_argument(id, 5);
    const be_value *count = be_torch_argument_of(id, 4, BE_VALUE_INT);
    if (!kind || strcmp(kind->as.text.bytes, "storage") != 0 || !key || !count || count->as.integer < 0)
        return bad_storage(machine, "with a strange persistent id");
    if (be_object_of(type)->kind != BE_OBJECT_GLOBAL ||
        be_object_of(type)->of.global->kind != BE_GLOBAL_STORAGE_TYPE)
        return bad_storage(machine, "of an unknown type");
    if (view && view->kind != BE_VALUE_NONE)
        return be_fail(machine->error, BE_ERROR_UNSUPPORTED,
                       "%s: holds a view of a storage, which only torch before version 0.4 wrote",
                       machine->pickle->name);
    if (key->as.text.length > LONGEST_KEY || strlen(key->as.text.bytes) != key->as.text.length)
        return bad_storage(machine, "with a strange name");
    if (!machine->pickle->storages)
        return bad_storage(machine, "where no tensors can be");
    be_storage storage = {.key = key->as.text.bytes, .dtype = be_object_of(type)->of.global->dtype};
    storage.count = (size_t)count->as.integer;
    if (storage.count > PTRDIFF_MAX / sizeof(double))
        return bad_storage(machine, "of impossible size");
    be_status status = be_pickle_object(machine, BE_OBJECT_STORAGE, BE_VALUE_OTHER, object);
    if (status != BE_OK)
        return status;
    (*object)->of.storage = machine->pickle->storages->count;
    return be_storage_list_add(machine->pickle->storages, &storage, machine->pickle->arena, machine->error);
}

static be_status bad_tensor(const be_pickle_machine *machine, const be_storage *storage, const char *what)
{
    return be_fail(machine->error, BE_ERROR_FORMAT, "%s: a tensor in storage %s %s", machine->pickle->name,
                   storage->key, what);
}

/* A tuple of `count` integers, none negative. */
static bool read_sizes(const be_value *tuple, size_t count, size_t *out)
{
    for (size_t i = 0; i < count; i++) {
        const be_value *item = tuple->as.list.items[i];
        if (item->kind != BE_VALUE_INT || item->as.integer < 0)
            return false;
        out[i] = (size_t)item->as.integer;
    }
    return true;
}

static be_status read_layout(be_pickle_machine *machine, const be_storage *storage, const be_value *arguments,
                             be_pickled_tensor *made)
{
    const be_value *offset = be_torch_argument_of(arguments, 1, BE_VALUE_INT);
    const be_value *size = be_torch_argument_of(arguments, 2, BE_VALUE_LIST);
    const be_value *stride = be_torch_argument_of(arguments, 3, BE_VALUE_LIST);
    if (!offset || offset->as.integer < 0 || !size || !stride || size->as.list.count != stride->as.list.count)
        return bad_tensor(machine, storage, "has a strange offset, size or stride");
    be_tensor *tensor = &made->tensor;
    if (size->as.list.count > BE_TENSOR_MAX_DIMS)
        return be_fail(machine->error, BE_ERROR_UNSUPPORTED, "%s: a tensor in storage %s has more than %d dimensions",
                       machine->pickle->name, storage->key, BE_TENSOR_MAX_DIMS);
    tensor->dtype = storage->dtype;
    tensor->n_dims = size->as.list.count;
    made->view.offset = (size_t)offset->as.integer;
    if (!read_sizes(size, tensor->n_dims, tensor->shape))
        return bad_tensor(machine, storage, "has a negative size, or one that is no integer");
    if (!read_sizes(stride, tensor->n_dims, made->view.stride))
        return bad_tensor(machine, storage, "has a negative stride, or one that is no integer");
    if (!be_shape_count(tensor->n_dims, tensor->shape, &tensor->count))
        return bad_tensor(machine, storage, "has an impossible size");
    if (!be_view_fits(&made->view, tensor, storage->count))
        return bad_tensor(machine, storage, "leaves its storage");
    if (!be_size_is_plausible(tensor->count * be_dtype_size(tensor->dtype), machine->pickle->file_size))
        return be_fail(machine->error, BE_ERROR_LIMIT, "%s: a tensor in storage %s repeats its values too often",
                       machine->pickle->name, storage->key);
    return BE_OK;
}

be_status be_torch_rebuild_tensor(be_pickle_machine *machine, const be_value *arguments, be_object **object)
{
    const be_value *first = be_torch_argument(arguments, 0);
    if (!first || be_object_of(first)->kind != BE_OBJECT_STORAGE)
        return be_pickle_fail(machine, "a tensor without a storage");
    void *memory = NULL;
    be_status status =
        be_value_arena_take(machine->pickle->arena, sizeof(be_pickled_tensor), &memory, machine->error);
    if (status != BE_OK)
        return status;
    be_pickled_tensor *made = memory;
    made->view.storage = be_object_of(first)->of.storage;
    status = read_layout(machine, &machine->pickle->storages->items[made->view.storage], arguments, made);
    if (status == BE_OK)
        status = be_pickle_object(machine, BE_OBJECT_TENSOR, BE_VALUE_TENSOR, object);
    if (status == BE_OK)
        (*object)->of.tensor = made;
    return status;
}
