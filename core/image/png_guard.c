#include "core/image/png_guard.h"

#include <stdio.h>
#include <stdlib.h>

static void on_error(png_structp png, png_const_charp message)
{
    be_png_guard *guard = png_get_error_ptr(png);
    snprintf(guard->reason, sizeof guard->reason, "%s", message);
    longjmp(guard->escape, 1);
}

/* libpng warns about what it can do without: nothing that a picture's samples depend on. */
static void on_warning(png_structp png, png_const_charp message)
{
    (void)png, (void)message;
}

static png_voidp allocate(png_structp png, png_alloc_size_t size)
{
    void *memory = malloc(size ? size : 1);
    if (!memory)
        ((be_png_guard *)png_get_mem_ptr(png))->out_of_memory = true;
    return memory;
}

static void release(png_structp png, png_voidp memory)
{
    (void)png;
    free(memory);
}

png_structp be_png_open_read(be_png_guard *guard)
{
    png_structp png =
        png_create_read_struct_2(PNG_LIBPNG_VER_STRING, guard, on_error, on_warning, guard, allocate, release);
    if (png)
        png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX); /* be_image_check_limits has the better sentence */
    return png;
}

png_structp be_png_open_write(be_png_guard *guard)
{
    png_structp png =
        png_create_write_struct_2(PNG_LIBPNG_VER_STRING, guard, on_error, on_warning, guard, allocate, release);
    if (png)
        png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    return png;
}

bool be_png_guard_run(be_png_guard *guard, void (*step)(void *), void *argument)
{
    if (setjmp(guard->escape))
        return false;
    step(argument);
    return true;
}
