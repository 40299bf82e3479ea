/* Predictions as GIFTI files, one a hemisphere. They hold all pictures' arrays at once, so that nothing is written before the
 * end. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/brainenc/predict.h"
#include "core/answer/gifti.h"
#include "core/base/memory.h"
#include "core/files/atomic_file.h"

enum { PATH_SIZE = 4096 };
static const char suffix[] = ".func.gii";

/* "PREFIX.func.gii" -> "PREFIX.lh.func.gii". */
static be_status make_path(const predict_job *self, be_hemisphere hemisphere, char path[PATH_SIZE], be_error *error)
{
    const char *output = self->ask->output;
    int prefix = (int)(strlen(output) - strlen(suffix));
    if (snprintf(path, PATH_SIZE, "%.*s.%s%s", prefix, output, be_hemisphere_name(hemisphere), suffix) >= PATH_SIZE)
        return be_fail(error, BE_ERROR_ARGUMENT, "-o: the path is too long");
    return BE_OK;
}

be_status predict_gifti_open(const predict_job *self, be_error *error)
{
    be_status status = BE_OK;
    for (int h = BE_LEFT; h < BE_HEMISPHERES && status == BE_OK; h++) {
        char path[PATH_SIZE];
        be_atomic_file *file = NULL;
        if (self->columns[0][h].length == 0)
            return be_fail(error, BE_ERROR_ARGUMENT,
                           "--rois: '%s' has no vertex in %s, and a GIFTI file cannot be empty: take .npy or .json",
                           self->ask->rois, be_hemisphere_name((be_hemisphere)h));
        status = make_path(self, (be_hemisphere)h, path, error);
        if (status == BE_OK)
            status = be_atomic_file_create(path, &file, error);
        be_atomic_file_discard(file);
    }
    return status;
}

static size_t count_vertices(const predict_job *self)
{
    const be_subject_info *info = self->subjects[0].info;
    return info->n_vertices[BE_LEFT] + info->n_vertices[BE_RIGHT];
}

be_status predict_gifti_keep(predict_job *self, const float *vertices, be_error *error)
{
    static const float nothing = NAN;
    size_t count = count_vertices(self);
    if (vertices)
        be_text_add_bytes(&self->kept, (const char *)vertices, count * sizeof *vertices);
    for (size_t i = 0; i < count && !vertices; i++)
        be_text_add_bytes(&self->kept, (const char *)&nothing, sizeof nothing);
    return be_text_finish(&self->kept, error);
}

static be_status make_file(const predict_job *self, be_hemisphere hemisphere, unsigned char **bytes, size_t *size, be_error *error)
{
    const predict_request *ask = self->ask;
    const predict_subject *subject = &self->subjects[0];
    const be_surface surface = predict_surface(subject);
    const float *kept = (const void *)self->kept.bytes;
    size_t count = picture_list_count(ask->pictures);
    void *rows_memory = NULL, *names_memory = NULL;
    be_status status = be_allocate(&rows_memory, count, sizeof(float *), "the pictures of a GIFTI file", error);
    if (status == BE_OK)
        status = be_allocate(&names_memory, count, sizeof(char *), "the pictures of a GIFTI file", error);
    const float **rows = rows_memory;
    const char **names = names_memory;
    for (size_t i = 0; i < count && status == BE_OK; i++) {
        rows[i] = kept + i * count_vertices(self) + (hemisphere == BE_LEFT ? 0 : subject->info->n_vertices[BE_LEFT]);
        names[i] = picture_list_at(ask->pictures, i)->name;
    }
    const be_gifti file = {.surface = &surface, .space = ask->space, .hemisphere = hemisphere,
                           .columns = &self->columns[0][hemisphere],
                           .fit = ask->compute.fit, .by = subject->by, .n_images = count, .names = names, .vertices = rows};
    if (status == BE_OK)
        status = be_gifti_make(&file, bytes, size, error);
    free(rows);
    free(names);
    return status;
}

/* Writes a hemisphere's file under its temporary name. */
static be_status write_side(const predict_job *self, be_hemisphere hemisphere, be_atomic_file **file, be_error *error)
{
    char path[PATH_SIZE];
    unsigned char *bytes = NULL;
    size_t size;
    be_status status = make_path(self, hemisphere, path, error);
    if (status == BE_OK)
        status = make_file(self, hemisphere, &bytes, &size, error);
    if (status == BE_OK)
        status = be_atomic_file_create(path, file, error);
    if (status == BE_OK)
        status = be_atomic_file_write(*file, bytes, size, error);
    free(bytes);
    return status;
}

be_status predict_gifti_write(const predict_job *self, be_error *error)
{
    be_atomic_file *files[BE_HEMISPHERES] = {NULL};
    be_status status = BE_OK;
    for (int h = BE_LEFT; h < BE_HEMISPHERES && status == BE_OK; h++)
        status = write_side(self, (be_hemisphere)h, &files[h], error);
    for (int h = BE_LEFT; h < BE_HEMISPHERES; h++) {
        if (status == BE_OK)
            status = be_atomic_file_commit(files[h], error);
        else
            be_atomic_file_discard(files[h]);
    }
    return status;
}
