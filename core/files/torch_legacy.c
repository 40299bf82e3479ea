/* torch's form before 1.6: five pickles (magic number, protocol, system, the object, the keys of its storages), then
 * for each key the number of elements (8 bytes, little endian) and the elements.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/files/dtype.h"
#include "core/files/tensor_file_internal.h"
#include "core/files/torch_names.h"
#include "core/files/unpickle.h"

enum { PROTOCOL = 1001, COUNT_SIZE = 8 };

typedef struct reader {
    be_tensor_file *file;
    be_error *error;
    size_t at; /* bytes of the file that are read */
} reader;

static be_status bad_file(const reader *read, const char *what)
{
    return be_fail(read->error, BE_ERROR_FORMAT, "%s: torch legacy file: %s", read->file->path, what);
}

static be_status read_pickle(reader *read, be_storage_list *storages, const be_object **root, size_t *size)
{
    be_tensor_file *file = read->file;
    be_pickle input = {file->path,        file->mapped.bytes + read->at, file->mapped.size - read->at,
                       file->mapped.size, &file->arena,                  storages};
    be_status status = be_unpickle(&input, root, size, read->error);
    if (status == BE_OK)
        read->at += *size;
    return status;
}

/* The magic number is the integer 0x1950a86a20f9469cfc6c. */
static be_status read_magic(reader *read)
{
    static const char magic[] = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
    const be_object *object = NULL;
    size_t size;
    be_status status = read_pickle(read, NULL, &object, &size);
    if (status != BE_OK)
        return status;
    const be_value *value = &object->value;
    if (object->kind != BE_OBJECT_BIG_INTEGER || value->as.text.length != sizeof magic - 1 ||
        memcmp(value->as.text.bytes, magic, sizeof magic - 1) != 0)
        return bad_file(read, "is a pickle without torch's magic number");
    return BE_OK;
}

static be_status read_protocol(reader *read)
{
    const be_object *object = NULL;
    size_t size;
    be_status status = read_pickle(read, NULL, &object, &size);
    if (status == BE_OK && (object->value.kind != BE_VALUE_INT || object->value.as.integer != PROTOCOL))
        return bad_file(read, "its protocol is not 1001");
    return status;
}

static be_status read_system(reader *read)
{
    const be_object *object = NULL;
    size_t size;
    bool is_little;
    be_status status = read_pickle(read, NULL, &object, &size);
    if (status != BE_OK)
        return status;
    if (!be_value_boolean(be_value_get(&object->value, "little_endian"), &is_little))
        return bad_file(read, "does not say its byte order");
    if (!is_little)
        return be_fail(read->error, BE_ERROR_UNSUPPORTED, "%s: was written in big-endian byte order",
                       read->file->path);
    return BE_OK;
}

static int compare_keys(const void *a, const void *b, void *context)
{
    const be_storage *storages = context;
    return strcmp(storages[*(const size_t *)a].key, storages[*(const size_t *)b].key);
}

/* The first of the storages, sorted by key, that has this key; `count` when there is none. */
static size_t find_key(const be_storage *storages, const size_t *sorted, size_t count, const char *key)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(storages[sorted[middle]].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && strcmp(storages[sorted[low]].key, key) == 0 ? low : count;
}

/* Gives every reference to the storage `key` its bytes, which come next in the file. */
static be_status read_storage(reader *read, const char *key, const size_t *sorted)
{
    be_storage_list *list = &read->file->storages;
    size_t first = find_key(list->items, sorted, list->count, key);
    if (first == list->count || list->items[sorted[first]].bytes)
        return be_fail(read->error, BE_ERROR_FORMAT, "%s: storage %s is listed twice or belongs to no tensor",
                       read->file->path, key);
    const unsigned char *bytes = read->file->mapped.bytes + read->at;
    size_t left = read->file->mapped.size - read->at, size = be_dtype_size(list->items[sorted[first]].dtype);
    uint64_t count = 0;
    for (size_t i = 0; i < COUNT_SIZE && left >= COUNT_SIZE; i++)
        count |= (uint64_t)bytes[i] << 8 * i;
    if (left < COUNT_SIZE || count > (left - COUNT_SIZE) / size)
        return be_fail(read->error, BE_ERROR_FORMAT, "%s: truncated in storage %s", read->file->path, key);
    for (size_t i = first; i < list->count && strcmp(list->items[sorted[i]].key, key) == 0; i++) {
        be_storage *storage = &list->items[sorted[i]];
        if (storage->count != count || be_dtype_size(storage->dtype) != size)
            return be_fail(read->error, BE_ERROR_FORMAT, "%s: storage %s holds %llu elements, its tensors need %zu",
                           read->file->path, key, (unsigned long long)count, storage->count);
        storage->bytes = bytes + COUNT_SIZE;
    }
    read->at += COUNT_SIZE + (size_t)count * size;
    return BE_OK;
}

static be_status read_storages(reader *read, const be_value *keys, const size_t *sorted)
{
    for (size_t i = 0; i < keys->as.list.count; i++) {
        const char *key;
        if (!be_value_text(keys->as.list.items[i], &key))
            return bad_file(read, "the key of a storage is no text");
        be_status status = read_storage(read, key, sorted);
        if (status != BE_OK)
            return status;
    }
    const be_storage_list *list = &read->file->storages;
    for (size_t i = 0; i < list->count; i++) {
        if (!list->items[i].bytes)
            return be_fail(read->error, BE_ERROR_FORMAT, "%s: storage %s is missing", read->file->path,
                           list->items[i].key);
    }
    return read->at == read->file->mapped.size ? BE_OK : bad_file(read, "something follows the last storage");
}

static be_status read_data(reader *read)
{
    const be_storage_list *list = &read->file->storages;
    const be_object *keys = NULL;
    void *memory;
    size_t size;
    be_status status = read_pickle(read, NULL, &keys, &size);
    if (status != BE_OK)
        return status;
    if (keys->kind != BE_OBJECT_LIST)
        return bad_file(read, "the keys of the storages are no list");
    status = be_allocate(&memory, list->count, sizeof(size_t), "the storages of a file", read->error);
    if (status != BE_OK)
        return status;
    size_t *sorted = memory;
    for (size_t i = 0; i < list->count; i++)
        sorted[i] = i;
    if (list->count)
        qsort_r(sorted, list->count, sizeof *sorted, compare_keys, list->items);
    status = read_storages(read, &keys->value, sorted);
    free(sorted);
    return status;
}

be_status be_torch_legacy_open(be_tensor_file *file, be_error *error)
{
    reader read = {.file = file, .error = error};
    const be_object *root = NULL;
    size_t size = 0;
    be_status status = read_magic(&read);
    if (status == BE_OK)
        status = read_protocol(&read);
    if (status == BE_OK)
        status = read_system(&read);
    if (status == BE_OK)
        status = read_pickle(&read, &file->storages, &root, &size);
    if (status == BE_OK)
        status = read_data(&read);
    if (status == BE_OK)
        status = be_torch_name_tensors(file, root, size, error);
    return status;
}
