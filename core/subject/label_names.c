#include "core/subject/label_names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/files/json.h"
#include "core/files/mapped_file.h"

enum { LARGEST_FILE = 1 << 20 };

typedef struct names_list {
    be_npy_mapping *to;
    size_t label_capacity, name_capacity;
    be_error *error;
} names_list;

static be_status add(names_list *list, int64_t label, const char *name, size_t length)
{
    be_npy_mapping *to = list->to;
    void *labels = to->labels, *names = to->names, *copy;
    be_status status = be_grow(&labels, &list->label_capacity, to->count + 1, sizeof *to->labels, "a list of labels", list->error);
    to->labels = labels;
    if (status == BE_OK)
        status = be_grow(&names, &list->name_capacity, to->count + 1, sizeof *to->names, "a list of names", list->error);
    to->names = names;
    if (status == BE_OK)
        status = be_allocate(&copy, length + 1, 1, "a name", list->error);
    if (status != BE_OK)
        return status;
    memcpy(copy, name, length);
    to->labels[to->count] = label;
    to->names[to->count++] = copy;
    return BE_OK;
}

static be_status read_lines(const char *text, size_t size, names_list *list)
{
    be_status status = BE_OK;
    int64_t line = 1;
    for (size_t at = 0; at < size && status == BE_OK; line++) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t whole = end ? (size_t)(end - text) - at : size - at, length = whole;
        while (length > 0 && memchr(" \t\r", text[at + length - 1], 3))
            length--;
        if (memchr(text + at, '\0', length))
            return be_fail(list->error, BE_ERROR_FORMAT, "line %lld holds a 0 byte: it is no text", (long long)line);
        if (length > 0)
            status = add(list, line, text + at, length);
        at += whole + 1;
    }
    return status;
}

/* A JSON key that is a whole number. */
static bool read_label(const char *key, int64_t *label)
{
    char *end;
    size_t sign = *key == '-';
    if (key[sign] < '0' || key[sign] > '9')
        return false;
    errno = 0;
    *label = strtoll(key, &end, 10);
    return *end == '\0' && errno == 0;
}

static be_status read_object(const cJSON *root, names_list *list)
{
    const cJSON *item;
    be_status status = BE_OK;
    if (!cJSON_IsObject(root))
        return be_fail(list->error, BE_ERROR_FORMAT, "is no JSON object of labels to names");
    cJSON_ArrayForEach(item, root) {
        int64_t label;
        if (!read_label(item->string, &label) || !cJSON_IsString(item))
            return be_fail(list->error, BE_ERROR_FORMAT, "'%.60s' is no whole number with a text: {\"1\": \"V1\", ...} is expected",
                           item->string);
        status = add(list, label, item->valuestring, strlen(item->valuestring));
        if (status != BE_OK)
            return status;
    }
    return status;
}

static be_status read_json(const char *text, size_t size, const char *path, names_list *list)
{
    cJSON *root;
    be_status status = be_json_parse(text, size, path, &root, list->error);
    if (status != BE_OK)
        return status;
    status = read_object(root, list);
    cJSON_Delete(root);
    return status;
}

/* What some editors put before a text in UTF-8. */
static const char mark[] = "\xef\xbb\xbf";

static bool is_json(const char *text, size_t size)
{
    size_t i = 0;
    while (i < size && memchr(" \t\r\n", text[i], 4))
        i++;
    return i < size && text[i] == '{';
}

static be_status read_text(const char *path, const be_mapped_file *file, be_npy_mapping *names, be_error *error)
{
    size_t skipped = file->size >= sizeof mark - 1 && memcmp(file->bytes, mark, sizeof mark - 1) == 0 ? sizeof mark - 1 : 0;
    const char *text = (const char *)file->bytes + skipped;
    size_t size = file->size - skipped;
    be_error why = {.message = ""};
    names_list list = {.to = names, .error = &why};
    if (file->size > LARGEST_FILE)
        return be_fail(error, BE_ERROR_LIMIT, "%s: is longer than %d bytes", path, LARGEST_FILE);
    be_status status = is_json(text, size) ? read_json(text, size, path, &list) : read_lines(text, size, &list);
    return status == BE_OK ? BE_OK : be_fail(error, status, "%s: %s", path, why.message);
}

be_status be_label_names_read(const char *path, be_npy_mapping *out, be_error *error)
{
    be_mapped_file file;
    be_npy_mapping names = {0};
    be_status status = be_mapped_file_open(path, &file, error);
    if (status != BE_OK)
        return status;
    if (file.size > 0 && file.bytes[0] == 0x93) /* "\x93NUMPY" */
        status = be_npy_read_mapping(path, &names, error);
    else
        status = read_text(path, &file, &names, error);
    be_mapped_file_close(&file);
    if (status == BE_OK)
        *out = names;
    else
        be_npy_mapping_free(&names);
    return status;
}
