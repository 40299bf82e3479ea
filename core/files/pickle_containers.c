#include "core/files/pickle_machine.h"

#include <string.h>

/* The item goes into the container for good: the container is one deeper than its deepest item. */
static be_status freeze_into(be_pickle_machine *machine, be_object *container, be_object *item)
{
    item->is_frozen = true;
    if (item->height >= BE_VALUE_MAX_DEPTH)
        return be_fail(machine->error, BE_ERROR_FORMAT, "%s: pickle: values are nested deeper than %d levels",
                       machine->pickle->name, BE_VALUE_MAX_DEPTH);
    if (container->height <= item->height)
        container->height = (unsigned char)(item->height + 1);
    return BE_OK;
}

/* After the freezing, so that a container cannot go into itself either. */
static be_status check_open(const be_pickle_machine *machine, const be_object *container)
{
    if (container->is_frozen)
        return be_pickle_fail(machine, "a value that lies in another one is changed (a cycle?)");
    return BE_OK;
}

/* Doubles an array of the arena; `array` may be NULL with capacity 0. */
static be_status grow(be_pickle_machine *machine, size_t count, size_t *capacity, size_t size, const void **array)
{
    if (count < *capacity)
        return BE_OK;
    size_t wanted = *capacity ? *capacity * 2 : 4;
    void *larger = NULL;
    be_status status = be_value_arena_take(machine->pickle->arena, wanted * size, &larger, machine->error);
    if (status != BE_OK)
        return status;
    if (count)
        memcpy(larger, *array, count * size);
    *array = larger;
    *capacity = wanted;
    return BE_OK;
}

be_status be_pickle_tuple(be_pickle_machine *machine, be_object *const *items, size_t count, be_object **object)
{
    void *copy = NULL;
    be_status status = be_value_arena_take(machine->pickle->arena, count * sizeof *items, &copy, machine->error);
    if (status == BE_OK)
        status = be_pickle_object(machine, BE_OBJECT_TUPLE, BE_VALUE_LIST, object);
    if (status != BE_OK)
        return status;
    const be_value **values = copy;
    (*object)->height = 1;
    for (size_t i = 0; i < count && status == BE_OK; i++) {
        values[i] = &items[i]->value;
        status = freeze_into(machine, *object, items[i]);
    }
    (*object)->value.as.list.items = values;
    (*object)->value.as.list.count = count;
    return status;
}

be_status be_pickle_append(be_pickle_machine *machine, be_object *list, be_object *item)
{
    const void *items = list->value.as.list.items;
    size_t count = list->value.as.list.count;
    be_status status = freeze_into(machine, list, item);
    if (status == BE_OK)
        status = check_open(machine, list);
    if (status == BE_OK)
        status = grow(machine, count, &list->of.capacity, sizeof(be_value *), &items);
    if (status != BE_OK)
        return status;
    const be_value **writable = (const be_value **)(uintptr_t)items;
    writable[count] = &item->value;
    list->value.as.list.items = writable;
    list->value.as.list.count = count + 1;
    return BE_OK;
}

be_status be_pickle_set_item(be_pickle_machine *machine, be_object *dict, be_object *key, be_object *value)
{
    const void *pairs = dict->value.as.dict.pairs;
    size_t count = dict->value.as.dict.count;
    if (key->kind != BE_OBJECT_PLAIN && key->kind != BE_OBJECT_BIG_INTEGER)
        return be_pickle_fail(machine, "a dict key that is no plain value");
    be_status status = freeze_into(machine, dict, key);
    if (status == BE_OK)
        status = freeze_into(machine, dict, value);
    if (status == BE_OK)
        status = check_open(machine, dict);
    if (status == BE_OK)
        status = grow(machine, count, &dict->of.capacity, sizeof(be_value_pair), &pairs);
    if (status != BE_OK)
        return status;
    be_value_pair *writable = (be_value_pair *)(uintptr_t)pairs;
    writable[count] = (be_value_pair){&key->value, &value->value};
    dict->value.as.dict.pairs = writable;
    dict->value.as.dict.count = count + 1;
    return BE_OK;
}

be_status be_pickle_adopt(be_pickle_machine *machine, be_object *to, be_object *from)
{
    from->is_frozen = true;
    be_status status = check_open(machine, to);
    if (status != BE_OK)
        return status;
    to->value = from->value;
    to->height = from->height;
    return BE_OK;
}

/* --- operations --- */

static be_status push_new(be_pickle_machine *machine, be_object_kind kind, be_value_kind value)
{
    be_object *object;
    be_status status = be_pickle_object(machine, kind, value, &object);
    if (status != BE_OK)
        return status;
    object->height = 1;
    return be_pickle_push(machine, object);
}

static be_status empty_list(be_pickle_machine *machine)
{
    return push_new(machine, BE_OBJECT_LIST, BE_VALUE_LIST);
}

static be_status empty_tuple(be_pickle_machine *machine)
{
    return push_new(machine, BE_OBJECT_TUPLE, BE_VALUE_LIST);
}

static be_status empty_set(be_pickle_machine *machine)
{
    return push_new(machine, BE_OBJECT_SET, BE_VALUE_LIST);
}

static be_status empty_dict(be_pickle_machine *machine)
{
    return push_new(machine, BE_OBJECT_DICT, BE_VALUE_DICT);
}

static be_status push_tuple(be_pickle_machine *machine, be_object *const *items, size_t count)
{
    be_object *tuple;
    be_status status = be_pickle_tuple(machine, items, count, &tuple);
    return status == BE_OK ? be_pickle_push(machine, tuple) : status;
}

/* A tuple of the `count` topmost values. */
static be_status small_tuple(be_pickle_machine *machine, size_t count)
{
    be_object *items[3] = {0};
    for (size_t i = count; i-- > 0;) {
        be_status status = be_pickle_pop(machine, &items[i]);
        if (status != BE_OK)
            return status;
    }
    return push_tuple(machine, items, count);
}

static be_status tuple1(be_pickle_machine *machine)
{
    return small_tuple(machine, 1);
}

static be_status tuple2(be_pickle_machine *machine)
{
    return small_tuple(machine, 2);
}

static be_status tuple3(be_pickle_machine *machine)
{
    return small_tuple(machine, 3);
}

/* A tuple or frozenset of what lies above the mark. */
static be_status tuple_of_mark(be_pickle_machine *machine)
{
    be_object **items;
    size_t count;
    be_status status = be_pickle_pop_mark(machine, &items, &count);
    return status == BE_OK ? push_tuple(machine, items, count) : status;
}

/* The container that the operation adds to: on top of the stack, where it stays. */
static be_status top_container(be_pickle_machine *machine, be_object_kind kind, be_object **container)
{
    be_status status = be_pickle_pop(machine, container);
    if (status != BE_OK)
        return status;
    if ((*container)->kind != kind)
        return be_pickle_fail(machine, "items for something that does not take them");
    return be_pickle_push(machine, *container);
}

static be_status add_all(be_pickle_machine *machine, be_object *list, be_object *const *items, size_t count)
{
    be_status status = BE_OK;
    for (size_t i = 0; i < count && status == BE_OK; i++)
        status = be_pickle_append(machine, list, items[i]);
    return status;
}

static be_status set_all(be_pickle_machine *machine, be_object *dict, be_object *const *items, size_t count)
{
    be_status status = count % 2 ? be_pickle_fail(machine, "a key without a value") : BE_OK;
    for (size_t i = 0; i < count && status == BE_OK; i += 2)
        status = be_pickle_set_item(machine, dict, items[i], items[i + 1]);
    return status;
}

static be_status append(be_pickle_machine *machine)
{
    be_object *item, *list;
    be_status status = be_pickle_pop(machine, &item);
    if (status == BE_OK)
        status = top_container(machine, BE_OBJECT_LIST, &list);
    return status == BE_OK ? be_pickle_append(machine, list, item) : status;
}

/* The container's push puts it back where it was: below the mark, so the items above it stay as they are. */
static be_status add_marked(be_pickle_machine *machine, be_object_kind kind,
                            be_status (*add)(be_pickle_machine *, be_object *, be_object *const *, size_t))
{
    be_object **items, *container;
    size_t count;
    be_status status = be_pickle_pop_mark(machine, &items, &count);
    if (status == BE_OK)
        status = top_container(machine, kind, &container);
    return status == BE_OK ? add(machine, container, items, count) : status;
}

static be_status appends(be_pickle_machine *machine)
{
    return add_marked(machine, BE_OBJECT_LIST, add_all);
}

static be_status add_items(be_pickle_machine *machine)
{
    return add_marked(machine, BE_OBJECT_SET, add_all);
}

static be_status set_items(be_pickle_machine *machine)
{
    return add_marked(machine, BE_OBJECT_DICT, set_all);
}

static be_status set_item(be_pickle_machine *machine)
{
    be_object *pair[2], *dict;
    be_status status = be_pickle_pop(machine, &pair[1]);
    if (status == BE_OK)
        status = be_pickle_pop(machine, &pair[0]);
    if (status == BE_OK)
        status = top_container(machine, BE_OBJECT_DICT, &dict);
    return status == BE_OK ? set_all(machine, dict, pair, 2) : status;
}

/* LIST and DICT of protocol 0: a new container of what lies above the mark. */
static be_status new_marked(be_pickle_machine *machine, be_object_kind kind, be_value_kind value,
                            be_status (*add)(be_pickle_machine *, be_object *, be_object *const *, size_t))
{
    be_object **items, *container;
    size_t count;
    be_status status = be_pickle_pop_mark(machine, &items, &count);
    if (status == BE_OK)
        status = be_pickle_object(machine, kind, value, &container);
    if (status != BE_OK)
        return status;
    container->height = 1;
    status = add(machine, container, items, count);
    return status == BE_OK ? be_pickle_push(machine, container) : status;
}

static be_status list_of_mark(be_pickle_machine *machine)
{
    return new_marked(machine, BE_OBJECT_LIST, BE_VALUE_LIST, add_all);
}

static be_status dict_of_mark(be_pickle_machine *machine)
{
    return new_marked(machine, BE_OBJECT_DICT, BE_VALUE_DICT, set_all);
}

be_pickle_operation be_pickle_container_operation(unsigned char opcode)
{
    static const be_pickle_operation operations[256] = {
        [']'] = empty_list,     [')'] = empty_tuple,      ['}'] = empty_dict,       [0x8f] = empty_set,
        [0x85] = tuple1,        [0x86] = tuple2,          [0x87] = tuple3,          ['t'] = tuple_of_mark,
        [0x91] = tuple_of_mark, ['l'] = list_of_mark,     ['d'] = dict_of_mark,     ['a'] = append,
        ['e'] = appends,        ['s'] = set_item,         ['u'] = set_items,        [0x90] = add_items,
    };
    return operations[opcode];
}
