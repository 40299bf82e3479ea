#include "core/files/tensor_file.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/files/tensor_file_internal.h"

enum { TAR_MAGIC_AT = 257, SAFETENSORS_BRACE_AT = 8, PICKLE_PROTO = 0x80 };

/* Whether the 8 bytes at the start are a length that the file can hold: safetensors, if it is nothing else. */
static bool begins_with_length(const unsigned char *bytes, size_t size)
{
    uint64_t length = 0;
    if (size < SAFETENSORS_BRACE_AT)
        return false;
    for (size_t i = 0; i < SAFETENSORS_BRACE_AT; i++)
        length |= (uint64_t)bytes[i] << 8 * i;
    return length <= size - SAFETENSORS_BRACE_AT;
}

/* A zip archive never has the '{' of a safetensors header in that place (the compression method), and in a torch
 * legacy file it is the middle of the magic number. */
static be_status recognise(const be_mapped_file *mapped, const char *path, be_tensor_format *format, be_error *error)
{
    const unsigned char *bytes = mapped->bytes;
    if (mapped->size == 0)
        return be_fail(error, BE_ERROR_FORMAT, "%s: is empty", path);
    if (mapped->size > SAFETENSORS_BRACE_AT && bytes[SAFETENSORS_BRACE_AT] == '{')
        *format = BE_FORMAT_SAFETENSORS;
    else if (mapped->size >= 4 && memcmp(bytes, "PK\x03\x04", 4) == 0)
        *format = BE_FORMAT_TORCH_ZIP;
    else if (bytes[0] == PICKLE_PROTO)
        *format = BE_FORMAT_TORCH_LEGACY;
    else if (begins_with_length(bytes, mapped->size))
        *format = BE_FORMAT_SAFETENSORS;
    else if (mapped->size > TAR_MAGIC_AT + 5 && memcmp(bytes + TAR_MAGIC_AT, "ustar", 5) == 0)
        return be_fail(error, BE_ERROR_UNSUPPORTED, "%s: is a tar archive, the form torch wrote before version 0.1.10",
                       path);
    else
        return be_fail(error, BE_ERROR_FORMAT, "%s: is neither safetensors nor a torch .pth file", path);
    return BE_OK;
}

/* Equal names have an order too, so that the same file sorts the same way everywhere. */
static int compare_names(const void *a, const void *b, void *context)
{
    const be_tensor *tensors = context;
    size_t left = *(const size_t *)a, right = *(const size_t *)b;
    int order = strcmp(tensors[left].name, tensors[right].name);
    return order ? order : (left > right) - (left < right);
}

static be_status sort_names(be_tensor_file *file, be_error *error)
{
    void *memory;
    be_status status = be_allocate(&memory, file->count, sizeof *file->by_name, "the names of tensors", error);
    if (status != BE_OK)
        return status;
    file->by_name = memory;
    for (size_t i = 0; i < file->count; i++)
        file->by_name[i] = i;
    qsort_r(file->by_name, file->count, sizeof *file->by_name, compare_names, file->tensors);
    for (size_t i = 1; i < file->count; i++) {
        const char *name = file->tensors[file->by_name[i]].name;
        if (strcmp(file->tensors[file->by_name[i - 1]].name, name) == 0)
            return be_fail(error, BE_ERROR_FORMAT, "%s: two tensors have the name %s", file->path, name);
    }
    return BE_OK;
}

static be_status open_format(be_tensor_file *file, be_error *error)
{
    switch (file->format) {
    case BE_FORMAT_SAFETENSORS: return be_safetensors_open(file, error);
    case BE_FORMAT_TORCH_ZIP: return be_torch_zip_open(file, error);
    case BE_FORMAT_TORCH_LEGACY: return be_torch_legacy_open(file, error);
    }
    return be_fail(error, BE_ERROR_ARGUMENT, "%s: unknown format", file->path);
}

be_status be_tensor_file_open(const char *path, be_tensor_file **out, be_error *error)
{
    void *memory;
    be_status status = be_allocate(&memory, 1, sizeof(be_tensor_file), "a tensor file", error);
    if (status != BE_OK)
        return status;
    be_tensor_file *file = memory;
    status = be_copy_text(&file->path, path, error);
    if (status == BE_OK)
        status = be_mapped_file_open(path, &file->mapped, error);
    if (status == BE_OK)
        status = recognise(&file->mapped, path, &file->format, error);
    if (status == BE_OK) {
        be_value_arena_init(&file->arena, file->path, file->mapped.size);
        status = open_format(file, error);
    }
    if (status == BE_OK)
        status = sort_names(file, error);
    if (status == BE_OK)
        *out = file;
    else
        be_tensor_file_close(file);
    return status;
}

void be_tensor_file_close(be_tensor_file *file)
{
    if (!file)
        return;
    be_torch_zip_close(file);
    be_value_arena_free(&file->arena);
    be_mapped_file_close(&file->mapped);
    free(file->cached);
    free(file->storages.items);
    free(file->by_name);
    free(file->views);
    free(file->tensors);
    free(file->path);
    free(file);
}

be_tensor_format be_tensor_file_format(const be_tensor_file *file)
{
    return file->format;
}

const char *be_tensor_format_name(be_tensor_format format)
{
    switch (format) {
    case BE_FORMAT_SAFETENSORS: return "safetensors";
    case BE_FORMAT_TORCH_ZIP: return "torch zip";
    case BE_FORMAT_TORCH_LEGACY: return "torch legacy";
    }
    return "unknown";
}

const char *be_tensor_file_path(const be_tensor_file *file)
{
    return file->path;
}

size_t be_tensor_file_count(const be_tensor_file *file)
{
    return file->count;
}

const be_tensor *be_tensor_file_at(const be_tensor_file *file, size_t index)
{
    return &file->tensors[index];
}

const be_tensor *be_tensor_file_find(const be_tensor_file *file, const char *name)
{
    size_t low = 0, high = file->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const be_tensor *tensor = &file->tensors[file->by_name[middle]];
        int order = strcmp(name, tensor->name);
        if (order == 0)
            return tensor;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const be_value *be_tensor_file_root(const be_tensor_file *file)
{
    return file->root;
}
