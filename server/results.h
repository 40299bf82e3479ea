/* Predictions that are still held for GET /attention: what their maps are made from and the picture, newest used first, bounded
 * in bytes. All calls may come from any thread.
 */
#ifndef BRAINENCD_RESULTS_H
#define BRAINENCD_RESULTS_H

#include "core/answer/answer.h"
#include "server/metrics.h"

typedef struct results results;

/* One prediction of one subject; immutable, reference-counted. It keeps its engine. One of a subject without maps is held too: who
 * asks for its map is told why there is none. */
typedef struct held_result held_result;
struct held_result {
    char id[BE_ID_SIZE];
    engine *engine;
    size_t subject;        /* of the engine */
    be_answer_image about; /* name is NULL */
    be_image input;        /* fitted; owned */
    be_output output;      /* attention, or features of a subject whose maps are by vertex; owned; empty for one without maps */
};

/* Holds up to `bytes` bytes. */
be_status results_create(size_t bytes, metrics *counters, results **out, be_error *error);
void results_free(results *self);
/* The new bound after a reload; what is over it goes. */
void results_resize(results *self, size_t bytes);
/* Forgets all: their weights are no longer served. */
void results_clear(results *self);

/* Holds a copy of a prediction (of `output` the attention or the features), and notes it as the caller's most recent one for the
 * subject. What does not fit, or for which there is no memory, is not held. */
void results_put(results *self, const char *caller, engine *served, size_t subject, const be_answer_image *about,
                 const be_image *input, const be_output *output);

/* The prediction of that id, or with id NULL the caller's most recent one (of the subject, when `subject` is not NULL: its
 * index in the engine). NULL when it is not held, though earlier ones may be. To be given back with held_result_release. */
const held_result *results_get(results *self, const char *id, const char *caller, const size_t *subject);
void held_result_release(const held_result *result);

#endif
