/* What the tests of answers share: one prediction, and reading its JSON with another parser. */
#ifndef BRAINENC_TESTS_ANSWER_SUPPORT_H
#define BRAINENC_TESTS_ANSWER_SUPPORT_H

#include "tests/unit/model_support.h"

#include <cjson/cJSON.h>

#include "core/answer/answer.h"

enum { ROWS = 6, COLUMNS = 10, CELLS = ROWS * COLUMNS, PATCH = 14, ROIS = 25 };

typedef struct answered {
    be_model *model; /* the golden one */
    be_output output;
    be_answer_image image;
    be_npy masks[BE_HEMISPHERES]; /* [25][vertices], the rest last: the golden ones */
} answered;

int open_answered(void **state);
int close_answered(void **state);
const be_subject_info *info_of(const answered *it);
be_roi_selection select_rois(const answered *it, const char *names);

/* The answer, read. */
cJSON *answer(const answered *it, const be_output *output, const be_answer_options *options, const be_answer_timing *timing);
/* Reads one line of JSON, and frees it. */
cJSON *parse(char *text);

/* The item under a dotted name, numbers being places in an array; fails the test when there is none. */
const cJSON *get(const cJSON *root, const char *dotted);
const char *text_at(const cJSON *root, const char *dotted);
double number_at(const cJSON *root, const char *dotted);

#endif
