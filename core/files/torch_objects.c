#include "core/files/torch_objects.h"

#include <stdio.h>
#include <string.h>

#include "core/base/utf8.h"

#define STORAGE(name, dtype) {"torch", name "Storage", BE_GLOBAL_STORAGE_TYPE, dtype}
#define UNTYPED(module, name) {module, name, BE_GLOBAL_STORAGE_TYPE, BE_DTYPE_U8}
#define TORCH_TYPE(name) {"torch", name, BE_GLOBAL_TORCH_TYPE, BE_DTYPE_BOOL}
#define OTHER(module, name, kind) {module, name, kind, BE_DTYPE_BOOL}

/* All that a checkpoint may name. None of it can run, open or import anything. */
static const be_global globals[] = {
    OTHER("collections", "OrderedDict", BE_GLOBAL_ORDERED_DICT),
    OTHER("argparse", "Namespace", BE_GLOBAL_NAMESPACE),
    OTHER("torch._utils", "_rebuild_tensor_v2", BE_GLOBAL_REBUILD_TENSOR),
    OTHER("torch._utils", "_rebuild_tensor", BE_GLOBAL_REBUILD_TENSOR),
    OTHER("torch._utils", "_rebuild_parameter", BE_GLOBAL_REBUILD_PARAMETER),
    STORAGE("Float", BE_DTYPE_F32), STORAGE("Double", BE_DTYPE_F64), STORAGE("Half", BE_DTYPE_F16),
    STORAGE("BFloat16", BE_DTYPE_BF16), STORAGE("Long", BE_DTYPE_I64), STORAGE("Int", BE_DTYPE_I32),
    STORAGE("Short", BE_DTYPE_I16), STORAGE("Char", BE_DTYPE_I8), STORAGE("Byte", BE_DTYPE_U8),
    STORAGE("Bool", BE_DTYPE_BOOL),
    UNTYPED("torch", "UntypedStorage"), UNTYPED("torch", "TypedStorage"),
    UNTYPED("torch.storage", "UntypedStorage"), UNTYPED("torch.storage", "_UntypedStorage"),
    UNTYPED("torch.storage", "TypedStorage"), UNTYPED("torch.storage", "_TypedStorage"),
    OTHER("torch", "Size", BE_GLOBAL_SIZE),
    OTHER("torch", "device", BE_GLOBAL_DEVICE),
    TORCH_TYPE("float32"), TORCH_TYPE("float64"), TORCH_TYPE("float16"), TORCH_TYPE("bfloat16"), TORCH_TYPE("uint8"),
    TORCH_TYPE("int8"), TORCH_TYPE("int16"), TORCH_TYPE("int32"), TORCH_TYPE("int64"), TORCH_TYPE("bool"),
    TORCH_TYPE("complex64"), TORCH_TYPE("complex128"),
    OTHER("numpy.core.multiarray", "scalar", BE_GLOBAL_NUMPY_SCALAR),
    OTHER("numpy._core.multiarray", "scalar", BE_GLOBAL_NUMPY_SCALAR),
    OTHER("numpy.core.multiarray", "_reconstruct", BE_GLOBAL_NUMPY_RECONSTRUCT),
    OTHER("numpy._core.multiarray", "_reconstruct", BE_GLOBAL_NUMPY_RECONSTRUCT),
    OTHER("numpy", "ndarray", BE_GLOBAL_NUMPY_ARRAY),
    OTHER("numpy", "dtype", BE_GLOBAL_NUMPY_TYPE),
    OTHER("_codecs", "encode", BE_GLOBAL_ENCODE),
    OTHER("pathlib", "PosixPath", BE_GLOBAL_PATH), OTHER("pathlib", "PurePosixPath", BE_GLOBAL_PATH),
    OTHER("pathlib", "WindowsPath", BE_GLOBAL_PATH), OTHER("pathlib", "PureWindowsPath", BE_GLOBAL_PATH),
    OTHER("pathlib", "Path", BE_GLOBAL_PATH), OTHER("pathlib", "PurePath", BE_GLOBAL_PATH),
    OTHER("pathlib._local", "PosixPath", BE_GLOBAL_PATH), OTHER("pathlib._local", "PurePosixPath", BE_GLOBAL_PATH),
    OTHER("pathlib._local", "WindowsPath", BE_GLOBAL_PATH), OTHER("pathlib._local", "PureWindowsPath", BE_GLOBAL_PATH),
};

be_status be_torch_bad_call(const be_pickle_machine *machine, const be_global *global, const char *what)
{
    return be_fail(machine->error, BE_ERROR_FORMAT, "%s: pickle: %s of the global %s.%s at byte %zu",
                   machine->pickle->name, what, global->module, global->name, machine->operation);
}

const be_value *be_torch_argument(const be_value *arguments, size_t index)
{
    return index < arguments->as.list.count ? arguments->as.list.items[index] : NULL;
}

const be_value *be_torch_argument_of(const be_value *arguments, size_t index, be_value_kind kind)
{
    const be_value *argument = be_torch_argument(arguments, index);
    return argument && argument->kind == kind ? argument : NULL;
}

static bool equals(const char *text, const void *bytes, size_t length)
{
    return strlen(text) == length && memcmp(text, bytes, length) == 0;
}

static be_status refuse(const be_pickle_machine *machine, const void *module, size_t module_length, const void *name,
                        size_t name_length)
{
    enum { LONGEST = 100 };
    if (!be_utf8_valid(module, module_length) || !be_utf8_valid(name, name_length) || module_length > LONGEST ||
        name_length > LONGEST)
        return be_pickle_fail(machine, "a global whose name is no text");
    return be_fail(machine->error, BE_ERROR_FORMAT,
                   "%s: refuses the global %.*s.%.*s, which is not on the list of what a checkpoint may hold",
                   machine->pickle->name, (int)module_length, (const char *)module, (int)name_length,
                   (const char *)name);
}

be_status be_torch_global(be_pickle_machine *machine, const void *module, size_t module_length, const void *name,
                          size_t name_length, be_object **object)
{
    for (size_t i = 0; i < sizeof globals / sizeof globals[0]; i++) {
        const be_global *global = &globals[i];
        if (!equals(global->module, module, module_length) || !equals(global->name, name, name_length))
            continue;
        be_status status = BE_OK;
        if (global->kind == BE_GLOBAL_TORCH_TYPE) {
            char text[32];
            int length = snprintf(text, sizeof text, "torch.%s", global->name);
            return be_pickle_text(machine, BE_VALUE_TEXT, text, (size_t)length, object);
        }
        status = be_pickle_object(machine, BE_OBJECT_GLOBAL, BE_VALUE_OTHER, object);
        if (status == BE_OK)
            (*object)->of.global = global;
        return status;
    }
    return refuse(machine, module, module_length, name, name_length);
}

/* OrderedDict() or OrderedDict([(key, value), ...]). */
static be_status new_dict(be_pickle_machine *machine, const be_global *global, const be_value *arguments,
                          be_object **object)
{
    be_status status = be_pickle_object(machine, BE_OBJECT_DICT, BE_VALUE_DICT, object);
    if (status != BE_OK)
        return status;
    (*object)->height = 1;
    if (arguments->as.list.count == 0)
        return BE_OK;
    const be_value *pairs = be_torch_argument_of(arguments, 0, BE_VALUE_LIST);
    if (!pairs || arguments->as.list.count != 1)
        return be_torch_bad_call(machine, global, "strange arguments");
    for (size_t i = 0; i < pairs->as.list.count && status == BE_OK; i++) {
        const be_value *pair = be_torch_argument_of(pairs, i, BE_VALUE_LIST);
        if (!pair || pair->as.list.count != 2)
            return be_torch_bad_call(machine, global, "strange arguments");
        status = be_pickle_set_item(machine, *object, be_object_of(pair->as.list.items[0]),
                                    be_object_of(pair->as.list.items[1]));
    }
    return status;
}

static be_status new_namespace(be_pickle_machine *machine, const be_global *global, const be_value *arguments,
                               be_object **object)
{
    if (arguments->as.list.count != 0)
        return be_torch_bad_call(machine, global, "strange arguments");
    be_status status = be_pickle_object(machine, BE_OBJECT_NAMESPACE, BE_VALUE_DICT, object);
    if (status == BE_OK)
        (*object)->height = 1;
    return status;
}

/* torch.Size((2, 3)) is the tuple itself, _rebuild_parameter(tensor, requires_grad, hooks) the tensor. */
static be_status first_argument(be_pickle_machine *machine, const be_global *global, const be_value *arguments,
                                be_object_kind kind, be_object **object)
{
    const be_value *first = be_torch_argument(arguments, 0);
    if (!first || be_object_of(first)->kind != kind)
        return be_torch_bad_call(machine, global, "strange arguments");
    *object = be_object_of(first);
    return BE_OK;
}

/* torch.device("cuda") or torch.device("cuda", 0). */
static be_status new_device(be_pickle_machine *machine, const be_global *global, const be_value *arguments,
                            be_object **object)
{
    char text[64];
    const be_value *type = be_torch_argument_of(arguments, 0, BE_VALUE_TEXT);
    const be_value *index = be_torch_argument_of(arguments, 1, BE_VALUE_INT);
    if (!type || type->as.text.length > sizeof text / 2)
        return be_torch_bad_call(machine, global, "strange arguments");
    int length = index ? snprintf(text, sizeof text, "%s:%lld", type->as.text.bytes, (long long)index->as.integer)
                       : snprintf(text, sizeof text, "%s", type->as.text.bytes);
    return be_pickle_text(machine, BE_VALUE_TEXT, text, (size_t)length, object);
}

/* _codecs.encode(text, "latin1"): how protocol 2 writes bytes. */
static be_status encode(be_pickle_machine *machine, const be_global *global, const be_value *arguments,
                        be_object **object)
{
    const be_value *text = be_torch_argument_of(arguments, 0, BE_VALUE_TEXT);
    const be_value *encoding = be_torch_argument_of(arguments, 1, BE_VALUE_TEXT);
    if (!text || !encoding || arguments->as.list.count != 2 ||
        (strcmp(encoding->as.text.bytes, "latin1") != 0 && strcmp(encoding->as.text.bytes, "latin-1") != 0))
        return be_torch_bad_call(machine, global, "arguments other than a text and latin1");
    void *room = NULL;
    be_status status = be_value_arena_take(machine->pickle->arena, text->as.text.length + 1, &room, machine->error);
    if (status != BE_OK)
        return status;
    unsigned char *bytes = room;
    size_t count = 0;
    for (size_t i = 0; i < text->as.text.length;) {
        uint32_t character = 0;
        i += be_utf8_decode((const unsigned char *)text->as.text.bytes + i, text->as.text.length - i, &character);
        if (character > 0xff)
            return be_torch_bad_call(machine, global, "a text that is not Latin-1 in arguments");
        bytes[count++] = (unsigned char)character;
    }
    status = be_pickle_object(machine, BE_OBJECT_PLAIN, BE_VALUE_BYTES, object);
    if (status != BE_OK)
        return status;
    (*object)->value.as.text.bytes = room;
    (*object)->value.as.text.length = count;
    return BE_OK;
}

/* PosixPath("/", "home", "data") is the text "/home/data". */
static be_status new_path(be_pickle_machine *machine, const be_global *global, const be_value *arguments,
                          be_object **object)
{
    size_t room = 1, length = 0;
    for (size_t i = 0; i < arguments->as.list.count; i++) {
        const be_value *part = be_torch_argument_of(arguments, i, BE_VALUE_TEXT);
        if (!part)
            return be_torch_bad_call(machine, global, "strange arguments");
        room += part->as.text.length + 1; /* the parts lie in memory: their sum is no larger than it */
        if (room > BE_PICKLE_MAX_SIZE)
            return be_torch_bad_call(machine, global, "too long arguments");
    }
    void *memory = NULL;
    be_status status = be_value_arena_take(machine->pickle->arena, room, &memory, machine->error);
    if (status == BE_OK)
        status = be_pickle_object(machine, BE_OBJECT_PLAIN, BE_VALUE_TEXT, object);
    if (status != BE_OK)
        return status;
    char *text = memory;
    for (size_t i = 0; i < arguments->as.list.count; i++) {
        const be_value *part = arguments->as.list.items[i];
        if (length > 0 && text[length - 1] != '/' && text[length - 1] != '\\')
            text[length++] = '/';
        memcpy(text + length, part->as.text.bytes, part->as.text.length);
        length += part->as.text.length;
    }
    (*object)->value.as.text.bytes = text;
    (*object)->value.as.text.length = length;
    return BE_OK;
}

be_status be_torch_call(be_pickle_machine *machine, const be_global *global, const be_value *arguments,
                        be_object **object)
{
    switch (global->kind) {
    case BE_GLOBAL_ORDERED_DICT: return new_dict(machine, global, arguments, object);
    case BE_GLOBAL_NAMESPACE: return new_namespace(machine, global, arguments, object);
    case BE_GLOBAL_REBUILD_TENSOR: return be_torch_rebuild_tensor(machine, arguments, object);
    case BE_GLOBAL_REBUILD_PARAMETER: return first_argument(machine, global, arguments, BE_OBJECT_TENSOR, object);
    case BE_GLOBAL_SIZE: return first_argument(machine, global, arguments, BE_OBJECT_TUPLE, object);
    case BE_GLOBAL_DEVICE: return new_device(machine, global, arguments, object);
    case BE_GLOBAL_ENCODE: return encode(machine, global, arguments, object);
    case BE_GLOBAL_PATH: return new_path(machine, global, arguments, object);
    case BE_GLOBAL_NUMPY_SCALAR: case BE_GLOBAL_NUMPY_RECONSTRUCT: case BE_GLOBAL_NUMPY_TYPE:
        return be_numpy_call(machine, global, arguments, object);
    case BE_GLOBAL_STORAGE_TYPE: case BE_GLOBAL_TORCH_TYPE: case BE_GLOBAL_NUMPY_ARRAY: break;
    }
    return be_torch_bad_call(machine, global, "a call");
}

be_status be_torch_build(be_pickle_machine *machine, be_object *object, be_object *state)
{
    switch (object->kind) {
    case BE_OBJECT_NAMESPACE:
        if (state->kind != BE_OBJECT_DICT)
            return be_pickle_fail(machine, "a Namespace whose state is no dict");
        return be_pickle_adopt(machine, object, state);
    case BE_OBJECT_DICT: return BE_OK; /* attributes of a state dict (_metadata): nothing here needs them */
    case BE_OBJECT_NUMPY_TYPE: case BE_OBJECT_NUMPY_ARRAY: return be_numpy_build(machine, object, state);
    default: return be_pickle_fail(machine, "a state for something that has none");
    }
}
