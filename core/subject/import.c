#include <stdlib.h>

#include "core/files/atomic_file.h"
#include "core/subject/import_job.h"
#include "core/subject/subject_format.h"

/* Writes under a temporary name, inspects the result as a check, and only then gives it its own. */
static be_status write_checked(be_import_job *self)
{
    be_text_pair metadata[] = {{"format", "pt"}, {BE_SUBJECT_METADATA_KEY, self->metadata}};
    be_atomic_file *file;
    be_subject *subject;
    be_status status = be_atomic_file_create(self->options->output, &file, self->error);
    if (status != BE_OK)
        return status;
    const char *path = be_atomic_file_temporary(file);
    status = be_safetensors_stream(path, self->tensors, self->n_tensors, &(be_tensor_reader){be_import_read_tensor, self}, metadata,
                                   2, self->error);
    if (status == BE_OK)
        status = be_subject_inspect(path, &subject, self->error);
    if (status != BE_OK) {
        be_atomic_file_discard(file);
        return status;
    }
    be_subject_close(subject);
    return be_atomic_file_commit(file, self->error);
}

static void clean_up(be_import_job *self)
{
    for (size_t i = 0; i < self->n_model_tensors; i++)
        free(self->model_tensors[i].name);
    for (size_t m = 0; m < self->n_sources; m++)
        be_tensor_file_close(self->sources[m].file);
    for (int h = BE_LEFT; h < BE_HEMISPHERES; h++) {
        free(self->masks[h]);
        free(self->validation[h]);
        free(self->ncsnr[h]);
    }
    free(self->sources);
    free(self->model_tensors);
    free(self->tensors);
    free(self->metadata);
    be_algonauts_free(&self->data);
}

be_status be_subject_import(const be_import_options *options, be_error *error)
{
    be_import_job self = {.options = options, .error = error};
    be_status status = be_import_sources(&self);
    if (status == BE_OK)
        status = be_import_scores(&self);
    if (status == BE_OK)
        status = be_import_tensors(&self);
    if (status == BE_OK)
        status = be_import_metadata(&self);
    if (status == BE_OK)
        status = write_checked(&self);
    clean_up(&self);
    return status;
}
