#include "core/files/pickle_write.h"

#include <stdbool.h>
#include <string.h>

void be_pickle_put_operations(be_buffer *pickle, const char *operations)
{
    be_buffer_text(pickle, operations);
}

void be_pickle_put_integer(be_buffer *pickle, int64_t integer)
{
    bool is_small = integer >= INT32_MIN && integer <= INT32_MAX;
    be_buffer_text(pickle, is_small ? "J" : "\x8a\x08"); /* BININT; LONG1 of 8 bytes */
    be_buffer_number(pickle, (uint64_t)integer, is_small ? 4 : 8);
}

void be_pickle_put_float(be_buffer *pickle, double number)
{
    uint64_t bits, reversed;
    memcpy(&bits, &number, sizeof bits);
    reversed = __builtin_bswap64(bits); /* BINFLOAT alone is big endian */
    be_buffer_text(pickle, "G");
    be_buffer_number(pickle, reversed, sizeof reversed);
}

void be_pickle_put_text(be_buffer *pickle, const char *text)
{
    be_buffer_text(pickle, "X");
    be_buffer_number(pickle, strlen(text), 4);
    be_buffer_text(pickle, text);
}
