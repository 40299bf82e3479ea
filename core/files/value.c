#include "core/files/value.h"

#include <math.h>
#include <string.h>

const be_value *be_value_get(const be_value *dict, const char *key)
{
    if (!dict || dict->kind != BE_VALUE_DICT)
        return NULL;
    size_t length = strlen(key);
    for (size_t i = dict->as.dict.count; i-- > 0;) {
        const be_value *other = dict->as.dict.pairs[i].key;
        if (other->kind == BE_VALUE_TEXT && other->as.text.length == length &&
            memcmp(other->as.text.bytes, key, length) == 0)
            return dict->as.dict.pairs[i].value;
    }
    return NULL;
}

bool be_value_text(const be_value *value, const char **out)
{
    /* Text with a 0 inside has no form as a C string. */
    if (!value || value->kind != BE_VALUE_TEXT || strlen(value->as.text.bytes) != value->as.text.length)
        return false;
    *out = value->as.text.bytes;
    return true;
}

bool be_value_integer(const be_value *value, int64_t *out)
{
    if (!value)
        return false;
    switch (value->kind) {
    case BE_VALUE_BOOL: *out = value->as.boolean; return true;
    case BE_VALUE_INT: *out = value->as.integer; return true;
    case BE_VALUE_FLOAT: {
        double number = value->as.number;
        if (!(number >= -0x1p63 && number < 0x1p63) || trunc(number) != number)
            return false;
        *out = (int64_t)number;
        return true;
    }
    default: return false;
    }
}

bool be_value_number(const be_value *value, double *out)
{
    if (!value)
        return false;
    switch (value->kind) {
    case BE_VALUE_BOOL: *out = value->as.boolean; return true;
    case BE_VALUE_INT: *out = (double)value->as.integer; return true;
    case BE_VALUE_FLOAT: *out = value->as.number; return true;
    default: return false;
    }
}

bool be_value_boolean(const be_value *value, bool *out)
{
    if (!value || value->kind != BE_VALUE_BOOL)
        return false;
    *out = value->as.boolean;
    return true;
}
