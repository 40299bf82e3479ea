#include "core/files/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"

be_json be_json_begin(void)
{
    be_json json = {.root = cJSON_CreateObject()};
    json.failed = !json.root;
    return json;
}

/* Hands `item` over to the object or array; false (and the item freed) when that fails. */
static bool hand_over(be_json *json, cJSON *to, const char *key, cJSON *item)
{
    bool added = item && to && (key ? cJSON_AddItemToObject(to, key, item) : cJSON_AddItemToArray(to, item));
    if (added)
        return true;
    cJSON_Delete(item);
    json->failed = true;
    return false;
}

cJSON *be_json_object(be_json *json, cJSON *to, const char *key)
{
    cJSON *item = cJSON_CreateObject();
    return hand_over(json, to, key, item) ? item : NULL;
}

cJSON *be_json_array(be_json *json, cJSON *to, const char *key)
{
    cJSON *item = cJSON_CreateArray();
    return hand_over(json, to, key, item) ? item : NULL;
}

/* A copy in which each byte that is no UTF-8 is the replacement character; NULL when there is no memory. */
static char *repair(const char *value)
{
    size_t left = strlen(value);
    char *copy = malloc(3 * left + 1), *out = copy;
    while (copy && left > 0) {
        uint32_t character;
        size_t taken = be_utf8_decode((const unsigned char *)value, left, &character);
        if (taken > 0)
            memcpy(out, value, taken);
        out += taken > 0 ? taken : be_utf8_encode(0xfffd, out);
        value += taken > 0 ? taken : 1;
        left -= taken > 0 ? taken : 1;
    }
    if (copy)
        *out = '\0';
    return copy;
}

void be_json_text(be_json *json, cJSON *to, const char *key, const char *value)
{
    if (be_utf8_valid(value, strlen(value))) {
        hand_over(json, to, key, cJSON_CreateString(value));
        return;
    }
    char *repaired = repair(value);
    hand_over(json, to, key, repaired ? cJSON_CreateString(repaired) : NULL);
    free(repaired);
}

void be_json_number(be_json *json, cJSON *to, const char *key, double value)
{
    hand_over(json, to, key, cJSON_CreateNumber(value));
}

void be_json_flag(be_json *json, cJSON *to, const char *key, bool value)
{
    hand_over(json, to, key, cJSON_CreateBool(value));
}

void be_json_null(be_json *json, cJSON *to, const char *key)
{
    hand_over(json, to, key, cJSON_CreateNull());
}

void be_json_raw(be_json *json, cJSON *to, const char *key, const char *text)
{
    hand_over(json, to, key, cJSON_CreateRaw(text));
}

void be_json_copy(be_json *json, cJSON *to, const char *key, const cJSON *value)
{
    hand_over(json, to, key, cJSON_Duplicate(value, true));
}

be_status be_json_print(be_json *json, char **text, be_error *error)
{
    char *printed = json->failed ? NULL : cJSON_PrintUnformatted(json->root);
    be_json_discard(json);
    if (!printed)
        return be_fail(error, BE_ERROR_MEMORY, "out of memory: for a JSON text");
    *text = printed;
    return BE_OK;
}

void be_json_discard(be_json *json)
{
    cJSON_Delete(json->root);
    json->root = NULL;
}

/* cJSON answers NULL for want of memory as for bad JSON; malloc alone says which, by POSIX in errno. */
bool be_json_has_few_values(const char *text, size_t size, size_t most)
{
    bool quoted = false;
    size_t count = 0;
    for (size_t i = 0; i < size && count <= most; i++) {
        if (quoted && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            quoted = !quoted;
        else if (!quoted && memchr(",:[{", text[i], 4))
            count++;
    }
    return count <= most;
}

be_status be_json_parse(const char *text, size_t size, const char *name, cJSON **root, be_error *error)
{
    const char *end = NULL;
    errno = 0;
    cJSON *parsed = cJSON_ParseWithLengthOpts(text, size, &end, false);
    if (!parsed && errno == ENOMEM)
        return be_fail(error, BE_ERROR_MEMORY, "%s: out of memory while reading JSON", name);
    while (parsed && end < text + size && *end && strchr(" \t\r\n", *end))
        end++;
    if (parsed && end != text + size) {
        cJSON_Delete(parsed);
        parsed = NULL;
    }
    *root = parsed;
    return BE_OK;
}

bool be_json_get_size(const cJSON *item, size_t *out)
{
    const double exact = 9007199254740992.0; /* 2^53 */
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0) || item->valuedouble >= exact ||
        item->valuedouble != (double)(size_t)item->valuedouble)
        return false;
    *out = (size_t)item->valuedouble;
    return true;
}
