#include "clients/brainenc/remote_json.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "clients/brainenc/remote.h"
#include "core/base/utf8.h"
#include "core/files/json.h"

/* Where a walk through JSON text is. */
typedef struct json_walk {
    size_t depth; /* of open objects and arrays */
    bool quoted;  /* in a text */
} json_walk;

/* Steps over one character, an escaped one with its backslash. */
static const char *step(json_walk *walk, const char *at)
{
    if (walk->quoted && *at == '\\' && at[1])
        return at + 2;
    if (*at == '"')
        walk->quoted = !walk->quoted;
    else if (!walk->quoted && (*at == '{' || *at == '['))
        walk->depth++;
    else if (!walk->quoted && (*at == '}' || *at == ']') && walk->depth > 0)
        walk->depth--;
    return at + 1;
}

static const char *skip_spaces(const char *at)
{
    return at + strspn(at, " \t\r\n");
}

static be_status check_text(const char *text, size_t size, be_error *error)
{
    json_walk walk = {0};
    if (strlen(text) != size || !be_utf8_valid(text, size))
        return be_fail(error, BE_ERROR_FORMAT, "the answer is no text in UTF-8");
    for (const char *at = text; *at; at = step(&walk, at)) {
        if ((unsigned char)*at < 0x20 && (walk.quoted || !strchr("\t\r\n", *at)))
            return be_fail(error, BE_ERROR_FORMAT, "the answer is no JSON: there is a control character in it");
    }
    if (!be_json_has_few_values(text, size, REMOTE_MOST_VALUES))
        return be_fail(error, BE_ERROR_LIMIT, "the answer holds more than %d values", REMOTE_MOST_VALUES);
    return BE_OK;
}

be_status remote_json_parse(const char *text, size_t size, cJSON **root, be_error *error)
{
    be_status status = check_text(text, size, error);
    if (status != BE_OK)
        return status;
    status = be_json_parse(text, size, "the answer", root, error);
    if (status != BE_OK || cJSON_IsObject(*root))
        return status;
    cJSON_Delete(*root);
    *root = NULL;
    return be_fail(error, BE_ERROR_FORMAT, "the answer is no JSON object");
}

bool remote_json_float(const cJSON *item, float *out)
{
    const double too_large = 3.4028235677973366e38; /* what rounds to infinity */
    *out = NAN;
    if (cJSON_IsNull(item))
        return true;
    if (!cJSON_IsNumber(item) || !(fabs(item->valuedouble) < too_large))
        return false;
    if (fabs(item->valuedouble) > (double)FLT_MAX)
        *out = item->valuedouble > 0 ? FLT_MAX : -FLT_MAX;
    else
        *out = (float)item->valuedouble;
    return true;
}

/* The member "name", as text without braces. */
static be_status make_name(const char *name, be_text *member, be_error *error)
{
    char *text;
    be_json json = be_json_begin();
    be_json_text(&json, json.root, "name", name);
    be_status status = be_json_print(&json, &text, error);
    if (status != BE_OK)
        return status;
    be_text_add_bytes(member, text + 1, strlen(text) - 2);
    free(text);
    return be_text_finish(member, error);
}

/* Behind the opening brace of the object "image" when its key stands at `at`; NULL otherwise. A value "image" has no colon. */
static const char *enter_image(const char *at)
{
    static const char key[] = "\"image\"";
    if (strncmp(at, key, sizeof key - 1) != 0)
        return NULL;
    at = skip_spaces(at + sizeof key - 1);
    if (*at != ':')
        return NULL;
    at = skip_spaces(at + 1);
    return *at == '{' ? at + 1 : NULL;
}

be_status remote_json_split(const char *text, bool several, const char *name, be_text *parts, size_t n, be_error *error)
{
    const size_t outside = several ? 2 : 0; /* the depth around a prediction */
    const char *from = NULL;                /* what is yet to be copied of the prediction at hand */
    be_text member = {0};
    json_walk walk = {0};
    size_t count = 0, named = 0;
    be_status status = make_name(name, &member, error);
    for (const char *at = text; *at && count < n && status == BE_OK;) {
        if (walk.depth == outside && !walk.quoted && *at == '{')
            from = at;
        const char *behind = from && walk.depth == outside + 1 && !walk.quoted ? enter_image(at) : NULL;
        if (behind) {
            be_text_add_bytes(&parts[count], from, (size_t)(behind - from));
            be_text_add_bytes(&parts[count], member.bytes, member.length);
            be_text_add(&parts[count], *skip_spaces(behind) == '}' ? "" : ",");
            named++;
            walk.depth++; /* its brace is behind us */
            at = from = behind;
            continue;
        }
        at = step(&walk, at);
        if (from && walk.depth == outside) {
            be_text_add_bytes(&parts[count], from, (size_t)(at - from));
            status = be_text_finish(&parts[count++], error);
            from = NULL;
        }
    }
    free(member.bytes);
    if (status == BE_OK && (count != n || named != n))
        return be_fail(error, BE_ERROR_FORMAT, "the answer holds %zu predictions with an image, %zu are expected", named, n);
    return status;
}
