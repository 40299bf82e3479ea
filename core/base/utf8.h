/* UTF-8, as RFC 3629 has it: no surrogates, nothing above U+10FFFF, no over-long forms. */
#ifndef BRAINENC_BASE_UTF8_H
#define BRAINENC_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reads the character at `text`, of which `size` > 0 bytes are there. Returns its length in bytes, 0 when it is no
 * valid UTF-8. */
size_t be_utf8_decode(const unsigned char *text, size_t size, uint32_t *character);

/* Writes a character (no surrogate, at most U+10FFFF) and returns its length, 1 to 4 bytes. */
size_t be_utf8_encode(uint32_t character, char out[4]);

bool be_utf8_valid(const void *text, size_t size);

/* Makes a text safe to print on one line of a terminal: '?' takes the place of each control character, of each that breaks
 * the line or reorders or hides what stands around it, and of each byte that is no UTF-8. Returns the new length, which is
 * never greater. The locale makes no difference. */
size_t be_make_printable(char *text);

#endif
