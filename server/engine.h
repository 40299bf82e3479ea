/* Everything that is served at a time: the models of one configuration, each with a session. Reference-counted: a request
 * keeps the engine it began with while a reload puts another in its place.
 */
#ifndef BRAINENCD_ENGINE_H
#define BRAINENCD_ENGINE_H

#include "core/answer/surface.h"
#include "core/brainenc.h"
#include "core/subject/quality.h"
#include "server/config.h"

typedef struct engine engine;

/* One subject as requests name it. */
typedef struct engine_subject {
    const char *name;       /* the configuration's */
    size_t model, subject;  /* which model, and which of its subjects */
    be_quality quality[BE_HEMISPHERES]; /* of all its vertices */
} engine_subject;

/* Loads what `from` names, measures what a precision other than f32 costs, opens sessions and predicts one picture for each subject
 * as a self-test: answers that are not finite are an error. The result has one reference. */
be_status engine_load(const config *from, engine **out, be_error *error);
engine *engine_acquire(engine *self);
void engine_release(engine *self);

size_t engine_models(const engine *self);
be_model *engine_model(const engine *self, size_t model);
/* For the scheduler's thread alone. */
be_session *engine_session(const engine *self, size_t model);

size_t engine_subjects(const engine *self);
const engine_subject *engine_subject_at(const engine *self, size_t index);
const be_subject_info *engine_subject_info(const engine *self, size_t index);
be_surface engine_subject_surface(const engine *self, size_t index);

/* Floats of be_output.features for maps by vertex on a grid of `cells`; 0 for a subject that has other maps or none. */
size_t engine_feature_floats(const engine *self, size_t index, size_t cells);

/* The subjects a request names: NULL, the first of the configuration; "all"; names separated by commas. indices
 * [engine_subjects]; each once, in the order asked. BE_ERROR_NOT_FOUND lists those there are. */
be_status engine_find_subjects(const engine *self, const char *names, size_t *indices, size_t *count, be_error *error);

#endif
