/* The few pickle operations the writers need, protocol 2. Nothing is put into the memo: readers do not ask for it. */
#ifndef BRAINENC_FILES_PICKLE_WRITE_H
#define BRAINENC_FILES_PICKLE_WRITE_H

#include <stdint.h>

#include "core/files/buffer.h"

void be_pickle_put_integer(be_buffer *pickle, int64_t integer);
void be_pickle_put_float(be_buffer *pickle, double number);
/* UTF-8. */
void be_pickle_put_text(be_buffer *pickle, const char *text);
/* An operation or several, as they stand in the stream; a string constant without zero bytes. */
void be_pickle_put_operations(be_buffer *pickle, const char *operations);

#endif
