/* Private to this folder: what the datasets of an HDF5 file are, before any number of theirs is read. To be called with libhdf5's
 * printing of errors off. */
#ifndef BRAINENC_IMAGE_HDF5_DATASET_H
#define BRAINENC_IMAGE_HDF5_DATASET_H

#include <hdf5.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/base/error.h"

enum { BE_HDF5_TYPE_SIZE = 24, BE_HDF5_DIMS = 4 };

typedef struct be_hdf5_dataset {
    char type[BE_HDF5_TYPE_SIZE]; /* "uint8", "float32", "string", ... */
    bool elsewhere;               /* its numbers are in other files: the shape is not known then */
    size_t rank;
    hsize_t shape[H5S_MAX_RANK];  /* [rank] */
} be_hdf5_dataset;

/* The failure of the last call of libhdf5, in its own words: "NAME: WHAT: REASON". BE_ERROR_FORMAT; BE_ERROR_MEMORY or
 * BE_ERROR_IO where that was the reason. */
be_status be_hdf5_fail(be_error *error, const char *name, const char *what);

/* Examines an open dataset; false when libhdf5 fails. */
bool be_hdf5_examine(hid_t dataset, be_hdf5_dataset *about);
/* "uint8 [10][32][32][3]", cut to `size`. */
void be_hdf5_describe(const be_hdf5_dataset *about, char *text, size_t size);
/* uint8 [pictures][height][width][3], none of them 0. */
bool be_hdf5_is_pictures(const be_hdf5_dataset *about);

/* Whether every part of the path `name` is a part of this very file: soft and external links lead elsewhere. BE_ERROR_NOT_FOUND
 * naming the part that is not there and what is, BE_ERROR_UNSUPPORTED the one that is such a link. `path` is the file's. */
be_status be_hdf5_check_path(hid_t file, const char *path, const char *name, be_error *error);

/* *name is BE_HDF5_DATASET when the file has it, otherwise its one dataset of pictures at top level, as be_hdf5_images_open
 * says; to be freed. */
be_status be_hdf5_choose(hid_t file, const char *path, char **name, be_error *error);

#endif
