#include "core/image/image.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/image/png_guard.h"

typedef struct png_writer {
    be_png_guard guard;
    png_structp png;
    png_infop info;
    const be_image *image;
    void *bytes;
    size_t size, capacity;
} png_writer;

static void write_bytes(png_structp png, png_bytep bytes, size_t count)
{
    png_writer *writer = png_get_io_ptr(png);
    size_t needed;
    if (!be_size_add(writer->size, count, &needed) ||
        be_grow(&writer->bytes, &writer->capacity, needed, 1, "a PNG", NULL) != BE_OK) {
        writer->guard.out_of_memory = true;
        png_error(png, "out of memory");
    }
    memcpy((unsigned char *)writer->bytes + writer->size, bytes, count);
    writer->size = needed;
}

static void flush(png_structp png)
{
    (void)png;
}

static void write_picture(void *argument)
{
    png_writer *writer = argument;
    const be_image *image = writer->image;
    png_set_write_fn(writer->png, writer, write_bytes, flush);
    png_set_IHDR(writer->png, writer->info, (png_uint_32)image->width, (png_uint_32)image->height, 8,
                 PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_compression_level(writer->png, 4); /* a quarter of the default's time, and no larger for photographs */
    png_write_info(writer->png, writer->info);
    for (size_t y = 0; y < image->height; y++)
        png_write_row(writer->png, image->rgb + y * image->width * 3);
    png_write_end(writer->png, writer->info);
}

static be_status fail(const png_writer *writer, be_error *error)
{
    if (!writer->info || writer->guard.out_of_memory)
        return be_fail(error, BE_ERROR_MEMORY, "out of memory while writing a PNG");
    return be_fail(error, BE_ERROR_ARGUMENT, "a picture of %zu x %zu pixels cannot be written as PNG: %s",
                   writer->image->width, writer->image->height, writer->guard.reason);
}

be_status be_image_encode_png(const be_image *image, unsigned char **bytes, size_t *size, be_error *error)
{
    png_writer writer = {.image = image};
    be_status status = BE_OK;
    if (image->width > PNG_UINT_31_MAX || image->height > PNG_UINT_31_MAX)
        return be_fail(error, BE_ERROR_LIMIT, "%zu x %zu pixels are too many for a PNG", image->width, image->height);
    writer.png = be_png_open_write(&writer.guard);
    if (writer.png)
        writer.info = png_create_info_struct(writer.png);
    if (!writer.info || !be_png_guard_run(&writer.guard, write_picture, &writer))
        status = fail(&writer, error);
    png_destroy_write_struct(&writer.png, &writer.info);
    if (status != BE_OK) {
        free(writer.bytes);
        return status;
    }
    *bytes = writer.bytes;
    *size = writer.size;
    return BE_OK;
}
