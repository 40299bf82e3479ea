/* A subject's members on an image's feature maps: predictions combined, maps averaged; for session.c only. MODEL sections 4 and
 * 6. */
#ifndef BRAINENC_MEMBERS_H
#define BRAINENC_MEMBERS_H

#include "core/model.h"

/* What a worker needs beside the arena and the feature maps, sized at load for every subject of its model. */
typedef struct be_member_buffers {
    float *tokens;   /* [largest Q][width]: output tokens of one member */
    float *maps;     /* [1 + heads][Q or MAP_ROWS][T]: mean maps, then each head's */
    float *vertices; /* [V]: one member's prediction */
    float *runs;     /* [2][runs][V]: each run's weighted sum, and its weights' sum */
} be_member_buffers;

be_status be_member_buffers_make(const be_model *model, size_t tokens, be_member_buffers *buffers, be_error *error);
void be_member_buffers_free(be_member_buffers *buffers);

/* One image under way. */
typedef struct be_member_run {
    const be_model *model;
    const be_team *team;
    be_arena *arena;
    const be_member_buffers *buffers;
    const float *features; /* [taps] maps of which each begins feature_stride floats after the one before */
    size_t feature_stride;
    const be_grid *grid;
} be_member_run;

/* Runs all members of a subject for what `output` asks. BE_ERROR_ARGUMENT when its encoder takes no such grid. */
be_status be_members_predict(const be_member_run *run, size_t subject, const be_output *output, be_error *error);
/* be_session_maps; run->features are the subject's own layers in their order. */
be_status be_members_maps(const be_member_run *run, size_t subject, const be_vertex_group *groups, size_t n_groups, float *mean,
                          float *heads, be_error *error);

#endif
