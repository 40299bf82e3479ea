#include "core/files/unpickle.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/files/pickle_machine.h"
#include "core/files/torch_objects.h"

enum { LATEST_PROTOCOL = 5, STOP = '.' };

static be_status protocol(be_pickle_machine *machine)
{
    uint64_t version;
    be_status status = be_pickle_number(machine, 1, &version);
    if (status == BE_OK && version > LATEST_PROTOCOL)
        return be_pickle_fail(machine, "an unknown protocol");
    return status;
}

/* A frame only says how much to read ahead. */
static be_status frame(be_pickle_machine *machine)
{
    uint64_t length;
    be_status status = be_pickle_number(machine, 8, &length);
    if (status == BE_OK && length > (uint64_t)(machine->end - machine->next))
        return be_pickle_fail(machine, "a frame that goes beyond the end");
    return status;
}

static be_status pop(be_pickle_machine *machine)
{
    be_object *object;
    if (machine->n_marks && machine->depth == machine->marks[machine->n_marks - 1]) {
        machine->n_marks--;
        return BE_OK;
    }
    return be_pickle_pop(machine, &object);
}

static be_status pop_mark(be_pickle_machine *machine)
{
    be_object **items;
    size_t count;
    return be_pickle_pop_mark(machine, &items, &count);
}

static be_status duplicate(be_pickle_machine *machine)
{
    be_object *object;
    be_status status = be_pickle_pop(machine, &object);
    if (status == BE_OK)
        status = be_pickle_push(machine, object);
    return status == BE_OK ? be_pickle_push(machine, object) : status;
}

/* --- memo --- */

/* Picklers number what they remember one by one, so a larger step is no real pickle's and costs no memory. */
static be_status put(be_pickle_machine *machine, uint64_t index)
{
    be_object *object;
    be_status status = be_pickle_pop(machine, &object);
    if (status == BE_OK)
        status = be_pickle_push(machine, object);
    if (status != BE_OK)
        return status;
    if (index > machine->n_memo + 1)
        return be_pickle_fail(machine, "a memo that leaps ahead");
    void *memo = machine->memo;
    status = be_grow(&memo, &machine->memo_capacity, machine->n_memo + 2, sizeof *machine->memo, "the memo of a pickle",
                     machine->error);
    if (status != BE_OK)
        return status;
    machine->memo = memo;
    while (machine->n_memo <= index)
        machine->memo[machine->n_memo++] = NULL;
    machine->memo[index] = object;
    return BE_OK;
}

static be_status get(be_pickle_machine *machine, uint64_t index)
{
    if (index >= machine->n_memo || !machine->memo[index])
        return be_pickle_fail(machine, "a memo that was not put");
    return be_pickle_push(machine, machine->memo[index]);
}

static be_status binput(be_pickle_machine *machine)
{
    uint64_t index;
    be_status status = be_pickle_number(machine, 1, &index);
    return status == BE_OK ? put(machine, index) : status;
}

static be_status long_binput(be_pickle_machine *machine)
{
    uint64_t index;
    be_status status = be_pickle_number(machine, 4, &index);
    return status == BE_OK ? put(machine, index) : status;
}

static be_status memoize(be_pickle_machine *machine)
{
    return put(machine, machine->n_memo);
}

static be_status binget(be_pickle_machine *machine)
{
    uint64_t index;
    be_status status = be_pickle_number(machine, 1, &index);
    return status == BE_OK ? get(machine, index) : status;
}

static be_status long_binget(be_pickle_machine *machine)
{
    uint64_t index;
    be_status status = be_pickle_number(machine, 4, &index);
    return status == BE_OK ? get(machine, index) : status;
}

/* The memo's index as a line of decimal digits. */
static be_status index_line(be_pickle_machine *machine, uint64_t *index)
{
    const unsigned char *line;
    size_t length;
    be_status status = be_pickle_line(machine, &line, &length);
    if (status != BE_OK)
        return status;
    *index = 0;
    for (size_t i = 0; i < length; i++) {
        if (line[i] < '0' || line[i] > '9' || *index > UINT32_MAX)
            return be_pickle_fail(machine, "a memo that is no number");
        *index = *index * 10 + (uint64_t)(line[i] - '0');
    }
    return BE_OK;
}

static be_status put_line(be_pickle_machine *machine)
{
    uint64_t index;
    be_status status = index_line(machine, &index);
    return status == BE_OK ? put(machine, index) : status;
}

static be_status get_line(be_pickle_machine *machine)
{
    uint64_t index;
    be_status status = index_line(machine, &index);
    return status == BE_OK ? get(machine, index) : status;
}

/* --- globals and calls --- */

static be_status push_global(be_pickle_machine *machine, const void *module, size_t module_length, const void *name,
                             size_t name_length)
{
    be_object *object;
    be_status status = be_torch_global(machine, module, module_length, name, name_length, &object);
    return status == BE_OK ? be_pickle_push(machine, object) : status;
}

static be_status global(be_pickle_machine *machine)
{
    const unsigned char *module, *name;
    size_t module_length, name_length;
    be_status status = be_pickle_line(machine, &module, &module_length);
    if (status == BE_OK)
        status = be_pickle_line(machine, &name, &name_length);
    return status == BE_OK ? push_global(machine, module, module_length, name, name_length) : status;
}

static be_status stack_global(be_pickle_machine *machine)
{
    be_object *module, *name;
    be_status status = be_pickle_pop(machine, &name);
    if (status == BE_OK)
        status = be_pickle_pop(machine, &module);
    if (status != BE_OK)
        return status;
    if (module->value.kind != BE_VALUE_TEXT || name->value.kind != BE_VALUE_TEXT)
        return be_pickle_fail(machine, "a global whose name is no text");
    return push_global(machine, module->value.as.text.bytes, module->value.as.text.length, name->value.as.text.bytes,
                       name->value.as.text.length);
}

/* REDUCE and NEWOBJ: a global and its arguments become a value. */
static be_status reduce(be_pickle_machine *machine)
{
    be_object *arguments, *called, *result;
    be_status status = be_pickle_pop(machine, &arguments);
    if (status == BE_OK)
        status = be_pickle_pop(machine, &called);
    if (status != BE_OK)
        return status;
    if (called->kind != BE_OBJECT_GLOBAL || arguments->kind != BE_OBJECT_TUPLE)
        return be_pickle_fail(machine, "a call of something that is no global");
    status = be_torch_call(machine, called->of.global, &arguments->value, &result);
    return status == BE_OK ? be_pickle_push(machine, result) : status;
}

static be_status build(be_pickle_machine *machine)
{
    be_object *state, *object;
    be_status status = be_pickle_pop(machine, &state);
    if (status == BE_OK)
        status = be_pickle_pop(machine, &object);
    if (status == BE_OK)
        status = be_torch_build(machine, object, state);
    return status == BE_OK ? be_pickle_push(machine, object) : status;
}

static be_status persistent_id(be_pickle_machine *machine)
{
    be_object *id, *storage;
    be_status status = be_pickle_pop(machine, &id);
    if (status == BE_OK)
        status = be_torch_storage(machine, &id->value, &storage);
    return status == BE_OK ? be_pickle_push(machine, storage) : status;
}

static be_pickle_operation find_operation(unsigned char opcode)
{
    static const be_pickle_operation operations[256] = {
        [0x80] = protocol,  [0x95] = frame,       ['0'] = pop,         ['1'] = pop_mark,   ['2'] = duplicate,
        ['('] = be_pickle_mark, ['q'] = binput,   ['r'] = long_binput, ['p'] = put_line,   [0x94] = memoize,
        ['h'] = binget,     ['j'] = long_binget,  ['g'] = get_line,    ['c'] = global,     [0x93] = stack_global,
        ['R'] = reduce,     [0x81] = reduce,      ['b'] = build,       ['Q'] = persistent_id,
    };
    be_pickle_operation found = operations[opcode];
    if (!found)
        found = be_pickle_scalar_operation(opcode);
    if (!found)
        found = be_pickle_container_operation(opcode);
    return found ? found : be_pickle_line_operation(opcode);
}

static be_status run(be_pickle_machine *machine)
{
    while (machine->next < machine->end) {
        machine->operation = (size_t)(machine->next - machine->pickle->bytes);
        unsigned char opcode = *machine->next++;
        if (opcode == STOP)
            return machine->depth == 1 && machine->n_marks == 0 ? BE_OK : be_pickle_fail(machine, "STOP too early");
        be_pickle_operation operation = find_operation(opcode);
        if (!operation)
            return be_fail(machine->error, BE_ERROR_FORMAT, "%s: bad pickle: unknown operation 0x%02x at byte %zu",
                           machine->pickle->name, opcode, machine->operation);
        be_status status = operation(machine);
        if (status != BE_OK)
            return status;
    }
    return be_fail(machine->error, BE_ERROR_FORMAT, "%s: bad pickle: ends without STOP", machine->pickle->name);
}

be_status be_unpickle(const be_pickle *pickle, const be_object **root, size_t *used, be_error *error)
{
    size_t size = pickle->size < BE_PICKLE_MAX_SIZE ? pickle->size : BE_PICKLE_MAX_SIZE;
    be_pickle_machine machine = {.pickle = pickle, .error = error, .next = pickle->bytes};
    machine.end = machine.next + size;
    be_status status = run(&machine);
    if (status == BE_OK) {
        *root = machine.stack[0];
        *used = (size_t)(machine.next - pickle->bytes);
    }
    free(machine.stack);
    free(machine.marks);
    free(machine.memo);
    return status;
}
