/* What the readers of the three formats fill in: storages (runs of elements in the file), tensors (strided views of
 * them) and the root value. All of it lies in the file's arena or is freed by be_tensor_file_close.
 */
#ifndef BRAINENC_FILES_TENSOR_FILE_INTERNAL_H
#define BRAINENC_FILES_TENSOR_FILE_INTERNAL_H

#include "core/files/mapped_file.h"
#include "core/files/tensor_file.h"
#include "core/files/value_arena.h"

/* Elements that lie in a row in the mapped file, or in a record of a zip archive. */
typedef struct be_storage {
    const char *key;            /* its name in a .pth, for error sentences */
    be_dtype dtype;
    size_t count;
    const unsigned char *bytes; /* in the mapping; NULL for a zip record */
    uint64_t record;            /* the record's index in the archive */
} be_storage;

typedef struct be_storage_list {
    be_storage *items;
    size_t count, capacity;
} be_storage_list;

/* Where a tensor's values lie, in elements; checked against its storage before it gets into a list. */
typedef struct be_view {
    size_t storage; /* index */
    size_t offset;
    size_t stride[BE_TENSOR_MAX_DIMS];
} be_view;

struct be_tensor_file {
    char *path;
    be_tensor_format format;
    be_mapped_file mapped;
    be_value_arena arena;

    be_tensor *tensors;
    be_view *views; /* [count], as tensors */
    size_t count, tensor_capacity, view_capacity;
    size_t *by_name; /* [count] indices, sorted by name */

    be_storage_list storages;
    const be_value *root;

    void *archive;          /* a zip_t of torch_zip.c */
    unsigned char *cached;  /* the record read last: a storage may serve many tensors */
    uint64_t cached_record;
};

/* Fill a file whose path, mapping and arena are there. What a failed one leaves is freed by be_tensor_file_close. */
be_status be_safetensors_open(be_tensor_file *file, be_error *error);
be_status be_torch_zip_open(be_tensor_file *file, be_error *error);
be_status be_torch_legacy_open(be_tensor_file *file, be_error *error);

/* Reads the storage's whole record, checks its CRC. `out` has room for all its elements. */
be_status be_torch_zip_read(be_tensor_file *file, const be_storage *storage, void *out, be_error *error);
void be_torch_zip_close(be_tensor_file *file);

/* Appends; tensor->name lies in the arena. */
be_status be_tensor_file_add(be_tensor_file *file, const be_tensor *tensor, const be_view *view, be_error *error);
be_status be_storage_list_add(be_storage_list *list, const be_storage *storage, be_value_arena *arena,
                              be_error *error);

/* The strides of an array in C order. */
void be_view_set_contiguous(be_view *view, size_t n_dims, const size_t *shape);

/* Whether all elements lie within `storage_count` elements; no product in it overflows. The shape has passed
 * be_shape_count. */
bool be_view_fits(const be_view *view, const be_tensor *tensor, size_t storage_count);

/* Whether `size` bytes are believable for something out of a file of `file_size` bytes that holds them compressed
 * or many times over. */
bool be_size_is_plausible(size_t size, size_t file_size);

#endif
