#include "core/image/decode.h"

#include <string.h>

#include "core/base/memory.h"
#include "core/image/png_guard.h"

/* No deflate stream unpacks to more than this many times its size: 258 bytes from two bits. */
enum { DEFLATE_RATIO = 1032 };

typedef struct png_reader {
    be_png_guard guard;
    png_structp png;
    png_infop info;
    const unsigned char *bytes;
    size_t size, position;
    uint8_t *rgb; /* of the picture being filled */
} png_reader;

static void read_bytes(png_structp png, png_bytep out, size_t count)
{
    png_reader *reader = png_get_io_ptr(png);
    if (count > reader->size - reader->position)
        png_error(png, "the file ends too early");
    memcpy(out, reader->bytes + reader->position, count);
    reader->position += count;
}

static be_status fail(const png_reader *reader, const char *name, be_error *error)
{
    if (reader->guard.out_of_memory)
        return be_fail(error, BE_ERROR_MEMORY, "%s: out of memory while decoding", name);
    return be_fail(error, BE_ERROR_FORMAT, "%s: damaged PNG: %s", name, reader->guard.reason);
}

static void close_reader(png_reader *reader)
{
    if (reader->png)
        png_destroy_read_struct(&reader->png, &reader->info, NULL);
}

/* Everything before the picture's data. Neither gamma nor colour profile, background or significant bits change the
 * answer, so no such chunk is parsed, unpacked or kept. */
static void read_header(void *argument)
{
    png_reader *reader = argument;
    png_set_keep_unknown_chunks(reader->png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_set_read_fn(reader->png, reader, read_bytes);
    png_read_info(reader->png, reader->info);
}

static be_status open_reader(png_reader *reader, const void *bytes, size_t size, const char *name, be_error *error)
{
    *reader = (png_reader){.bytes = bytes, .size = size};
    reader->png = be_png_open_read(&reader->guard);
    if (reader->png)
        reader->info = png_create_info_struct(reader->png);
    if (!reader->info)
        return be_fail(error, BE_ERROR_MEMORY, "%s: out of memory while decoding", name);
    return be_png_guard_run(&reader->guard, read_header, reader) ? BE_OK : fail(reader, name, error);
}

/* Refuses a file too short to hold its picture however well it is compressed, before memory is taken for the pixels.
 * The sides are bounded by now, so nothing here overflows. */
static be_status check_length(const png_reader *r, const char *name, be_error *error)
{
    uint64_t bits = (uint64_t)png_get_channels(r->png, r->info) * png_get_bit_depth(r->png, r->info);
    uint64_t pixels = (uint64_t)png_get_image_width(r->png, r->info) * png_get_image_height(r->png, r->info);
    if (bits * pixels / 8 / DEFLATE_RATIO > r->size)
        return be_fail(error, BE_ERROR_FORMAT, "%s: damaged PNG: too short for the size in its IHDR", name);
    return BE_OK;
}

/* Alpha goes, and the transparency of a tRNS chunk with it, as in PIL's convert("RGB"). A palette index past the
 * palette's end is black: libpng keeps 256 entries, zeroed. */
static void ask_for_rgb(png_structp png)
{
    png_set_expand_gray_1_2_4_to_8(png);
    png_set_palette_to_rgb(png);
    png_set_strip_16(png);
    png_set_strip_alpha(png);
    png_set_gray_to_rgb(png);
}

static void read_pixels(void *argument)
{
    png_reader *reader = argument;
    png_structp png = reader->png;
    ask_for_rgb(png);
    int passes = png_set_interlace_handling(png);
    png_read_update_info(png, reader->info);
    size_t height = png_get_image_height(png, reader->info), row = png_get_rowbytes(png, reader->info);
    if (row != (size_t)png_get_image_width(png, reader->info) * 3)
        png_error(png, "the samples cannot be converted to RGB");
    for (int pass = 0; pass < passes; pass++) {
        for (size_t y = 0; y < height; y++)
            png_read_row(png, reader->rgb + y * row, NULL);
    }
    png_read_end(png, NULL); /* the checksums of the last chunks too */
}

static be_status decode(png_reader *reader, const char *name, size_t max_pixels, be_image *image, be_error *error)
{
    size_t width = png_get_image_width(reader->png, reader->info), height = png_get_image_height(reader->png, reader->info);
    be_status status = be_image_check_limits(name, width, height, max_pixels, error);
    if (status == BE_OK)
        status = check_length(reader, name, error);
    if (status == BE_OK)
        status = be_image_create(width, height, image, error);
    if (status != BE_OK)
        return status;
    reader->rgb = image->rgb;
    return be_png_guard_run(&reader->guard, read_pixels, reader) ? BE_OK : fail(reader, name, error);
}

be_status be_png_read(const void *bytes, size_t size, const char *name, const size_t *max_pixels, be_image *image,
                      be_error *error)
{
    png_reader reader;
    be_status status = open_reader(&reader, bytes, size, name, error);
    if (status == BE_OK && max_pixels)
        status = decode(&reader, name, *max_pixels, image, error);
    else if (status == BE_OK)
        *image = (be_image){.width = png_get_image_width(reader.png, reader.info),
                            .height = png_get_image_height(reader.png, reader.info)};
    close_reader(&reader);
    return status;
}
