/* safetensors: 8 bytes little-endian length of the header, the header (JSON in UTF-8), the data. Each member of the
 * header is {"dtype", "shape", "data_offsets": [begin, end]} with offsets from the start of the data; together they
 * cover the data without holes or overlaps. "__metadata__" maps strings to strings.
 */
#include "core/files/tensor_file_internal.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/utf8.h"
#include "core/files/dtype.h"
#include "core/files/json.h"
#include "core/files/tensor_source.h"

/* cJSON takes some 80 bytes an item, whatever the item's size in the file: both are bounded, far above any model's. */
enum { LENGTH_SIZE = 8, MAX_HEADER = 16 << 20, MAX_ITEMS = 1 << 20 };

/* Bytes [begin, end) of the data; `tensor` is an index. */
typedef struct range {
    size_t begin, end, tensor;
} range;

typedef struct reader {
    be_tensor_file *file;
    const char *name;
    be_error *error;
    const char *header;
    size_t header_size;
    const unsigned char *data;
    size_t data_size;
    range *ranges; /* [file->count] */
    size_t range_capacity;
} reader;

static be_status bad_header(const reader *read, const char *what)
{
    return be_fail(read->error, BE_ERROR_FORMAT, "%s: safetensors header: %s", read->name, what);
}

static be_status bad_tensor(const reader *read, const char *tensor, const char *what)
{
    return be_fail(read->error, BE_ERROR_FORMAT, "%s: tensor %s: %s", read->name, tensor, what);
}

/* --- one tensor ----------------------------------------------------------------------------------- */

/* The three keys an entry has, each of them once, and no other. */
typedef struct fields {
    const cJSON *dtype, *shape, *offsets;
} fields;

static be_status find_fields(const reader *read, const cJSON *entry, fields *found)
{
    const cJSON *item;
    if (!cJSON_IsObject(entry))
        return bad_tensor(read, entry->string, "is no JSON object");
    cJSON_ArrayForEach(item, entry) {
        const cJSON **field = strcmp(item->string, "dtype") == 0          ? &found->dtype
                              : strcmp(item->string, "shape") == 0        ? &found->shape
                              : strcmp(item->string, "data_offsets") == 0 ? &found->offsets
                                                                          : NULL;
        if (!field)
            return be_fail(read->error, BE_ERROR_FORMAT, "%s: tensor %s: unknown key %s", read->name, entry->string,
                           item->string);
        if (*field)
            return be_fail(read->error, BE_ERROR_FORMAT, "%s: tensor %s: the key %s is there twice", read->name, entry->string,
                           item->string);
        *field = item;
    }
    if (!cJSON_IsString(found->dtype) || !cJSON_IsArray(found->shape) || !cJSON_IsArray(found->offsets))
        return bad_tensor(read, entry->string, "dtype, shape or data_offsets is missing or of the wrong kind");
    return BE_OK;
}

static be_status read_shape(const reader *read, const cJSON *shape, be_tensor *tensor)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, shape) {
        if (tensor->n_dims == BE_TENSOR_MAX_DIMS)
            return be_fail(read->error, BE_ERROR_UNSUPPORTED, "%s: tensor %s has more than %d dimensions", read->name,
                           tensor->name, BE_TENSOR_MAX_DIMS);
        if (!be_json_get_size(item, &tensor->shape[tensor->n_dims++]))
            return bad_tensor(read, tensor->name, "a number of its shape is no non-negative integer below 2^53");
    }
    if (!be_shape_count(tensor->n_dims, tensor->shape, &tensor->count))
        return bad_tensor(read, tensor->name, "its shape is too large");
    return BE_OK;
}

static be_status read_offsets(const reader *read, const cJSON *offsets, const be_tensor *tensor, range *out)
{
    if (cJSON_GetArraySize(offsets) != 2 || !be_json_get_size(cJSON_GetArrayItem(offsets, 0), &out->begin) ||
        !be_json_get_size(cJSON_GetArrayItem(offsets, 1), &out->end))
        return bad_tensor(read, tensor->name, "data_offsets are no two non-negative integers below 2^53");
    if (out->begin > out->end)
        return bad_tensor(read, tensor->name, "data_offsets end before they begin");
    if (out->end > read->data_size)
        return bad_tensor(read, tensor->name, "data_offsets go beyond the end of the file");
    if (out->end - out->begin != tensor->count * be_dtype_size(tensor->dtype))
        return bad_tensor(read, tensor->name,
                          "its shape and dtype need another number of bytes than data_offsets give");
    return BE_OK;
}

/* Every tensor is a storage of its own. */
static be_status add_tensor(reader *read, const be_tensor *tensor, range *place)
{
    be_tensor_file *file = read->file;
    be_storage storage = {.key = tensor->name, .dtype = tensor->dtype, .count = tensor->count};
    be_view view = {.storage = file->storages.count};
    void *ranges = read->ranges;
    storage.bytes = read->data + place->begin;
    be_view_set_contiguous(&view, tensor->n_dims, tensor->shape);
    place->tensor = file->count;
    be_status status = be_value_arena_charge(&file->arena, sizeof *place, read->error);
    if (status == BE_OK)
        status = be_grow(&ranges, &read->range_capacity, file->count + 1, sizeof *place, "the tensors of a file", read->error);
    read->ranges = ranges;
    if (status != BE_OK)
        return status;
    read->ranges[file->count] = *place;
    status = be_storage_list_add(&file->storages, &storage, &file->arena, read->error);
    return status == BE_OK ? be_tensor_file_add(file, tensor, &view, read->error) : status;
}

static be_status read_tensor(reader *read, const cJSON *entry)
{
    fields found = {0};
    be_tensor tensor = {0};
    range place = {0};
    char *name = NULL;
    be_status status = find_fields(read, entry, &found);
    if (status == BE_OK)
        status = be_value_arena_copy(&read->file->arena, entry->string, strlen(entry->string), &name, read->error);
    if (status != BE_OK)
        return status;
    tensor.name = name;
    if (!be_dtype_parse(found.dtype->valuestring, strlen(found.dtype->valuestring), &tensor.dtype))
        return be_fail(read->error, BE_ERROR_FORMAT, "%s: tensor %s: unknown dtype %s", read->name, name,
                       found.dtype->valuestring);
    status = read_shape(read, found.shape, &tensor);
    if (status == BE_OK)
        status = read_offsets(read, found.offsets, &tensor, &place);
    return status == BE_OK ? add_tensor(read, &tensor, &place) : status;
}

/* --- metadata ------------------------------------------------------------------------------------- */

static be_status take_text(reader *read, const char *text, const be_value **out)
{
    char *copy;
    void *memory;
    be_status status = be_value_arena_copy(&read->file->arena, text, strlen(text), &copy, read->error);
    if (status == BE_OK)
        status = be_value_arena_take(&read->file->arena, sizeof(be_value), &memory, read->error);
    if (status != BE_OK)
        return status;
    *(be_value *)memory = (be_value){.kind = BE_VALUE_TEXT, .as.text = {copy, strlen(copy)}};
    *out = memory;
    return BE_OK;
}

static be_status read_metadata(reader *read, const cJSON *entry, be_value *root)
{
    const cJSON *item;
    const char *repeated;
    void *memory, *keys;
    if (root->as.dict.pairs)
        return bad_header(read, "__metadata__ is there twice");
    if (!cJSON_IsObject(entry))
        return bad_header(read, "__metadata__ is no JSON object");
    be_status status = be_allocate(&keys, (size_t)cJSON_GetArraySize(entry), sizeof(char *), "the keys of metadata",
                                   read->error);
    if (status != BE_OK)
        return status;
    size_t count = 0;
    cJSON_ArrayForEach(item, entry)
        ((const char **)keys)[count++] = item->string;
    if (be_texts_repeat(keys, count, &repeated))
        status = be_fail(read->error, BE_ERROR_FORMAT, "%s: safetensors header: __metadata__: %s is there twice", read->name,
                         repeated);
    free(keys);
    if (status != BE_OK)
        return status;
    status = be_value_arena_take(&read->file->arena, (size_t)cJSON_GetArraySize(entry) * sizeof(be_value_pair) + 1,
                                           &memory, read->error);
    if (status != BE_OK)
        return status;
    be_value_pair *pairs = memory;
    root->as.dict.pairs = pairs;
    cJSON_ArrayForEach(item, entry) {
        if (!cJSON_IsString(item))
            return be_fail(read->error, BE_ERROR_FORMAT, "%s: safetensors header: __metadata__: %s is no text", read->name,
                           item->string);
        status = take_text(read, item->string, &pairs->key);
        if (status == BE_OK)
            status = take_text(read, item->valuestring, &pairs->value);
        if (status != BE_OK)
            return status;
        pairs++;
        root->as.dict.count++;
    }
    return BE_OK;
}

/* --- the header ----------------------------------------------------------------------------------- */

static be_status find_header(be_tensor_file *file, reader *read)
{
    size_t size = file->mapped.size, length = 0;
    if (size < LENGTH_SIZE)
        return bad_header(read, "the file ends inside it");
    for (size_t i = 0; i < LENGTH_SIZE; i++)
        length |= (size_t)file->mapped.bytes[i] << 8 * i;
    if (length > size - LENGTH_SIZE)
        return be_fail(read->error, BE_ERROR_FORMAT, "%s: safetensors header: says %zu bytes, the file has %zu left",
                       read->name, length, size - LENGTH_SIZE);
    if (length > MAX_HEADER)
        return be_fail(read->error, BE_ERROR_LIMIT, "%s: safetensors header: has %zu bytes, more than %d", read->name, length,
                       MAX_HEADER);
    if (length == 0 || file->mapped.bytes[LENGTH_SIZE] != '{')
        return bad_header(read, "does not begin with '{'");
    read->header = (const char *)file->mapped.bytes + LENGTH_SIZE;
    read->header_size = length;
    read->data = file->mapped.bytes + LENGTH_SIZE + length;
    read->data_size = size - LENGTH_SIZE - length;
    return BE_OK;
}

/* What cJSON does not look at: texts that are no UTF-8 or hold a zero byte (its texts end there), and how many items there
 * are before memory is taken for them. */
static be_status check_text(const reader *read)
{
    static const char zero_escape[] = "\\u0000";
    size_t items = 0;
    if (!be_utf8_valid(read->header, read->header_size) || memchr(read->header, '\0', read->header_size) ||
        memmem(read->header, read->header_size, zero_escape, sizeof zero_escape - 1))
        return bad_header(read, "is no UTF-8 text without zero bytes");
    for (size_t i = 0; i < read->header_size; i++)
        items += read->header[i] == ',' || read->header[i] == '[' || read->header[i] == '{';
    if (items > MAX_ITEMS)
        return be_fail(read->error, BE_ERROR_LIMIT, "%s: safetensors header: has more than %d items", read->name, MAX_ITEMS);
    return BE_OK;
}

static be_status parse_header(const reader *read, cJSON **header)
{
    be_status status = be_json_parse(read->header, read->header_size, read->name, header, read->error);
    return status == BE_OK && !*header ? bad_header(read, "is no valid JSON") : status;
}

static be_status read_members(reader *read, const cJSON *header, be_value *root)
{
    const cJSON *item;
    be_status status = BE_OK;
    cJSON_ArrayForEach(item, header) {
        if (status == BE_OK)
            status = strcmp(item->string, "__metadata__") == 0 ? read_metadata(read, item, root) : read_tensor(read, item);
    }
    return status;
}

static int compare_ranges(const void *a, const void *b)
{
    const range *left = a, *right = b;
    if (left->begin != right->begin)
        return left->begin < right->begin ? -1 : 1;
    return (left->end > right->end) - (left->end < right->end);
}

static be_status check_cover(reader *read)
{
    const be_tensor *tensors = read->file->tensors;
    size_t count = read->file->count, end = 0;
    if (count)
        qsort(read->ranges, count, sizeof *read->ranges, compare_ranges);
    for (size_t i = 0; i < count; i++) {
        if (read->ranges[i].begin != end)
            return bad_tensor(read, tensors[read->ranges[i].tensor].name,
                              read->ranges[i].begin < end ? "its data overlap with another tensor's"
                                                          : "there is a hole before its data");
        end = read->ranges[i].end;
    }
    if (end != read->data_size)
        return be_fail(read->error, BE_ERROR_FORMAT, "%s: %zu bytes follow the last tensor", read->name,
                       read->data_size - end);
    return BE_OK;
}

be_status be_safetensors_open(be_tensor_file *file, be_error *error)
{
    reader read = {.file = file, .name = file->path, .error = error};
    void *root = NULL;
    cJSON *header = NULL;
    be_status status = find_header(file, &read);
    if (status == BE_OK)
        status = check_text(&read);
    if (status == BE_OK)
        status = be_value_arena_take(&file->arena, sizeof(be_value), &root, error);
    if (status == BE_OK)
        status = parse_header(&read, &header);
    if (status != BE_OK)
        return status;
    ((be_value *)root)->kind = BE_VALUE_DICT;
    file->root = root;
    status = read_members(&read, header, root);
    if (status == BE_OK)
        status = check_cover(&read);
    cJSON_Delete(header);
    free(read.ranges);
    return status;
}
