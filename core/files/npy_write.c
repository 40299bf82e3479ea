#include "core/files/npy.h"

#include <string.h>

#include "core/base/memory.h"
#include "core/files/atomic_file.h"
#include "core/files/dtype.h"

enum { HEADER_START = 10, HEADER_MULTIPLE = 64 };

/* NumPy's name of an element type; NULL for bf16, which has none. */
static const char *descr_of(be_dtype dtype)
{
    switch (dtype) {
    case BE_DTYPE_BOOL: return "|b1";
    case BE_DTYPE_U8: return "|u1";
    case BE_DTYPE_I8: return "|i1";
    case BE_DTYPE_U16: return "<u2";
    case BE_DTYPE_I16: return "<i2";
    case BE_DTYPE_U32: return "<u4";
    case BE_DTYPE_I32: return "<i4";
    case BE_DTYPE_U64: return "<u8";
    case BE_DTYPE_I64: return "<i8";
    case BE_DTYPE_F16: return "<f2";
    case BE_DTYPE_F32: return "<f4";
    case BE_DTYPE_F64: return "<f8";
    case BE_DTYPE_BF16: break;
    }
    return NULL;
}

/* "(3,)" or "(3, 4)" or "()"; BE_NPY_HEADER_MAX leaves room for eight dimensions of twenty digits. */
static size_t print_shape(char *out, size_t capacity, size_t n_dims, const size_t *shape)
{
    size_t length = (size_t)snprintf(out, capacity, "(");
    for (size_t i = 0; i < n_dims; i++)
        length += (size_t)snprintf(out + length, capacity - length, i + 1 < n_dims ? "%zu, " : "%zu", shape[i]);
    return length + (size_t)snprintf(out + length, capacity - length, n_dims == 1 ? ",)" : ")");
}

/* Pads the `length` characters after HEADER_START with spaces and a newline, and writes what stands before them. */
static void finish_header(char *header, size_t length, size_t total)
{
    memset(header + HEADER_START + length, ' ', total - HEADER_START - length - 1);
    header[total - 1] = '\n';
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    header[8] = (char)((total - HEADER_START) & 0xff);
    header[9] = (char)((total - HEADER_START) >> 8);
}

be_status be_npy_header(char header[BE_NPY_HEADER_MAX], size_t *length, be_dtype dtype, size_t n_dims,
                        const size_t *shape, be_error *error)
{
    const char *descr = descr_of(dtype);
    if (!descr)
        return be_fail(error, BE_ERROR_ARGUMENT, "npy has no form for arrays of %s", be_dtype_name(dtype));
    if (n_dims > BE_TENSOR_MAX_DIMS)
        return be_fail(error, BE_ERROR_ARGUMENT, "npy array of %zu dimensions; at most %d are written", n_dims,
                       BE_TENSOR_MAX_DIMS);
    char *text = header + HEADER_START;
    size_t room = BE_NPY_HEADER_MAX - HEADER_START;
    size_t used = (size_t)snprintf(text, room, "{'descr': '%s', 'fortran_order': False, 'shape': ", descr);
    used += print_shape(text + used, room - used, n_dims, shape);
    used += (size_t)snprintf(text + used, room - used, ", }");
    size_t total = (HEADER_START + used + 1 + HEADER_MULTIPLE - 1) / HEADER_MULTIPLE * HEADER_MULTIPLE;
    finish_header(header, used, total);
    *length = total;
    return BE_OK;
}

be_status be_npy_write(const char *path, be_dtype dtype, size_t n_dims, const size_t *shape, const void *data,
                       be_error *error)
{
    char header[BE_NPY_HEADER_MAX];
    size_t length, count;
    be_error why;
    be_status status = be_npy_header(header, &length, dtype, n_dims, shape, &why);
    if (status != BE_OK)
        return be_fail(error, status, "%s: %s", path, why.message);
    if (!be_shape_count(n_dims, shape, &count))
        return be_fail(error, BE_ERROR_ARGUMENT, "%s: the shape to be written is too large", path);
    be_atomic_file *file = NULL;
    status = be_atomic_file_create(path, &file, error);
    if (status != BE_OK)
        return status;
    status = be_atomic_file_write(file, header, length, error);
    if (status == BE_OK)
        status = be_atomic_file_write(file, data, count * be_dtype_size(dtype), error);
    if (status == BE_OK)
        return be_atomic_file_commit(file, error);
    be_atomic_file_discard(file);
    return status;
}
