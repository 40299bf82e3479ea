/* What the training program and the challenge call their folders: "subj_01" and "subj01", "enc_3", "run_2". */
#ifndef BRAINENC_SUBJECT_FOLDER_NAMES_H
#define BRAINENC_SUBJECT_FOLDER_NAMES_H

#include <stdbool.h>
#include <stddef.h>

/* The number of a name that is `stem` and one to six digits; false when it is not. */
bool be_numbered_name(const char *name, const char *stem, size_t *number);

/* The number in the last part of a path that is called "subj01" or "subj_01"; false when it is not. */
bool be_subject_number(const char *path, size_t *number);
/* Whether one of the folders of a path is called so. */
bool be_path_has_subject(const char *path, size_t subject);

#endif
