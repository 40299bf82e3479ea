/* A subject file being opened, and the subject it becomes: what the files that read its parts share; for this folder only.
 *
 * The parts, in the order in which they build on each other: metadata (subject_metadata.c), anatomy (subject_anatomy.c), scores
 * (subject_scores.c), weights (subject_weights.c). What a failed one leaves is freed by be_subject_close.
 */
#ifndef BRAINENC_SUBJECT_SUBJECT_OPENING_H
#define BRAINENC_SUBJECT_SUBJECT_OPENING_H

#include "core/files/json.h"
#include "core/files/tensor_file.h"
#include "core/subject/readout_plan.h"
#include "core/subject/subject.h"

/* One trained model. */
typedef struct be_loaded_member {
    be_encoder *encoder;
    be_readout *readout;
} be_loaded_member;

struct be_subject {
    be_subject_info info;
    be_encoder_settings settings; /* of every member's encoder; kind is info.encoder */
    be_readout_plan plan;
    be_readout_lists lists;       /* shared by the members' readouts */
    be_loaded_member *members;    /* [info.members] */
    float *weights;               /* [members][V]; NULL with one member */
    uint32_t *map_queries;        /* [info.maps], or NULL */
    int32_t *fsaverage[BE_HEMISPHERES];
    float *validation[BE_HEMISPHERES], *ncsnr[BE_HEMISPHERES]; /* or NULL */
};

/* The file, its parsed metadata and the subject that is filled. */
typedef struct be_opening {
    be_tensor_file *file;
    const char *path;
    cJSON *root;
    be_subject *subject;
    be_precision precision; /* of the encoders' products */
    bool inspecting; /* members are loaded one after the other and let go */
    be_encoder_info first; /* the first member's encoder */
    be_error *error;
} be_opening;

/* Fields of the metadata. Each answers BE_ERROR_FORMAT naming the field when it is missing or of another kind; a size is at most
 * 2^20. A text lives as long as the metadata. */
be_status be_opening_fail(const be_opening *self, const char *field, const char *what);
be_status be_opening_text(const be_opening *self, const cJSON *object, const char *field, const char **out);
/* "" where it is missing. */
be_status be_opening_optional_text(const be_opening *self, const cJSON *object, const char *field, const char **out);
be_status be_opening_size(const be_opening *self, const cJSON *object, const char *field, size_t *out);
be_status be_opening_flag(const be_opening *self, const cJSON *object, const char *field, bool *out);

/* Parses the metadata; then identity, settings and members. */
be_status be_opening_read_metadata(be_opening *self);
/* ROIs with their masks, and the fsaverage index. */
be_status be_opening_read_anatomy(be_opening *self);
/* Correlations, ncsnr, and an ensemble's weights. */
be_status be_opening_read_scores(be_opening *self);
/* Encoders, readouts and what they say of their maps. */
be_status be_opening_load_weights(be_opening *self);
void be_loaded_member_free(be_loaded_member *member);

#endif
