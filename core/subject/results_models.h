/* Which ensemble of a results folder is meant; for the files of this folder only. */
#ifndef BRAINENC_SUBJECT_RESULTS_MODELS_H
#define BRAINENC_SUBJECT_RESULTS_MODELS_H

#include "core/subject/results_tree.h"

/* *path = the folder of enc_* folders that the options mean, to be freed with free(). Errors: be_results_find's. */
be_status be_results_model(const be_results_options *options, char **path, be_error *error);

#endif
