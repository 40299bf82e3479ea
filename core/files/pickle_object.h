/* A value while its pickle is read, and what a value is beyond what a reader of the tree sees. */
#ifndef BRAINENC_FILES_PICKLE_OBJECT_H
#define BRAINENC_FILES_PICKLE_OBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/files/tensor_file_internal.h"
#include "core/files/value.h"

typedef enum be_object_kind {
    BE_OBJECT_PLAIN,       /* None, bool, int, float, text, bytes */
    BE_OBJECT_BIG_INTEGER, /* OTHER; as.text: its bytes, or its digits in protocol 0 */
    BE_OBJECT_TUPLE,
    BE_OBJECT_LIST,
    BE_OBJECT_SET,
    BE_OBJECT_DICT,
    BE_OBJECT_NAMESPACE,   /* DICT */
    BE_OBJECT_GLOBAL,      /* OTHER, or TEXT for torch.float32 and the like */
    BE_OBJECT_STORAGE,     /* OTHER */
    BE_OBJECT_TENSOR,
    BE_OBJECT_NUMPY_TYPE,  /* OTHER */
    BE_OBJECT_NUMPY_ARRAY, /* OTHER; a LIST for an array of objects */
    BE_OBJECT_OPAQUE       /* OTHER */
} be_object_kind;

/* A tensor as its pickle describes it: nameless until the tree is walked. */
typedef struct be_pickled_tensor {
    be_tensor tensor;
    be_view view;
    bool is_named;
} be_pickled_tensor;

typedef struct be_numpy_type {
    be_dtype dtype; /* when is_number */
    bool is_number;
    bool is_object;
    bool is_big_endian;
} be_numpy_type;

struct be_global;

typedef struct be_object {
    be_value value; /* first: a value of the tree is an object */
    be_object_kind kind;
    bool is_frozen;       /* lies in a container */
    unsigned char height; /* 0 for a scalar, at most BE_VALUE_MAX_DEPTH */
    union {
        size_t capacity; /* of a list, set or dict */
        const struct be_global *global;
        size_t storage;
        be_pickled_tensor *tensor;
        be_numpy_type numpy;
    } of;
} be_object;

/* The object that a value of a pickle's tree is. */
static inline be_object *be_object_of(const be_value *value)
{
    return (be_object *)(uintptr_t)value;
}

#endif
