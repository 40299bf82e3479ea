/* What the globals mean that a checkpoint may name: the whole list is the table in torch_objects.c. */
#ifndef BRAINENC_FILES_TORCH_OBJECTS_H
#define BRAINENC_FILES_TORCH_OBJECTS_H

#include "core/files/pickle_machine.h"

typedef enum be_global_kind {
    BE_GLOBAL_ORDERED_DICT,
    BE_GLOBAL_NAMESPACE,
    BE_GLOBAL_REBUILD_TENSOR,
    BE_GLOBAL_REBUILD_PARAMETER,
    BE_GLOBAL_STORAGE_TYPE,
    BE_GLOBAL_SIZE,
    BE_GLOBAL_DEVICE,
    BE_GLOBAL_TORCH_TYPE,
    BE_GLOBAL_NUMPY_SCALAR,
    BE_GLOBAL_NUMPY_RECONSTRUCT,
    BE_GLOBAL_NUMPY_ARRAY,
    BE_GLOBAL_NUMPY_TYPE,
    BE_GLOBAL_ENCODE,
    BE_GLOBAL_PATH
} be_global_kind;

typedef struct be_global {
    const char *module, *name;
    be_global_kind kind;
    be_dtype dtype; /* of a storage type */
} be_global;

/* The object for a global; refuses what is not on the list by its name. */
be_status be_torch_global(be_pickle_machine *machine, const void *module, size_t module_length, const void *name,
                          size_t name_length, be_object **object);

/* What the global makes of a tuple of arguments. */
be_status be_torch_call(be_pickle_machine *machine, const be_global *global, const be_value *arguments,
                        be_object **object);

/* The BUILD operation: gives an object made by a call its state. */
be_status be_torch_build(be_pickle_machine *machine, be_object *object, be_object *state);

/* The storage a persistent id ('storage', type, key, location, count[, view]) names. */
be_status be_torch_storage(be_pickle_machine *machine, const be_value *id, be_object **object);

/* torch_tensor.c: _rebuild_tensor(storage, offset, size, stride, ...). */
be_status be_torch_rebuild_tensor(be_pickle_machine *machine, const be_value *arguments, be_object **object);

/* numpy_objects.c */
be_status be_numpy_call(be_pickle_machine *machine, const be_global *global, const be_value *arguments,
                        be_object **object);
be_status be_numpy_build(be_pickle_machine *machine, be_object *object, be_object *state);

/* "NAME: pickle: WHAT of the global MODULE.NAME" */
be_status be_torch_bad_call(const be_pickle_machine *machine, const be_global *global, const char *what);

/* Argument `index` of a tuple; NULL when there are fewer. */
const be_value *be_torch_argument(const be_value *arguments, size_t index);
/* The same when it is of that kind, else NULL. */
const be_value *be_torch_argument_of(const be_value *arguments, size_t index, be_value_kind kind);

#endif
