/* A lab's own parcellation of the cortex as a subject's ROIs; for the files of this folder only. */
#ifndef BRAINENC_SUBJECT_PARCELLATION_H
#define BRAINENC_SUBJECT_PARCELLATION_H

#include "core/subject/algonauts.h"

typedef struct be_parcellation {
    const char *labels[BE_HEMISPHERES]; /* .npy of whole numbers, one a vertex of the subject or of its whole surface */
    const char *names;                  /* label_names.h */
    const char *family;                 /* what its ROIs belong to */
} be_parcellation;

/* Adds each label above 0 that has a name to the data's ROIs, in the order of the labels, before "rest", which becomes the vertices
 * of no ROI. Labels of 0 and below are no parcel, whatever they are called. BE_ERROR_FORMAT when a vertex has a label without a
 * name, a name is there twice (also among the ROIs there are) or is none, or an array is of another length; a parcel may be empty.
 * On any error the data are as they were. */
be_status be_parcellation_add(const be_parcellation *from, be_algonauts *data, be_error *error);

#endif
