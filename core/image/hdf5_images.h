/* Pictures in bulk: an HDF5 file that holds them in one dataset of uint8 [pictures][height][width][3], RGB, as NSD's
 * nsd_stimuli.hdf5 does; contiguous or in chunks, with the filters deflate, shuffle and fletcher32 or none.
 *
 * A file may be hostile: what a dataset claims is held against the file's size before memory is allocated, other files that it
 * names (external links and storage, virtual datasets) are never opened, and no plugin is ever loaded. What remains is libhdf5's
 * own reading of a file's structure: 1.10.8 does not survive every damage to it.
 * libhdf5 has one state for the whole process: of all calls of these functions, whatever the file, one at a time. A program that
 * calls none of them need not be linked with it.
 */
#ifndef BRAINENC_IMAGE_HDF5_IMAGES_H
#define BRAINENC_IMAGE_HDF5_IMAGES_H

#include "core/image/image.h"

/* The dataset's name in NSD's file. */
#define BE_HDF5_DATASET "imgBrick"

typedef struct be_hdf5_images be_hdf5_images;

/* Opens the dataset `dataset` ("name", or "group/name"); NULL: BE_HDF5_DATASET, or, where the file has none of that name, the
 * one dataset of pictures at its top level. BE_ERROR_NOT_FOUND when there is no such file or dataset, or no single one (the
 * sentence lists what there is), BE_ERROR_LIMIT when the pictures have more than `max_pixels` pixels or the packed chunks that
 * hold one more than 1 GiB, BE_ERROR_UNSUPPORTED when the dataset holds anything else or is kept in another way than above. On
 * success *images is to be closed with be_hdf5_images_close. */
be_status be_hdf5_images_open(const char *path, const char *dataset, size_t max_pixels, be_hdf5_images **images, be_error *error);
/* NULL is allowed. */
void be_hdf5_images_close(be_hdf5_images *images);

/* At least 1. */
size_t be_hdf5_images_count(const be_hdf5_images *images);
/* Pixels of each picture. */
void be_hdf5_images_size(const be_hdf5_images *images, size_t *width, size_t *height);
/* The name of the dataset that was opened; good until `images` is closed. */
const char *be_hdf5_images_dataset(const be_hdf5_images *images);

/* Reads picture `number`, counted from 0; *image is a new one. Pictures are cheapest in their order: packed chunks that hold
 * several are kept until all of these have been read. BE_ERROR_NOT_FOUND past the last one; BE_ERROR_FORMAT when it is damaged or,
 * its chunk missing in the file, was never written. */
be_status be_hdf5_images_read(be_hdf5_images *images, size_t number, be_image *image, be_error *error);

#endif
