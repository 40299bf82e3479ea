/* What the labels of a parcellation are called, in the forms in which labs have it; for the files of this folder only. */
#ifndef BRAINENC_SUBJECT_LABEL_NAMES_H
#define BRAINENC_SUBJECT_LABEL_NAMES_H

#include "core/base/error.h"
#include "core/files/npy.h"

/* Reads {"1": "V1", ...} (JSON), a pickled dict of int to str (.npy, as Algonauts has it), or a name a line, where the line's
 * number from 1 is the label and an empty line names none. Which of them it is, the file's first character tells; a byte-order mark
 * of UTF-8 is passed over. BE_ERROR_FORMAT names what is wrong, BE_ERROR_LIMIT a file of more than 1 MiB. Release with
 * be_npy_mapping_free. */
be_status be_label_names_read(const char *path, be_npy_mapping *names, be_error *error);

#endif
