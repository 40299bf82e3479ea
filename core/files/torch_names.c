#include "core/files/torch_names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

enum { FREE_STEPS = 1 << 20, STEPS_PER_BYTE = 16, NUMBER_SIZE = 24 };

/* A container on the way from the root, and how far it has been walked. */
typedef struct level {
    const be_value *container;
    size_t next;
    size_t name_length; /* of the container's own name */
} level;

typedef struct walk {
    be_tensor_file *file;
    be_error *error;
    level levels[BE_VALUE_MAX_DEPTH]; /* no tree is deeper: pickle_containers.c */
    size_t depth;
    size_t steps_left;
    char *name;
    size_t length, capacity;
} walk;

/* Cuts the name back to `length` and appends a part. */
static be_status set_name(walk *way, size_t length, const char *part, size_t part_length)
{
    size_t dot = length > 0, total;
    void *name = way->name;
    if (!be_size_add(length + dot + 1, part_length, &total))
        return be_fail_memory(way->error, SIZE_MAX, "the name of a tensor");
    be_status status = be_grow(&name, &way->capacity, total, 1, "the name of a tensor", way->error);
    if (status != BE_OK)
        return status;
    way->name = name;
    if (dot)
        way->name[length] = '.';
    memcpy(way->name + length + dot, part, part_length);
    way->length = length + dot + part_length;
    return BE_OK;
}

static be_status name_child(walk *way, const level *in, size_t index)
{
    char number[NUMBER_SIZE];
    const be_value *key = in->container->kind == BE_VALUE_DICT ? in->container->as.dict.pairs[index].key : NULL;
    if (key && key->kind == BE_VALUE_TEXT)
        return set_name(way, in->name_length, key->as.text.bytes, key->as.text.length);
    int length = key && key->kind == BE_VALUE_INT
                     ? snprintf(number, sizeof number, "%lld", (long long)key->as.integer)
                     : snprintf(number, sizeof number, "%zu", index);
    return set_name(way, in->name_length, number, (size_t)length);
}

static be_status add_tensor(walk *way, be_object *object)
{
    be_pickled_tensor *made = object->of.tensor;
    be_tensor tensor = made->tensor;
    char *name;
    if (way->length && memchr(way->name, '\0', way->length))
        return be_fail(way->error, BE_ERROR_FORMAT, "%s: the name of a tensor holds a zero byte", way->file->path);
    be_status status = be_value_arena_copy(&way->file->arena, way->name, way->length, &name, way->error);
    if (status != BE_OK)
        return status;
    tensor.name = name;
    if (!made->is_named)
        object->value.as.tensor = way->file->count;
    made->is_named = true;
    return be_tensor_file_add(way->file, &tensor, &made->view, way->error);
}

static size_t count_of(const be_value *container)
{
    return container->kind == BE_VALUE_DICT ? container->as.dict.count : container->as.list.count;
}

/* A value whose name is set: tensors are added, containers entered, all else passed. */
static be_status visit(walk *way, const be_value *value)
{
    if (value->kind == BE_VALUE_TENSOR)
        return add_tensor(way, be_object_of(value));
    if ((value->kind == BE_VALUE_DICT || value->kind == BE_VALUE_LIST) && count_of(value) > 0)
        way->levels[way->depth++] = (level){value, 0, way->length};
    return BE_OK;
}

static be_status step(walk *way)
{
    level *in = &way->levels[way->depth - 1];
    if (in->next == count_of(in->container)) {
        way->depth--;
        return BE_OK;
    }
    size_t index = in->next++;
    const be_value *child = in->container->kind == BE_VALUE_DICT ? in->container->as.dict.pairs[index].value
                                                                 : in->container->as.list.items[index];
    if (child->kind != BE_VALUE_TENSOR && child->kind != BE_VALUE_DICT && child->kind != BE_VALUE_LIST)
        return BE_OK;
    be_status status = name_child(way, in, index);
    if (status != BE_OK)
        return status;
    size_t steps = 1 + way->length;
    if (steps > way->steps_left)
        return be_fail(way->error, BE_ERROR_LIMIT, "%s: its values are shared too often to be given names",
                       way->file->path);
    way->steps_left -= steps;
    return visit(way, child);
}

be_status be_torch_name_tensors(be_tensor_file *file, const be_object *root, size_t pickle_size, be_error *error)
{
    walk way = {.file = file, .error = error, .steps_left = FREE_STEPS + STEPS_PER_BYTE * pickle_size};
    be_status status = visit(&way, &root->value);
    while (status == BE_OK && way.depth > 0)
        status = step(&way);
    free(way.name);
    file->root = &root->value;
    return status;
}
