/* A block of memory handed out from its start, so that a worker's buffers are allocated once. */
#ifndef BRAINENC_COMPUTE_ARENA_H
#define BRAINENC_COMPUTE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/error.h"

/* A zeroed be_arena only counts: the same code that lays out the buffers measures first, with such a one, what it will
 * need, and then takes it from a real one. */
typedef struct be_arena {
    unsigned char *base; /* NULL: counting only */
    size_t size, used;
    bool overflowed;     /* something was asked that did not fit; every answer since is NULL */
} be_arena;

/* An arena of `bytes` bytes for `what`. */
be_status be_arena_create(be_arena *arena, size_t bytes, const char *what, be_error *error);
/* Frees and clears; safe on a zeroed one. */
void be_arena_destroy(be_arena *arena);
/* Takes everything back. */
void be_arena_reset(be_arena *arena);

/* Room for `count` floats, aligned to BE_ALIGNMENT, uninitialised; NULL when counting or when it does not fit. */
float *be_arena_floats(be_arena *arena, size_t count);

#endif
