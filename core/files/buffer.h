/* Bytes that are put together in memory before they are written. The first failure sticks: the puts after it do
 * nothing, and be_buffer_status tells of it once at the end.
 */
#ifndef BRAINENC_FILES_BUFFER_H
#define BRAINENC_FILES_BUFFER_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"

typedef struct be_buffer { /* starts zeroed; `bytes` is to be freed */
    unsigned char *bytes;
    size_t size, capacity;
    be_error failure;
} be_buffer;

void be_buffer_put(be_buffer *buffer, const void *bytes, size_t size);
void be_buffer_text(be_buffer *buffer, const char *text);
/* The low `size` (1 to 8) bytes of `value`, little endian. */
void be_buffer_number(be_buffer *buffer, uint64_t value, size_t size);

/* BE_OK, or the first failure. */
be_status be_buffer_status(const be_buffer *buffer, be_error *error);

#endif
