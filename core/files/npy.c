#include "core/files/npy.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/files/atomic_file.h"
#include "core/files/dtype.h"
#include "core/files/mapped_file.h"
#include "core/files/npy_header.h"

/* `from` has its first dimension running fastest; `to` gets the last one running fastest. */
static void copy_fortran(const be_npy_layout *layout, const unsigned char *from, unsigned char *to)
{
    size_t size = be_dtype_size(layout->dtype), index[BE_TENSOR_MAX_DIMS] = {0}, step[BE_TENSOR_MAX_DIMS] = {0};
    size_t next_step = size;
    for (size_t d = 0; d < layout->n_dims; d++) {
        step[d] = next_step;
        next_step *= layout->shape[d];
    }
    size_t source = 0;
    for (size_t i = 0; i < layout->count; i++) {
        memcpy(to + i * size, from + source, size);
        for (size_t d = layout->n_dims; d-- > 0;) {
            source += step[d];
            if (++index[d] < layout->shape[d])
                break;
            source -= step[d] * layout->shape[d];
            index[d] = 0;
        }
    }
}

static be_status copy_data(const be_npy_layout *layout, const unsigned char *data, size_t size, const char *name,
                           be_npy *npy, be_error *error)
{
    size_t needed = layout->count * be_dtype_size(layout->dtype); /* cannot overflow: be_shape_count saw to it */
    if (size != needed)
        return be_fail(error, BE_ERROR_FORMAT, "%s: its shape needs %zu bytes of data, the file holds %zu", name,
                       needed, size);
    be_npy result = {.dtype = layout->dtype, .n_dims = layout->n_dims, .count = layout->count};
    be_status status = be_allocate_aligned(&result.data, needed, 1, "an npy array", error);
    if (status != BE_OK)
        return status;
    memcpy(result.shape, layout->shape, sizeof result.shape);
    if (layout->is_fortran && layout->n_dims > 1)
        copy_fortran(layout, data, result.data);
    else if (needed)
        memcpy(result.data, data, needed);
    *npy = result;
    return BE_OK;
}

be_status be_npy_parse(const void *bytes, size_t size, const char *name, be_npy *npy, be_error *error)
{
    be_npy_layout layout;
    be_status status = be_npy_parse_header(bytes, size, name, &layout, error);
    if (status != BE_OK)
        return status;
    if (layout.is_object)
        return be_fail(error, BE_ERROR_UNSUPPORTED, "%s: holds Python objects (npy dtype |O), not numbers", name);
    return copy_data(&layout, (const unsigned char *)bytes + layout.data_offset, size - layout.data_offset, name, npy,
                     error);
}

be_status be_npy_read(const char *path, be_npy *npy, be_error *error)
{
    be_mapped_file file;
    be_status status = be_mapped_file_open(path, &file, error);
    if (status != BE_OK)
        return status;
    status = be_npy_parse(file.bytes, file.size, path, npy, error);
    be_mapped_file_close(&file);
    return status;
}

void be_npy_free(be_npy *npy)
{
    free(npy->data);
    *npy = (be_npy){0};
}

void be_npy_to_f32(const be_npy *npy, float *out)
{
    be_dtype_to_f32(npy->dtype, npy->data, npy->count, out);
}

be_status be_npy_to_i64(const be_npy *npy, int64_t *out, be_error *error)
{
    if (be_dtype_is_float(npy->dtype))
        return be_fail(error, BE_ERROR_FORMAT, "array of %s where integers are expected", be_dtype_name(npy->dtype));
    if (!be_dtype_to_i64(npy->dtype, npy->data, npy->count, out))
        return be_fail(error, BE_ERROR_FORMAT, "array of U64 with a value above %" PRId64, INT64_MAX);
    return BE_OK;
}
