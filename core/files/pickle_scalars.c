/* The operations that push a None, a bool, a number, a text or bytes, in their binary forms. */
#include "core/files/pickle_machine.h"

#include <string.h>

#include "core/base/utf8.h"

static be_status push_none(be_pickle_machine *machine)
{
    be_object *object;
    be_status status = be_pickle_object(machine, BE_OBJECT_PLAIN, BE_VALUE_NONE, &object);
    return status == BE_OK ? be_pickle_push(machine, object) : status;
}

static be_status push_boolean(be_pickle_machine *machine, bool boolean)
{
    be_object *object;
    be_status status = be_pickle_object(machine, BE_OBJECT_PLAIN, BE_VALUE_BOOL, &object);
    if (status != BE_OK)
        return status;
    object->value.as.boolean = boolean;
    return be_pickle_push(machine, object);
}

static be_status push_true(be_pickle_machine *machine)
{
    return push_boolean(machine, true);
}

static be_status push_false(be_pickle_machine *machine)
{
    return push_boolean(machine, false);
}

static be_status push_unsigned(be_pickle_machine *machine, size_t width)
{
    uint64_t number;
    be_status status = be_pickle_number(machine, width, &number);
    return status == BE_OK ? be_pickle_push_integer(machine, (int64_t)number) : status;
}

static be_status binint1(be_pickle_machine *machine)
{
    return push_unsigned(machine, 1);
}

static be_status binint2(be_pickle_machine *machine)
{
    return push_unsigned(machine, 2);
}

static be_status binint(be_pickle_machine *machine)
{
    uint64_t number;
    be_status status = be_pickle_number(machine, 4, &number);
    return status == BE_OK ? be_pickle_push_integer(machine, (int32_t)(uint32_t)number) : status;
}

/* A two's complement integer of any length, little endian. */
static be_status push_long(be_pickle_machine *machine, uint64_t length)
{
    const unsigned char *bytes;
    be_status status = be_pickle_take(machine, length, "an integer", &bytes);
    if (status != BE_OK)
        return status;
    while (length > sizeof(int64_t) && bytes[length - 1] == (bytes[length - 2] & 0x80 ? 0xff : 0))
        length--; /* bytes that only repeat the sign */
    if (length <= sizeof(int64_t)) {
        uint64_t bits = length && bytes[length - 1] & 0x80 ? UINT64_MAX : 0;
        for (size_t i = (size_t)length; i-- > 0;)
            bits = bits << 8 | bytes[i];
        return be_pickle_push_integer(machine, (int64_t)bits);
    }
    return be_pickle_push_big_integer(machine, bytes, (size_t)length);
}

static be_status long1(be_pickle_machine *machine)
{
    uint64_t length;
    be_status status = be_pickle_number(machine, 1, &length);
    return status == BE_OK ? push_long(machine, length) : status;
}

static be_status long4(be_pickle_machine *machine)
{
    uint64_t length;
    be_status status = be_pickle_number(machine, 4, &length);
    return status == BE_OK ? push_long(machine, length) : status;
}

/* 8 bytes, big endian. */
static be_status binfloat(be_pickle_machine *machine)
{
    const unsigned char *bytes;
    be_status status = be_pickle_take(machine, sizeof(double), "a number", &bytes);
    if (status != BE_OK)
        return status;
    uint64_t bits = 0;
    for (size_t i = 0; i < sizeof bits; i++)
        bits = bits << 8 | bytes[i];
    double number;
    memcpy(&number, &bits, sizeof number);
    be_object *object;
    status = be_pickle_float(machine, number, &object);
    return status == BE_OK ? be_pickle_push(machine, object) : status;
}

/* A length of `width` bytes, then the bytes. */
static be_status take_string(be_pickle_machine *machine, size_t width, const unsigned char **bytes, size_t *size)
{
    uint64_t length;
    be_status status = be_pickle_number(machine, width, &length);
    if (status == BE_OK)
        status = be_pickle_take(machine, length, "a string", bytes);
    if (status == BE_OK)
        *size = (size_t)length;
    return status;
}

static be_status push_string(be_pickle_machine *machine, be_value_kind kind, size_t width)
{
    const unsigned char *bytes;
    size_t size;
    be_object *object;
    be_status status = take_string(machine, width, &bytes, &size);
    if (status == BE_OK)
        status = be_pickle_text(machine, kind, bytes, size, &object);
    return status == BE_OK ? be_pickle_push(machine, object) : status;
}

static be_status short_text(be_pickle_machine *machine)
{
    return push_string(machine, BE_VALUE_TEXT, 1);
}

static be_status text(be_pickle_machine *machine)
{
    return push_string(machine, BE_VALUE_TEXT, 4);
}

static be_status long_text(be_pickle_machine *machine)
{
    return push_string(machine, BE_VALUE_TEXT, 8);
}

static be_status short_bytes(be_pickle_machine *machine)
{
    return push_string(machine, BE_VALUE_BYTES, 1);
}

static be_status bytes4(be_pickle_machine *machine)
{
    return push_string(machine, BE_VALUE_BYTES, 4);
}

static be_status long_bytes(be_pickle_machine *machine)
{
    return push_string(machine, BE_VALUE_BYTES, 8);
}

/* Python 2's str: text when it can be read as text. */
static be_status push_old_string(be_pickle_machine *machine, size_t width)
{
    const unsigned char *bytes;
    size_t size;
    be_object *object;
    be_status status = take_string(machine, width, &bytes, &size);
    if (status != BE_OK)
        return status;
    be_value_kind kind = be_utf8_valid(bytes, size) ? BE_VALUE_TEXT : BE_VALUE_BYTES;
    status = be_pickle_text(machine, kind, bytes, size, &object);
    return status == BE_OK ? be_pickle_push(machine, object) : status;
}

static be_status old_string(be_pickle_machine *machine)
{
    return push_old_string(machine, 4);
}

static be_status short_old_string(be_pickle_machine *machine)
{
    return push_old_string(machine, 1);
}

be_pickle_operation be_pickle_scalar_operation(unsigned char opcode)
{
    static const be_pickle_operation operations[256] = {
        ['N'] = push_none,  [0x88] = push_true,   [0x89] = push_false,    ['J'] = binint,       ['K'] = binint1,
        ['M'] = binint2,    [0x8a] = long1,       [0x8b] = long4,         ['G'] = binfloat,     [0x8c] = short_text,
        ['X'] = text,       [0x8d] = long_text,   ['C'] = short_bytes,    ['B'] = bytes4,       [0x8e] = long_bytes,
        [0x96] = long_bytes, ['T'] = old_string,  ['U'] = short_old_string,
    };
    return operations[opcode];
}
