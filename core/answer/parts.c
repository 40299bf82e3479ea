#include "core/answer/parts.h"

#include <stdlib.h>

/* Arrays of numbers are written by be_text_add_floats and put in as they are. */
void be_answer_add_raw(be_json *json, cJSON *to, const char *key, be_text *text)
{
    if (text->failed)
        json->failed = true;
    else
        be_json_raw(json, to, key, text->bytes);
    free(text->bytes);
}

/* As text at once: a JSON value for each vertex would be many times as large. */
void be_answer_add_numbers(be_json *json, cJSON *to, const char *key, const uint32_t *numbers, size_t count)
{
    be_text text = {0};
    be_text_add(&text, "[");
    for (size_t i = 0; i < count; i++)
        be_text_add_format(&text, i ? ",%u" : "%u", numbers[i]);
    be_text_add(&text, "]");
    be_answer_add_raw(json, to, key, &text);
}

void be_answer_add_float(be_json *json, cJSON *to, const char *key, double value)
{
    char text[BE_FLOAT_TEXT_SIZE];
    be_float_text((float)value, text);
    be_json_raw(json, to, key, text);
}

void be_answer_add_pair(be_json *json, cJSON *to, const char *key, size_t first, size_t second)
{
    cJSON *pair = be_json_array(json, to, key);
    be_json_number(json, pair, NULL, (double)first);
    be_json_number(json, pair, NULL, (double)second);
}

void be_answer_add_column(be_json *json, cJSON *to, const char *key, const be_columns *columns, const float *values)
{
    be_text text = {0};
    if (!values) {
        be_json_null(json, to, key);
        return;
    }
    be_columns_add_json(columns, values, &text);
    be_answer_add_raw(json, to, key, &text);
}

cJSON *be_answer_add_roi(be_json *json, cJSON *list, const be_roi *roi)
{
    cJSON *object = be_json_object(json, list, NULL);
    be_json_text(json, object, "name", roi->name);
    if (*roi->family)
        be_json_text(json, object, "family", roi->family);
    else
        be_json_null(json, object, "family");
    return object;
}

be_status be_answer_add_identity(be_json *json, const be_model *model, size_t subject, const be_answer_image *image,
                                 be_error *error)
{
    char id[BE_ID_SIZE];
    const be_subject_info *info = be_subject_get_info(be_model_subject(model, subject));
    be_status status = be_answer_id(model, subject, image, id, error);
    if (status != BE_OK)
        return status;
    be_json_text(json, json->root, "id", id);
    be_json_text(json, json->root, "subject", info->name);
    be_json_flag(json, json->root, "demo", info->demo);
    return BE_OK;
}

void be_answer_add_unverified(be_json *json, cJSON *to, const be_model *model, const be_subject_info *info)
{
    const be_backbone_info *backbone = be_model_backbone(model);
    if (!*info->unverified && !*backbone->unverified)
        return;
    cJSON *list = be_json_array(json, to, "unverified");
    if (*info->unverified)
        be_json_text(json, list, NULL, info->unverified);
    if (*backbone->unverified)
        be_json_text(json, list, NULL, backbone->unverified);
}
