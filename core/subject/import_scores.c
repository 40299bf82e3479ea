#include "core/subject/import_job.h"

#include <stdlib.h>

#include "core/base/memory.h"
#include "core/files/npy.h"

/* One number a vertex out of an .npy file. */
static be_status read_scores(be_import_job *self, const char *path, be_hemisphere hemisphere, float *out)
{
    be_npy npy;
    size_t vertices = self->data.n_vertices[hemisphere];
    be_status status = be_npy_read(path, &npy, self->error);
    if (status != BE_OK)
        return status;
    if (npy.count != vertices || npy.n_dims > 2)
        status = be_fail(self->error, BE_ERROR_FORMAT, "%s: has %zu numbers for the %zu vertices of the %s hemisphere", path, npy.count,
                         vertices, be_hemisphere_name(hemisphere));
    else
        be_npy_to_f32(&npy, out);
    be_npy_free(&npy);
    return status;
}

static be_status read_all_scores(be_import_job *self, be_hemisphere hemisphere)
{
    size_t vertices = self->data.n_vertices[hemisphere];
    const char *ncsnr = self->options->ncsnr[hemisphere];
    void *memory;
    be_status status = BE_OK;
    for (size_t m = 1; m < self->n_sources; m++) {
        if (!self->sources[m].from.scores[hemisphere] != !self->sources[0].from.scores[hemisphere])
            return be_fail(self->error, BE_ERROR_ARGUMENT, "%s: some members have validation correlations of the %s hemisphere and some "
                           "have none", self->sources[m].from.checkpoint, be_hemisphere_name(hemisphere));
    }
    if (self->sources[0].from.scores[hemisphere]) {
        status = be_allocate(&memory, self->n_sources * vertices, sizeof(float), "scores", self->error);
        if (status == BE_OK)
            self->validation[hemisphere] = memory;
    }
    for (size_t m = 0; self->validation[hemisphere] && m < self->n_sources && status == BE_OK; m++)
        status = read_scores(self, self->sources[m].from.scores[hemisphere], hemisphere, self->validation[hemisphere] + m * vertices);
    if (status != BE_OK || !ncsnr)
        return status;
    status = be_allocate(&memory, vertices, sizeof(float), "scores", self->error);
    if (status != BE_OK)
        return status;
    self->ncsnr[hemisphere] = memory;
    return read_scores(self, ncsnr, hemisphere, memory);
}

be_status be_import_scores(be_import_job *self)
{
    be_status status = BE_OK;
    for (int h = BE_LEFT; h < BE_HEMISPHERES && status == BE_OK; h++)
        status = read_all_scores(self, (be_hemisphere)h);
    return status;
}
