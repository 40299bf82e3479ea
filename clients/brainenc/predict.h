/* `brainenc predict`: what is asked, a run under way, and how its results are written; for the predict*.c files and what they
 * ask a server. */
#ifndef BRAINENC_TOOL_PREDICT_H
#define BRAINENC_TOOL_PREDICT_H

#include "clients/brainenc/stream.h"
#include "clients/brainenc/tool.h"
#include "core/answer/provenance.h"
#include "core/files/npy.h"

typedef enum predict_kind { KIND_TABLE, KIND_JSON, KIND_NPY, KIND_GIFTI } predict_kind;

/* What the command line asks for. */
typedef struct predict_request {
    compute_options compute;      /* with --server only its subjects, by name, and the fit count */
    const char *local_option;     /* one that the command line has and that means nothing to a server */
    const char *server, *key_file;
    size_t seconds;               /* until a server's answer is given up; 0: not said */
    file_list files;
    const char *dataset, *images; /* of HDF5 files: which dataset, which pictures */
    picture_list *pictures;       /* of the files */
    const char *output, *rois, *attention, *what;
    be_space space;
    bool json, spread, quality, skip_broken, restart;
    predict_kind kind;
} predict_request;

/* A subject as results tell of it, and what computes it: here or a server. */
typedef struct predict_subject {
    const be_subject_info *info; /* a server's: name, demo, hash, units, unverified, n_vertices, n_fsaverage and rois alone */
    const int32_t *fsaverage[BE_HEMISPHERES]; /* each vertex's number there, or NULL */
    be_provenance by;
    const char *isa;
} predict_subject;

be_surface predict_surface(const predict_subject *subject);

/* What became of one picture. */
typedef struct predict_answer {
    const picture *picture;   /* its name; when its status is not BE_OK there is nothing else */
    const be_output *outputs; /* [n_subjects] */
    const be_timing *timing;  /* of a computation here */
    const be_text *texts;     /* [n_subjects]: the JSON of a server; NULL: computed here */
} predict_answer;

/* Where it is computed. */
typedef struct predict_local predict_local;
typedef struct predict_remote predict_remote;

/* A run under way. */
typedef struct predict_job {
    const predict_request *ask;
    predict_local *local;            /* one of the two; the other is NULL */
    predict_remote *remote;
    predict_subject subjects[MOST_SUBJECTS];
    size_t n_subjects;
    stream_plan plan;
    stream *stream;                  /* NULL: to standard output */
    char run[BE_HASH_SIZE], head[BE_NPY_HEADER_MAX];
    failure_list failures;
    progress bar;
    be_roi_selection only[MOST_SUBJECTS];   /* of each subject; count 0: not asked */
    be_map_selection maps[MOST_SUBJECTS];
    be_columns columns[MOST_SUBJECTS][BE_HEMISPHERES]; /* the vertices that are written */
    be_text kept;                    /* GIFTI: float32 [pictures so far][V_lh + V_rh] */
    size_t first;                    /* the next image's number */
    size_t written;                  /* predictions in the JSON so far */
    bool stopped;                    /* by a picture that could not be read */
} predict_job;

/* Makes ready what computes, and sets the job's subjects. */
be_status predict_local_open(predict_job *job, be_error *error);
be_status predict_remote_open(predict_job *job, be_error *error);
/* Computes and writes the next pictures, one at least. */
be_status predict_local_step(predict_job *job, be_error *error);
be_status predict_remote_step(predict_job *job, be_error *error);
/* The JSON of one picture and subject that was computed here; to be freed. */
be_status predict_local_json(const predict_job *job, size_t subject, const predict_answer *answer, char **text, be_error *error);
/* NULL is allowed. */
void predict_local_close(predict_local *self);
void predict_remote_close(predict_remote *self);

/* Writes what became of the next `count` pictures. When one could not be read and that ends the run, what came before it is
 * still written. */
be_status predict_write(predict_job *self, const predict_answer *answers, size_t count, be_error *error);

/* --- how results look (predict_output.c) ----------------------------------------------------------- */

/* Adds the results of one good picture, for all subjects, in the form asked for. */
be_status predict_add_picture(predict_job *self, be_text *text, const predict_answer *answer, be_error *error);
/* A picture that could not be read: with --on-error=nan it is noted and leaves an empty row, otherwise it ends the run. */
be_status predict_note_failure(predict_job *self, be_text *text, const picture *from, be_error *error);
/* Writes FILE.npy.json: what the rows and columns of the array are. */
be_status predict_write_description(const predict_job *self, be_error *error);
/* What a file of predictions in JSON ends with. */
be_status predict_make_tail(const predict_job *self, be_text *tail, be_error *error);

/* --- PREFIX.func.gii: two files that are written at the end (predict_gifti.c) ----------------------- */

/* Finds out whether there will be anything to write, and whether it can be written there. */
be_status predict_gifti_open(const predict_job *self, be_error *error);
/* Keeps the responses of the next picture, [V_lh + V_rh]; NULL: it could not be read. */
be_status predict_gifti_keep(predict_job *self, const float *vertices, be_error *error);
/* Writes PREFIX.lh.func.gii and PREFIX.rh.func.gii: both, or on an error of the last step the first alone. */
be_status predict_gifti_write(const predict_job *self, be_error *error);

#endif
