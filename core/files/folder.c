#include "core/files/folder.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/memory.h"

be_status be_path_join(const char *folder, const char *name, char **path, be_error *error)
{
    size_t length = strlen(folder), size = length + strlen(name) + 2;
    void *memory;
    be_status status = be_allocate(&memory, size, 1, "a path", error);
    if (status != BE_OK)
        return status;
    snprintf(memory, size, "%s%s%s", folder, length > 0 && folder[length - 1] == '/' ? "" : "/", name);
    *path = memory;
    return BE_OK;
}

be_status be_folder_open(const char *path, be_folder *folder, be_error *error)
{
    DIR *stream = opendir(path);
    if (!stream) {
        be_status status = errno == ENOENT || errno == ENOTDIR ? BE_ERROR_NOT_FOUND
                           : errno == ENOMEM ? BE_ERROR_MEMORY : BE_ERROR_IO;
        return be_fail(error, status, "%s: the folder cannot be read: %s", path, strerror(errno));
    }
    *folder = (be_folder){path, stream};
    return BE_OK;
}

be_status be_folder_next(const be_folder *folder, char **child, be_error *error)
{
    struct dirent *entry;
    struct stat info;
    *child = NULL;
    errno = 0;
    while ((entry = readdir(folder->stream))) {
        if (entry->d_name[0] != '.' && fstatat(dirfd(folder->stream), entry->d_name, &info, 0) == 0 && S_ISDIR(info.st_mode))
            return be_path_join(folder->path, entry->d_name, child, error);
        errno = 0;
    }
    if (errno != 0)
        return be_fail(error, BE_ERROR_IO, "%s: the folder cannot be read: %s", folder->path, strerror(errno));
    return BE_OK;
}

void be_folder_close(be_folder *folder)
{
    closedir(folder->stream);
}
