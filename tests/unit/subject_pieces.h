/* Subject files in pieces, for the tests of damaged ones. */
#ifndef BRAINENC_TESTS_SUBJECT_PIECES_H
#define BRAINENC_TESTS_SUBJECT_PIECES_H

#include "tests/unit/model_support.h"
#include "tests/unit/weights.h"

#include <cjson/cJSON.h>

/* A subject file's tensors and metadata, to be changed and written again. */
typedef struct pieces {
    weights all;
    cJSON *root;
} pieces;

/* Makes the good file: the golden checkpoint imported to scratch("good.safetensors"). A group's set-up. */
int make_good_file(void **state);
pieces take_apart(void);
void free_pieces(pieces *it);

/* Opens a file that must be refused; the sentence begins with its path and holds `part`. */
void refuse_file(const char *path, be_status status, const char *part);
/* Writes the pieces as a file that must be refused; with `metadata` in the place of theirs (NULL: none at all). */
void refuse_pieces(const pieces *it, be_status status, const char *part);
void refuse_metadata(const pieces *it, const char *metadata, be_status status, const char *part);

#endif
