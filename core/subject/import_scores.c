#include "core/subject/import_job.h"

#include <math.h>
#include <stdlib.h>

#include "core/base/memory.h"
#include "core/files/dtype.h"
#include "core/files/npy.h"

/* --- validation ----------------------------------------------------------------------------------- */

/* One correlation a vertex out of an .npy file. */
static be_status read_scores(be_import_job *self, const char *path, be_hemisphere hemisphere, float *out)
{
    be_npy npy;
    size_t vertices = self->data.n_vertices[hemisphere];
    be_status status = be_npy_read(path, &npy, self->error);
    if (status != BE_OK)
        return status;
    if (npy.count != vertices || npy.n_dims > 2)
        status = be_fail(self->error, BE_ERROR_FORMAT, "%s: has %zu numbers for the %zu vertices of the %s hemisphere", path,
                         npy.count, vertices, be_hemisphere_name(hemisphere));
    else
        be_npy_to_f32(&npy, out);
    be_npy_free(&npy);
    return status;
}

static be_status read_validation(be_import_job *self, be_hemisphere hemisphere)
{
    size_t vertices = self->data.n_vertices[hemisphere];
    for (size_t m = 1; m < self->n_sources; m++) {
        if (!self->sources[m].from.scores[hemisphere] != !self->sources[0].from.scores[hemisphere])
            return be_fail(self->error, BE_ERROR_ARGUMENT,
                           "%s: some members have validation correlations of the %s hemisphere and some "
                           "have none", self->sources[m].from.checkpoint, be_hemisphere_name(hemisphere));
    }
    if (!self->sources[0].from.scores[hemisphere])
        return BE_OK;
    be_status status = be_allocate_floats(&self->validation[hemisphere], self->n_sources * vertices, "scores", self->error);
    for (size_t m = 0; m < self->n_sources && status == BE_OK; m++)
        status = read_scores(self, self->sources[m].from.scores[hemisphere], hemisphere,
                             self->validation[hemisphere] + m * vertices);
    return status;
}

/* --- noise ceiling -------------------------------------------------------------------------------- */

/* A ratio of standard deviations: NaN where it is unknown, else 0 or more. */
static be_status pick_ncsnr(be_import_job *self, const be_npy *npy, const char *path, be_hemisphere hemisphere, float *out)
{
    size_t size = be_dtype_size(npy->dtype);
    for (size_t v = 0; v < self->data.n_vertices[hemisphere]; v++) {
        size_t place = be_algonauts_place(&self->data, hemisphere, npy->count, v);
        be_dtype_to_f32(npy->dtype, (const unsigned char *)npy->data + place * size, 1, &out[v]);
        if (out[v] < 0 || isinf(out[v]))
            return be_fail(self->error, BE_ERROR_FORMAT, "%s: the ncsnr of vertex %zu is %g, no number from 0 on", path, v,
                           (double)out[v]);
    }
    return BE_OK;
}

static be_status read_ncsnr(be_import_job *self, be_hemisphere hemisphere)
{
    const char *path = self->options->ncsnr[hemisphere];
    be_npy npy;
    if (!path)
        return BE_OK;
    be_status status = be_npy_read(path, &npy, self->error);
    if (status != BE_OK)
        return status;
    status = be_algonauts_check_length(&self->data, hemisphere, npy.count, path, self->error);
    if (status == BE_OK)
        status = be_allocate_floats(&self->ncsnr[hemisphere], self->data.n_vertices[hemisphere], "scores", self->error);
    if (status == BE_OK)
        status = pick_ncsnr(self, &npy, path, hemisphere, self->ncsnr[hemisphere]);
    be_npy_free(&npy);
    return status;
}

be_status be_import_scores(be_import_job *self)
{
    be_status status = BE_OK;
    for (int h = BE_LEFT; h < BE_HEMISPHERES && status == BE_OK; h++) {
        status = read_validation(self, (be_hemisphere)h);
        if (status == BE_OK)
            status = read_ncsnr(self, (be_hemisphere)h);
    }
    return status;
}
