/* Predictions of one hemisphere as a GIFTI file (.func.gii), which nibabel, Connectome Workbench and FreeSurfer read (gifticlib).
 *
 * One float32 array a picture (NIFTI_INTENT_NONE, its metadatum Name is the picture's name), packed as GZipBase64Binary. Before
 * them, unless they hold every vertex of fsaverage, an int32 array (NIFTI_INTENT_NODE_INDEX) with the vertex each value is of: on
 * fsaverage where the subject's places there are known, else by the subject's own numbers; its Description says which. The file's
 * metadata: AnatomicalStructurePrimary, subject, space, units, weights, what computed them (as be_provenance_add has it), fit, and
 * where they apply demo, unverified and backbone_unverified. In names and texts '?' stands for what XML or a terminal has no place
 * for.
 */
#ifndef BRAINENC_ANSWER_GIFTI_H
#define BRAINENC_ANSWER_GIFTI_H

#include "core/answer/provenance.h"
#include "core/answer/surface.h"
#include "core/image/image.h"

enum { BE_GIFTI_MOST_IMAGES = 1000 }; /* all of them are in memory at once */

typedef struct be_gifti {
    const be_surface *surface;
    be_space space;
    be_hemisphere hemisphere;
    const be_columns *columns;          /* of the space and hemisphere */
    be_fit fit;
    be_provenance by;                   /* what computed them */
    size_t n_images;
    const char *const *names;           /* [n_images] */
    const float *const *vertices;       /* [n_images]: [n_vertices] of the hemisphere */
} be_gifti;

/* BE_ERROR_ARGUMENT when a file of these columns would hold no vertex. */
be_status be_gifti_check(const be_columns *columns, be_hemisphere hemisphere, be_error *error);

/* *bytes is the file, the same for the same predictions, to be freed with free(). BE_ERROR_LIMIT for more than
 * BE_GIFTI_MOST_IMAGES, the error of be_gifti_check, BE_ERROR_IO when the library could not write it whole.
 * Any thread may call it; one writes at a time. */
be_status be_gifti_make(const be_gifti *of, unsigned char **bytes, size_t *size, be_error *error);

#endif
