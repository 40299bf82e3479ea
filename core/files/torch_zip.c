/* torch's zip form: <prefix>/data.pkl is the pickle, <prefix>/data/<key> a storage each. */
#include <stdlib.h>
#include <string.h>

#include <zip.h>

#include "core/base/memory.h"
#include "core/files/dtype.h"
#include "core/files/tensor_file_internal.h"
#include "core/files/torch_names.h"
#include "core/files/unpickle.h"

enum { PIECE = 1 << 20, RECORD_NAME_SIZE = 1024, LONGEST_BYTEORDER = 16 };

static const char pickle_name[] = "/data.pkl";

/* A record of the archive. */
typedef struct record {
    uint64_t index;
    const char *name;
    size_t size;
} record;

static be_status zip_failure(const be_tensor_file *file, zip_error_t *failure, const char *record_name,
                             be_error *error)
{
    be_status status = zip_error_code_zip(failure) == ZIP_ER_MEMORY ? BE_ERROR_MEMORY : BE_ERROR_FORMAT;
    if (!record_name)
        return be_fail(error, status, "%s: damaged or truncated zip archive: %s", file->path,
                       zip_error_strerror(failure));
    return be_fail(error, status, "%s: record %s: %s", file->path, record_name, zip_error_strerror(failure));
}

static be_status open_archive(be_tensor_file *file, be_error *error)
{
    zip_error_t failure;
    zip_error_init(&failure);
    zip_t *archive = NULL;
    zip_source_t *source = zip_source_buffer_create(file->mapped.bytes, file->mapped.size, 0, &failure);
    if (source)
        archive = zip_open_from_source(source, ZIP_RDONLY | ZIP_CHECKCONS, &failure);
    be_status status = archive ? BE_OK : zip_failure(file, &failure, NULL, error);
    if (source && !archive)
        zip_source_free(source);
    zip_error_fini(&failure);
    file->archive = archive;
    return status;
}

void be_torch_zip_close(be_tensor_file *file)
{
    if (file->archive)
        zip_discard(file->archive);
    file->archive = NULL;
}

/* What the directory says of a record; its size is believable when it comes out of this. */
static be_status examine(be_tensor_file *file, uint64_t index, record *out, be_error *error)
{
    zip_stat_t info;
    zip_uint64_t needed = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_CRC;
    if (zip_stat_index(file->archive, index, 0, &info) != 0 || (info.valid & needed) != needed)
        return be_fail(error, BE_ERROR_FORMAT, "%s: damaged zip archive: record %llu", file->path,
                       (unsigned long long)index);
    if (info.size > SIZE_MAX || !be_size_is_plausible((size_t)info.size, file->mapped.size))
        return be_fail(error, BE_ERROR_LIMIT, "%s: record %s unpacks to far more than the file's size", file->path,
                       info.name);
    *out = (record){index, info.name, (size_t)info.size};
    return BE_OK;
}

/* Reads to the record's end, where libzip compares the CRC. */
static be_status read_pieces(be_tensor_file *file, zip_file_t *stream, const record *from, unsigned char *out,
                             be_error *error)
{
    size_t done = 0;
    while (done < from->size) {
        size_t left = from->size - done;
        zip_int64_t got = zip_fread(stream, out + done, left < PIECE ? left : PIECE);
        if (got < 0)
            return zip_failure(file, zip_file_get_error(stream), from->name, error);
        if (got == 0)
            return be_fail(error, BE_ERROR_FORMAT, "%s: record %s ends early", file->path, from->name);
        done += (size_t)got;
    }
    unsigned char beyond;
    zip_int64_t got = zip_fread(stream, &beyond, 1);
    if (got < 0)
        return zip_failure(file, zip_file_get_error(stream), from->name, error);
    if (got > 0)
        return be_fail(error, BE_ERROR_FORMAT, "%s: record %s is longer than it says", file->path, from->name);
    return BE_OK;
}

static be_status read_record(be_tensor_file *file, const record *from, void *out, be_error *error)
{
    zip_file_t *stream = zip_fopen_index(file->archive, from->index, 0);
    if (!stream)
        return zip_failure(file, zip_get_error(file->archive), from->name, error);
    be_status status = read_pieces(file, stream, from, out, error);
    zip_fclose(stream);
    return status;
}

be_status be_torch_zip_read(be_tensor_file *file, const be_storage *storage, void *out, be_error *error)
{
    record found;
    be_status status = examine(file, storage->record, &found, error);
    return status == BE_OK ? read_record(file, &found, out, error) : status;
}

/* The one record that is named <prefix>/data.pkl; `prefix_length` leaves out the slash. */
static be_status find_pickle(be_tensor_file *file, record *pickle, size_t *prefix_length, be_error *error)
{
    zip_int64_t count = zip_get_num_entries(file->archive, 0);
    bool found = false;
    for (zip_int64_t i = 0; i < count; i++) {
        const char *name = zip_get_name(file->archive, (zip_uint64_t)i, 0);
        const char *slash = name ? strchr(name, '/') : NULL;
        if (!slash || strcmp(slash, pickle_name) != 0)
            continue;
        if (found)
            return be_fail(error, BE_ERROR_FORMAT, "%s: holds two records data.pkl", file->path);
        found = true;
        *prefix_length = (size_t)(slash - name);
        be_status status = examine(file, (uint64_t)i, pickle, error);
        if (status != BE_OK)
            return status;
    }
    if (!found)
        return be_fail(error, BE_ERROR_FORMAT, "%s: is a zip archive without the record data.pkl of a torch file",
                       file->path);
    return BE_OK;
}

/* Makes <prefix>/<name><key> and looks for that record. */
static be_status find_record(be_tensor_file *file, const record *pickle, size_t prefix_length, const char *name,
                             const char *key, uint64_t *index, bool *found, be_error *error)
{
    char full[RECORD_NAME_SIZE];
    size_t name_length = strlen(name), key_length = strlen(key);
    if (prefix_length + 1 + name_length + key_length >= sizeof full)
        return be_fail(error, BE_ERROR_FORMAT, "%s: the names of its records are too long", file->path);
    memcpy(full, pickle->name, prefix_length);
    full[prefix_length] = '/';
    memcpy(full + prefix_length + 1, name, name_length);
    memcpy(full + prefix_length + 1 + name_length, key, key_length + 1);
    zip_int64_t at = zip_name_locate(file->archive, full, 0);
    *found = at >= 0;
    *index = *found ? (uint64_t)at : 0;
    return BE_OK;
}

/* torch 2 says which byte order it wrote; before, it was always little endian on the machines that matter. */
static be_status check_byte_order(be_tensor_file *file, const record *pickle, size_t prefix_length, be_error *error)
{
    record order;
    bool found;
    char text[LONGEST_BYTEORDER + 1] = {0};
    uint64_t index;
    be_status status = find_record(file, pickle, prefix_length, "byteorder", "", &index, &found, error);
    if (status != BE_OK || !found)
        return status;
    status = examine(file, index, &order, error);
    if (status == BE_OK && order.size <= LONGEST_BYTEORDER)
        status = read_record(file, &order, text, error);
    if (status == BE_OK && strcmp(text, "little") != 0)
        return be_fail(error, BE_ERROR_UNSUPPORTED, "%s: record byteorder: is not little", file->path);
    return status;
}

static be_status find_storage(be_tensor_file *file, const record *pickle, size_t prefix_length, be_storage *storage,
                              be_error *error)
{
    bool found;
    record data;
    be_status status =
        find_record(file, pickle, prefix_length, "data/", storage->key, &storage->record, &found, error);
    if (status != BE_OK)
        return status;
    if (!found)
        return be_fail(error, BE_ERROR_FORMAT, "%s: record data/%s is missing", file->path, storage->key);
    status = examine(file, storage->record, &data, error);
    if (status != BE_OK)
        return status;
    size_t needed = storage->count * be_dtype_size(storage->dtype);
    if (data.size != needed)
        return be_fail(error, BE_ERROR_FORMAT, "%s: record data/%s holds %zu bytes, its tensors need %zu", file->path,
                       storage->key, data.size, needed);
    return BE_OK;
}

static be_status read_pickle(be_tensor_file *file, const record *pickle, const be_object **root, be_error *error)
{
    if (pickle->size > BE_PICKLE_MAX_SIZE)
        return be_fail(error, BE_ERROR_LIMIT, "%s: record data.pkl is larger than %d bytes", file->path,
                       BE_PICKLE_MAX_SIZE);
    void *bytes;
    be_status status = be_allocate(&bytes, pickle->size, 1, "the pickle of a torch file", error);
    if (status != BE_OK)
        return status;
    be_pickle input = {file->path, bytes, pickle->size, file->mapped.size, &file->arena, &file->storages};
    size_t used;
    status = read_record(file, pickle, bytes, error);
    if (status == BE_OK)
        status = be_unpickle(&input, root, &used, error);
    free(bytes);
    return status;
}

be_status be_torch_zip_open(be_tensor_file *file, be_error *error)
{
    record pickle;
    size_t prefix_length = 0;
    const be_object *root = NULL;
    be_status status = open_archive(file, error);
    if (status == BE_OK)
        status = find_pickle(file, &pickle, &prefix_length, error);
    if (status == BE_OK)
        status = check_byte_order(file, &pickle, prefix_length, error);
    if (status == BE_OK)
        status = read_pickle(file, &pickle, &root, error);
    for (size_t i = 0; status == BE_OK && i < file->storages.count; i++)
        status = find_storage(file, &pickle, prefix_length, &file->storages.items[i], error);
    if (status == BE_OK)
        status = be_torch_name_tensors(file, root, pickle.size, error);
    return status;
}
