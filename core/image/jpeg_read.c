#include "core/image/decode.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h>

#include <jerror.h>

#include "core/base/memory.h"

/* A progressive picture has some ten scans; each costs a pass over all its coefficients however few bytes it takes, so
 * a small file of thousands of them would hold a processor for minutes. */
enum { MAX_SCANS = 100 };

/* What libjpeg may hold as coefficients of a progressive picture: up to four components of two bytes a sample, each
 * side rounded up to whole blocks of at most 32 samples, and some slack. */
enum { COEFFICIENT_BYTES = 4 * 2, BLOCK_SIDE = 32, COEFFICIENT_SLACK = 1 << 20 };

typedef struct jpeg_reader {
    struct jpeg_decompress_struct info;
    struct jpeg_error_mgr handlers;
    struct jpeg_progress_mgr progress;
    jmp_buf escape;
    be_status status; /* after a failure: what it was, and libjpeg's words for it */
    char reason[JMSG_LENGTH_MAX];
    const unsigned char *bytes;
    size_t size;
    uint8_t *rgb;  /* of the picture being filled */
    uint8_t *cmyk; /* one row, for a picture of four components */
} jpeg_reader;

static be_status status_of(int code)
{
    switch (code) {
    case JERR_OUT_OF_MEMORY: return BE_ERROR_MEMORY;
    case JERR_IMAGE_TOO_BIG:
    case JERR_WIDTH_OVERFLOW:
    case JERR_NO_BACKING_STORE: return BE_ERROR_LIMIT;
    case JERR_ARITH_NOTIMPL:
    case JERR_BAD_PRECISION:
    case JERR_CCIR601_NOTIMPL:
    case JERR_CONVERSION_NOTIMPL:
    case JERR_FRACT_SAMPLE_NOTIMPL:
    case JERR_NOTIMPL:
    case JERR_NOT_COMPILED:
    case JERR_SOF_UNSUPPORTED: return BE_ERROR_UNSUPPORTED;
    default: return BE_ERROR_FORMAT;
    }
}

static void on_error(j_common_ptr info)
{
    jpeg_reader *reader = info->client_data;
    reader->status = status_of(info->err->msg_code);
    info->err->format_message(info, reader->reason);
    longjmp(reader->escape, 1);
}

/* Bytes left over in the middle of the picture mean that what came before them was not what had been written; before
 * another marker they are padding, which some cameras write. */
static bool is_padding(const struct jpeg_error_mgr *handlers)
{
    int marker = handlers->msg_parm.i[1];
    return marker < JPEG_RST0 || marker > JPEG_RST0 + 7;
}

/* libjpeg warns and goes on, with grey where data is missing; here only what leaves the samples whole may pass. */
static void on_message(j_common_ptr info, int level)
{
    if (level >= 0)
        return;
    switch (info->err->msg_code) {
    case JWRN_ADOBE_XFORM:
    case JWRN_JFIF_MAJOR:
    case JWRN_NOT_SEQUENTIAL: return;
    case JWRN_EXTRANEOUS_DATA:
        if (is_padding(info->err))
            return;
        break;
    default: break;
    }
    on_error(info);
}

static void on_progress(j_common_ptr info)
{
    jpeg_reader *reader = info->client_data;
    if (reader->info.input_scan_number <= MAX_SCANS)
        return;
    reader->status = BE_ERROR_LIMIT;
    snprintf(reader->reason, sizeof reader->reason, "more than %d scans", MAX_SCANS);
    longjmp(reader->escape, 1);
}

/* The only place where libjpeg may fail; false when it did. */
static bool run(jpeg_reader *reader, void (*step)(jpeg_reader *))
{
    if (setjmp(reader->escape))
        return false;
    step(reader);
    return true;
}

static be_status fail(const jpeg_reader *reader, const char *name, be_error *error)
{
    if (reader->status == BE_ERROR_MEMORY)
        return be_fail(error, BE_ERROR_MEMORY, "%s: out of memory while decoding", name);
    return be_fail(error, reader->status, "%s: %s JPEG: %s", name,
                   reader->status == BE_ERROR_FORMAT ? "damaged" : "unsupported", reader->reason);
}

static void read_header(jpeg_reader *reader)
{
    jpeg_create_decompress(&reader->info);
    reader->info.progress = &reader->progress;
    jpeg_mem_src(&reader->info, reader->bytes, reader->size);
    jpeg_read_header(&reader->info, TRUE);
}

/* The components PIL knows: grey, colour, CMYK. */
static be_status check_components(const jpeg_reader *reader, const char *name, be_error *error)
{
    int components = reader->info.num_components, bits = reader->info.data_precision;
    if (components != 1 && components != 3 && components != 4)
        return be_fail(error, BE_ERROR_UNSUPPORTED, "%s: unsupported JPEG: %d components", name, components);
    if (bits != 8)
        return be_fail(error, BE_ERROR_UNSUPPORTED, "%s: unsupported JPEG: %d bits a sample", name, bits);
    return BE_OK;
}

static be_status open_reader(jpeg_reader *reader, const void *bytes, size_t size, const char *name, be_error *error)
{
    *reader = (jpeg_reader){.bytes = bytes, .size = size};
    reader->info.err = jpeg_std_error(&reader->handlers);
    reader->info.client_data = reader;
    reader->handlers.error_exit = on_error;
    reader->handlers.emit_message = on_message;
    reader->progress.progress_monitor = on_progress;
    if (!run(reader, read_header))
        return fail(reader, name, error);
    return check_components(reader, name, error);
}

static void close_reader(jpeg_reader *reader)
{
    jpeg_destroy_decompress(&reader->info);
    free(reader->cmyk);
}

/* Adobe's programs store CMYK inverted, and PIL takes every file of four components for theirs: a stored 255 is no ink.
 * PIL's conversion darkens the white that the black ink leaves by each ink's share of it, rounded to nearest. */
static void convert_cmyk_row(const uint8_t *cmyk, uint8_t *rgb, size_t width)
{
    for (size_t x = 0; x < width; x++, cmyk += 4, rgb += 3) {
        int white = cmyk[3];
        for (int c = 0; c < 3; c++) {
            int ink = 255 - cmyk[c];
            rgb[c] = (uint8_t)(white - (ink * white + 127) / 255);
        }
    }
}

static size_t coefficient_bytes(size_t width, size_t height)
{
    size_t padded_width = (width + BLOCK_SIDE - 1) / BLOCK_SIDE * BLOCK_SIDE;
    size_t padded_height = (height + BLOCK_SIDE - 1) / BLOCK_SIDE * BLOCK_SIDE;
    return padded_width * padded_height * COEFFICIENT_BYTES + COEFFICIENT_SLACK;
}

static void read_pixels(jpeg_reader *reader)
{
    j_decompress_ptr info = &reader->info;
    size_t width = info->image_width;
    info->mem->max_memory_to_use = (long)coefficient_bytes(width, info->image_height);
    info->out_color_space = reader->cmyk ? JCS_CMYK : JCS_RGB;
    info->dct_method = JDCT_ISLOW;
    info->do_fancy_upsampling = TRUE;
    jpeg_start_decompress(info);
    while (info->output_scanline < info->output_height) {
        uint8_t *rgb = reader->rgb + info->output_scanline * width * 3;
        JSAMPROW row = reader->cmyk ? reader->cmyk : rgb;
        jpeg_read_scanlines(info, &row, 1);
        if (reader->cmyk)
            convert_cmyk_row(reader->cmyk, rgb, width);
    }
    jpeg_finish_decompress(info); /* up to the end marker: a file cut off before it is an error */
}

static be_status decode(jpeg_reader *reader, const char *name, size_t max_pixels, be_image *image, be_error *error)
{
    size_t width = reader->info.image_width, height = reader->info.image_height;
    be_status status = be_image_check_limits(name, width, height, max_pixels, error);
    if (status == BE_OK)
        status = be_image_create(width, height, image, error);
    if (status == BE_OK && reader->info.num_components == 4) {
        void *row;
        status = be_allocate(&row, width, 4, "a row of CMYK", error);
        if (status == BE_OK)
            reader->cmyk = row;
    }
    if (status != BE_OK)
        return status;
    reader->rgb = image->rgb;
    return run(reader, read_pixels) ? BE_OK : fail(reader, name, error);
}

be_status be_jpeg_read(const void *bytes, size_t size, const char *name, const size_t *max_pixels, be_image *image,
                       be_error *error)
{
    jpeg_reader reader;
    be_status status = open_reader(&reader, bytes, size, name, error);
    if (status == BE_OK && max_pixels)
        status = decode(&reader, name, *max_pixels, image, error);
    else if (status == BE_OK)
        *image = (be_image){.width = reader.info.image_width, .height = reader.info.image_height};
    close_reader(&reader);
    return status;
}
