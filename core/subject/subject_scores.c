#include "core/subject/subject_opening.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/memory.h"
#include "core/subject/member_weights.h"

/* The float32 tensor stem + "lh" or "rh" of `rows` numbers a vertex, where there is one. */
static be_status read_scores(be_opening *self, const char *stem, be_hemisphere hemisphere, size_t rows, float **out)
{
    size_t count = rows * self->subject->info.n_vertices[hemisphere];
    const be_tensor *tensor;
    char name[32];
    snprintf(name, sizeof name, "%s%s", stem, be_hemisphere_name(hemisphere));
    tensor = be_tensor_file_find(self->file, name);
    if (!tensor)
        return BE_OK;
    if (tensor->dtype != BE_DTYPE_F32 || tensor->count != count)
        return be_fail(self->error, BE_ERROR_FORMAT, "%s: tensor '%s' is not float32 [%zu][%zu]", self->path, name, rows,
                       self->subject->info.n_vertices[hemisphere]);
    be_status status = be_allocate_floats(out, count, "scores", self->error);
    return status == BE_OK ? be_tensor_file_read_f32(self->file, tensor, *out, self->error) : status;
}

be_status be_opening_read_scores(be_opening *self)
{
    be_subject *subject = self->subject;
    be_status status = BE_OK;
    for (int h = BE_LEFT; h < BE_HEMISPHERES && status == BE_OK; h++) {
        status = read_scores(self, "validation.", (be_hemisphere)h, subject->info.members, &subject->validation[h]);
        if (status == BE_OK)
            status = read_scores(self, "ncsnr.", (be_hemisphere)h, 1, &subject->ncsnr[h]);
    }
    if (status != BE_OK || subject->info.members == 1)
        return status;
    if (!subject->validation[BE_LEFT] || !subject->validation[BE_RIGHT])
        return be_fail(self->error, BE_ERROR_FORMAT, "%s: an ensemble needs the tensors 'validation.lh' and 'validation.rh'",
                       self->path);
    return be_member_weights(subject->info.member, subject->info.members, subject->info.n_vertices,
                             (const float *const[]){subject->validation[BE_LEFT], subject->validation[BE_RIGHT]}, &subject->weights,
                             self->error);
}
