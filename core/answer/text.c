#include "core/answer/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/base/memory.h"

/* Room for `more` bytes and the ending 0. */
static bool reserve(be_text *text, size_t more)
{
    size_t needed;
    void *bytes = text->bytes;
    if (text->failed)
        return false;
    if (text->capacity - text->length > more)
        return true;
    if (!be_size_add(text->length, more, &needed) || !be_size_add(needed, 1, &needed) ||
        be_grow(&bytes, &text->capacity, needed, 1, "an answer", NULL) != BE_OK) {
        text->failed = true;
        return false;
    }
    text->bytes = bytes;
    return true;
}

void be_text_add_bytes(be_text *text, const char *bytes, size_t length)
{
    if (!reserve(text, length))
        return;
    memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
    text->bytes[text->length] = '\0';
}

void be_text_add(be_text *text, const char *addition)
{
    be_text_add_bytes(text, addition, strlen(addition));
}

void be_text_add_format(be_text *text, const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= sizeof line)
        text->failed = true; /* only short lines are written this way */
    else
        be_text_add_bytes(text, line, (size_t)length);
}

void be_text_add_float(be_text *text, float value)
{
    if (reserve(text, BE_FLOAT_TEXT_SIZE))
        text->length += be_float_text(value, text->bytes + text->length);
    if (!text->failed)
        text->bytes[text->length] = '\0';
}

void be_text_add_floats(be_text *text, const float *values, size_t count)
{
    be_text_add(text, "[");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            be_text_add_bytes(text, ",", 1);
        be_text_add_float(text, values[i]);
    }
    be_text_add(text, "]");
}

be_status be_text_finish(const be_text *text, be_error *error)
{
    return text->failed ? be_fail_memory(error, text->length, "an answer") : BE_OK;
}
