/* The folders in which the authors' training program leaves what it trained:
 *
 *   results/nsd_test/<backbone>_<encoder>/subj_01/<readout>/enc_<layer>/run_<start>/
 *       checkpoint.pth, lh_val_corr.npy, rh_val_corr.npy      and idxs.npy
 *
 * An ensemble is all that lies in one folder of enc_* folders.
 */
#ifndef BRAINENC_SUBJECT_RESULTS_TREE_H
#define BRAINENC_SUBJECT_RESULTS_TREE_H

#include <stdbool.h>

#include "core/subject/subject.h"

/* An ensemble, ready for be_import_options. */
typedef struct be_results {
    be_import_member *members; /* [n_members], by layer and run; their paths are of `texts` */
    size_t n_members;
    const char **skipped;      /* [n_skipped]: of each run that was left out the file that is missing; of `texts` */
    size_t n_skipped;
    char **texts;              /* [n_texts]; owned */
    size_t n_texts, text_capacity;
} be_results;

typedef struct be_results_options {
    const char *folder;   /* any from `results` down to the one that holds enc_* */
    const char *data;     /* the subject's folder ("algonauts/subj01"): of several models the one of that subject is taken */
    bool skip_incomplete; /* leave runs out in which a file is missing */
} be_results_options;

/* Finds the ensemble. BE_ERROR_NOT_FOUND when there is none or a run lacks a file (named), BE_ERROR_ARGUMENT listing what there is
 * when there are several, BE_ERROR_FORMAT when two runs are one layer's same. Links are followed.
 * Release with be_results_free. */
be_status be_results_find(const be_results_options *options, be_results *results, be_error *error);
/* The results of one: a checkpoint and, where they lie beside it, the files that training saved with it. */
be_status be_results_beside(const char *checkpoint, be_results *results, be_error *error);
void be_results_free(be_results *results);

#endif
