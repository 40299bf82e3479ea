#include "core/files/pickle_machine.h"

#include <string.h>

#include "core/base/memory.h"
#include "core/base/utf8.h"

enum { MAX_STACK = 1 << 20 };

be_status be_pickle_fail(const be_pickle_machine *machine, const char *what)
{
    return be_fail(machine->error, BE_ERROR_FORMAT, "%s: bad pickle: %s at byte %zu", machine->pickle->name, what,
                   machine->operation);
}

be_status be_pickle_take(be_pickle_machine *machine, uint64_t size, const char *what, const unsigned char **bytes)
{
    size_t left = (size_t)(machine->end - machine->next);
    if (size > left)
        return be_fail(machine->error, BE_ERROR_FORMAT,
                       "%s: bad pickle: %s of %llu bytes at byte %zu goes beyond the end",
                       machine->pickle->name, what, (unsigned long long)size, machine->operation);
    *bytes = machine->next;
    machine->next += size;
    return BE_OK;
}

be_status be_pickle_number(be_pickle_machine *machine, size_t width, uint64_t *number)
{
    const unsigned char *bytes = NULL;
    be_status status = be_pickle_take(machine, width, "a number", &bytes);
    if (status != BE_OK)
        return status;
    *number = 0;
    for (size_t i = 0; i < width; i++)
        *number |= (uint64_t)bytes[i] << 8 * i;
    return BE_OK;
}

be_status be_pickle_line(be_pickle_machine *machine, const unsigned char **line, size_t *length)
{
    const unsigned char *newline = NULL;
    if (machine->next < machine->end)
        newline = memchr(machine->next, '\n', (size_t)(machine->end - machine->next));
    if (!newline)
        return be_pickle_fail(machine, "a line without end");
    *line = machine->next;
    *length = (size_t)(newline - machine->next);
    machine->next = newline + 1;
    return BE_OK;
}

be_status be_pickle_push(be_pickle_machine *machine, be_object *object)
{
    if (machine->depth >= MAX_STACK)
        return be_pickle_fail(machine, "more than a million values on the stack");
    void *stack = machine->stack;
    be_status status = be_grow(&stack, &machine->stack_capacity, machine->depth + 1, sizeof *machine->stack,
                               "the stack of a pickle", machine->error);
    if (status != BE_OK)
        return status;
    machine->stack = stack;
    machine->stack[machine->depth++] = object;
    return BE_OK;
}

be_status be_pickle_pop(be_pickle_machine *machine, be_object **object)
{
    size_t floor = machine->n_marks ? machine->marks[machine->n_marks - 1] : 0;
    if (machine->depth <= floor)
        return be_pickle_fail(machine, "nothing on the stack to be taken");
    *object = machine->stack[--machine->depth];
    return BE_OK;
}

be_status be_pickle_mark(be_pickle_machine *machine)
{
    if (machine->n_marks >= MAX_STACK)
        return be_pickle_fail(machine, "more than a million marks on the stack");
    void *marks = machine->marks;
    be_status status = be_grow(&marks, &machine->mark_capacity, machine->n_marks + 1, sizeof *machine->marks,
                               "the stack of a pickle", machine->error);
    if (status != BE_OK)
        return status;
    machine->marks = marks;
    machine->marks[machine->n_marks++] = machine->depth;
    return BE_OK;
}

be_status be_pickle_pop_mark(be_pickle_machine *machine, be_object ***items, size_t *count)
{
    if (machine->n_marks == 0)
        return be_pickle_fail(machine, "no mark on the stack");
    size_t mark = machine->marks[--machine->n_marks];
    *items = machine->stack ? machine->stack + mark : NULL;
    *count = machine->depth - mark;
    machine->depth = mark;
    return BE_OK;
}

be_status be_pickle_object(be_pickle_machine *machine, be_object_kind kind, be_value_kind value, be_object **object)
{
    void *memory = NULL;
    be_status status = be_value_arena_take(machine->pickle->arena, sizeof **object, &memory, machine->error);
    if (status != BE_OK)
        return status;
    *object = memory;
    (*object)->kind = kind;
    (*object)->value.kind = value;
    return BE_OK;
}

be_status be_pickle_integer(be_pickle_machine *machine, int64_t integer, be_object **object)
{
    be_status status = be_pickle_object(machine, BE_OBJECT_PLAIN, BE_VALUE_INT, object);
    if (status == BE_OK)
        (*object)->value.as.integer = integer;
    return status;
}

be_status be_pickle_float(be_pickle_machine *machine, double number, be_object **object)
{
    be_status status = be_pickle_object(machine, BE_OBJECT_PLAIN, BE_VALUE_FLOAT, object);
    if (status == BE_OK)
        (*object)->value.as.number = number;
    return status;
}

be_status be_pickle_text(be_pickle_machine *machine, be_value_kind kind, const void *bytes, size_t length,
                         be_object **object)
{
    if (kind == BE_VALUE_TEXT && !be_utf8_valid(bytes, length))
        return be_pickle_fail(machine, "a text that is no UTF-8");
    char *copy;
    be_status status = be_value_arena_copy(machine->pickle->arena, bytes, length, &copy, machine->error);
    if (status == BE_OK)
        status = be_pickle_object(machine, BE_OBJECT_PLAIN, kind, object);
    if (status != BE_OK)
        return status;
    (*object)->value.as.text.bytes = copy;
    (*object)->value.as.text.length = length;
    return BE_OK;
}

be_status be_pickle_push_integer(be_pickle_machine *machine, int64_t integer)
{
    be_object *object;
    be_status status = be_pickle_integer(machine, integer, &object);
    return status == BE_OK ? be_pickle_push(machine, object) : status;
}

be_status be_pickle_push_big_integer(be_pickle_machine *machine, const void *bytes, size_t length)
{
    be_object *object;
    be_status status = be_pickle_text(machine, BE_VALUE_BYTES, bytes, length, &object);
    if (status != BE_OK)
        return status;
    object->kind = BE_OBJECT_BIG_INTEGER;
    object->value.kind = BE_VALUE_OTHER;
    return be_pickle_push(machine, object);
}
