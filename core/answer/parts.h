/* Parts that several answers have; for the files of this folder only. */
#ifndef BRAINENC_ANSWER_PARTS_H
#define BRAINENC_ANSWER_PARTS_H

#include "core/answer/answer.h"
#include "core/files/json.h"

/* Adds a text that is JSON, and frees its bytes. */
void be_answer_add_raw(be_json *json, cJSON *to, const char *key, be_text *text);
/* The shortest number that reads back as the same float32; null for NaN. */
void be_answer_add_float(be_json *json, cJSON *to, const char *key, double value);
/* "key": [first, second]. */
void be_answer_add_pair(be_json *json, cJSON *to, const char *key, size_t first, size_t second);
/* A hemisphere's `values` laid out in the columns of an answer; null when they are NULL. */
void be_answer_add_column(be_json *json, cJSON *to, const char *key, const be_columns *columns, const float *values);

/* What every answer begins with: "id", "subject", "demo". */
be_status be_answer_add_identity(be_json *json, const be_model *model, size_t subject, const be_answer_image *image,
                                 be_error *error);
/* "unverified": what no golden case covers; left out when there is nothing. */
void be_answer_add_unverified(be_json *json, cJSON *to, const be_model *model, const be_subject_info *info);
/* "validation" and "noise_ceiling" of a hemisphere's vertices, each null when the file holds nothing of it. */
be_status be_answer_add_vertex_quality(be_json *json, cJSON *to, const be_subject *subject, be_hemisphere hemisphere,
                                       const be_columns *columns, be_error *error);
/* "grid" and "maps". */
void be_answer_add_maps(be_json *json, cJSON *to, const be_subject_info *info, const be_answer_image *image,
                        const be_answer_maps *maps);

#endif
