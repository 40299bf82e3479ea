/* Label dictionaries (mapping_*.npy): a 0-d array of one Python object, a dict of int to str, pickled. */
#include "core/files/npy.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/utf8.h"
#include "core/files/atomic_file.h"
#include "core/files/mapped_file.h"
#include "core/files/npy_header.h"
#include "core/files/pickle_write.h"
#include "core/files/unpickle.h"

static be_status not_a_mapping(const char *path, be_error *error)
{
    return be_fail(error, BE_ERROR_FORMAT, "%s: is no pickled dict of labels to names", path);
}

void be_npy_mapping_free(be_npy_mapping *mapping)
{
    for (size_t i = 0; mapping->names && i < mapping->count; i++)
        free(mapping->names[i]);
    free(mapping->names);
    free(mapping->labels);
    *mapping = (be_npy_mapping){0};
}

static be_status copy_pairs(const be_value *dict, const char *path, be_npy_mapping *mapping, be_error *error)
{
    size_t count = dict->as.dict.count;
    void *memory;
    be_status status = be_allocate(&memory, count, sizeof *mapping->labels, "the labels of a mapping", error);
    if (status != BE_OK)
        return status;
    mapping->labels = memory;
    status = be_allocate(&memory, count, sizeof *mapping->names, "the names of a mapping", error);
    if (status != BE_OK)
        return status;
    mapping->names = memory;
    mapping->count = count;
    for (size_t i = 0; i < count && status == BE_OK; i++) {
        const be_value_pair *pair = &dict->as.dict.pairs[i];
        const char *text;
        if (pair->key->kind != BE_VALUE_INT || !be_value_text(pair->value, &text))
            return not_a_mapping(path, error);
        mapping->labels[i] = pair->key->as.integer;
        status = be_copy_text(&mapping->names[i], text, error);
    }
    return status;
}

/* The dict in the array that the pickle describes; the pickle must fill the file. */
static be_status unpickle_mapping(const be_pickle *pickle, const char *path, const be_value **dict, be_error *error)
{
    const be_object *root;
    size_t used;
    be_status status = be_unpickle(pickle, &root, &used, error);
    if (status != BE_OK)
        return status;
    const be_value *array = &root->value;
    if (root->kind != BE_OBJECT_NUMPY_ARRAY || array->kind != BE_VALUE_LIST || array->as.list.count != 1 ||
        array->as.list.items[0]->kind != BE_VALUE_DICT)
        return not_a_mapping(path, error);
    if (used != pickle->size)
        return be_fail(error, BE_ERROR_FORMAT, "%s: something follows the pickle", path);
    *dict = array->as.list.items[0];
    return BE_OK;
}

static be_status read_mapping(const be_mapped_file *file, const char *path, be_npy_mapping *mapping, be_error *error)
{
    be_npy_layout layout;
    be_status status = be_npy_parse_header(file->bytes, file->size, path, &layout, error);
    if (status != BE_OK)
        return status;
    if (!layout.is_object || layout.n_dims != 0)
        return not_a_mapping(path, error);
    be_value_arena arena;
    be_value_arena_init(&arena, path, file->size);
    be_pickle pickle = {path, file->bytes + layout.data_offset, file->size - layout.data_offset, file->size, &arena,
                        NULL};
    const be_value *dict = NULL;
    status = unpickle_mapping(&pickle, path, &dict, error);
    be_npy_mapping result = {0};
    if (status == BE_OK)
        status = copy_pairs(dict, path, &result, error);
    if (status == BE_OK)
        *mapping = result;
    else
        be_npy_mapping_free(&result);
    be_value_arena_free(&arena);
    return status;
}

be_status be_npy_read_mapping(const char *path, be_npy_mapping *mapping, be_error *error)
{
    be_mapped_file file;
    be_status status = be_mapped_file_open(path, &file, error);
    if (status != BE_OK)
        return status;
    status = read_mapping(&file, path, mapping, error);
    be_mapped_file_close(&file);
    return status;
}

/* --- writing --- */

/* numpy.core.multiarray._reconstruct(numpy.ndarray, (0,), b"b") with the state
 * (1, (), numpy.dtype("O8", False, True) with its state (3, "|", None, None, None, -1, -1, 63), False, [dict]).
 * Protocol 3, for the bytes. */
static void put_mapping(be_buffer *npy, const int64_t *labels, const char *const *names, size_t count)
{
    be_pickle_put_operations(npy, "\x80\x03" "cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n(");
    be_pickle_put_integer(npy, 0);
    be_pickle_put_operations(npy, "t" "C\x01" "b" "\x87R(");
    be_pickle_put_integer(npy, 1);
    be_pickle_put_operations(npy, ")cnumpy\ndtype\n");
    be_pickle_put_text(npy, "O8");
    be_pickle_put_operations(npy, "\x89\x88\x87R(");
    be_pickle_put_integer(npy, 3);
    be_pickle_put_text(npy, "|");
    be_pickle_put_operations(npy, "NNN");
    be_pickle_put_integer(npy, -1);
    be_pickle_put_integer(npy, -1);
    be_pickle_put_integer(npy, 63);
    be_pickle_put_operations(npy, "tb\x89]}(");
    for (size_t i = 0; i < count; i++) {
        be_pickle_put_integer(npy, labels[i]);
        be_pickle_put_text(npy, names[i]);
    }
    be_pickle_put_operations(npy, "uatb.");
}

be_status be_npy_write_mapping(const char *path, const int64_t *labels, const char *const *names, size_t count,
                               be_error *error)
{
    static const char header[] = "\x93NUMPY\x01\x00\x76\x00{'descr': '|O', 'fortran_order': False, 'shape': (), }"
                                 "                                                               \n";
    _Static_assert(sizeof header - 1 == 10 + 0x76, "the header is as long as it says");
    be_buffer npy = {0};
    for (size_t i = 0; i < count; i++) {
        if (!be_utf8_valid(names[i], strlen(names[i])))
            return be_fail(error, BE_ERROR_ARGUMENT, "%s: the name of label %lld is no UTF-8", path,
                           (long long)labels[i]);
    }
    be_buffer_put(&npy, header, sizeof header - 1);
    put_mapping(&npy, labels, names, count);
    be_status status = be_buffer_status(&npy, error);
    if (status == BE_OK)
        status = be_atomic_file_save(path, npy.bytes, npy.size, error);
    free(npy.bytes);
    return status;
}
