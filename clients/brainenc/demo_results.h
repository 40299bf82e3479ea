/* The results of a made-up training of several models, as the authors' program leaves them on disk, for `brainenc demo`. */
#ifndef BRAINENC_TOOL_DEMO_RESULTS_H
#define BRAINENC_TOOL_DEMO_RESULTS_H

#include "clients/brainenc/demo_weights.h"
#include "core/subject/subject.h"

enum { DEMO_MOST_LAYERS = 64 };

/* Which models: one for each layer and random start (run). */
typedef struct demo_ensemble {
    size_t layers[DEMO_MOST_LAYERS]; /* [n_layers], ascending */
    size_t n_layers, runs;
} demo_ensemble;

/* "1,3,5,7": false with a message when it is no such list. */
bool demo_parse_layers(const char *text, demo_ensemble *to);

/* Writes folder/results/nsd_test/dinov2_q_transformer/subj_01/<readout>/enc_<layer>/run_<run>/ with a checkpoint and its validation
 * correlations. *members [n_layers * runs] names what was written, to be freed with demo_free_results. */
be_status demo_write_results(const char *folder, const demo_size *size, const demo_ensemble *ensemble, const demo_model *model,
                             demo_random *random, be_import_member **members, be_error *error);
void demo_free_results(be_import_member *members, const demo_ensemble *ensemble);

#endif
