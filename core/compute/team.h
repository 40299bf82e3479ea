/* Who computes one image: all workers of a pool together, or one worker alone while the others do other images. The
 * tasks, and so the bits, are the same either way.
 */
#ifndef BRAINENC_COMPUTE_TEAM_H
#define BRAINENC_COMPUTE_TEAM_H

#include <stddef.h>

#include "core/compute/arena.h"
#include "core/compute/isa.h"
#include "core/compute/pool.h"

/* The stages of a prediction, for those who want to know where the time went. */
typedef enum be_stage {
    BE_STAGE_EMBED,        /* pixels to tokens */
    BE_STAGE_PROJECT,      /* norm and query, key, value projections */
    BE_STAGE_ATTEND,       /* the backbone's attention */
    BE_STAGE_FEED_FORWARD, /* output projection, norm, feed-forward */
    BE_STAGE_FEATURES,     /* reading the feature maps */
    BE_STAGE_ENCODE,       /* the brain encoder: features to output tokens */
    BE_STAGE_READ_OUT,     /* output tokens to vertices */
    BE_STAGES
} be_stage;
/* "embed", "project", ... */
const char *be_stage_name(be_stage stage);

typedef struct be_team {
    const be_isa *isa;
    be_pool *pool;     /* NULL: `worker` works alone */
    size_t worker;
    be_arena *scratch; /* [workers]: what a task needs for itself; each task resets its worker's first */
    double *stages;    /* [BE_STAGES]: seconds are added to it; NULL: not wanted */
} be_team;

/* Those who compute: at least 1. */
size_t be_team_workers(const be_team *team);

/* The rows of one task of a job that the team shares by be_shared_panels: their number, and rows `first` to `first` + `count` - 1. */
size_t be_team_panels(const be_team *team, size_t rows);
typedef struct be_rows {
    size_t first, count;
} be_rows;
be_rows be_team_panel(const be_team *team, size_t rows, size_t panel);

/* Runs the tasks of a job on the team and returns when all are done. */
void be_team_run(const be_team *team, be_stage stage, size_t n_tasks, be_task run, void *context);

#endif
