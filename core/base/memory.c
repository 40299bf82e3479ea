#include "core/base/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { HUGE_PAGE_BYTES = 2 << 20 };

bool be_size_multiply(size_t a, size_t b, size_t *product)
{
    size_t result;
    if (__builtin_mul_overflow(a, b, &result))
        return false;
    *product = result;
    return true;
}

bool be_size_add(size_t a, size_t b, size_t *sum)
{
    size_t result;
    if (__builtin_add_overflow(a, b, &result))
        return false;
    *sum = result;
    return true;
}

be_status be_allocate(void **out, size_t count, size_t size, const char *what, be_error *error)
{
    size_t bytes;
    if (!be_size_multiply(count, size, &bytes))
        return be_fail_memory(error, SIZE_MAX, what);
    void *memory = calloc(1, bytes ? bytes : 1);
    if (!memory)
        return be_fail_memory(error, bytes, what);
    *out = memory;
    return BE_OK;
}

be_status be_allocate_floats(float **out, size_t count, const char *what, be_error *error)
{
    void *memory = NULL;
    be_status status = be_allocate(&memory, count, sizeof(float), what, error);
    if (status == BE_OK)
        *out = memory;
    return status;
}

be_status be_allocate_aligned(void **out, size_t count, size_t size, const char *what, be_error *error)
{
    size_t bytes, padded;
    if (!be_size_multiply(count, size, &bytes) || !be_size_add(bytes, BE_ALIGNMENT, &padded))
        return be_fail_memory(error, SIZE_MAX, what);
    padded -= padded % BE_ALIGNMENT;
    size_t alignment = padded >= HUGE_PAGE_BYTES ? HUGE_PAGE_BYTES : BE_ALIGNMENT;
    void *memory = NULL;
    if (posix_memalign(&memory, alignment, padded) != 0)
        return be_fail_memory(error, bytes, what);
    if (alignment == HUGE_PAGE_BYTES)
        (void)madvise(memory, padded, MADV_HUGEPAGE); /* only a hint: a refusal costs nothing */
    *out = memory;
    return BE_OK;
}

be_status be_grow(void **array, size_t *capacity, size_t needed, size_t size, const char *what,
                  be_error *error)
{
    if (needed <= *capacity)
        return BE_OK;
    size_t wanted = *capacity < SIZE_MAX / 2 ? *capacity * 2 : needed, bytes;
    if (wanted < needed)
        wanted = needed;
    if (wanted < 8)
        wanted = 8;
    if (!be_size_multiply(wanted, size, &bytes))
        return be_fail_memory(error, SIZE_MAX, what);
    void *memory = realloc(*array, bytes);
    if (!memory)
        return be_fail_memory(error, bytes, what);
    *array = memory;
    *capacity = wanted;
    return BE_OK;
}

be_status be_copy_text(char **out, const char *text, be_error *error)
{
    size_t bytes = strlen(text) + 1;
    char *copy = malloc(bytes);
    if (!copy)
        return be_fail_memory(error, bytes, "a text");
    memcpy(copy, text, bytes);
    *out = copy;
    return BE_OK;
}
