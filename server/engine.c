#include "server/engine.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

struct engine {
    atomic_size_t references;
    size_t n_models, n_subjects;
    be_model **models;        /* [n_models] */
    be_session **sessions;    /* [n_models] */
    engine_subject *subjects; /* [n_subjects]; names owned */
};

/* --- loading -------------------------------------------------------------------------------------- */

/* The subjects of one backbone become one model. */
static be_status open_model(engine *self, const config *from, size_t backbone, be_error *error)
{
    const config_backbone *source = &from->backbones[backbone];
    void *memory;
    size_t count = 0;
    be_status status = be_allocate(&memory, 2 * from->n_subjects, sizeof(char *), "a list of subjects", error);
    if (status != BE_OK)
        return status;
    const char **paths = memory, **names = paths + from->n_subjects;
    for (size_t i = 0; i < from->n_subjects; i++) {
        if (from->subjects[i].backbone != backbone)
            continue;
        self->subjects[i].model = self->n_models;
        self->subjects[i].subject = count;
        names[count] = from->subjects[i].name;
        paths[count++] = from->subjects[i].weights;
    }
    if (count > 0) { /* a backbone nobody reads from is not loaded */
        be_model_options options = {
            .backbone = source->weights, .subjects = paths, .n_subjects = count, .names = names,
            .backbone_options = {.heads = source->heads, .activation = source->activation, .kind = source->kind},
        };
        be_session_options session = {.threads = from->threads, .tokens = from->tokens, .isa = from->isa};
        status = be_isa_precision(from->precision, from->isa, &options.precision, error);
        if (status == BE_OK)
            status = be_model_open_measured(&options, &session, &self->models[self->n_models], error);
        if (status == BE_OK)
            status = be_session_open(self->models[self->n_models], &session, &self->sessions[self->n_models], error);
        self->n_models++;
    }
    free(paths);
    return status;
}

static be_status check_answer(const be_model *model, size_t subject, const float *vertices, be_error *error)
{
    const be_subject_info *info = be_subject_get_info(be_model_subject(model, subject));
    for (size_t v = 0; v < info->n_vertices[BE_LEFT] + info->n_vertices[BE_RIGHT]; v++) {
        if (!isfinite(vertices[v]))
            return be_fail(error, BE_ERROR_FORMAT, "self-test: subject %s answers vertex %zu with a number that is not finite",
                           info->name, v);
    }
    return BE_OK;
}

/* Once, as it takes a while of a large ensemble. */
static void measure_quality(const engine *self, engine_subject *it)
{
    const be_subject *subject = be_model_subject(self->models[it->model], it->subject);
    for (int h = BE_LEFT; h < BE_HEMISPHERES; h++)
        be_quality_of(subject, (be_hemisphere)h, NULL, 0, &it->quality[h]);
}

/* One grey picture of the training size through a subject. */
static be_status test_subject(const engine *self, size_t model, size_t subject, be_error *error)
{
    size_t subjects = be_model_subjects(self->models[model]);
    const be_subject_info *info = be_subject_get_info(be_model_subject(self->models[model], subject));
    be_image picture = {.width = info->image_size, .height = info->image_size};
    void *pixels = NULL, *outputs = NULL, *vertices = NULL;
    be_status status = be_allocate(&pixels, picture.width * picture.height, 3, "the self-test's picture", error);
    if (status == BE_OK)
        status = be_allocate(&outputs, subjects, sizeof(be_output), "the self-test's answers", error);
    if (status == BE_OK)
        status = be_allocate(&vertices, info->n_vertices[BE_LEFT] + info->n_vertices[BE_RIGHT], sizeof(float),
                             "the self-test's answers", error);
    if (status == BE_OK) {
        memset(pixels, 128, picture.width * picture.height * 3);
        picture.rgb = pixels;
        ((be_output *)outputs)[subject].vertices = vertices;
        status = be_session_predict(self->sessions[model], &picture, 1, outputs, NULL, error);
    }
    if (status == BE_OK)
        status = check_answer(self->models[model], subject, vertices, error);
    free(pixels);
    free(outputs);
    free(vertices);
    return status;
}

static be_status load_all(engine *self, const config *from, be_error *error)
{
    void *memory;
    be_status status = be_allocate(&memory, from->n_backbones, sizeof(be_model *), "models", error);
    if (status != BE_OK)
        return status;
    self->models = memory;
    status = be_allocate(&memory, from->n_backbones, sizeof(be_session *), "sessions", error);
    if (status != BE_OK)
        return status;
    self->sessions = memory;
    status = be_allocate(&memory, from->n_subjects, sizeof(engine_subject), "subjects", error);
    if (status != BE_OK)
        return status;
    self->subjects = memory;
    for (; self->n_subjects < from->n_subjects && status == BE_OK; self->n_subjects++) {
        char *name = NULL;
        status = be_copy_text(&name, from->subjects[self->n_subjects].name, error);
        self->subjects[self->n_subjects].name = name;
    }
    for (size_t b = 0; b < from->n_backbones && status == BE_OK; b++)
        status = open_model(self, from, b, error);
    for (size_t i = 0; i < self->n_subjects && status == BE_OK; i++)
        measure_quality(self, &self->subjects[i]);
    for (size_t m = 0; m < self->n_models && status == BE_OK; m++) {
        for (size_t s = 0; s < be_model_subjects(self->models[m]) && status == BE_OK; s++)
            status = test_subject(self, m, s, error);
    }
    return status;
}

be_status engine_load(const config *from, engine **out, be_error *error)
{
    void *memory;
    be_status status = be_allocate(&memory, 1, sizeof(engine), "an engine", error);
    if (status != BE_OK)
        return status;
    engine *self = memory;
    atomic_init(&self->references, 1);
    status = load_all(self, from, error);
    if (status != BE_OK) {
        engine_release(self);
        return status;
    }
    *out = self;
    return BE_OK;
}

engine *engine_acquire(engine *self)
{
    atomic_fetch_add(&self->references, 1);
    return self;
}

void engine_release(engine *self)
{
    if (!self || atomic_fetch_sub(&self->references, 1) != 1)
        return;
    for (size_t i = 0; i < self->n_models; i++) {
        be_session_close(self->sessions[i]);
        be_model_close(self->models[i]);
    }
    for (size_t i = 0; i < self->n_subjects; i++)
        free((char *)self->subjects[i].name);
    free(self->models);
    free(self->sessions);
    free(self->subjects);
    free(self);
}

/* --- reading -------------------------------------------------------------------------------------- */

size_t engine_models(const engine *self)
{
    return self->n_models;
}

be_model *engine_model(const engine *self, size_t model)
{
    return self->models[model];
}

be_session *engine_session(const engine *self, size_t model)
{
    return self->sessions[model];
}

size_t engine_subjects(const engine *self)
{
    return self->n_subjects;
}

const engine_subject *engine_subject_at(const engine *self, size_t index)
{
    return &self->subjects[index];
}

const be_subject_info *engine_subject_info(const engine *self, size_t index)
{
    const engine_subject *it = &self->subjects[index];
    return be_subject_get_info(be_model_subject(self->models[it->model], it->subject));
}

size_t engine_feature_floats(const engine *self, size_t index, size_t cells)
{
    const engine_subject *it = &self->subjects[index];
    if (!engine_subject_info(self, index)->by_vertex)
        return 0;
    size_t layers = be_session_layers(self->sessions[it->model], it->subject);
    return layers * cells * be_model_backbone(self->models[it->model])->channels;
}

be_surface engine_subject_surface(const engine *self, size_t index)
{
    const engine_subject *it = &self->subjects[index];
    return be_surface_of(be_model_subject(self->models[it->model], it->subject));
}

static be_status fail_unknown(const engine *self, const char *name, size_t length, be_error *error)
{
    char names[256] = "";
    for (size_t i = 0; i < self->n_subjects; i++) {
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", self->subjects[i].name);
    }
    return be_fail(error, BE_ERROR_NOT_FOUND, "subject: there is no '%.*s'; loaded: %s", length < 64 ? (int)length : 64, name,
                   names);
}

static be_status add_subject(const engine *self, const char *name, size_t length, size_t *indices, size_t *count,
                             be_error *error)
{
    for (size_t i = 0; i < self->n_subjects; i++) {
        if (strlen(self->subjects[i].name) != length || memcmp(self->subjects[i].name, name, length) != 0)
            continue;
        for (size_t j = 0; j < *count; j++) {
            if (indices[j] == i)
                return BE_OK;
        }
        indices[(*count)++] = i;
        return BE_OK;
    }
    return fail_unknown(self, name, length, error);
}

be_status engine_find_subjects(const engine *self, const char *names, size_t *indices, size_t *count, be_error *error)
{
    bool all = names && strcmp(names, "all") == 0;
    *count = 0;
    if (!names || all) {
        for (size_t i = 0; i < (all ? self->n_subjects : 1); i++)
            indices[(*count)++] = i;
        return BE_OK;
    }
    for (const char *at = names;; at++) {
        size_t length = strcspn(at, ",");
        be_status status = add_subject(self, at, length, indices, count, error);
        if (status != BE_OK)
            return status;
        at += length;
        if (!*at)
            return BE_OK;
    }
}
