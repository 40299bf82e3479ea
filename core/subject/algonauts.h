/* A subject's folder in the layout of the Algonauts 2023 challenge: the ROI masks and the fsaverage index in it.
 *
 * Read: roi_masks/{lh,rh}.{family}_challenge_space.npy, roi_masks/mapping_{family}.npy for each family, and
 * roi_masks/{lh,rh}.all-vertices_fsaverage_space.npy. MODEL section 5.
 */
#ifndef BRAINENC_SUBJECT_ALGONAUTS_H
#define BRAINENC_SUBJECT_ALGONAUTS_H

#include "core/base/error.h"
#include "core/subject/roi.h"

typedef struct be_algonauts {
    size_t n_vertices[BE_HEMISPHERES];
    be_roi_set rois;                    /* in query order, with "rest" last */
    int32_t *fsaverage[BE_HEMISPHERES]; /* [n_vertices]: a vertex's number on the fsaverage surface; owned */
    size_t n_fsaverage[BE_HEMISPHERES]; /* vertices of that surface (163842 for fsaverage) */
} be_algonauts;

/* Reads `folder` ("algonauts/subj01") with the ROIs of `families` (at most 8, ended by NULL; be_roi_families). Without families the
 * index alone says how many vertices there are, and all of them are "rest". The sentence names the file that is missing, damaged or
 * does not fit the others. Release with be_algonauts_free. */
be_status be_algonauts_read(const char *folder, const char *const *families, be_algonauts *data, be_error *error);
void be_algonauts_free(be_algonauts *data);

/* For an array of `count` numbers, one for each vertex of a hemisphere or one for each of the whole surface: BE_ERROR_FORMAT, with
 * a sentence that begins with `path`, when it is neither; and where in it a vertex's number is. */
be_status be_algonauts_check_length(const be_algonauts *data, be_hemisphere hemisphere, size_t count, const char *path,
                                    be_error *error);
size_t be_algonauts_place(const be_algonauts *data, be_hemisphere hemisphere, size_t count, size_t vertex);

#endif
