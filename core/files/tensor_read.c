#include "core/files/tensor_file.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/files/dtype.h"
#include "core/files/tensor_file_internal.h"

/* Element by element copies of a view, in C order. */
typedef struct gathering {
    be_dtype dtype;
    bool widen;            /* to float32; otherwise as is */
    size_t in_size;        /* bytes of an element in the storage */
    size_t out_size;
    unsigned char *out;
} gathering;

static void copy_run(gathering *to, const unsigned char *from, size_t count)
{
    if (to->widen)
        be_dtype_to_f32(to->dtype, from, count, (float *)(void *)to->out);
    else
        memcpy(to->out, from, count * to->in_size);
    to->out += count * to->out_size;
}

/* The last dimension of a view, starting at `from`. */
static void copy_row(gathering *to, const unsigned char *from, size_t count, size_t stride)
{
    if (stride == 1) {
        copy_run(to, from, count);
        return;
    }
    for (size_t i = 0; i < count; i++)
        copy_run(to, from + i * stride * to->in_size, 1);
}

static bool is_contiguous(const be_tensor *tensor, const be_view *view)
{
    size_t expected = 1;
    for (size_t d = tensor->n_dims; d-- > 0;) {
        if (tensor->shape[d] != 1 && view->stride[d] != expected)
            return false;
        expected *= tensor->shape[d];
    }
    return true;
}

/* `storage` is where the storage's elements are. The tensor is not empty. */
static void gather(const be_tensor *tensor, const be_view *view, const unsigned char *storage, gathering *to)
{
    const unsigned char *from = storage + view->offset * to->in_size;
    if (tensor->n_dims == 0 || is_contiguous(tensor, view)) {
        copy_run(to, from, tensor->count);
        return;
    }
    size_t last = tensor->n_dims - 1, rows = tensor->count / tensor->shape[last];
    size_t index[BE_TENSOR_MAX_DIMS] = {0};
    for (size_t row = 0; row < rows; row++) {
        size_t at = 0;
        for (size_t d = 0; d < last; d++)
            at += index[d] * view->stride[d];
        copy_row(to, from + at * to->in_size, tensor->shape[last], view->stride[last]);
        for (size_t d = last; d-- > 0;) {
            if (++index[d] < tensor->shape[d])
                break;
            index[d] = 0;
        }
    }
}

/* Reads a zip record into the file's cache, unless it is there already. */
static be_status load_storage(be_tensor_file *file, const be_storage *storage, const unsigned char **bytes,
                              be_error *error)
{
    if (storage->bytes) {
        *bytes = storage->bytes;
        return BE_OK;
    }
    if (file->cached && file->cached_record == storage->record) {
        *bytes = file->cached;
        return BE_OK;
    }
    free(file->cached);
    file->cached = NULL;
    void *read;
    be_status status = be_allocate_aligned(&read, storage->count, be_dtype_size(storage->dtype), "a tensor's storage", error);
    if (status != BE_OK)
        return status;
    status = be_torch_zip_read(file, storage, read, error);
    if (status != BE_OK) {
        free(read);
        return status;
    }
    file->cached = read;
    file->cached_record = storage->record;
    *bytes = read;
    return BE_OK;
}

static be_status read_values(be_tensor_file *file, const be_tensor *tensor, bool widen, void *out, be_error *error)
{
    const be_view *view = &file->views[tensor - file->tensors];
    const be_storage *storage = &file->storages.items[view->storage];
    bool as_is = !widen || tensor->dtype == BE_DTYPE_F32;
    if (tensor->count == 0)
        return BE_OK;
    /* Large weights come this way: straight to where they are wanted. */
    if (!storage->bytes && as_is && tensor->count == storage->count && is_contiguous(tensor, view))
        return be_torch_zip_read(file, storage, out, error);
    const unsigned char *bytes = NULL;
    be_status status = load_storage(file, storage, &bytes, error);
    if (status != BE_OK)
        return status;
    size_t size = be_dtype_size(tensor->dtype);
    gathering to = {tensor->dtype, !as_is, size, as_is ? size : sizeof(float), out};
    gather(tensor, view, bytes, &to);
    return BE_OK;
}

void be_tensor_file_forget(be_tensor_file *file)
{
    free(file->cached);
    file->cached = NULL;
    be_tensor_file_release(file);
}

void be_tensor_file_release(const be_tensor_file *file)
{
    be_mapped_file_release(file->mapped.bytes, file->mapped.size);
}

be_status be_tensor_file_hash(const be_tensor_file *file, char hash[BE_HASH_SIZE], be_error *error)
{
    return be_hash_mapped(&file->mapped, hash, error);
}

be_status be_tensor_file_read_f32(be_tensor_file *file, const be_tensor *tensor, float *out, be_error *error)
{
    return read_values(file, tensor, true, out, error);
}

be_status be_tensor_file_read(be_tensor_file *file, const be_tensor *tensor, void *out, be_error *error)
{
    return read_values(file, tensor, false, out, error);
}

/* --- weights -------------------------------------------------------------------------------------- */

/* A float32, or a bfloat16 in the upper half, that is infinite or no number: its exponent is all ones. */
static bool is_bad(uint32_t bits)
{
    return (bits & 0x7f800000u) == 0x7f800000u;
}

static uint32_t bits_at(const void *values, bool halves, size_t index)
{
    uint32_t bits;
    if (halves)
        return (uint32_t)((const uint16_t *)values)[index] << 16;
    memcpy(&bits, (const float *)values + index, sizeof bits);
    return bits;
}

/* A backbone has some hundred million of them: of whole blocks compilers make vector instructions. */
enum { BLOCK = 1024 };

static bool block_is_bad(const float *values)
{
    uint32_t bad = 0;
    for (size_t i = 0; i < BLOCK; i++) {
        uint32_t bits;
        memcpy(&bits, values + i, sizeof bits);
        bad |= (uint32_t)is_bad(bits);
    }
    return bad != 0;
}

static be_status check_finite(const be_tensor_file *file, const be_tensor *tensor, const void *values, bool halves, be_error *error)
{
    for (size_t i = 0; i < tensor->count; i++) {
        if (!halves && i % BLOCK == 0 && tensor->count - i >= BLOCK && !block_is_bad((const float *)values + i))
            i += BLOCK - 1;
        else if (is_bad(bits_at(values, halves, i)))
            return be_fail(error, BE_ERROR_FORMAT, "%s: tensor '%s' holds a number that is not finite (number %zu of %zu)",
                           file->path, tensor->name, i, tensor->count);
    }
    return BE_OK;
}

be_status be_tensor_file_read_weights(be_tensor_file *file, const be_tensor *tensor, float *out, be_error *error)
{
    be_status status = be_tensor_file_read_f32(file, tensor, out, error);
    return status == BE_OK ? check_finite(file, tensor, out, false, error) : status;
}

be_status be_tensor_file_read_halves(be_tensor_file *file, const be_tensor *tensor, uint16_t *out, be_error *error)
{
    be_status status = be_tensor_file_read(file, tensor, out, error);
    return status == BE_OK ? check_finite(file, tensor, out, true, error) : status;
}
