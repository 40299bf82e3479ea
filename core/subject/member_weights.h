/* What each member of an ensemble counts, a vertex at a time: MODEL section 6; for the files of this folder only. */
#ifndef BRAINENC_SUBJECT_MEMBER_WEIGHTS_H
#define BRAINENC_SUBJECT_MEMBER_WEIGHTS_H

#include "core/subject/subject.h"

/* weights[m][v] = softmax over layers of 40 * c(layer, v), divided by the number of the layer's runs, where c is the mean of
 * correlations[hemisphere][m][v] over the layer's members; a correlation that is not finite counts as 0. They sum to 1 over the
 * members. *weights [members][V_lh + V_rh] is new, to be freed with free(). */
be_status be_member_weights(const be_member_info *members, size_t n_members, const size_t n_vertices[BE_HEMISPHERES],
                            const float *const correlations[BE_HEMISPHERES], float **weights, be_error *error);

#endif
