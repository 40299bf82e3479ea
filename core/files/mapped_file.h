/* A regular file mapped read-only into memory. */
#ifndef BRAINENC_FILES_MAPPED_FILE_H
#define BRAINENC_FILES_MAPPED_FILE_H

#include <stddef.h>

#include "core/base/error.h"

typedef struct be_mapped_file {
    const unsigned char *bytes; /* NULL when the file is empty */
    size_t size;
} be_mapped_file;

/* Maps `path`. BE_ERROR_NOT_FOUND when there is none, BE_ERROR_UNSUPPORTED when it is a folder, BE_ERROR_IO when it
 * cannot be read or is no regular file. */
be_status be_mapped_file_open(const char *path, be_mapped_file *file, be_error *error);
/* Lets go of the memory of these bytes, which were read and will hardly be again; they stay readable. */
void be_mapped_file_release(const unsigned char *bytes, size_t size);
/* Unmaps and clears *file; safe on a zeroed one. */
void be_mapped_file_close(be_mapped_file *file);

#endif
