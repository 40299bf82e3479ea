#include "core/files/torch_writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zip.h>

#include "core/base/utf8.h"
#include "core/files/atomic_file.h"
#include "core/files/pickle_write.h"
#include "core/files/tensor_source.h"

enum { RECORD_NAME_SIZE = 64, DOS_DATE_1980 = 0x21 };

/* --- the pickle --- */

static void put_dimensions(be_buffer *pickle, size_t n_dims, const size_t *values)
{
    be_pickle_put_operations(pickle, "(");
    for (size_t i = 0; i < n_dims; i++)
        be_pickle_put_integer(pickle, (int64_t)values[i]);
    be_pickle_put_operations(pickle, "t");
}

/* torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks); the storage by its key. */
static void put_tensor(be_buffer *pickle, const be_tensor_source *tensor, size_t key)
{
    char name[RECORD_NAME_SIZE];
    size_t stride[BE_TENSOR_MAX_DIMS], step = 1;
    for (size_t d = tensor->n_dims; d-- > 0;) {
        stride[d] = step;
        step *= tensor->shape[d] ? tensor->shape[d] : 1;
    }
    snprintf(name, sizeof name, "%zu", key);
    be_pickle_put_operations(pickle, "ctorch._utils\n_rebuild_tensor_v2\n((");
    be_pickle_put_text(pickle, "storage");
    be_pickle_put_operations(pickle, "ctorch\nFloatStorage\n");
    be_pickle_put_text(pickle, name);
    be_pickle_put_text(pickle, "cpu");
    be_pickle_put_integer(pickle, (int64_t)(be_tensor_source_size(tensor) / be_dtype_size(tensor->dtype)));
    be_pickle_put_operations(pickle, "tQ");
    be_pickle_put_integer(pickle, 0);
    put_dimensions(pickle, tensor->n_dims, tensor->shape);
    put_dimensions(pickle, tensor->n_dims, stride);
    be_pickle_put_operations(pickle, "\x89" "ccollections\nOrderedDict\n)RtR");
}

static void put_tensors(be_buffer *pickle, const be_tensor_source *tensors, size_t n_tensors)
{
    be_pickle_put_operations(pickle, "ccollections\nOrderedDict\n)R(");
    for (size_t i = 0; i < n_tensors; i++) {
        be_pickle_put_text(pickle, tensors[i].name);
        put_tensor(pickle, &tensors[i], i);
    }
    be_pickle_put_operations(pickle, "u");
}

/* The value has passed check_settings. */
static void put_value(be_buffer *pickle, const be_value *value)
{
    if (value->kind == BE_VALUE_BOOL)
        be_pickle_put_operations(pickle, value->as.boolean ? "\x88" : "\x89");
    else if (value->kind == BE_VALUE_INT)
        be_pickle_put_integer(pickle, value->as.integer);
    else if (value->kind == BE_VALUE_FLOAT)
        be_pickle_put_float(pickle, value->as.number);
    else if (value->kind == BE_VALUE_TEXT)
        be_pickle_put_text(pickle, value->as.text.bytes);
    else
        be_pickle_put_operations(pickle, "N");
}

static void put_settings(be_buffer *pickle, const be_torch_setting *settings, size_t n_settings)
{
    be_pickle_put_operations(pickle, "cargparse\nNamespace\n)\x81}(");
    for (size_t i = 0; i < n_settings; i++) {
        be_pickle_put_text(pickle, settings[i].name);
        put_value(pickle, &settings[i].value);
    }
    be_pickle_put_operations(pickle, "ub");
}

static void put_root(be_buffer *pickle, const be_tensor_source *tensors, size_t n_tensors,
                     const be_torch_setting *settings, size_t n_settings)
{
    be_pickle_put_operations(pickle, "\x80\x02");
    if (n_settings == 0) {
        put_tensors(pickle, tensors, n_tensors);
    } else {
        be_pickle_put_operations(pickle, "}(");
        be_pickle_put_text(pickle, "model");
        put_tensors(pickle, tensors, n_tensors);
        be_pickle_put_text(pickle, "epoch");
        be_pickle_put_integer(pickle, 0);
        be_pickle_put_text(pickle, "args");
        put_settings(pickle, settings, n_settings);
        be_pickle_put_operations(pickle, "u");
    }
    be_pickle_put_operations(pickle, ".");
}

/* --- the archive --- */

/* The archive refers to `bytes` until it is closed. A fixed date: the same model gives the same file. */
static bool add_record(zip_t *archive, const char *name, const void *bytes, size_t size)
{
    char full[RECORD_NAME_SIZE];
    snprintf(full, sizeof full, "archive/%s", name);
    zip_source_t *source = zip_source_buffer(archive, bytes, size, 0);
    if (!source)
        return false;
    zip_int64_t index = zip_file_add(archive, full, source, ZIP_FL_ENC_UTF_8);
    if (index < 0) {
        zip_source_free(source);
        return false;
    }
    return zip_set_file_compression(archive, (zip_uint64_t)index, ZIP_CM_STORE, 0) == 0 &&
           zip_file_set_dostime(archive, (zip_uint64_t)index, 0, DOS_DATE_1980, 0) == 0;
}

static bool add_records(zip_t *archive, const be_buffer *pickle, const be_tensor_source *tensors, size_t n_tensors)
{
    bool added = add_record(archive, "data.pkl", pickle->bytes, pickle->size) &&
                 add_record(archive, "byteorder", "little", strlen("little"));
    for (size_t i = 0; i < n_tensors && added; i++) {
        char name[RECORD_NAME_SIZE];
        snprintf(name, sizeof name, "data/%zu", i);
        added = add_record(archive, name, tensors[i].data, be_tensor_source_size(&tensors[i]));
    }
    return added && add_record(archive, "version", "3\n", strlen("3\n"));
}

static be_status zip_failure(const char *path, zip_error_t *failure, be_error *error)
{
    return be_fail(error, zip_error_code_zip(failure) == ZIP_ER_MEMORY ? BE_ERROR_MEMORY : BE_ERROR_IO,
                   "%s: cannot be written: %s", path, zip_error_strerror(failure));
}

static be_status write_archive(const char *path, const char *temporary, const be_buffer *pickle,
                               const be_tensor_source *tensors, size_t n_tensors, be_error *error)
{
    int code = 0;
    zip_t *archive = zip_open(temporary, ZIP_CREATE | ZIP_TRUNCATE, &code);
    if (!archive) {
        zip_error_t failure;
        zip_error_init_with_code(&failure, code);
        be_status status = zip_failure(path, &failure, error);
        zip_error_fini(&failure);
        return status;
    }
    if (add_records(archive, pickle, tensors, n_tensors) && zip_close(archive) == 0)
        return BE_OK;
    be_status status = zip_failure(path, zip_get_error(archive), error);
    zip_discard(archive);
    return status;
}

static be_status check_settings(const char *path, const be_torch_setting *settings, size_t n_settings,
                                be_error *error)
{
    for (size_t i = 0; i < n_settings; i++) {
        const be_value *value = &settings[i].value;
        const char *text = "";
        bool is_plain = value->kind == BE_VALUE_NONE || value->kind == BE_VALUE_BOOL || value->kind == BE_VALUE_INT ||
                        value->kind == BE_VALUE_FLOAT || be_value_text(value, &text);
        if (!is_plain || !be_utf8_valid(text, strlen(text)) ||
            !be_utf8_valid(settings[i].name, strlen(settings[i].name)))
            return be_fail(error, BE_ERROR_ARGUMENT, "%s: setting %zu is no plain value", path, i);
    }
    return BE_OK;
}

static be_status check_tensors(const char *path, const be_tensor_source *tensors, size_t n_tensors, be_error *error)
{
    for (size_t i = 0; i < n_tensors; i++) {
        if (tensors[i].dtype != BE_DTYPE_F32)
            return be_fail(error, BE_ERROR_ARGUMENT, "%s: tensor %s: only F32 is written, not %s", path,
                           tensors[i].name, be_dtype_name(tensors[i].dtype));
    }
    return be_tensor_sources_check(path, tensors, n_tensors, error);
}

static be_status write_file(const char *path, const be_buffer *pickle, const be_tensor_source *tensors,
                            size_t n_tensors, be_error *error)
{
    be_atomic_file *file = NULL;
    be_status status = be_atomic_file_create(path, &file, error);
    if (status != BE_OK)
        return status;
    status = write_archive(path, be_atomic_file_temporary(file), pickle, tensors, n_tensors, error);
    if (status == BE_OK)
        return be_atomic_file_commit(file, error);
    be_atomic_file_discard(file);
    return status;
}

be_status be_torch_write(const char *path, const be_tensor_source *tensors, size_t n_tensors,
                         const be_torch_setting *settings, size_t n_settings, be_error *error)
{
    be_buffer pickle = {0};
    be_status status = check_tensors(path, tensors, n_tensors, error);
    if (status == BE_OK)
        status = check_settings(path, settings, n_settings, error);
    if (status != BE_OK)
        return status;
    put_root(&pickle, tensors, n_tensors, settings, n_settings);
    status = be_buffer_status(&pickle, error);
    if (status == BE_OK)
        status = write_file(path, &pickle, tensors, n_tensors, error);
    free(pickle.bytes);
    return status;
}
