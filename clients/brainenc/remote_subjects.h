/* What a brainencd tells of its subjects, in the words the tool has for its own. */
#ifndef BRAINENC_TOOL_REMOTE_SUBJECTS_H
#define BRAINENC_TOOL_REMOTE_SUBJECTS_H

#include "clients/brainenc/predict.h"
#include "clients/brainenc/remote.h"

/* Begin with a zeroed one. */
typedef struct remote_subjects {
    size_t count;
    be_subject_info infos[MOST_SUBJECTS]; /* of what predict_subject tells */
    int32_t *fsaverage[MOST_SUBJECTS][BE_HEMISPHERES]; /* as predict_subject tells; owned */
    predict_subject subjects[MOST_SUBJECTS];
    cJSON *tree;                          /* the answer their texts stand in */
} remote_subjects;

/* Asks for the subjects of these names (the server's default when there are none), in that order. */
be_status remote_subjects_ask(remote *server, const char *const *names, size_t n_names, remote_subjects *out, be_error *error);
void remote_subjects_free(remote_subjects *it);

#endif
