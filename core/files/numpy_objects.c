#include "core/files/torch_objects.h"

#include <string.h>

#include "core/files/dtype.h"

/* numpy.dtype("f8", False, True); the byte order comes with the state. */
static be_status new_type(be_pickle_machine *machine, const be_global *global, const be_value *arguments,
                          be_object **object)
{
    const be_value *text = be_torch_argument_of(arguments, 0, BE_VALUE_TEXT);
    if (!text)
        return be_torch_bad_call(machine, global, "strange arguments");
    be_numpy_type type = {0};
    const char *name = text->as.text.bytes;
    type.is_big_endian = *name == '>';
    if (*name && strchr("<>|=", *name))
        name++;
    type.is_object = *name == 'O';
    type.is_number = be_dtype_parse_numpy(name, &type.dtype);
    be_status status = be_pickle_object(machine, BE_OBJECT_NUMPY_TYPE, BE_VALUE_OTHER, object);
    if (status == BE_OK)
        (*object)->of.numpy = type;
    return status;
}

/* Of the state (version, byte order, ...) only the byte order matters for plain numbers. */
static be_status build_type(be_pickle_machine *machine, be_object *object, const be_object *state)
{
    const be_value *order = NULL;
    if (state->kind == BE_OBJECT_TUPLE)
        order = be_torch_argument_of(&state->value, 1, BE_VALUE_TEXT);
    if (!order || object->is_frozen)
        return be_pickle_fail(machine, "a strange state of a numpy.dtype");
    object->of.numpy.is_big_endian = order->as.text.bytes[0] == '>';
    return BE_OK;
}

static be_status new_boolean(be_pickle_machine *machine, bool boolean, be_object **object)
{
    be_status status = be_pickle_object(machine, BE_OBJECT_PLAIN, BE_VALUE_BOOL, object);
    if (status == BE_OK)
        (*object)->value.as.boolean = boolean;
    return status;
}

/* numpy.core.multiarray.scalar(dtype, bytes) is a number. */
static be_status new_scalar(be_pickle_machine *machine, const be_global *global, const be_value *arguments,
                            be_object **object)
{
    const be_value *first = be_torch_argument(arguments, 0), *data = be_torch_argument(arguments, 1);
    if (!first || be_object_of(first)->kind != BE_OBJECT_NUMPY_TYPE)
        return be_torch_bad_call(machine, global, "strange arguments");
    be_numpy_type type = be_object_of(first)->of.numpy;
    if (!type.is_number)
        return be_pickle_object(machine, BE_OBJECT_OPAQUE, BE_VALUE_OTHER, object);
    if (!data || (data->kind != BE_VALUE_BYTES && data->kind != BE_VALUE_TEXT) ||
        data->as.text.length != be_dtype_size(type.dtype))
        return be_torch_bad_call(machine, global, "bytes of a wrong number in the arguments");
    if (type.is_big_endian && be_dtype_size(type.dtype) > 1)
        return be_fail(machine->error, BE_ERROR_UNSUPPORTED, "%s: holds a big-endian number", machine->pickle->name);
    if (be_dtype_is_float(type.dtype))
        return be_pickle_float(machine, be_dtype_to_f64(type.dtype, data->as.text.bytes), object);
    int64_t integer;
    if (!be_dtype_to_i64(type.dtype, data->as.text.bytes, 1, &integer))
        return be_pickle_object(machine, BE_OBJECT_OPAQUE, BE_VALUE_OTHER, object); /* wider than 64 bits with a sign */
    if (type.dtype == BE_DTYPE_BOOL)
        return new_boolean(machine, integer != 0, object);
    return be_pickle_integer(machine, integer, object);
}

/* An array of objects is its items in order. `shape` has to say as many as there are. */
static bool holds_all(const be_value *shape, size_t count)
{
    size_t dimensions[BE_TENSOR_MAX_DIMS], product;
    if (shape->as.list.count > BE_TENSOR_MAX_DIMS)
        return false;
    for (size_t i = 0; i < shape->as.list.count; i++) {
        const be_value *item = shape->as.list.items[i];
        if (item->kind != BE_VALUE_INT || item->as.integer < 0)
            return false;
        dimensions[i] = (size_t)item->as.integer;
    }
    return be_shape_count(shape->as.list.count, dimensions, &product) && product == count;
}

/* The state of an array: (version, shape, dtype, is_fortran, list or bytes). Arrays of numbers have no plain form. */
static be_status build_array(be_pickle_machine *machine, be_object *object, const be_object *state)
{
    const be_value *shape = NULL, *type = NULL, *data = NULL;
    if (state->kind == BE_OBJECT_TUPLE && state->value.as.list.count == 5) {
        shape = be_torch_argument_of(&state->value, 1, BE_VALUE_LIST);
        type = be_torch_argument(&state->value, 2);
        data = be_torch_argument(&state->value, 4);
    }
    if (!shape || be_object_of(type)->kind != BE_OBJECT_NUMPY_TYPE)
        return be_pickle_fail(machine, "a strange state of a numpy.ndarray");
    if (!be_object_of(type)->of.numpy.is_object)
        return BE_OK;
    if (data->kind != BE_VALUE_LIST || !holds_all(shape, data->as.list.count))
        return be_pickle_fail(machine, "a numpy.ndarray with too few or too many objects");
    return be_pickle_adopt(machine, object, be_object_of(data));
}

be_status be_numpy_call(be_pickle_machine *machine, const be_global *global, const be_value *arguments,
                        be_object **object)
{
    if (global->kind == BE_GLOBAL_NUMPY_TYPE)
        return new_type(machine, global, arguments, object);
    if (global->kind == BE_GLOBAL_NUMPY_SCALAR)
        return new_scalar(machine, global, arguments, object);
    return be_pickle_object(machine, BE_OBJECT_NUMPY_ARRAY, BE_VALUE_OTHER, object);
}

be_status be_numpy_build(be_pickle_machine *machine, be_object *object, be_object *state)
{
    return object->kind == BE_OBJECT_NUMPY_TYPE ? build_type(machine, object, state)
                                                : build_array(machine, object, state);
}
