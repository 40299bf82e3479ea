#include "core/files/tensor_file.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/utf8.h"
#include "core/files/atomic_file.h"
#include "core/files/buffer.h"
#include "core/files/json.h"
#include "core/files/tensor_source.h"

enum { LENGTH_SIZE = 8, DATA_MULTIPLE = 64, MAX_HEADER = 16 << 20 };

static const char metadata_name[] = "__metadata__";

static void add_tensor(be_json *json, const be_tensor_source *tensor, size_t begin, size_t end)
{
    cJSON *entry = be_json_object(json, json->root, tensor->name);
    be_json_text(json, entry, "dtype", be_dtype_name(tensor->dtype));
    cJSON *shape = be_json_array(json, entry, "shape"), *offsets = be_json_array(json, entry, "data_offsets");
    for (size_t i = 0; i < tensor->n_dims; i++)
        be_json_number(json, shape, NULL, (double)tensor->shape[i]);
    be_json_number(json, offsets, NULL, (double)begin);
    be_json_number(json, offsets, NULL, (double)end);
}

/* The header as JSON; *text is to be freed. */
static be_status make_json(const char *path, const be_tensor_source *tensors, size_t n_tensors, const be_text_pair *metadata,
                           size_t n_metadata, char **text, be_error *error)
{
    const size_t most = (size_t)1 << 49; /* bytes: beyond it not every offset would be printed exactly */
    be_json json = be_json_begin();
    cJSON *pairs = n_metadata ? be_json_object(&json, json.root, metadata_name) : NULL;
    for (size_t i = 0; i < n_metadata; i++)
        be_json_text(&json, pairs, metadata[i].key, metadata[i].value);
    for (size_t i = 0, begin = 0, end; i < n_tensors; i++, begin = end) {
        if (!be_size_add(begin, be_tensor_source_size(&tensors[i]), &end) || end > most) {
            be_json_discard(&json);
            return be_fail(error, BE_ERROR_ARGUMENT, "%s: the tensors to be written are too large", path);
        }
        add_tensor(&json, &tensors[i], begin, end);
    }
    return be_json_print(&json, text, error);
}

/* The length, the JSON and spaces up to where the data begin. */
static be_status make_header(const char *path, const char *json, be_buffer *header, be_error *error)
{
    size_t length = strlen(json), padded = length + LENGTH_SIZE;
    padded += (DATA_MULTIPLE - padded % DATA_MULTIPLE) % DATA_MULTIPLE;
    if (padded - LENGTH_SIZE > MAX_HEADER)
        return be_fail(error, BE_ERROR_LIMIT, "%s: names and metadata need more than %d bytes", path, MAX_HEADER);
    be_buffer_number(header, padded - LENGTH_SIZE, LENGTH_SIZE);
    be_buffer_text(header, json);
    while (header->size < padded && header->failure.status == BE_OK)
        be_buffer_text(header, " ");
    return be_buffer_status(header, error);
}

static be_status check_metadata(const char *path, const be_text_pair *metadata, size_t n_metadata, be_error *error)
{
    const char *repeated;
    void *memory;
    be_status status = be_allocate(&memory, n_metadata, sizeof(char *), "the keys of metadata", error);
    if (status != BE_OK)
        return status;
    const char **keys = memory;
    for (size_t i = 0; i < n_metadata && status == BE_OK; i++) {
        keys[i] = metadata[i].key;
        if (!be_utf8_valid(metadata[i].key, strlen(metadata[i].key)) ||
            !be_utf8_valid(metadata[i].value, strlen(metadata[i].value)))
            status = be_fail(error, BE_ERROR_ARGUMENT, "%s: metadata %zu is no UTF-8", path, i);
    }
    if (status == BE_OK && be_texts_repeat(keys, n_metadata, &repeated))
        status = be_fail(error, BE_ERROR_ARGUMENT, "%s: metadata %s is to be written twice", path, repeated);
    free(keys);
    return status;
}

static be_status check_sources(const char *path, const be_tensor_source *tensors, size_t n_tensors, be_error *error)
{
    for (size_t i = 0; i < n_tensors; i++) {
        if (strcmp(tensors[i].name, metadata_name) == 0)
            return be_fail(error, BE_ERROR_ARGUMENT, "%s: no tensor can be named %s", path, metadata_name);
    }
    return be_tensor_sources_check(path, tensors, n_tensors, error);
}

/* What is to be written. */
typedef struct content {
    const be_tensor_source *tensors;
    size_t n_tensors;
    const be_tensor_reader *reader; /* NULL: all tensors have data */
} content;

/* Room for the largest tensor that is read. */
static be_status make_room(const content *what, void **room, be_error *error)
{
    size_t largest = 0;
    for (size_t i = 0; i < what->n_tensors; i++) {
        size_t size = what->tensors[i].data ? 0 : be_tensor_source_size(&what->tensors[i]);
        largest = size > largest ? size : largest;
    }
    return be_allocate_aligned(room, largest, 1, "a tensor to be written", error);
}

static be_status write_tensors(be_atomic_file *file, const content *what, be_error *error)
{
    void *room = NULL;
    be_status status = what->reader ? make_room(what, &room, error) : BE_OK;
    for (size_t i = 0; i < what->n_tensors && status == BE_OK; i++) {
        const void *data = what->tensors[i].data;
        if (!data && what->reader) {
            status = what->reader->read(what->reader->context, i, room, error);
            data = room;
        }
        if (status == BE_OK)
            status = be_atomic_file_write(file, data, be_tensor_source_size(&what->tensors[i]), error);
    }
    free(room);
    return status;
}

static be_status write_file(const char *path, const be_buffer *header, const content *what, be_error *error)
{
    be_atomic_file *file = NULL;
    be_status status = be_atomic_file_create(path, &file, error);
    if (status != BE_OK)
        return status;
    status = be_atomic_file_write(file, header->bytes, header->size, error);
    if (status == BE_OK)
        status = write_tensors(file, what, error);
    if (status == BE_OK)
        return be_atomic_file_commit(file, error);
    be_atomic_file_discard(file);
    return status;
}

be_status be_safetensors_stream(const char *path, const be_tensor_source *tensors, size_t n_tensors, const be_tensor_reader *reader,
                                const be_text_pair *metadata, size_t n_metadata, be_error *error)
{
    be_buffer header = {0};
    char *json = NULL;
    be_status status = check_sources(path, tensors, n_tensors, error);
    if (status == BE_OK)
        status = check_metadata(path, metadata, n_metadata, error);
    if (status == BE_OK)
        status = make_json(path, tensors, n_tensors, metadata, n_metadata, &json, error);
    if (status == BE_OK)
        status = make_header(path, json, &header, error);
    if (status == BE_OK)
        status = write_file(path, &header, &(content){tensors, n_tensors, reader}, error);
    free(json);
    free(header.bytes);
    return status;
}

be_status be_safetensors_write(const char *path, const be_tensor_source *tensors, size_t n_tensors,
                               const be_text_pair *metadata, size_t n_metadata, be_error *error)
{
    return be_safetensors_stream(path, tensors, n_tensors, NULL, metadata, n_metadata, error);
}
