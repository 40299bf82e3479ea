/* JSON by cJSON: building an object so that only the end needs checking, and reading fields strictly. */
#ifndef BRAINENC_FILES_JSON_H
#define BRAINENC_FILES_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include <cjson/cJSON.h>

#include "core/base/error.h"

/* A JSON value in the making. Once an addition failed for want of memory, `failed` stays set and what is printed at the end
 * is an error; until then every call is allowed, also on the NULL objects that failed calls return. */
typedef struct be_json {
    cJSON *root;
    bool failed;
} be_json;

/* An empty object as root; to be ended with be_json_print or be_json_discard. */
be_json be_json_begin(void);

/* Adds to an object under `key`, or to an array when `key` is NULL. Texts that are no UTF-8 get U+FFFD for each wrong byte.
 * be_json_raw adds `text` as it is: it must be JSON; be_json_copy a copy of `value`. The two that return one add an empty
 * object or array. */
cJSON *be_json_object(be_json *json, cJSON *to, const char *key);
cJSON *be_json_array(be_json *json, cJSON *to, const char *key);
void be_json_text(be_json *json, cJSON *to, const char *key, const char *value);
void be_json_number(be_json *json, cJSON *to, const char *key, double value);
void be_json_flag(be_json *json, cJSON *to, const char *key, bool value);
void be_json_null(be_json *json, cJSON *to, const char *key);
void be_json_raw(be_json *json, cJSON *to, const char *key, const char *text);
void be_json_copy(be_json *json, cJSON *to, const char *key, const cJSON *value);

/* Frees the value; *text is its JSON on one line, to be freed with free(). */
be_status be_json_print(be_json *json, char **text, be_error *error);
void be_json_discard(be_json *json);

/* Whether JSON text holds at most `most` values. A tree of many small values is far larger than its text: this comes before
 * be_json_parse where the text is a stranger's. */
bool be_json_has_few_values(const char *text, size_t size, size_t most);

/* Reads the JSON value that `text` holds, with white space around it and nothing else; *root is to be freed with
 * cJSON_Delete. When it is no JSON the answer is BE_OK and *root NULL: the caller knows what to say. BE_ERROR_MEMORY, with a
 * sentence that begins with `name`, when an allocation failed; in a program that has given cJSON an allocator of its own
 * (cJSON_InitHooks) it must set errno to ENOMEM as malloc does, or that reads as no JSON. */
be_status be_json_parse(const char *text, size_t size, const char *name, cJSON **root, be_error *error);

/* The non-negative integer of a number, below 2^53, up to which doubles are exact; false for anything else. */
bool be_json_get_size(const cJSON *item, size_t *out);

#endif
