#include "core/subject/subject.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/memory.h"
#include "core/subject/subject_opening.h"

static be_status read_all(be_opening *self)
{
    be_status status = be_opening_read_metadata(self);
    if (status == BE_OK)
        status = be_opening_read_anatomy(self);
    if (status == BE_OK)
        status = be_opening_read_scores(self);
    if (status == BE_OK)
        status = be_opening_load_weights(self);
    if (status == BE_OK)
        status = be_tensor_file_hash(self->file, self->subject->info.weights_hash, self->error);
    return status;
}

static be_status open_file(const char *path, be_precision precision, bool inspecting, be_subject **out, be_error *error)
{
    be_opening self = {.path = path, .precision = precision, .inspecting = inspecting, .error = error};
    void *memory;
    be_status status = be_tensor_file_open(path, &self.file, error);
    if (status != BE_OK)
        return status;
    status = be_allocate(&memory, 1, sizeof(be_subject), "a subject", error);
    if (status == BE_OK) {
        self.subject = memory;
        status = read_all(&self);
        cJSON_Delete(self.root);
        if (status == BE_OK)
            *out = self.subject;
        else
            be_subject_close(self.subject);
    }
    be_tensor_file_close(self.file);
    return status;
}

be_status be_subject_open(const char *path, be_precision precision, be_subject **subject, be_error *error)
{
    return open_file(path, precision, false, subject, error);
}

be_status be_subject_inspect(const char *path, be_subject **subject, be_error *error)
{
    return open_file(path, BE_PRECISION_F32, true, subject, error);
}

void be_subject_close(be_subject *subject)
{
    if (!subject)
        return;
    for (size_t m = 0; subject->members && m < subject->info.members; m++)
        be_loaded_member_free(&subject->members[m]);
    free(subject->members);
    be_readout_plan_free(&subject->plan);
    free(subject->lists.start);
    free(subject->lists.queries);
    free(subject->weights);
    free(subject->map_queries);
    free(subject->info.member);
    for (int h = BE_LEFT; h < BE_HEMISPHERES; h++) {
        free(subject->validation[h]);
        free(subject->ncsnr[h]);
    }
    be_roi_set_free(&subject->info.rois);
    free(subject->fsaverage[BE_LEFT]);
    free(subject->fsaverage[BE_RIGHT]);
    free(subject->info.units);
    free(subject->info.unverified);
    free(subject->info.training_set);
    free(subject);
}

void be_subject_rename(be_subject *subject, const char *name)
{
    snprintf(subject->info.name, sizeof subject->info.name, "%s", name);
}

const be_subject_info *be_subject_get_info(const be_subject *subject)
{
    return &subject->info;
}

const int32_t *be_subject_fsaverage(const be_subject *subject, be_hemisphere hemisphere)
{
    return subject->fsaverage[hemisphere];
}

const be_encoder *be_subject_encoder(const be_subject *subject, size_t member)
{
    return subject->members[member].encoder;
}

const be_readout *be_subject_readout(const be_subject *subject, size_t member)
{
    return subject->members[member].readout;
}

const float *be_subject_member_weights(const be_subject *subject, size_t member)
{
    size_t vertices = subject->info.n_vertices[BE_LEFT] + subject->info.n_vertices[BE_RIGHT];
    return subject->weights ? subject->weights + member * vertices : NULL;
}

const uint32_t *be_subject_map_queries(const be_subject *subject)
{
    return subject->map_queries;
}

const float *be_subject_validation(const be_subject *subject, be_hemisphere hemisphere)
{
    return subject->validation[hemisphere];
}

const float *be_subject_ncsnr(const be_subject *subject, be_hemisphere hemisphere)
{
    return subject->ncsnr[hemisphere];
}
