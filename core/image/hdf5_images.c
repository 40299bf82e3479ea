#include "core/image/hdf5_images.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "core/image/decode.h"
#include "core/image/hdf5_chunk.h"
#include "core/image/hdf5_dataset.h"

/* No byte that deflate wrote stands for more than these. */
enum { MOST_DEFLATED = 1032 };
static const size_t most_chunk_bytes = (size_t)1 << 30;

struct be_hdf5_images {
    hid_t file, dataset, space;         /* the last one: where a picture is in the dataset */
    char *name, *label;                 /* the dataset's; and "FILE: DATASET", which sentences begin with */
    size_t file_size;
    size_t shape[BE_HDF5_DIMS];
    be_hdf5_chunks chunks;
    bool chunked;
    size_t sound;                       /* the first picture of the chunks that were found good last; SIZE_MAX: none yet */
};

/* --- checking ------------------------------------------------------------------------------------- */

static be_status check_file(be_hdf5_images *self, const char *path, be_error *error)
{
    struct stat info;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* which does not wait for a pipe's other end */
    if (descriptor < 0 && (errno == ENOENT || errno == ENOTDIR))
        return be_fail(error, BE_ERROR_NOT_FOUND, "%s: there is no such file", path);
    if (descriptor < 0)
        return be_fail(error, BE_ERROR_IO, "%s: cannot be opened: %s", path, strerror(errno));
    bool good = fstat(descriptor, &info) == 0 && S_ISREG(info.st_mode);
    close(descriptor);
    if (!good)
        return be_fail(error, BE_ERROR_IO, "%s: is no regular file", path);
    self->file_size = (size_t)info.st_size;
    return BE_OK;
}

static be_status read_layout(be_hdf5_images *self, be_error *error)
{
    hid_t properties = H5Dget_create_plist(self->dataset);
    if (properties < 0)
        return be_hdf5_fail(error, self->label, "cannot be examined");
    be_status status = BE_OK;
    self->chunked = H5Pget_layout(properties) == H5D_CHUNKED;
    if (self->chunked)
        status = be_hdf5_chunks_examine(properties, self->label, &self->chunks, error);
    else if (H5Dget_storage_size(self->dataset) == 0)
        status = be_fail(error, BE_ERROR_FORMAT, "%s: nothing was ever written to it", self->label);
    H5Pclose(properties);
    return status;
}

/* The product of four sizes; SIZE_MAX when it is larger. */
static size_t volume(const size_t sizes[BE_HDF5_DIMS])
{
    size_t product = 1;
    for (size_t i = 0; i < BE_HDF5_DIMS; i++) {
        if (!be_size_multiply(product, sizes[i], &product))
            return SIZE_MAX;
    }
    return product;
}

static be_status check_shape(be_hdf5_images *self, size_t max_pixels, be_error *error)
{
    be_hdf5_dataset about;
    char text[160];
    if (!be_hdf5_examine(self->dataset, &about))
        return be_hdf5_fail(error, self->label, "cannot be examined");
    be_hdf5_describe(&about, text, sizeof text);
    if (!be_hdf5_is_pictures(&about))
        return be_fail(error, BE_ERROR_UNSUPPORTED, "%s: is %s, where pictures are uint8 [pictures][height][width][3]",
                       self->label, text);
    for (size_t i = 0; i < BE_HDF5_DIMS; i++)
        self->shape[i] = about.shape[i];
    return be_image_check_limits(self->label, self->shape[2], self->shape[1], max_pixels, error);
}

static be_status check_size(const be_hdf5_images *self, be_error *error)
{
    size_t bytes = volume(self->shape);
    if ((self->chunks.deflated ? bytes / MOST_DEFLATED : bytes) > self->file_size)
        return be_fail(error, BE_ERROR_FORMAT, "%s: %zu pictures of %zu x %zu pixels are more than can be in a file of %zu bytes",
                       self->label, self->shape[0], self->shape[2], self->shape[1], self->file_size);
    return BE_OK;
}

/* --- opening -------------------------------------------------------------------------------------- */

/* In how many chunks a picture is: at most one a byte. */
static size_t count_chunks(const be_hdf5_images *self)
{
    size_t count = 1;
    for (size_t i = 1; i < BE_HDF5_DIMS; i++)
        count *= (self->shape[i] - 1) / self->chunks.shape[i] + 1;
    return count;
}

/* A packed chunk is unpacked whole: those of two neighbouring pictures are to be kept at a time, or each would be unpacked again
 * for every picture in it. What is not packed is read from the file in part: libhdf5 keeps such a chunk with the length that the
 * file says, whatever its shape says, and would read past its end. */
static be_status set_cache(const be_hdf5_images *self, hid_t access, be_error *error)
{
    size_t bytes = 0, chunks = count_chunks(self), slots = 100 * chunks + 1;
    const size_t most_slots = 1000003;
    if (self->chunks.n_filters > 0 &&
        (!be_size_multiply(self->chunks.bytes, chunks, &bytes) || bytes > most_chunk_bytes))
        return be_fail(error, BE_ERROR_LIMIT, "%s: the chunks that hold one picture are more than %zu bytes; h5repack -l "
                       "CHUNK=1x%zux%zux3 makes smaller ones", self->label, most_chunk_bytes, self->shape[1], self->shape[2]);
    if (H5Pset_chunk_cache(access, slots < most_slots ? slots : most_slots, 2 * bytes, 1) < 0)
        return be_hdf5_fail(error, self->label, "cannot be read");
    return BE_OK;
}

/* Opens the dataset anew: only then can its cache be set. */
static be_status open_for_reading(be_hdf5_images *self, be_error *error)
{
    hid_t access = H5Pcreate(H5P_DATASET_ACCESS);
    be_status status = access < 0 ? be_hdf5_fail(error, self->label, "cannot be read") : BE_OK;
    H5Dclose(self->dataset);
    self->dataset = -1;
    if (status == BE_OK && self->chunked)
        status = set_cache(self, access, error);
    if (status == BE_OK && (self->dataset = H5Dopen2(self->file, self->name, access)) < 0)
        status = be_hdf5_fail(error, self->label, "cannot be opened");
    if (access >= 0)
        H5Pclose(access);
    return status;
}

static be_status make_space(be_hdf5_images *self, be_error *error)
{
    self->space = H5Dget_space(self->dataset);
    return self->space >= 0 ? BE_OK : be_hdf5_fail(error, self->label, "cannot be read");
}

static be_status open_file(be_hdf5_images *self, const char *path, be_error *error)
{
    be_status status = check_file(self, path, error);
    if (status != BE_OK)
        return status;
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    /* Locked against writers where the file system can do that. */
    if (access < 0 || H5Pset_file_locking(access, true, true) < 0)
        status = be_hdf5_fail(error, path, "cannot be opened");
    else if ((self->file = H5Fopen(path, H5F_ACC_RDONLY, access)) < 0)
        status = be_hdf5_fail(error, path, "cannot be opened as HDF5");
    if (access >= 0)
        H5Pclose(access);
    return status;
}

static be_status make_label(be_hdf5_images *self, const char *path, be_error *error)
{
    void *memory;
    size_t size = strlen(path) + strlen(self->name) + sizeof ": ";
    be_status status = be_allocate(&memory, size, 1, "a dataset's name", error);
    if (status != BE_OK)
        return status;
    self->label = memory;
    snprintf(self->label, size, "%s: %s", path, self->name);
    return BE_OK;
}

static be_status open_dataset(be_hdf5_images *self, const char *path, const char *dataset, be_error *error)
{
    be_status status = dataset ? be_copy_text(&self->name, dataset, error) : be_hdf5_choose(self->file, path, &self->name, error);
    if (status == BE_OK)
        status = make_label(self, path, error);
    if (status == BE_OK)
        status = be_hdf5_check_path(self->file, path, self->name, error);
    if (status == BE_OK && (self->dataset = H5Dopen2(self->file, self->name, H5P_DEFAULT)) < 0)
        status = be_hdf5_fail(error, self->label, "cannot be opened as a dataset");
    return status;
}

static be_status open_images(be_hdf5_images *self, const char *path, const char *dataset, size_t max_pixels, be_error *error)
{
    be_status status = open_file(self, path, error);
    if (status == BE_OK)
        status = open_dataset(self, path, dataset, error);
    if (status == BE_OK)
        status = check_shape(self, max_pixels, error);
    if (status == BE_OK)
        status = read_layout(self, error);
    if (status == BE_OK)
        status = check_size(self, error);
    if (status == BE_OK)
        status = open_for_reading(self, error);
    return status == BE_OK ? make_space(self, error) : status;
}

be_status be_hdf5_images_open(const char *path, const char *dataset, size_t max_pixels, be_hdf5_images **images, be_error *error)
{
    void *memory;
    be_status status = be_allocate(&memory, 1, sizeof(be_hdf5_images), "an HDF5 file's state", error);
    if (status != BE_OK)
        return status;
    be_hdf5_images *self = memory;
    *self = (be_hdf5_images){.file = -1, .dataset = -1, .space = -1, .sound = SIZE_MAX};
    H5E_BEGIN_TRY
    {
        status = open_images(self, path, dataset, max_pixels, error);
    }
    H5E_END_TRY
    if (status == BE_OK)
        *images = self;
    else
        be_hdf5_images_close(self);
    return status;
}

void be_hdf5_images_close(be_hdf5_images *self)
{
    if (!self)
        return;
    H5E_BEGIN_TRY
    {
        if (self->space >= 0)
            H5Sclose(self->space);
        if (self->dataset >= 0)
            H5Dclose(self->dataset);
        if (self->file >= 0)
            H5Fclose(self->file);
    }
    H5E_END_TRY
    free(self->name);
    free(self->label);
    free(self);
}

size_t be_hdf5_images_count(const be_hdf5_images *images)
{
    return images->shape[0];
}

void be_hdf5_images_size(const be_hdf5_images *images, size_t *width, size_t *height)
{
    *height = images->shape[1];
    *width = images->shape[2];
}

const char *be_hdf5_images_dataset(const be_hdf5_images *images)
{
    return images->name;
}

/* --- reading -------------------------------------------------------------------------------------- */

static be_status check_row(const be_hdf5_images *self, hsize_t first, hsize_t y, be_error *error)
{
    be_status status = BE_OK;
    for (hsize_t x = 0; x < self->shape[2]; x += self->chunks.shape[2]) {
        for (hsize_t channel = 0; channel < 3 && status == BE_OK; channel += self->chunks.shape[3]) {
            const hsize_t place[BE_HDF5_DIMS] = {first, y, x, channel};
            status = be_hdf5_chunk_check(&self->chunks, self->dataset, self->shape, place, self->file_size, self->label, error);
        }
    }
    return status;
}

static be_status check_chunks(be_hdf5_images *self, size_t number, be_error *error)
{
    const size_t first = number - number % self->chunks.shape[0];
    be_status status = BE_OK;
    for (hsize_t y = 0; y < self->shape[1] && self->sound != first && status == BE_OK; y += self->chunks.shape[1])
        status = check_row(self, first, y, error);
    if (status == BE_OK)
        self->sound = first;
    return status;
}

/* Channels `first` and those behind it of a picture into out [height][width][count]. */
static be_status read_channels(const be_hdf5_images *self, size_t number, size_t first, size_t count, uint8_t *out, be_error *error)
{
    const hsize_t start[BE_HDF5_DIMS] = {number, 0, 0, first}, size[BE_HDF5_DIMS] = {1, self->shape[1], self->shape[2], count};
    hid_t memory = H5Screate_simple(BE_HDF5_DIMS, size, NULL);
    be_status status = BE_OK;
    char what[64];
    if (memory < 0 || H5Sselect_hyperslab(self->space, H5S_SELECT_SET, start, NULL, size, NULL) < 0 ||
        H5Dread(self->dataset, H5T_NATIVE_UINT8, memory, self->space, H5P_DEFAULT, out) < 0) {
        snprintf(what, sizeof what, "picture %zu cannot be read", number);
        status = be_hdf5_fail(error, self->label, what);
    }
    if (memory >= 0)
        H5Sclose(memory);
    return status;
}

/* From chunks that hold `together` channels, each lot on its own: among the others its bytes would be read one by one. */
static be_status read_lots(const be_hdf5_images *self, size_t number, size_t together, be_image *image, be_error *error)
{
    void *memory;
    size_t pixels = image->width * image->height;
    be_status status = be_allocate(&memory, pixels, together, "the channels of a picture", error);
    if (status != BE_OK)
        return status;
    for (size_t first = 0; first < 3 && status == BE_OK; first += together) {
        size_t count = 3 - first < together ? 3 - first : together;
        status = read_channels(self, number, first, count, memory, error);
        for (size_t i = 0; i < pixels * count && status == BE_OK; i++)
            image->rgb[i / count * 3 + first + i % count] = ((const uint8_t *)memory)[i];
    }
    free(memory);
    return status;
}

static be_status read_picture(be_hdf5_images *self, size_t number, be_image *image, be_error *error)
{
    if (number >= self->shape[0])
        return be_fail(error, BE_ERROR_NOT_FOUND, "%s: there is no picture %zu; the last of the %zu is %zu", self->label, number,
                       self->shape[0], self->shape[0] - 1);
    be_status status = self->chunked ? check_chunks(self, number, error) : BE_OK;
    if (status == BE_OK)
        status = be_image_create(self->shape[2], self->shape[1], image, error);
    if (status != BE_OK)
        return status;
    if (self->chunked && self->chunks.n_filters == 0 && self->chunks.shape[3] < 3)
        status = read_lots(self, number, self->chunks.shape[3], image, error);
    else
        status = read_channels(self, number, 0, 3, image->rgb, error);
    if (status != BE_OK)
        be_image_free(image);
    return status;
}

be_status be_hdf5_images_read(be_hdf5_images *images, size_t number, be_image *image, be_error *error)
{
    be_status status;
    H5E_BEGIN_TRY
    {
        status = read_picture(images, number, image, error);
    }
    H5E_END_TRY
    return status;
}
