#include "core/compute/arena.h"

#include <stdlib.h>

#include "core/base/memory.h"

be_status be_arena_create(be_arena *arena, size_t bytes, const char *what, be_error *error)
{
    void *memory;
    be_status status = be_allocate_aligned(&memory, bytes, 1, what, error);
    if (status == BE_OK)
        *arena = (be_arena){.base = memory, .size = bytes};
    return status;
}

void be_arena_destroy(be_arena *arena)
{
    free(arena->base);
    *arena = (be_arena){0};
}

void be_arena_reset(be_arena *arena)
{
    arena->used = 0;
    arena->overflowed = false;
}

float *be_arena_floats(be_arena *arena, size_t count)
{
    size_t bytes, end;
    if (arena->overflowed || !be_size_multiply(count, sizeof(float), &bytes) ||
        !be_size_add(bytes, BE_ALIGNMENT - 1, &bytes) ||
        !be_size_add(arena->used, bytes - bytes % BE_ALIGNMENT, &end) || (arena->base && end > arena->size)) {
        arena->overflowed = true;
        return NULL;
    }
    float *taken = arena->base ? (float *)(void *)(arena->base + arena->used) : NULL;
    arena->used = end;
    return taken;
}
