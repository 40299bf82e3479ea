/* A batch of requests from bodies to answers: read, predict, hold, write. */
#ifndef BRAINENCD_COMPUTE_H
#define BRAINENCD_COMPUTE_H

#include "server/body.h"
#include "server/request.h"

enum { MOST_BATCHED = 1024 };

/* Computes `count` requests (at most MOST_BATCHED) of which each has its answer afterwards, an error's or a prediction's.
 * Images of all of them that are read from one model go through its backbone in one call. */
void compute_batch(request *const *batch, size_t count, const body_limits *limits, results *held, metrics *counters);

#endif
