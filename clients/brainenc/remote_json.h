/* JSON that a server sent: read with care, and passed on as it is. */
#ifndef BRAINENC_TOOL_REMOTE_JSON_H
#define BRAINENC_TOOL_REMOTE_JSON_H

#include <stddef.h>

#include <cjson/cJSON.h>

#include "core/answer/text.h"
#include "core/base/error.h"

/* The JSON object in `text`, to be freed with cJSON_Delete. text[size] is 0. BE_ERROR_LIMIT for more than REMOTE_MOST_VALUES
 * values, BE_ERROR_FORMAT for anything but one object in UTF-8. */
be_status remote_json_parse(const char *text, size_t size, cJSON **root, be_error *error);

/* The number of a JSON value as the float32 it was made of, NaN for null. False for anything else. */
bool remote_json_float(const cJSON *item, float *out);

/* Takes an answer of /predict apart, which remote_json_parse has read: the text of each prediction, {...} itself or those of
 * {"predictions": [...]} when `several`, with "name" put before the other members of "image". Every number stays as it was
 * written. parts[n] are zeroed ones, and to be freed. BE_ERROR_FORMAT when there are not n of
 * them or one tells of no image. */
be_status remote_json_split(const char *text, bool several, const char *name, be_text *parts, size_t n, be_error *error);

#endif
