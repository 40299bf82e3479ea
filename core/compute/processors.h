/* How many threads this process is given processors for. */
#ifndef BRAINENC_COMPUTE_PROCESSORS_H
#define BRAINENC_COMPUTE_PROCESSORS_H

#include <sched.h>
#include <stddef.h>

/* The physical cores of the process's affinity mask (threads of one core share its arithmetic units, which the products keep busy by
 * one), but no more than the whole processors of its cgroups' quota. At least 1. */
size_t be_processors(void);

/* The same for the processors set in `allowed`, a mask of `bytes` bytes, with what the kernel tells read from the folders sys and
 * proc of `root` ("": the machine's own). A processor of which nothing sensible is told is a core; a quota of which nothing
 * sensible is told is none. */
size_t be_processors_in(const char *root, const cpu_set_t *allowed, size_t bytes);

#endif
