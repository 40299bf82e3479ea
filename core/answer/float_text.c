#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/answer/text.h"

/* Every power of ten that a double holds exactly. */
static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
enum { FIRST_DIGITS = 6, MOST_DIGITS = 9, PRINTED_SIZE = 48 };

/* True when `number` reads back as `value` without doubt: a double that lies exactly between two floats might be read
 * either way by a reader that rounds once. */
static bool reads_back(double number, float value)
{
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    return (float)number == value && (bits & 0x1fffffff) != 0x10000000;
}

/* digits * 10^exponent as text: plain for moderate sizes, with an exponent otherwise. Trailing zeros are dropped. */
static size_t write_digits(bool negative, uint32_t digits, int exponent, char *out)
{
    char text[16];
    while (digits % 10 == 0 && digits > 0) {
        digits /= 10;
        exponent++;
    }
    int count = 0;
    char reversed[16];
    for (; digits > 0; digits /= 10)
        reversed[count++] = (char)('0' + digits % 10);
    for (int i = 0; i < count; i++)
        text[i] = reversed[count - 1 - i];
    char *at = out;
    int point = count + exponent; /* the decimal point stands after this many digits */
    if (negative)
        *at++ = '-';
    if (point > 9 || point < -4) {
        *at++ = text[0];
        if (count > 1)
            *at++ = '.';
        memcpy(at, text + 1, (size_t)count - 1);
        at += count - 1;
        return (size_t)(at - out) + (size_t)sprintf(at, "e%d", point - 1);
    }
    if (point <= 0) {
        *at++ = '0';
        *at++ = '.';
        for (int i = point; i < 0; i++)
            *at++ = '0';
    }
    for (int i = 0; i < count; i++) {
        if (i == point && point > 0)
            *at++ = '.';
        *at++ = text[i];
    }
    for (int i = count; i < point; i++)
        *at++ = '0';
    *at = '\0';
    return (size_t)(at - out);
}

/* The rare sizes: as few digits of printf as read back. The process's locale decides what printf and strtof have for a
 * decimal point, which is why only the digits and the exponent are taken from the text. */
static size_t write_slowly(float value, char *out)
{
    char text[PRINTED_SIZE];
    for (int count = 1; count <= MOST_DIGITS; count++) {
        snprintf(text, sizeof text, "%.*e", count - 1, fabs((double)value));
        if (strtof(text, NULL) == fabsf(value))
            break;
    }
    uint32_t digits = 0;
    int exponent = 1; /* of ten, for the number that all digits make together */
    const char *at = text;
    for (; *at != 'e'; at++) {
        if (*at < '0' || *at > '9')
            continue;
        digits = digits * 10 + (uint32_t)(*at - '0');
        exponent--;
    }
    return write_digits(signbit(value), digits, exponent + (int)strtol(at + 1, NULL, 10), out);
}

size_t be_float_text(float value, char out[BE_FLOAT_TEXT_SIZE])
{
    if (!isfinite(value))
        return (size_t)sprintf(out, "null");
    if (value == 0)
        return (size_t)sprintf(out, signbit(value) ? "-0" : "0");
    double size = fabs((double)value);
    if (size < 1e-10 || size > 1e15)
        return write_slowly(value, out);
    int leading = (int)floor(log10(size));
    for (int digits = FIRST_DIGITS; digits <= MOST_DIGITS; digits++) {
        int shift = digits - 1 - leading;
        double scaled = shift >= 0 ? size * powers[shift] : size / powers[-shift];
        double whole = nearbyint(scaled);
        double back = shift >= 0 ? whole / powers[shift] : whole * powers[-shift];
        if (reads_back(back, fabsf(value)))
            return write_digits(signbit(value), (uint32_t)whole, -shift, out);
    }
    return write_slowly(value, out);
}
