#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/answer/text.h"

/* Every power of ten that a double holds exactly. */
static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
enum { FEWEST_DIGITS = 6, USUAL_DIGITS = 8, MOST_DIGITS = 9, PRINTED_SIZE = 48 };

/* A number is written many thousand times an answer: what follows calls no function of the C library for one of a usual size. */

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
    enum { ROOM = 10 }; /* digits of a uint32_t */
    char room[ROOM + MOST_DIGITS], *text = room + ROOM, *at = out;
    while (digits % 10 == 0 && digits > 0) {
        digits /= 10;
        exponent++;
    }
    for (; digits > 0; digits /= 10)
        *--text = (char)('0' + digits % 10);
    int count = (int)(room + ROOM - text);
    int point = count + exponent; /* the decimal point stands after this many digits */
    if (negative)
        *at++ = '-';
    if (point > 9 || point < -4) {
        *at++ = text[0];
        if (count > 1)
            *at++ = '.';
        memcpy(at, text + 1, MOST_DIGITS);
        at += count - 1;
        return (size_t)(at - out) + (size_t)sprintf(at, "e%d", point - 1);
    }
    if (point <= 0) {
        *at++ = '0';
        *at++ = '.';
        for (int i = point; i < 0; i++)
            *at++ = '0';
    }
    memcpy(at, text, MOST_DIGITS); /* always as many, which is faster: what lies behind them is written over */
    if (point > 0 && point < count) {
        memcpy(at + point + 1, text + point, MOST_DIGITS);
        at[point] = '.';
        at++;
    }
    at += count;
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

/* The power of ten of the first digit: floor(log10(size)), from the power of two. */
static int leading_power(double size)
{
    uint64_t bits;
    memcpy(&bits, &size, sizeof bits);
    int power = ((int)(bits >> 52) - 1023) * 1233 >> 12; /* 1233 / 4096 is log10(2), rounded down: right, or one too low */
    double next = power + 1 >= 0 ? powers[power + 1] : 1 / powers[-power - 1];
    return size >= next ? power + 1 : power;
}

/* A number as its first digits alone. */
typedef struct cut {
    uint32_t digits;
    int exponent; /* digits * 10^exponent */
} cut;

/* Whether that many digits read back as `value`, whose size is `size`. */
static bool cut_to(double size, float value, int leading, int count, cut *out)
{
    const double round = 0x1p52; /* added to a smaller number and taken away again leaves it whole */
    int shift = count - 1 - leading;
    double scaled = shift >= 0 ? size * powers[shift] : size / powers[-shift];
    double whole = scaled + round - round;
    double back = shift >= 0 ? whole / powers[shift] : whole * powers[-shift];
    if (!reads_back(back, value))
        return false;
    *out = (cut){(uint32_t)whole, -shift};
    return true;
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
    cut found;
    int leading = leading_power(size), count = USUAL_DIGITS;
    if (!cut_to(size, fabsf(value), leading, count, &found)) {
        if (!cut_to(size, fabsf(value), leading, MOST_DIGITS, &found))
            return write_slowly(value, out);
        return write_digits(signbit(value), found.digits, found.exponent, out);
    }
    while (count > FEWEST_DIGITS && cut_to(size, fabsf(value), leading, count - 1, &found))
        count--;
    return write_digits(signbit(value), found.digits, found.exponent, out);
}
