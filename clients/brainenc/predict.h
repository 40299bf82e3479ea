/* `brainenc predict`: what is asked, a run under way, and how its results are written; for the predict*.c files only. */
#ifndef BRAINENC_TOOL_PREDICT_H
#define BRAINENC_TOOL_PREDICT_H

#include "clients/brainenc/stream.h"
#include "clients/brainenc/tool.h"
#include "core/files/npy.h"

typedef enum predict_kind { KIND_TABLE, KIND_JSON, KIND_NPY } predict_kind;

/* What the command line asks for. */
typedef struct predict_request {
    compute_options compute;
    file_list images;
    const char *output, *rois, *attention, *what;
    bool json, skip_broken, restart;
    predict_kind kind;
} predict_request;

/* A run under way. */
typedef struct predict_job {
    const predict_request *ask;
    engine engine;
    stream_plan plan;
    stream *stream;                  /* NULL: to standard output */
    char run[BE_HASH_SIZE], head[BE_NPY_HEADER_MAX];
    failure_list failures;
    progress bar;
    be_roi_selection only[MOST_SUBJECTS], attention[MOST_SUBJECTS]; /* of each subject; count 0: not asked */
    size_t n_subjects, batch;        /* images computed at a time */
    picture *pictures;               /* [batch] */
    be_output *outputs;              /* [batch * n_subjects] */
    be_image *inputs;                /* [batch]: of the good pictures, next to each other */
    be_timing *timings;              /* [batch] */
    uint32_t *columns[BE_HEMISPHERES]; /* npy: which vertices are written */
    size_t n_columns[BE_HEMISPHERES];
    size_t first;                    /* image number of pictures[0] */
    size_t written;                  /* predictions in the JSON so far */
} predict_job;

const be_subject_info *predict_subject(const predict_job *self, size_t subject);

/* Adds the results of one good picture, for all subjects, in the form asked for. */
be_status predict_add_picture(predict_job *self, be_text *text, const picture *from, const be_output *outputs,
                              const be_timing *timing, be_error *error);
/* A picture that could not be read: with --on-error=nan it is noted and leaves an empty row, otherwise it ends the run. */
be_status predict_note_failure(predict_job *self, be_text *text, const picture *from, be_error *error);
/* Writes FILE.npy.json: what the rows and columns of the array are. */
be_status predict_write_description(const predict_job *self, be_error *error);
/* What a file of predictions in JSON ends with. */
be_status predict_make_tail(const predict_job *self, be_text *tail, be_error *error);

#endif
