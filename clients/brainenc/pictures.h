/* The pictures of a run, one after the other: PNG and JPEG files, and those in HDF5 files (.h5, .hdf5). */
#ifndef BRAINENC_TOOL_PICTURES_H
#define BRAINENC_TOOL_PICTURES_H

#include "clients/brainenc/tool.h"

typedef struct container container; /* an HDF5 file */

typedef struct run_picture {
    const char *file;   /* where it is */
    const char *name;   /* what results call it: the file, or "FILE[17]" */
    const char *dataset;/* of an HDF5 file; otherwise NULL */
    container *from;    /* the same */
    size_t number;      /* in it */
} run_picture;

typedef struct picture_list picture_list;

/* Which pictures of HDF5 files are meant. */
typedef struct picture_choice {
    const char *dataset; /* NULL: be_hdf5_images_open chooses */
    const char *images;  /* "0-999,5000": numbers and ranges, in this order; NULL: all */
    size_t max_pixels;
} picture_choice;

/* Opens the HDF5 files among `files`, which must outlive the list. BE_ERROR_ARGUMENT when `choice` says what there is no HDF5
 * file for, or in no form that is known; BE_ERROR_NOT_FOUND when a picture is not there. */
be_status picture_list_open(const file_list *files, const picture_choice *choice, picture_list **list, be_error *error);
/* NULL is allowed. */
void picture_list_close(picture_list *list);

size_t picture_list_count(const picture_list *list);
const run_picture *picture_list_at(const picture_list *list, size_t index);

/* Reads a picture of an HDF5 file; each is to be read once, for the file is closed behind its last one. From any thread.
 * *image is to be freed. */
be_status picture_list_load(picture_list *list, size_t index, be_image *image, be_error *error);
/* Reads any picture and fits it, as read_picture does a file. From any thread. */
void picture_list_read(picture_list *list, size_t index, const compute_options *options, const be_model *model, picture *out);

#endif
