#include "core/files/npy_header.h"

#include <stdint.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/files/dtype.h"

enum { MAGIC_SIZE = 6, MAX_DESCR = 32 };

/* The literal being read. */
typedef struct cursor {
    const unsigned char *next, *end;
    const char *name;
    be_error *error;
} cursor;

static be_status bad_header(const cursor *at, const char *what)
{
    return be_fail(at->error, BE_ERROR_FORMAT, "%s: npy header: %s", at->name, what);
}

static void skip_spaces(cursor *at)
{
    while (at->next < at->end && strchr(" \t\r\n", *at->next) && *at->next)
        at->next++;
}

/* Steps over `text` when it comes next. */
static bool accept(cursor *at, const char *text)
{
    skip_spaces(at);
    size_t length = strlen(text);
    if ((size_t)(at->end - at->next) < length || memcmp(at->next, text, length) != 0)
        return false;
    at->next += length;
    return true;
}

/* A quoted string without escapes, as NumPy writes them here. */
static be_status read_string(cursor *at, char *out, size_t capacity)
{
    skip_spaces(at);
    if (at->next == at->end || (*at->next != '\'' && *at->next != '"'))
        return bad_header(at, "a string is missing");
    unsigned char quote = *at->next++;
    size_t length = 0;
    while (at->next < at->end && *at->next != quote) {
        if (*at->next == '\\' || *at->next < 0x20 || length + 1 >= capacity)
            return bad_header(at, "a string is too long or holds strange characters");
        out[length++] = (char)*at->next++;
    }
    if (at->next == at->end)
        return bad_header(at, "a string does not end");
    at->next++;
    out[length] = '\0';
    return BE_OK;
}

static be_status read_dimension(cursor *at, size_t *out)
{
    skip_spaces(at);
    if (at->next < at->end && *at->next == '-')
        return bad_header(at, "the shape has a negative dimension");
    size_t value = 0, digits = 0;
    for (; at->next < at->end && *at->next >= '0' && *at->next <= '9'; at->next++, digits++) {
        if (!be_size_multiply(value, 10, &value) || !be_size_add(value, (size_t)(*at->next - '0'), &value))
            return bad_header(at, "a dimension is too large");
    }
    if (digits == 0)
        return bad_header(at, "a dimension is no number");
    if (at->next < at->end && *at->next == 'L') /* Python 2 on Windows wrote 3L */
        at->next++;
    *out = value;
    return BE_OK;
}

/* A tuple: (), (3,), (3, 4) or (3, 4,). */
static be_status read_shape(cursor *at, be_npy_layout *layout)
{
    if (!accept(at, "("))
        return bad_header(at, "the shape is no tuple");
    bool comma = true;
    layout->n_dims = 0;
    while (!accept(at, ")")) {
        if (!comma)
            return bad_header(at, "the shape is no tuple");
        if (layout->n_dims == BE_TENSOR_MAX_DIMS)
            return be_fail(at->error, BE_ERROR_UNSUPPORTED, "%s: npy header: more than %d dimensions", at->name,
                           BE_TENSOR_MAX_DIMS);
        be_status status = read_dimension(at, &layout->shape[layout->n_dims]);
        if (status != BE_OK)
            return status;
        layout->n_dims++;
        comma = accept(at, ",");
    }
    if (layout->n_dims == 1 && !comma)
        return bad_header(at, "the shape is no tuple");
    if (!be_shape_count(layout->n_dims, layout->shape, &layout->count))
        return bad_header(at, "the shape is too large");
    return BE_OK;
}

static be_status read_descr(cursor *at, be_npy_layout *layout)
{
    skip_spaces(at);
    if (at->next < at->end && *at->next == '[')
        return be_fail(at->error, BE_ERROR_UNSUPPORTED, "%s: is a structured array (npy dtype with fields)", at->name);
    char descr[MAX_DESCR];
    be_status status = read_string(at, descr, sizeof descr);
    if (status != BE_OK)
        return status;
    layout->is_object = strcmp(descr, "|O") == 0 || strcmp(descr, "O") == 0;
    if (layout->is_object)
        return BE_OK;
    if (descr[0] == '>')
        return be_fail(at->error, BE_ERROR_UNSUPPORTED, "%s: npy dtype %s is big endian", at->name, descr);
    if ((descr[0] == '<' || descr[0] == '|') && be_dtype_parse_numpy(descr + 1, &layout->dtype) &&
        (descr[0] == '<' || be_dtype_size(layout->dtype) == 1))
        return BE_OK;
    return be_fail(at->error, BE_ERROR_UNSUPPORTED, "%s: npy dtype %s is not one this program reads", at->name, descr);
}

static be_status read_order(cursor *at, be_npy_layout *layout)
{
    layout->is_fortran = accept(at, "True");
    if (!layout->is_fortran && !accept(at, "False"))
        return bad_header(at, "fortran_order is neither True nor False");
    return BE_OK;
}

/* One `key: value`; `seen` is the set of keys so far. */
static be_status read_entry(cursor *at, be_npy_layout *layout, unsigned *seen)
{
    static const struct {
        const char *key;
        be_status (*read)(cursor *, be_npy_layout *);
    } keys[] = {{"descr", read_descr}, {"fortran_order", read_order}, {"shape", read_shape}};
    char key[MAX_DESCR];
    be_status status = read_string(at, key, sizeof key);
    if (status != BE_OK)
        return status;
    for (unsigned i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (strcmp(key, keys[i].key) != 0)
            continue;
        if (*seen & 1u << i)
            return be_fail(at->error, BE_ERROR_FORMAT, "%s: npy header: the key %s is there twice", at->name, key);
        *seen |= 1u << i;
        if (!accept(at, ":"))
            return bad_header(at, "a colon is missing");
        return keys[i].read(at, layout);
    }
    return be_fail(at->error, BE_ERROR_FORMAT, "%s: npy header: unknown key %s", at->name, key);
}

static be_status read_dict(cursor *at, be_npy_layout *layout)
{
    if (!accept(at, "{"))
        return bad_header(at, "is no dict");
    unsigned seen = 0;
    bool comma = true;
    while (!accept(at, "}")) {
        if (!comma)
            return bad_header(at, "a comma is missing");
        be_status status = read_entry(at, layout, &seen);
        if (status != BE_OK)
            return status;
        comma = accept(at, ",");
    }
    if (seen != 7)
        return bad_header(at, "descr, fortran_order or shape is missing");
    skip_spaces(at);
    return at->next == at->end ? BE_OK : bad_header(at, "something follows the dict");
}

/* Finds the literal: its length is 2 bytes in version 1, 4 bytes in versions 2 and 3. */
static be_status find_header(const unsigned char *bytes, size_t size, cursor *at)
{
    if (size < MAGIC_SIZE + 2 || memcmp(bytes, "\x93NUMPY", MAGIC_SIZE) != 0)
        return be_fail(at->error, BE_ERROR_FORMAT, "%s: is no npy file", at->name);
    unsigned major = bytes[MAGIC_SIZE], minor = bytes[MAGIC_SIZE + 1];
    if (major < 1 || major > 3 || minor != 0)
        return be_fail(at->error, BE_ERROR_FORMAT, "%s: unknown npy version %u.%u", at->name, major, minor);
    size_t length_size = major == 1 ? 2 : 4, start = MAGIC_SIZE + 2 + length_size, length = 0;
    if (size < start)
        return be_fail(at->error, BE_ERROR_FORMAT, "%s: npy header: the file ends inside it", at->name);
    for (size_t i = 0; i < length_size; i++)
        length |= (size_t)bytes[MAGIC_SIZE + 2 + i] << 8 * i;
    if (length > size - start)
        return be_fail(at->error, BE_ERROR_FORMAT, "%s: npy header: says %zu bytes, the file has %zu left", at->name,
                       length, size - start);
    at->next = bytes + start;
    at->end = at->next + length;
    return BE_OK;
}

be_status be_npy_parse_header(const unsigned char *bytes, size_t size, const char *name, be_npy_layout *layout,
                              be_error *error)
{
    cursor at = {.name = name, .error = error};
    be_npy_layout result = {0};
    be_status status = find_header(bytes, size, &at);
    if (status == BE_OK)
        status = read_dict(&at, &result);
    if (status != BE_OK)
        return status;
    result.data_offset = (size_t)(at.end - bytes);
    *layout = result;
    return BE_OK;
}
