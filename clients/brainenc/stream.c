#include "clients/brainenc/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/answer/text.h"
#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/files/atomic_file.h"
#include "core/files/mapped_file.h"

enum { PATH_SIZE = 4096, LONGEST_SUFFIX = sizeof ".resume.new" };
static const double seconds_between_saves = 5;

struct stream {
    const stream_plan *plan;
    int descriptor;
    char partial[PATH_SIZE], journal[PATH_SIZE], new_journal[PATH_SIZE];
    char seen[BE_HASH_SIZE]; /* names, sizes and times of change of the images done, hashed */
    size_t done, offset;     /* images and bytes in OUT.partial */
    size_t n_failures;       /* of the images done */
    size_t safe;             /* images the journal promises */
    double saved;            /* when it was written */
};

static be_status fail_io(const char *path, const char *what, be_error *error)
{
    return be_fail(error, BE_ERROR_IO, "%s: cannot be %s: %s", path, what, strerror(errno));
}

static bool write_all(int descriptor, const char *bytes, size_t size)
{
    for (size_t written = 0; written < size;) {
        ssize_t step = write(descriptor, bytes + written, size - written);
        if (step < 0 && errno == EINTR)
            continue;
        if (step <= 0)
            return false;
        written += (size_t)step;
    }
    return true;
}

/* --- failures ------------------------------------------------------------------------------------- */

be_status failure_list_add(failure_list *list, const char *image, const char *message, be_error *error)
{
    if (!list->json.root) {
        list->json = be_json_begin();
        be_json_array(&list->json, list->json.root, "failed");
    }
    cJSON *failure = be_json_object(&list->json, cJSON_GetObjectItemCaseSensitive(list->json.root, "failed"), NULL);
    be_json_text(&list->json, failure, "image", image);
    be_json_text(&list->json, failure, "error", message);
    list->count++;
    return list->json.failed ? be_fail_memory(error, strlen(image) + strlen(message), "the list of failed images") : BE_OK;
}

void failure_list_write(const failure_list *list, size_t count, be_json *json)
{
    cJSON *to = be_json_array(json, json->root, "failed");
    const cJSON *item;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(list->json.root, "failed")) {
        if (count-- == 0)
            return;
        be_json_copy(json, to, NULL, item);
    }
}

void failure_list_free(failure_list *list)
{
    be_json_discard(&list->json);
}

/* --- the journal: one line of JSON, and a line with its hash --------------------------------------- */

/* Under a fixed name beside it first, which the next run writes over should this one die here: the lock makes it ours. */
static be_status write_journal(const stream *self, const be_text *text, be_error *error)
{
    int descriptor = open(self->new_journal, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    bool good = descriptor >= 0 && write_all(descriptor, text->bytes, text->length) && fsync(descriptor) == 0;
    be_status status = good ? BE_OK : fail_io(self->journal, "written", error);
    if (descriptor >= 0)
        close(descriptor);
    return status == BE_OK ? be_rename_durably(self->new_journal, self->journal, error) : status;
}

/* Results first, then the journal that promises them. */
static be_status save(stream *self, be_error *error)
{
    char hash[BE_HASH_SIZE], *text;
    be_text journal = {0};
    if (fdatasync(self->descriptor) != 0)
        return fail_io(self->partial, "written", error);
    be_json json = be_json_begin();
    be_json_text(&json, json.root, "run", self->plan->run);
    be_json_text(&json, json.root, "seen", self->seen);
    be_json_number(&json, json.root, "done", (double)self->done);
    be_json_number(&json, json.root, "offset", (double)self->offset);
    failure_list_write(self->plan->failures, self->n_failures, &json);
    be_status status = be_json_print(&json, &text, error);
    if (status != BE_OK)
        return status;
    be_text_add(&journal, text);
    be_text_add(&journal, "\n");
    free(text);
    status = be_text_finish(&journal, error);
    if (status == BE_OK)
        status = be_hash_bytes(journal.bytes, journal.length, hash, error);
    if (status == BE_OK) {
        be_text_add_format(&journal, "%s\n", hash);
        status = be_text_finish(&journal, error);
    }
    if (status == BE_OK)
        status = write_journal(self, &journal, error);
    free(journal.bytes);
    self->saved = be_clock();
    if (status == BE_OK)
        self->safe = self->done;
    return status;
}

/* The JSON of a journal; *root is NULL when its hash does not fit. */
static be_status parse_journal(const be_mapped_file *file, const char *path, cJSON **root, be_error *error)
{
    char hash[BE_HASH_SIZE];
    const char *bytes = (const char *)file->bytes;
    *root = NULL;
    if (file->size <= BE_HASH_SIZE)
        return BE_OK;
    size_t size = file->size - BE_HASH_SIZE; /* the hash and its newline are as long as the hash and its 0 */
    be_status status = be_hash_bytes(bytes, size, hash, error);
    if (status != BE_OK || memcmp(bytes + size, hash, BE_HASH_SIZE - 1) != 0 || bytes[file->size - 1] != '\n')
        return status;
    return be_json_parse(bytes, size, path, root, error);
}

/* --- an unfinished run ---------------------------------------------------------------------------- */

/* Takes the images from number self->done up to `done` into the hash of those seen. */
static be_status see_images(stream *self, size_t done, be_error *error)
{
    char seen[BE_HASH_SIZE];
    be_status status = BE_OK;
    memcpy(seen, self->seen, sizeof seen);
    for (size_t i = self->done; i < done && status == BE_OK; i++) {
        const char *file = picture_list_at(self->plan->pictures, i)->file;
        struct stat info = {0};
        be_text text = {0};
        stat(file, &info);
        be_text_add_format(&text, "%s %lld %lld.%09ld ", seen, (long long)info.st_size, (long long)info.st_mtim.tv_sec,
                           (long)info.st_mtim.tv_nsec);
        be_text_add(&text, file);
        status = be_text_finish(&text, error);
        if (status == BE_OK)
            status = be_hash_bytes(text.bytes, text.length, seen, error);
        free(text.bytes);
    }
    if (status != BE_OK)
        return status;
    memcpy(self->seen, seen, sizeof seen);
    self->done = done;
    return BE_OK;
}

static bool get_count(const cJSON *root, const char *key, size_t largest, size_t *out)
{
    return be_json_get_size(cJSON_GetObjectItemCaseSensitive(root, key), out) && *out <= largest;
}

static be_status take_failures(stream *self, const cJSON *list, be_error *error)
{
    const cJSON *item;
    be_status status = BE_OK;
    cJSON_ArrayForEach(item, list) {
        const char *image = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "image"));
        const char *message = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "error"));
        if (image && message && status == BE_OK)
            status = failure_list_add(self->plan->failures, image, message, error);
    }
    self->n_failures = self->plan->failures->count;
    return status;
}

static be_status begin(stream *self, be_error *error)
{
    unlink(self->journal); /* before what it promises goes */
    be_status status = BE_OK;
    if (ftruncate(self->descriptor, 0) != 0 || !write_all(self->descriptor, self->plan->head, self->plan->head_size))
        status = fail_io(self->partial, "written", error);
    self->offset = self->plan->head_size;
    if (status == BE_OK)
        status = save(self, error);
    if (status != BE_OK)
        unlink(self->partial);
    return status;
}

/* Goes on after what the journal promises; with a promise of nothing, from the beginning. */
static be_status resume(stream *self, const cJSON *root, size_t size, be_error *error)
{
    const char *run = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(root, "run"));
    const char *seen = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(root, "seen"));
    size_t done, offset;
    if (!run || !seen || !get_count(root, "done", SIZE_MAX >> 12, &done) || !get_count(root, "offset", size, &offset))
        return be_fail(error, BE_ERROR_FORMAT, "%s: is damaged; --restart begins anew", self->journal);
    if (done == 0)
        return begin(self, error);
    if (strcmp(run, self->plan->run) != 0 || done > picture_list_count(self->plan->pictures))
        return be_fail(error, BE_ERROR_ARGUMENT, "%s: is of a run with other images, weights or options; --restart throws it away",
                       self->partial);
    be_status status = see_images(self, done, error);
    if (status != BE_OK)
        return status;
    if (strcmp(seen, self->seen) != 0)
        return be_fail(error, BE_ERROR_ARGUMENT,
                       "%s: one of the %zu images it has results of has changed; --restart throws it away", self->partial, done);
    if (ftruncate(self->descriptor, (off_t)offset) != 0 || lseek(self->descriptor, (off_t)offset, SEEK_SET) < 0)
        return fail_io(self->partial, "cut", error);
    self->offset = offset;
    self->safe = done;
    return take_failures(self, cJSON_GetObjectItemCaseSensitive(root, "failed"), error);
}

static be_status begin_or_resume(stream *self, be_error *error)
{
    struct stat info;
    be_mapped_file journal;
    if (fstat(self->descriptor, &info) != 0)
        return fail_io(self->partial, "read", error);
    if (self->plan->restart || info.st_size == 0)
        return begin(self, error);
    be_status status = be_mapped_file_open(self->journal, &journal, error);
    if (status == BE_ERROR_NOT_FOUND)
        return begin(self, error);
    if (status != BE_OK)
        return status;
    cJSON *root;
    status = parse_journal(&journal, self->journal, &root, error);
    be_mapped_file_close(&journal);
    if (status != BE_OK)
        return status;
    status = resume(self, root, (size_t)info.st_size, error);
    cJSON_Delete(root);
    return status;
}

/* --- opening and closing -------------------------------------------------------------------------- */

/* Opens and locks OUT.partial. A process that ends in between takes the file with it: then once more. */
static be_status open_locked(stream *self, be_error *error)
{
    for (;;) {
        struct stat mine, there;
        self->descriptor = open(self->partial, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (self->descriptor < 0)
            return fail_io(self->partial, "opened", error);
        if (flock(self->descriptor, LOCK_EX | LOCK_NB) != 0)
            return errno == EWOULDBLOCK ? be_fail(error, BE_ERROR_IO, "%s: another process is writing it", self->partial)
                                        : fail_io(self->partial, "locked", error);
        if (fstat(self->descriptor, &mine) == 0 && stat(self->partial, &there) == 0 && mine.st_ino == there.st_ino &&
            mine.st_dev == there.st_dev)
            return BE_OK;
        close(self->descriptor);
    }
}

static void free_stream(stream *self)
{
    if (self->descriptor >= 0)
        close(self->descriptor);
    free(self);
}

be_status stream_open(const stream_plan *plan, stream **out, size_t *done, be_error *error)
{
    void *memory;
    struct stat info;
    if (strlen(plan->path) + LONGEST_SUFFIX > PATH_SIZE)
        return be_fail(error, BE_ERROR_ARGUMENT, "%.200s...: the path is too long", plan->path);
    if (stat(plan->path, &info) == 0 && !S_ISREG(info.st_mode))
        return be_fail(error, BE_ERROR_IO, "%s: is there already and no regular file", plan->path);
    be_status status = be_allocate(&memory, 1, sizeof(stream), "the results' state", error);
    if (status != BE_OK)
        return status;
    stream *self = memory;
    const int longest = PATH_SIZE - LONGEST_SUFFIX;
    *self = (stream){.plan = plan, .descriptor = -1};
    snprintf(self->partial, sizeof self->partial, "%.*s.partial", longest, plan->path);
    snprintf(self->journal, sizeof self->journal, "%.*s.resume", longest, plan->path);
    snprintf(self->new_journal, sizeof self->new_journal, "%.*s.resume.new", longest, plan->path);
    status = open_locked(self, error);
    if (status == BE_OK)
        status = begin_or_resume(self, error);
    if (status != BE_OK) {
        free_stream(self);
        return status;
    }
    *out = self;
    *done = self->done;
    return BE_OK;
}

be_status stream_append(stream *self, const void *bytes, size_t size, size_t done, be_error *error)
{
    if (!write_all(self->descriptor, bytes, size))
        return fail_io(self->partial, "written", error);
    be_status status = see_images(self, done, error);
    if (status != BE_OK)
        return status;
    self->offset += size;
    self->n_failures = self->plan->failures->count;
    return be_clock() - self->saved >= seconds_between_saves ? save(self, error) : BE_OK;
}

be_status stream_finish(stream *self, const void *tail, size_t tail_size, be_error *error)
{
    be_status status = BE_OK;
    if (!write_all(self->descriptor, tail, tail_size) || fsync(self->descriptor) != 0)
        status = fail_io(self->partial, "written", error);
    if (status == BE_OK)
        status = be_rename_durably(self->partial, self->plan->path, error);
    if (status == BE_OK) {
        unlink(self->journal);
        unlink(self->new_journal);
    }
    free_stream(self);
    return status;
}

size_t stream_close(stream *self)
{
    if (!self)
        return 0;
    if (self->done > 0) {
        save(self, NULL);
    } else {
        unlink(self->journal);
        unlink(self->new_journal);
        unlink(self->partial);
    }
    size_t safe = self->safe;
    free_stream(self);
    return safe;
}
