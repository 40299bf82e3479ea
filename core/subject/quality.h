/* How well a subject's responses are predicted, by what its file holds: MODEL section 7.
 *
 * The correlation of a vertex is that of its response with the prediction on the validation images, 0 where it is none (a constant
 * vertex). Of an ensemble it is the members' correlations weighted as their predictions are (be_subject_member_weights): an
 * estimate, as nobody measured the ensemble itself, and rather low, as an ensemble predicts better than its members do on average.
 * The noise ceiling is the part of the variance that is explainable: ncsnr^2 / (ncsnr^2 + 1/n) with n = 3 repetitions (NSD's test
 * images); NaN where ncsnr is unknown. Encoding accuracy is the part of that which is explained: max(0, correlation)^2 / ceiling,
 * at most 1; NaN where the ceiling is unknown or 0.
 */
#ifndef BRAINENC_SUBJECT_QUALITY_H
#define BRAINENC_SUBJECT_QUALITY_H

#include "core/subject/subject.h"

enum { BE_QUALITY_REPETITIONS = 3 };

/* Means over some vertices; NaN where there is nothing to take the mean of. */
typedef struct be_quality {
    size_t vertices;    /* as many were asked for */
    size_t explainable; /* so many of them have a known ceiling above 0, and so an accuracy */
    double correlation; /* over all of them; NaN when the file has no correlations */
    double ceiling;     /* over those whose ceiling is known */
    double accuracy;    /* over the explainable ones */
} be_quality;

/* The quality of `count` vertices of a hemisphere, numbered within it; of all of them when `vertices` is NULL. */
void be_quality_of(const be_subject *subject, be_hemisphere hemisphere, const uint32_t *vertices, size_t count, be_quality *out);

/* The numbers of each vertex of a hemisphere, [n_vertices] each; NULL for one that is not wanted. All NaN where the file has not
 * what it is made of. */
void be_quality_vertices(const be_subject *subject, be_hemisphere hemisphere, float *correlation, float *ceiling, float *accuracy);

#endif
