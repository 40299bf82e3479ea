/* ROI masks as rows of zeros and ones, and what is derived from them; for the files of this folder only. */
#ifndef BRAINENC_SUBJECT_MASKS_H
#define BRAINENC_SUBJECT_MASKS_H

#include <stdint.h>

#include "core/base/error.h"
#include "core/subject/roi.h"

/* Fills the vertex lists of one hemisphere of a set whose names are set, from masks [count - 1][n_vertices] of 0 and 1:
 * the ROI's own, and for the last one ("rest") the vertices of no ROI. `name` stands in the sentence about a value that is
 * neither. */
be_status be_masks_to_vertices(be_roi_set *set, be_hemisphere hemisphere, const uint8_t *masks, size_t n_vertices,
                               const char *name, be_error *error);

/* The opposite: masks [count - 1][n_vertices], zeroed by the caller. */
void be_vertices_to_masks(const be_roi_set *set, be_hemisphere hemisphere, uint8_t *masks, size_t n_vertices);

#endif
