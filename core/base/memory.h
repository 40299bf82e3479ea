/* Sizes that are checked and allocations that say what they were for. */
#ifndef BRAINENC_BASE_MEMORY_H
#define BRAINENC_BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/error.h"

/* What buffers for vector code are aligned to, bytes: a cache line and an AVX-512 register. */
enum { BE_ALIGNMENT = 64 };

/* *product = a * b; false (and *product untouched) when that overflows size_t. */
bool be_size_multiply(size_t a, size_t b, size_t *product);

/* *sum = a + b; false (and *sum untouched) when that overflows size_t. */
bool be_size_add(size_t a, size_t b, size_t *sum);

/* *out = `count` * `size` bytes of zeros, to be freed with free(). A count or size of zero gives
 * one byte, so that NULL always means failure. BE_ERROR_MEMORY on overflow or when there is none;
 * `what` names the thing in the sentence. */
be_status be_allocate(void **out, size_t count, size_t size, const char *what, be_error *error);

/* The same of float32. */
be_status be_allocate_floats(float **out, size_t count, const char *what, be_error *error);

/* As be_allocate, not zeroed and aligned to BE_ALIGNMENT; large blocks ask the kernel for huge pages. */
be_status be_allocate_aligned(void **out, size_t count, size_t size, const char *what, be_error *error);

/* Grows *array (elements of `size` bytes, *capacity of them) so that it holds at least `needed`;
 * at least doubles, so that appending is linear. On failure *array and *capacity are unchanged. */
be_status be_grow(void **array, size_t *capacity, size_t needed, size_t size, const char *what,
                  be_error *error);

/* *out = a copy of the text `text`, to be freed with free(). */
be_status be_copy_text(char **out, const char *text, be_error *error);

#endif
