#include "server/reply_gifti.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/answer/gifti.h"
#include "core/base/memory.h"

enum { NAME_SIZE = 32 };

/* What the arrays of a file are, by picture. */
typedef struct picture_list {
    char (*texts)[NAME_SIZE];
    const char **names;
    const float **vertices;
} picture_list;

static void free_pictures(picture_list *it)
{
    free(it->texts);
    free(it->names);
    free(it->vertices);
}

static be_status list_pictures(const request *it, picture_list *out, be_error *error)
{
    const be_subject_info *info = engine_subject_info(it->engine, it->query.subjects[0]);
    size_t first = it->query.hemisphere == BE_LEFT ? 0 : info->n_vertices[BE_LEFT];
    const size_t sizes[] = {sizeof *out->texts, sizeof *out->names, sizeof *out->vertices};
    void *arrays[sizeof sizes / sizeof *sizes] = {NULL};
    be_status status = BE_OK;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && status == BE_OK; i++)
        status = be_allocate(&arrays[i], it->n_images, sizes[i], "the names of pictures", error);
    *out = (picture_list){arrays[0], arrays[1], arrays[2]};
    for (size_t i = 0; i < it->n_images && status == BE_OK; i++) {
        snprintf(out->texts[i], NAME_SIZE, "image %zu", i);
        out->names[i] = out->texts[i];
        out->vertices[i] = it->images[i].outputs[0].vertices + first;
    }
    return status;
}

be_status reply_write_gifti(request *it, be_error *error)
{
    const engine_subject *subject = engine_subject_at(it->engine, it->query.subjects[0]);
    const be_surface surface = engine_subject_surface(it->engine, it->query.subjects[0]);
    const char *side = be_hemisphere_name(it->query.hemisphere);
    be_columns columns = {0};
    picture_list pictures = {0};
    unsigned char *bytes = NULL;
    be_status status = be_columns_make(&surface, it->query.space, it->query.only_some ? &it->query.only[0] : NULL,
                                       it->query.hemisphere, &columns, error);
    if (status == BE_OK)
        status = list_pictures(it, &pictures, error);
    const be_gifti file = {.surface = &surface, .space = it->query.space, .hemisphere = it->query.hemisphere, .columns = &columns,
                           .fit = it->query.fit, .by = be_provenance_of(engine_model(it->engine, subject->model)),
                           .n_images = it->n_images, .names = pictures.names, .vertices = pictures.vertices};
    if (status == BE_OK)
        status = be_gifti_make(&file, &bytes, &it->answer.size, error);
    if (status == BE_OK) {
        it->answer.bytes = (char *)bytes;
        it->answer.type = GIFTI_TYPE;
        snprintf(it->answer.split, sizeof it->answer.split, "%s=%zu", side, columns.length);
        snprintf(it->answer.file, sizeof it->answer.file, "%s.%s.func.gii", surface.info->name, side);
    }
    be_columns_free(&columns);
    free_pictures(&pictures);
    return status;
}
