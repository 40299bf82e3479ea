/* A growing text, and numbers written into it. */
#ifndef BRAINENC_ANSWER_TEXT_H
#define BRAINENC_ANSWER_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/error.h"

/* Begin with a zeroed one; free `bytes`. Once an addition failed for want of memory the text stays as it is and `failed` is
 * set, so that only the end needs checking. */
typedef struct be_text {
    char *bytes; /* a 0 follows the last one; NULL while empty */
    size_t length, capacity;
    bool failed;
} be_text;

void be_text_add(be_text *text, const char *addition);
void be_text_add_bytes(be_text *text, const char *bytes, size_t length);
/* As printf, which writes a %f with the decimal point of the process's locale: not for numbers of an answer. */
void be_text_add_format(be_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* As be_float_text. */
void be_text_add_float(be_text *text, float value);
/* "[a,b,...]", each as be_float_text. */
void be_text_add_floats(be_text *text, const float *values, size_t count);

/* BE_OK, or the error of an addition that failed. */
be_status be_text_finish(const be_text *text, be_error *error);

enum { BE_FLOAT_TEXT_SIZE = 24 };
/* Writes the shortest decimal number (at most 9 digits) that reads back as the same float32; "null" for NaN and infinity,
 * which JSON has no words for. The locale makes no difference. Returns the length. */
size_t be_float_text(float value, char out[BE_FLOAT_TEXT_SIZE]);

#endif
