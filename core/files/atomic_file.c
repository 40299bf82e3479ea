#include "core/files/atomic_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/memory.h"

enum { MAX_ATTEMPTS = 1000, SUFFIX_SIZE = 48 };

struct be_atomic_file {
    char *path;
    char *temporary;
    int descriptor; /* of the temporary file */
};

static void release(be_atomic_file *file)
{
    if (file->descriptor >= 0)
        close(file->descriptor);
    free(file->path);
    free(file->temporary);
    free(file);
}

/* The name is unique by O_EXCL: other writers and what a killed one left behind are stepped over. */
static be_status open_temporary(be_atomic_file *file, be_error *error)
{
    size_t size = strlen(file->path) + SUFFIX_SIZE;
    void *memory;
    be_status status = be_allocate(&memory, size, 1, "a file name", error);
    if (status != BE_OK)
        return status;
    file->temporary = memory;
    for (int attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
        snprintf(file->temporary, size, "%s.part-%ld-%d", file->path, (long)getpid(), attempt);
        file->descriptor = open(file->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (file->descriptor >= 0)
            return BE_OK;
        if (errno != EEXIST)
            break;
    }
    return be_fail(error, BE_ERROR_IO, "%s: cannot create a temporary file beside it: %s", file->path,
                   strerror(errno));
}

be_status be_atomic_file_create(const char *path, be_atomic_file **out, be_error *error)
{
    /* A rename would put a plain file in the place of a device or a pipe. */
    struct stat info;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return be_fail(error, BE_ERROR_IO, "%s: is there already and no regular file", path);
    void *memory;
    be_status status = be_allocate(&memory, 1, sizeof(be_atomic_file), "a file being written", error);
    if (status != BE_OK)
        return status;
    be_atomic_file *file = memory;
    file->descriptor = -1;
    status = be_copy_text(&file->path, path, error);
    if (status == BE_OK)
        status = open_temporary(file, error);
    if (status == BE_OK)
        *out = file;
    else
        release(file);
    return status;
}

be_status be_atomic_file_write(be_atomic_file *file, const void *bytes, size_t size, be_error *error)
{
    const unsigned char *next = bytes;
    while (size > 0) {
        ssize_t written = write(file->descriptor, next, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return be_fail(error, BE_ERROR_IO, "%s: cannot be written: %s", file->path, strerror(errno));
        next += written;
        size -= (size_t)written;
    }
    return BE_OK;
}

const char *be_atomic_file_temporary(const be_atomic_file *file)
{
    return file->temporary;
}

/* By name: a library may have put another file in the place of the one that was opened. */
static bool sync_temporary(const be_atomic_file *file)
{
    int descriptor = open(file->temporary, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return false;
    bool synced = fsync(descriptor) == 0;
    int reason = errno;
    close(descriptor);
    errno = reason;
    return synced;
}

/* Where the names of a folder can be made safe: -1 when its files may be written but it may not be read. */
static be_status open_folder(const char *path, int *descriptor, be_error *error)
{
    char *folder;
    be_status status = be_copy_text(&folder, path, error);
    if (status != BE_OK)
        return status;
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = '\0'; /* the root keeps its slash */
    *descriptor = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*descriptor < 0 && errno != EACCES)
        status = be_fail(error, BE_ERROR_IO, "%s: cannot open its folder: %s", path, strerror(errno));
    free(folder);
    return status;
}

be_status be_rename_durably(const char *from, const char *to, be_error *error)
{
    int folder; /* opened before the rename, so that nothing can fail after it */
    be_status status = open_folder(to, &folder, error);
    if (status != BE_OK)
        return status;
    if (rename(from, to) != 0)
        status = be_fail(error, BE_ERROR_IO, "%s: cannot be put in place: %s", to, strerror(errno));
    if (folder >= 0) {
        /* Some file systems refuse to sync a folder; the new file is in place and whole all the same. */
        (void)fsync(folder);
        close(folder);
    }
    return status;
}

be_status be_atomic_file_commit(be_atomic_file *file, be_error *error)
{
    be_status status = BE_OK;
    if (!sync_temporary(file))
        status = be_fail(error, BE_ERROR_IO, "%s: cannot be brought to the disk: %s", file->path, strerror(errno));
    if (status == BE_OK)
        status = be_rename_durably(file->temporary, file->path, error);
    if (status == BE_OK)
        release(file);
    else
        be_atomic_file_discard(file);
    return status;
}

void be_atomic_file_discard(be_atomic_file *file)
{
    if (!file)
        return;
    unlink(file->temporary);
    release(file);
}

be_status be_atomic_file_save(const char *path, const void *bytes, size_t size, be_error *error)
{
    be_atomic_file *file = NULL;
    be_status status = be_atomic_file_create(path, &file, error);
    if (status != BE_OK)
        return status;
    status = be_atomic_file_write(file, bytes, size, error);
    if (status == BE_OK)
        return be_atomic_file_commit(file, error);
    be_atomic_file_discard(file);
    return status;
}
