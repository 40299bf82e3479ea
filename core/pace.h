/* How a batch is best shared among threads, from how long images took before: each image by one thread, while the others do others,
 * or one image after the other by all threads together. The bits are the same either way (core/compute/team.h). */
#ifndef BRAINENC_PACE_H
#define BRAINENC_PACE_H

#include <stddef.h>

/* Seconds for one cell of the grid, the mean of lately; 0: not known yet. Begin with a zeroed one. */
typedef struct be_pace {
    double alone;     /* by one thread, with the others at work too */
    double together;  /* by all threads */
    size_t decisions; /* that could have been made otherwise */
} be_pace;

/* Notes how long some images took, of `cells` cells together. */
void be_pace_note_alone(be_pace *pace, double seconds, size_t cells);
void be_pace_note_together(be_pace *pace, double seconds, size_t cells);

/* How many images of a batch, its first ones, are each to be computed by one thread; the others by all threads together, after
 * them. What is expected to end sooner is chosen: where both take equally long, together, for then the first image is done sooner.
 * Until both are known whole rounds go one a thread and what is left over together. So that a measurement is not
 * believed for ever, one round in BE_PACE_TRIAL goes the other way; a round that is not whole never goes alone for that. */
enum { BE_PACE_TRIAL = 32 };
size_t be_pace_alone(be_pace *pace, size_t images, size_t threads);

#endif
