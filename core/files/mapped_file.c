#include "core/files/mapped_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static be_status map_descriptor(int descriptor, const char *path, be_mapped_file *file, be_error *error)
{
    struct stat info;
    if (fstat(descriptor, &info) != 0)
        return be_fail(error, BE_ERROR_IO, "%s: cannot be examined: %s", path, strerror(errno));
    if (S_ISDIR(info.st_mode))
        return be_fail(error, BE_ERROR_UNSUPPORTED, "%s: is a folder, not a file", path);
    if (!S_ISREG(info.st_mode))
        return be_fail(error, BE_ERROR_IO, "%s: is no regular file", path);
    if (info.st_size == 0) {
        *file = (be_mapped_file){0};
        return BE_OK;
    }
    size_t size = (size_t)info.st_size;
    void *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (bytes == MAP_FAILED && errno == ENOMEM)
        return be_fail(error, BE_ERROR_MEMORY, "%s: out of memory: %zu bytes to map the file", path, size);
    if (bytes == MAP_FAILED)
        return be_fail(error, BE_ERROR_IO, "%s: cannot be mapped: %s", path, strerror(errno));
    *file = (be_mapped_file){.bytes = bytes, .size = size};
    return BE_OK;
}

be_status be_mapped_file_open(const char *path, be_mapped_file *file, be_error *error)
{
    *file = (be_mapped_file){0};
    /* O_NONBLOCK: a pipe under this name must be refused, not waited for. */
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0 && (errno == ENOENT || errno == ENOTDIR))
        return be_fail(error, BE_ERROR_NOT_FOUND, "%s: there is no such file", path);
    if (descriptor < 0)
        return be_fail(error, BE_ERROR_IO, "%s: cannot be opened: %s", path, strerror(errno));
    be_status status = map_descriptor(descriptor, path, file, error);
    close(descriptor);
    return status;
}

void be_mapped_file_release(const unsigned char *bytes, size_t size)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), start = (uintptr_t)bytes, end = start + size;
    start = (start + page - 1) / page * page;
    end = end / page * page;
    if (start < end) /* advice: if it is not taken, nothing is lost but memory */
        (void)madvise((void *)start, end - start, MADV_DONTNEED);
}

void be_mapped_file_close(be_mapped_file *file)
{
    if (file->bytes)
        munmap((void *)(uintptr_t)file->bytes, file->size);
    *file = (be_mapped_file){0};
}
