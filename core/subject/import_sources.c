#include "core/subject/import_job.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "core/base/memory.h"
#include "core/files/npy.h"

/* What only the checkpoint's owner knows or decides. */
static be_status read_choices(be_import_job *self)
{
    const be_import_options *options = self->options;
    be_status status = BE_OK;
    self->narrowed = options->storage && strcmp(options->storage, "bf16") == 0;
    if (options->storage && !self->narrowed && strcmp(options->storage, "f32") != 0)
        status = be_fail(self->error, BE_ERROR_ARGUMENT, "storage: '%.40s' is none of: f32, bf16", options->storage);
    if (status == BE_OK && options->class_token)
        status = be_class_token_parse(options->class_token, &self->class_token, self->error);
    if (status == BE_OK && options->streams_order)
        status = be_streams_order_parse(options->streams_order, &self->streams_order, self->error);
    if (status == BE_OK && options->name && !be_name_is_plain(options->name))
        status = be_fail(self->error, BE_ERROR_ARGUMENT,
                         "name: '%.80s' is no name for a subject (1 to %d printable bytes, no comma)",
                         options->name, BE_SUBJECT_NAME_SIZE - 1);
    return status;
}

static be_status list_sources(be_import_job *self)
{
    const be_import_options *options = self->options;
    void *memory;
    size_t count = options->checkpoint ? 1 : options->n_members;
    if (count == 0 || count > BE_MOST_MEMBERS)
        return be_fail(self->error, BE_ERROR_ARGUMENT, "an import needs from 1 to %d checkpoints, not %zu", BE_MOST_MEMBERS, count);
    be_status status = be_allocate(&memory, count, sizeof(be_import_source), "checkpoints", self->error);
    if (status != BE_OK)
        return status;
    self->sources = memory;
    self->n_sources = count;
    for (size_t m = 0; m < count; m++)
        self->sources[m].from = options->checkpoint ? (be_import_member){.checkpoint = options->checkpoint} : options->members[m];
    return BE_OK;
}

/* When the checkpoint was last changed, as far as the file system knows. */
static void note_date(be_import_source *it)
{
    struct stat info;
    struct tm day;
    if (stat(it->from.checkpoint, &info) == 0 && gmtime_r(&info.st_mtime, &day) && day.tm_year >= 0 && day.tm_year < 9999 - 1900)
        strftime(it->date, sizeof it->date, "%Y-%m-%d", &day);
}

/* How many images there were to train and to validate on. */
static be_status note_images(const be_import_job *self, be_import_source *it)
{
    be_npy npy;
    if (!it->from.indices)
        return BE_OK;
    be_status status = be_npy_read(it->from.indices, &npy, self->error);
    if (status != BE_OK)
        return status == BE_ERROR_MEMORY ? status : BE_OK;
    if (npy.n_dims == 1)
        it->images = npy.count;
    be_npy_free(&npy);
    return BE_OK;
}

static be_status open_source(be_import_job *self, be_import_source *it)
{
    be_status status = be_tensor_file_open(it->from.checkpoint, &it->file, self->error);
    if (status == BE_OK)
        status = be_checkpoint_read(it->file, &it->checkpoint, self->error);
    if (status == BE_OK)
        status = be_checkpoint_supported(&it->checkpoint, self->class_token, self->streams_order, it->from.checkpoint, self->error);
    if (status == BE_OK)
        status = be_import_check_source(self, it);
    if (status != BE_OK)
        return status;
    self->demo |= it->checkpoint.demo;
    if (!it->checkpoint.demo) /* a demo is the same on any day */
        note_date(it);
    return note_images(self, it);
}

be_status be_import_sources(be_import_job *self)
{
    be_status status = read_choices(self);
    if (status == BE_OK)
        status = list_sources(self);
    for (size_t m = 0; m < self->n_sources && status == BE_OK; m++)
        status = open_source(self, &self->sources[m]);
    if (status == BE_OK)
        status = be_import_anatomy(self);
    for (size_t m = 0; m < self->n_sources && status == BE_OK; m++) {
        be_import_source *it = &self->sources[m];
        status = be_tensor_file_hash(it->file, it->hash, self->error);
        if (status == BE_OK)
            status = be_import_check_model(self, it);
        be_tensor_file_forget(it->file);
    }
    return status;
}
