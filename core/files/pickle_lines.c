/* The operations of protocol 0: numbers and strings written as lines of text. */
#include "core/files/pickle_machine.h"

#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"

enum { LONGEST_NUMBER = 64 };

/* The line of a number, as a C string. */
static be_status number_line(be_pickle_machine *machine, char out[LONGEST_NUMBER])
{
    const unsigned char *line;
    size_t length;
    be_status status = be_pickle_line(machine, &line, &length);
    if (status != BE_OK)
        return status;
    if (length == 0 || length >= LONGEST_NUMBER || memchr(line, '\0', length))
        return be_pickle_fail(machine, "a line that is no number");
    memcpy(out, line, length);
    out[length] = '\0';
    return BE_OK;
}

static be_status push_digits(be_pickle_machine *machine, const char *digits)
{
    char *end;
    errno = 0;
    long long integer = strtoll(digits, &end, 10);
    if (end == digits || *end)
        return be_pickle_fail(machine, "a line that is no integer");
    return errno == 0 ? be_pickle_push_integer(machine, integer) : be_pickle_push_big_integer(machine, digits, strlen(digits));
}

/* INT; protocol 0 writes False as 00 and True as 01. */
static be_status int_line(be_pickle_machine *machine)
{
    char line[LONGEST_NUMBER];
    be_status status = number_line(machine, line);
    if (status != BE_OK)
        return status;
    if (strcmp(line, "00") != 0 && strcmp(line, "01") != 0)
        return push_digits(machine, line);
    be_object *object;
    status = be_pickle_object(machine, BE_OBJECT_PLAIN, BE_VALUE_BOOL, &object);
    if (status != BE_OK)
        return status;
    object->value.as.boolean = line[1] == '1';
    return be_pickle_push(machine, object);
}

/* LONG: digits with an L behind them. */
static be_status long_line(be_pickle_machine *machine)
{
    char line[LONGEST_NUMBER];
    be_status status = number_line(machine, line);
    if (status != BE_OK)
        return status;
    size_t length = strlen(line);
    if (line[length - 1] == 'L')
        line[length - 1] = '\0';
    return push_digits(machine, line);
}

/* A decimal point is one, whatever the process's locale has instead. */
static be_status read_number(const be_pickle_machine *machine, const char *line, double *number)
{
    char *end;
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!plain)
        return be_fail(machine->error, BE_ERROR_MEMORY, "%s: out of memory while reading a number", machine->pickle->name);
    *number = strtod_l(line, &end, plain);
    freelocale(plain);
    return end == line || *end ? be_pickle_fail(machine, "a line that is no number") : BE_OK;
}

static be_status float_line(be_pickle_machine *machine)
{
    char line[LONGEST_NUMBER];
    double number = 0;
    be_object *object;
    be_status status = number_line(machine, line);
    if (status == BE_OK)
        status = read_number(machine, line, &number);
    if (status != BE_OK)
        return status;
    status = be_pickle_float(machine, number, &object);
    return status == BE_OK ? be_pickle_push(machine, object) : status;
}

/* `count` hexadecimal digits at `at`; false when they are not all there. */
static bool read_hex(const unsigned char *at, const unsigned char *end, size_t count, uint32_t *out)
{
    static const char digits[] = "0123456789abcdef";
    if ((size_t)(end - at) < count)
        return false;
    *out = 0;
    for (size_t i = 0; i < count; i++) {
        const char *digit = at[i] ? strchr(digits, at[i] | (at[i] >= 'A' ? 0x20 : 0)) : NULL;
        if (!digit)
            return false;
        *out = *out << 4 | (uint32_t)(digit - digits);
    }
    return true;
}

/* Decodes a line into `out`; false when it is not what the operation demands. */
typedef bool (*decoder)(const unsigned char *from, const unsigned char *end, char *out, size_t *size);

/* UNICODE: Latin-1 with \uXXXX and \UXXXXXXXX for the rest (Python's raw-unicode-escape). */
static bool decode_unicode(const unsigned char *from, const unsigned char *end, char *out, size_t *size)
{
    *size = 0;
    while (from < end) {
        uint32_t character = *from++;
        if (character == '\\' && from < end && (*from == 'u' || *from == 'U')) {
            size_t digits = *from++ == 'u' ? 4 : 8;
            if (!read_hex(from, end, digits, &character) || character > 0x10ffff)
                return false;
            from += digits;
        }
        *size += be_utf8_encode(character, out + *size);
    }
    return true;
}

/* STRING: a quoted Python 2 str with the escapes its repr() makes. */
static bool decode_string(const unsigned char *from, const unsigned char *end, char *out, size_t *size)
{
    static const char letters[] = "\\'\"nrt", meanings[] = "\\'\"\n\r\t";
    if (end - from < 2 || (*from != '\'' && *from != '"') || end[-1] != *from)
        return false;
    *size = 0;
    for (from++, end--; from < end; from++) {
        uint32_t byte = *from;
        if (byte == '\\') {
            if (++from == end || *from == '\0')
                return false;
            const char *letter = strchr(letters, *from);
            if (letter)
                byte = (uint32_t)meanings[letter - letters];
            else if (*from != 'x' || !read_hex(from + 1, end, 2, &byte))
                return false;
            else
                from += 2;
        }
        out[(*size)++] = (char)byte;
    }
    return true;
}

static be_status string_line(be_pickle_machine *machine, decoder decode)
{
    const unsigned char *line;
    size_t length, size;
    void *room = NULL;
    be_object *object;
    be_status status = be_pickle_line(machine, &line, &length);
    if (status == BE_OK) /* a byte of Latin-1 takes up to two of UTF-8 */
        status = be_value_arena_take(machine->pickle->arena, 2 * length + 1, &room, machine->error);
    if (status != BE_OK)
        return status;
    if (!decode(line, line + length, room, &size))
        return be_pickle_fail(machine, "a string that is not written as Python does");
    bool is_text = decode == decode_unicode || be_utf8_valid(room, size);
    status = be_pickle_text(machine, is_text ? BE_VALUE_TEXT : BE_VALUE_BYTES, room, size, &object);
    return status == BE_OK ? be_pickle_push(machine, object) : status;
}

static be_status unicode(be_pickle_machine *machine)
{
    return string_line(machine, decode_unicode);
}

static be_status string(be_pickle_machine *machine)
{
    return string_line(machine, decode_string);
}

be_pickle_operation be_pickle_line_operation(unsigned char opcode)
{
    static const be_pickle_operation operations[256] = {
        ['I'] = int_line, ['L'] = long_line, ['F'] = float_line, ['V'] = unicode, ['S'] = string,
    };
    return operations[opcode];
}
