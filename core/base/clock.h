/* Time as the library measures it: monotonic, in seconds. */
#ifndef BRAINENC_BASE_CLOCK_H
#define BRAINENC_BASE_CLOCK_H

/* Seconds since an arbitrary fixed point; never goes backwards. Safe from any thread. */
double be_clock(void);

#endif
