/* The folders in a folder, one after the other. */
#ifndef BRAINENC_FILES_FOLDER_H
#define BRAINENC_FILES_FOLDER_H

#include <dirent.h>

#include "core/base/error.h"

typedef struct be_folder {
    const char *path; /* the caller's */
    DIR *stream;
} be_folder;

/* Opens it for reading. BE_ERROR_NOT_FOUND when there is none, BE_ERROR_IO when it cannot be read. */
be_status be_folder_open(const char *path, be_folder *folder, be_error *error);
/* *child = the path of the next folder in it, in no order, to be freed with free(); NULL at the end. Links to folders count, hidden
 * ones (".name") do not. */
be_status be_folder_next(const be_folder *folder, char **child, be_error *error);
void be_folder_close(be_folder *folder);

/* *path = folder/name, to be freed with free(). */
be_status be_path_join(const char *folder, const char *name, char **path, be_error *error);

#endif
