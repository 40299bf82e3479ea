/* Private to this folder: libpng's way out of an error (longjmp) and its allocations, turned into a be_status. */
#ifndef BRAINENC_IMAGE_PNG_GUARD_H
#define BRAINENC_IMAGE_PNG_GUARD_H

#include <png.h>
#include <setjmp.h>
#include <stdbool.h>

#include "core/base/error.h"

typedef struct be_png_guard {
    jmp_buf escape;
    bool out_of_memory;
    char reason[128]; /* libpng's words after be_png_guard_run has answered false */
} be_png_guard;

/* libpng's structure for reading or writing, with `guard` in charge of errors and memory; NULL
 * without memory. */
png_structp be_png_open_read(be_png_guard *guard);
png_structp be_png_open_write(be_png_guard *guard);

/* Calls step(argument), the only place where libpng may fail; false when it did. What `step` allocates itself must be
 * reachable from `argument`, for it is left in the middle. */
bool be_png_guard_run(be_png_guard *guard, void (*step)(void *), void *argument);

#endif
