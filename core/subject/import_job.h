/* An import while it works: what the files that do its steps share; for this folder only.
 *
 * The steps, in order: sources (import_sources.c, import_checks.c, import_anatomy.c), scores (import_scores.c), tensors
 * (import_tensors.c), metadata (import_metadata.c), writing (import.c, which also frees everything).
 */
#ifndef BRAINENC_SUBJECT_IMPORT_JOB_H
#define BRAINENC_SUBJECT_IMPORT_JOB_H

#include "core/files/tensor_file.h"
#include "core/subject/algonauts.h"
#include "core/subject/checkpoint.h"
#include "core/subject/readout_plan.h"
#include "core/subject/subject.h"

enum { BE_UNVERIFIED_SIZE = 256 };

/* One checkpoint being imported. */
typedef struct be_import_source {
    be_import_member from;
    be_tensor_file *file;
    be_checkpoint checkpoint;
    char hash[BE_HASH_SIZE], date[BE_DATE_SIZE];
    size_t images; /* of the training split, to train and to validate on; 0: unknown */
} be_import_source;

/* A tensor of a checkpoint that will be written, read when its turn comes. */
typedef struct be_import_tensor {
    be_tensor_file *file;
    const be_tensor *tensor;
    char *name;    /* in the subject file; owned */
    bool narrowed; /* to bfloat16 */
} be_import_tensor;

typedef struct be_import_job {
    const be_import_options *options;
    be_error *error;
    be_import_source *sources; /* [n_sources] */
    size_t n_sources;
    be_class_token class_token;
    be_streams_order streams_order;
    be_algonauts data;
    const char *rois_from;     /* the folder or file that names the ROIs */
    char unverified[BE_UNVERIFIED_SIZE];
    bool demo;                 /* a checkpoint is a demo's */
    bool narrowed;             /* matrices are stored as bfloat16 */
    be_import_tensor *model_tensors; /* [n_model_tensors], of all sources */
    size_t n_model_tensors;
    be_tensor_source *tensors; /* [n_tensors]: what will be written, model_tensors first */
    size_t n_tensors;
    uint8_t *masks[BE_HEMISPHERES];
    float *validation[BE_HEMISPHERES], *ncsnr[BE_HEMISPHERES]; /* [sources][vertices], [vertices]; NULL: not given */
    char *metadata;
} be_import_job;

/* Opens and checks the checkpoints; in the midst of it reads the anatomy, against which they are checked. */
be_status be_import_sources(be_import_job *job);
/* ROIs and fsaverage index: of the subject's folder and of a parcellation. */
be_status be_import_anatomy(be_import_job *job);
/* An opened checkpoint against the options and the other ones; then, when the data are read, what it computes against them. */
be_status be_import_check_source(be_import_job *job, be_import_source *source);
be_status be_import_check_model(be_import_job *job, const be_import_source *source);
be_status be_import_scores(be_import_job *job);
/* Lists what will be written: first the model's tensors, which have no data but are read when their turn comes. */
be_status be_import_tensors(be_import_job *job);
be_status be_import_read_tensor(void *job, size_t index, void *out, be_error *error); /* a be_tensor_reader's */
be_status be_import_metadata(be_import_job *job);

#endif
