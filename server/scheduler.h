/* The queue of requests and the thread that computes them, batch by batch.
 *
 * With one request waiting its image is computed by all cores together; with more, one image by each: the session decides
 * (core/brainenc.h). A second thread, the watch, gives requests that wait too long their 504 and notices clients that leave.
 */
#ifndef BRAINENCD_SCHEDULER_H
#define BRAINENCD_SCHEDULER_H

#include "server/compute.h"

typedef struct scheduler scheduler;

typedef struct scheduler_options {
    body_limits limits;
    size_t queue;               /* requests waiting at most */
    size_t batch_max;           /* requests computed together at most */
    size_t batch_wait_ms;       /* how long a first request waits for others */
} scheduler_options;

be_status scheduler_start(const scheduler_options *options, results *held, metrics *counters, scheduler **out,
                          be_error *error);
/* Takes new options after a reload. */
void scheduler_configure(scheduler *self, const scheduler_options *options);
/* Ends both threads; what is still queued is settled as 503, and nothing more is taken. NULL is allowed. */
void scheduler_stop(scheduler *self);
/* After scheduler_stop, when nobody submits any more. NULL is allowed. */
void scheduler_free(scheduler *self);

/* Queues a request (a reference is taken) and watches its client's socket. it->deadline, it->wake and it->connection are
 * set. False when the queue is full. */
bool scheduler_submit(scheduler *self, request *it, int socket);

/* Seconds after which a client that was turned away may try again: what is queued, at the pace of the last batches. */
unsigned scheduler_retry_after(scheduler *self);

/* Seconds since the computing thread last showed that it moves: between batches, and while it waits for work it is 0. */
double scheduler_silence(scheduler *self);

#endif
