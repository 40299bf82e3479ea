/* A restricted unpickler: it reads the pickles that torch and NumPy write, protocols 0 to 5, into plain values. The
 * globals a pickle may name are on a fixed list (torch_objects.c); all others are refused by name. Nothing is executed:
 * a "call" of an allowed global makes a value by code of this folder.
 *
 * The machine has no recursion. What has been put into a container can no longer be changed, as in every pickle of
 * data without cycles; so cycles cannot arise, and the depth of a value is known when it is made.
 */
#ifndef BRAINENC_FILES_UNPICKLE_H
#define BRAINENC_FILES_UNPICKLE_H

#include <stddef.h>

#include "core/base/error.h"
#include "core/files/pickle_object.h"
#include "core/files/tensor_file_internal.h"

/* The largest pickle that is read, bytes: real checkpoints have less than one. */
enum { BE_PICKLE_MAX_SIZE = 64 << 20 };

typedef struct be_pickle {
    const char *name;           /* of the file, for the error sentences */
    const unsigned char *bytes; /* not needed after the reading */
    size_t size;                /* at most; what follows the pickle is not looked at */
    size_t file_size;
    be_value_arena *arena;      /* where the values go */
    be_storage_list *storages;  /* gets the storages tensors refer to; NULL: tensors are refused */
} be_pickle;

/* *root = the value (an object: pickle_object.h), *used = the bytes of the pickle. */
be_status be_unpickle(const be_pickle *pickle, const be_object **root, size_t *used, be_error *error);

#endif
