/* Where the numbers of a prediction stand: on the vertices the subject was trained on, or on the fsaverage surface.
 *
 * The vertices of a subject ("challenge" space, after the Algonauts 2023 challenge) are a part of those of FreeSurfer's
 * fsaverage, which has 163,842 a hemisphere; its file may hold their numbers there.
 */
#ifndef BRAINENC_ANSWER_SURFACE_H
#define BRAINENC_ANSWER_SURFACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/answer/text.h"
#include "core/subject/roi.h"
#include "core/subject/subject.h"

typedef enum be_space {
    BE_SPACE_CHALLENGE, /* the subject's own vertices */
    BE_SPACE_FSAVERAGE
} be_space;
/* "challenge", "fsaverage". */
const char *be_space_name(be_space space);
/* BE_ERROR_ARGUMENT names the spaces. */
be_status be_space_parse(const char *name, be_space *space, be_error *error);

/* A subject's vertices, and where they lie. */
typedef struct be_surface {
    const be_subject_info *info;
    const int32_t *fsaverage[BE_HEMISPHERES]; /* [n_vertices], each below info->n_fsaverage; NULL: not known */
} be_surface;
be_surface be_surface_of(const be_subject *subject);

/* BE_ERROR_UNSUPPORTED with the reason when the subject's predictions cannot be given in that space: its file holds no fsaverage
 * index, or one that does not ascend. */
be_status be_surface_check(const be_surface *surface, be_space space, be_error *error);

/* What an array of one hemisphere's numbers holds. Either each number of it is one of the `count` vertices', in order, or, when
 * the `whole` space is asked for, number n is that of the space's vertex n; those of no vertex of the subject's are NaN. */
typedef struct be_columns {
    size_t length;      /* of the array */
    size_t count;       /* vertices in it */
    uint32_t *vertices; /* [count]: which of the subject's, ascending; owned */
    uint32_t *numbers;  /* [count]: their numbers in the space, ascending; owned */
    bool whole;
} be_columns;

/* The vertices of the ROIs `only`; the whole space when it is NULL. On success *columns is to be released with be_columns_free.
 * Errors are those of be_surface_check, and BE_ERROR_MEMORY. */
be_status be_columns_make(const be_surface *surface, be_space space, const be_roi_selection *only, be_hemisphere hemisphere,
                          be_columns *columns, be_error *error);
/* A zeroed one is allowed. */
void be_columns_free(be_columns *columns);

/* The array for a hemisphere's `values` [n_vertices]: into out [length], as the bytes of little endian float32, or as JSON, where
 * NaN is null. NULL values: NaN all over. */
void be_columns_fill(const be_columns *columns, const float *values, float *out);
void be_columns_add_bytes(const be_columns *columns, const float *values, be_text *text);
void be_columns_add_json(const be_columns *columns, const float *values, be_text *text);

#endif
