/* A file that appears whole or not at all: written under a temporary name in the same folder, synced, renamed. */
#ifndef BRAINENC_FILES_ATOMIC_FILE_H
#define BRAINENC_FILES_ATOMIC_FILE_H

#include <stddef.h>

#include "core/base/error.h"

typedef struct be_atomic_file be_atomic_file;

/* Starts a file that will be `path`. Mode 0644 less the umask. */
be_status be_atomic_file_create(const char *path, be_atomic_file **file, be_error *error);
/* Appends. After an error the only useful call is be_atomic_file_discard. */
be_status be_atomic_file_write(be_atomic_file *file, const void *bytes, size_t size, be_error *error);
/* The name of the temporary file, for a library that writes by name itself; it may replace the file of that name. */
const char *be_atomic_file_temporary(const be_atomic_file *file);
/* fsync, then be_rename_durably to `path`; frees `file` whatever happens. On error `path` is as it was and the
 * temporary file is gone. */
be_status be_atomic_file_commit(be_atomic_file *file, be_error *error);
/* Removes the temporary file and frees; NULL is allowed. */
void be_atomic_file_discard(be_atomic_file *file);

/* Renames a file whose content is safe, and makes safe that it has the new name: `from` and `to` lie in one folder. On error
 * both are as they were. */
be_status be_rename_durably(const char *from, const char *to, be_error *error);

/* The whole of `bytes` as the file `path`. */
be_status be_atomic_file_save(const char *path, const void *bytes, size_t size, be_error *error);

#endif
