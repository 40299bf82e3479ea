#include "clients/brainenc/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/files/atomic_file.h"
#include "core/files/mapped_file.h"

enum { PATH_SIZE = 4096 };
static const double seconds_between_saves = 5;

struct stream {
    int descriptor;
    char path[PATH_SIZE], partial[PATH_SIZE], journal[PATH_SIZE];
    char run[BE_HASH_SIZE];
    size_t done, offset; /* images and bytes in OUT.partial */
    double saved;        /* when the journal was written */
    be_text failures;
    size_t n_failures;
};

static be_status fail_io(const char *path, const char *what, be_error *error)
{
    return be_fail(error, BE_ERROR_IO, "%s: cannot be %s: %s", path, what, strerror(errno));
}

static be_status write_all(stream *self, const char *bytes, size_t size, be_error *error)
{
    for (size_t written = 0; written < size;) {
        ssize_t step = write(self->descriptor, bytes + written, size - written);
        if (step < 0 && errno == EINTR)
            continue;
        if (step <= 0)
            return fail_io(self->partial, "written", error);
        written += (size_t)step;
    }
    self->offset += size;
    return BE_OK;
}

/* Results first, then the journal that promises them. */
static be_status save(stream *self, be_error *error)
{
    be_text text = {0};
    if (fdatasync(self->descriptor) != 0)
        return fail_io(self->partial, "written", error);
    be_text_add_format(&text, "{\"run\":\"%s\",\"done\":%zu,\"offset\":%zu,\"failed\":[", self->run, self->done, self->offset);
    be_text_add(&text, stream_failures(self));
    be_text_add(&text, "]}\n");
    be_status status = be_text_finish(&text, error);
    if (status == BE_OK)
        status = be_atomic_file_save(self->journal, text.bytes, text.length, error);
    free(text.bytes);
    self->saved = be_clock();
    return status;
}

/* --- an earlier run ------------------------------------------------------------------------------- */

static bool get_count(const cJSON *root, const char *key, size_t *out)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(root, key);
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble < 9e15))
        return false;
    *out = (size_t)item->valuedouble;
    return true;
}

static be_status take_failures(stream *self, const cJSON *list, be_error *error)
{
    const cJSON *item;
    be_status status = BE_OK;
    cJSON_ArrayForEach(item, list) {
        const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "image"));
        const char *message = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "error"));
        if (name && message && status == BE_OK)
            status = stream_note_failure(self, name, message, error);
    }
    return status;
}

/* Reads the journal of an unfinished run and goes on after what it promises. */
static be_status resume(stream *self, const be_mapped_file *file, off_t size, be_error *error)
{
    cJSON *root = cJSON_ParseWithLength((const char *)file->bytes, file->size);
    const char *run = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(root, "run"));
    be_status status;
    if (!run || !get_count(root, "done", &self->done) || !get_count(root, "offset", &self->offset) ||
        self->offset > (size_t)size)
        status = be_fail(error, BE_ERROR_FORMAT, "%s: is damaged; --restart begins anew", self->journal);
    else if (strcmp(run, self->run) != 0)
        status = be_fail(error, BE_ERROR_ARGUMENT,
                         "%s: is of a run with other images, weights or options; --restart throws it away", self->partial);
    else if (ftruncate(self->descriptor, (off_t)self->offset) != 0 ||
             lseek(self->descriptor, (off_t)self->offset, SEEK_SET) < 0)
        status = fail_io(self->partial, "cut", error);
    else
        status = take_failures(self, cJSON_GetObjectItemCaseSensitive(root, "failed"), error);
    cJSON_Delete(root);
    return status;
}

static be_status begin(stream *self, const void *head, size_t head_size, be_error *error)
{
    if (ftruncate(self->descriptor, 0) != 0)
        return fail_io(self->partial, "cut", error);
    be_status status = write_all(self, head, head_size, error);
    return status == BE_OK ? save(self, error) : status;
}

static be_status begin_or_resume(stream *self, bool restart, const void *head, size_t head_size, be_error *error)
{
    struct stat info;
    be_mapped_file journal;
    if (fstat(self->descriptor, &info) != 0)
        return fail_io(self->partial, "read", error);
    if (restart || info.st_size == 0)
        return begin(self, head, head_size, error);
    be_status status = be_mapped_file_open(self->journal, &journal, error);
    if (status == BE_ERROR_NOT_FOUND)
        return begin(self, head, head_size, error);
    if (status == BE_OK) {
        status = resume(self, &journal, info.st_size, error);
        be_mapped_file_close(&journal);
    }
    return status;
}

/* --- opening and closing -------------------------------------------------------------------------- */

static be_status open_locked(stream *self, be_error *error)
{
    self->descriptor = open(self->partial, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (self->descriptor < 0)
        return fail_io(self->partial, "opened", error);
    if (flock(self->descriptor, LOCK_EX | LOCK_NB) != 0)
        return be_fail(error, BE_ERROR_IO, "%s: another process is writing it", self->partial);
    return BE_OK;
}

static void free_stream(stream *self)
{
    if (self->descriptor >= 0)
        close(self->descriptor);
    free(self->failures.bytes);
    free(self);
}

be_status stream_open(const char *path, const char run[BE_HASH_SIZE], bool restart, const void *head, size_t head_size,
                      stream **out, size_t *done, be_error *error)
{
    void *memory;
    if (strlen(path) + sizeof ".partial" > PATH_SIZE)
        return be_fail(error, BE_ERROR_ARGUMENT, "%.200s...: the path is too long", path);
    be_status status = be_allocate(&memory, 1, sizeof(stream), "the results' state", error);
    if (status != BE_OK)
        return status;
    stream *self = memory;
    self->descriptor = -1;
    snprintf(self->path, sizeof self->path, "%s", path);
    snprintf(self->partial, sizeof self->partial, "%.*s.partial", PATH_SIZE - 9, path);
    snprintf(self->journal, sizeof self->journal, "%.*s.resume", PATH_SIZE - 9, path);
    snprintf(self->run, sizeof self->run, "%s", run);
    status = open_locked(self, error);
    if (status == BE_OK)
        status = begin_or_resume(self, restart, head, head_size, error);
    if (status != BE_OK) {
        free_stream(self);
        return status;
    }
    *out = self;
    *done = self->done;
    return BE_OK;
}

const char *stream_failures(const stream *self)
{
    return self->failures.bytes ? self->failures.bytes : "";
}

size_t stream_n_failures(const stream *self)
{
    return self->n_failures;
}

be_status stream_note_failure(stream *self, const char *name, const char *message, be_error *error)
{
    be_text_add(&self->failures, self->n_failures ? ",{\"image\":" : "{\"image\":");
    be_text_add_json_string(&self->failures, name);
    be_text_add(&self->failures, ",\"error\":");
    be_text_add_json_string(&self->failures, message);
    be_text_add(&self->failures, "}");
    self->n_failures++;
    return be_text_finish(&self->failures, error);
}

be_status stream_append(stream *self, const void *bytes, size_t size, size_t done, be_error *error)
{
    be_status status = write_all(self, bytes, size, error);
    if (status != BE_OK)
        return status;
    self->done = done;
    return be_clock() - self->saved >= seconds_between_saves ? save(self, error) : BE_OK;
}

be_status stream_finish(stream *self, const void *tail, size_t tail_size, be_error *error)
{
    be_status status = write_all(self, tail, tail_size, error);
    if (status == BE_OK && fsync(self->descriptor) != 0)
        status = fail_io(self->partial, "written", error);
    if (status == BE_OK && rename(self->partial, self->path) != 0)
        status = fail_io(self->path, "written", error);
    if (status == BE_OK)
        unlink(self->journal);
    free_stream(self);
    return status;
}

void stream_close(stream *self)
{
    if (!self)
        return;
    save(self, NULL);
    free_stream(self);
}
