#include "core/files/value_arena.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

enum { FIRST_BLOCK = 4 << 10, LARGEST_BLOCK = 1 << 20, FREE_LIMIT = 64 << 20, LIMIT_PER_BYTE = 4, ALIGNMENT = 8 };

typedef struct block {
    struct block *previous;
    size_t size;
} block;

void be_value_arena_init(be_value_arena *arena, const char *name, size_t file_size)
{
    size_t limit = (size_t)-1, scaled;
    if (be_size_multiply(file_size, LIMIT_PER_BYTE, &scaled))
        (void)be_size_add(scaled, FREE_LIMIT, &limit);
    *arena = (be_value_arena){.name = name, .limit = limit};
}

be_status be_value_arena_charge(be_value_arena *arena, size_t size, be_error *error)
{
    if (size > arena->limit - arena->taken)
        return be_fail(error, BE_ERROR_LIMIT, "%s: its values need more than %zu bytes of memory, far beyond its size",
                       arena->name, arena->limit);
    arena->taken += size;
    return BE_OK;
}

/* Blocks double in size, so that small files take little and large ones few allocations. */
static be_status add_block(be_value_arena *arena, size_t needed, be_error *error)
{
    const block *newest = arena->blocks;
    size_t size = newest ? newest->size : FIRST_BLOCK / 2;
    size = size < LARGEST_BLOCK ? size * 2 : LARGEST_BLOCK;
    if (size < needed)
        size = needed;
    void *memory;
    be_status status = be_allocate(&memory, 1, sizeof(block) + size, "values of a file", error);
    if (status != BE_OK)
        return status;
    block *added = memory;
    added->previous = arena->blocks;
    added->size = size < LARGEST_BLOCK ? size : LARGEST_BLOCK;
    arena->blocks = added;
    arena->next = (unsigned char *)(added + 1);
    arena->left = size;
    return BE_OK;
}

be_status be_value_arena_take(be_value_arena *arena, size_t size, void **out, be_error *error)
{
    be_status status = be_value_arena_charge(arena, size, error);
    if (status != BE_OK)
        return status;
    size_t padded = size + (ALIGNMENT - size % ALIGNMENT) % ALIGNMENT; /* `size` is far below the limit: no overflow */
    if (padded > arena->left) {
        status = add_block(arena, padded, error);
        if (status != BE_OK)
            return status;
    }
    *out = arena->next;
    arena->next += padded;
    arena->left -= padded;
    return BE_OK;
}

be_status be_value_arena_copy(be_value_arena *arena, const void *bytes, size_t size, char **out, be_error *error)
{
    void *copy;
    be_status status = be_value_arena_take(arena, size + 1, &copy, error);
    if (status != BE_OK)
        return status;
    if (size)
        memcpy(copy, bytes, size);
    *out = copy;
    return BE_OK;
}

void be_value_arena_free(be_value_arena *arena)
{
    for (block *newest = arena->blocks, *previous; newest; newest = previous) {
        previous = newest->previous;
        free(newest);
    }
    *arena = (be_value_arena){0};
}
