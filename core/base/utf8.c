#include "core/base/utf8.h"

#include <string.h>

/* How many bytes a character has, from its first one; 0 for a byte that starts none. */
static size_t length_of(unsigned char first)
{
    if (first < 0x80)
        return 1;
    if (first < 0xc2) /* a continuation, or an over-long form */
        return 0;
    return first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
}

size_t be_utf8_decode(const unsigned char *text, size_t size, uint32_t *character)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = length_of(text[0]);
    if (length == 0 || length > size)
        return 0;
    uint32_t value = length == 1 ? text[0] : text[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (text[i] & 0x3fu);
    }
    if (value < smallest[length] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
        return 0;
    *character = value;
    return length;
}

size_t be_utf8_encode(uint32_t character, char out[4])
{
    if (character < 0x80) {
        out[0] = (char)character;
        return 1;
    }
    size_t length = character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;
    for (size_t i = length; i-- > 1; character >>= 6)
        out[i] = (char)(0x80 | (character & 0x3f));
    out[0] = (char)((0xf00u >> length & 0xff) | character);
    return length;
}

bool be_utf8_valid(const void *text, size_t size)
{
    const unsigned char *bytes = text;
    uint32_t character;
    for (size_t i = 0, length; i < size; i += length) {
        length = be_utf8_decode(bytes + i, size - i, &character);
        if (length == 0)
            return false;
    }
    return true;
}

/* Controls (C0, DEL, C1), line and paragraph separators, and what reorders or hides the text around it (bidirectional and
 * invisible format characters, tags); the last two of each plane are no characters. */
static bool is_unprintable(uint32_t character)
{
    static const struct { uint32_t first, last; } ranges[] = {
        {0x00, 0x1f},     {0x7f, 0x9f},     {0x61c, 0x61c},   {0x180e, 0x180e}, {0x200e, 0x200f},  {0x2028, 0x202e},
        {0x2060, 0x206f}, {0xfdd0, 0xfdef}, {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xe0000, 0xe0fff},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        if (character >= ranges[i].first && character <= ranges[i].last)
            return true;
    }
    return (character & 0xfffe) == 0xfffe;
}

size_t be_make_printable(char *text)
{
    size_t left = strlen(text), taken;
    char *out = text;
    for (const char *at = text; left > 0; at += taken, left -= taken) {
        uint32_t character = 0; /* stands for a byte that is no UTF-8 */
        size_t length = be_utf8_decode((const unsigned char *)at, left, &character);
        taken = length > 0 ? length : 1;
        if (is_unprintable(character)) {
            *out++ = '?';
        } else {
            memmove(out, at, taken);
            out += taken;
        }
    }
    *out = '\0';
    return (size_t)(out - text);
}
