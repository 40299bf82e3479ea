/* Memory for values and names: taken piece by piece, freed as a whole, and bounded by the size of the file it is for,
 * so that no file makes its reader hold far more than itself.
 */
#ifndef BRAINENC_FILES_VALUE_ARENA_H
#define BRAINENC_FILES_VALUE_ARENA_H

#include <stddef.h>

#include "core/base/error.h"

typedef struct be_value_arena {
    const char *name; /* of the file, for the error sentence; not owned */
    size_t limit;     /* bytes in all */
    size_t taken;
    void *blocks;     /* the newest first */
    unsigned char *next;
    size_t left;      /* bytes at `next` */
} be_value_arena;

/* An empty arena for what is read from a file of `file_size` bytes. */
void be_value_arena_init(be_value_arena *arena, const char *name, size_t file_size);

/* *out = `size` bytes of zeros, aligned for any value. BE_ERROR_LIMIT beyond the arena's limit. */
be_status be_value_arena_take(be_value_arena *arena, size_t size, void **out, be_error *error);

/* *out = a copy of the bytes with a 0 after them. */
be_status be_value_arena_copy(be_value_arena *arena, const void *bytes, size_t size, char **out, be_error *error);

/* Counts `size` bytes that the caller holds elsewhere for the same file. */
be_status be_value_arena_charge(be_value_arena *arena, size_t size, be_error *error);

/* Frees all of it; safe on a zeroed one. */
void be_value_arena_free(be_value_arena *arena);

#endif
