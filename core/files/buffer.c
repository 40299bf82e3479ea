#include "core/files/buffer.h"

#include <string.h>

#include "core/base/memory.h"

void be_buffer_put(be_buffer *buffer, const void *bytes, size_t size)
{
    size_t needed;
    if (buffer->failure.status != BE_OK || size == 0)
        return;
    if (!be_size_add(buffer->size, size, &needed)) {
        (void)be_fail_memory(&buffer->failure, SIZE_MAX, "a file to be written");
        return;
    }
    void *grown = buffer->bytes;
    if (be_grow(&grown, &buffer->capacity, needed, 1, "a file to be written", &buffer->failure) != BE_OK)
        return;
    buffer->bytes = grown;
    memcpy(buffer->bytes + buffer->size, bytes, size);
    buffer->size = needed;
}

void be_buffer_text(be_buffer *buffer, const char *text)
{
    be_buffer_put(buffer, text, strlen(text));
}

void be_buffer_number(be_buffer *buffer, uint64_t value, size_t size)
{
    unsigned char bytes[sizeof value];
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(value >> 8 * i);
    be_buffer_put(buffer, bytes, size);
}

be_status be_buffer_status(const be_buffer *buffer, be_error *error)
{
    if (buffer->failure.status != BE_OK && error)
        *error = buffer->failure;
    return buffer->failure.status;
}
