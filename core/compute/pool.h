/* Threads that share the tasks of one job. */
#ifndef BRAINENC_COMPUTE_POOL_H
#define BRAINENC_COMPUTE_POOL_H

#include <stddef.h>

#include "core/base/error.h"

typedef struct be_pool be_pool;

/* Task number `task` of a job, run by thread `worker` (0 <= worker < threads), which no other task of the job uses at the
 * same time. */
typedef void (*be_task)(void *context, size_t task, size_t worker);

enum { BE_MOST_THREADS = 1024 };

/* A pool of `threads` workers (1 to BE_MOST_THREADS): threads - 1 of its own and whoever calls be_pool_run. */
be_status be_pool_create(size_t threads, be_pool **pool, be_error *error);
/* Ends and joins the threads; no job may be running. NULL is allowed. */
void be_pool_destroy(be_pool *pool);
size_t be_pool_threads(const be_pool *pool);

/* Runs run(context, 0 .. n_tasks - 1, ...) on all workers, the caller being worker 0, and returns when all are done. Tasks
 * are handed out one by one in ascending order. One caller at a time; a task may not call be_pool_run. */
void be_pool_run(be_pool *pool, size_t n_tasks, be_task run, void *context);

#endif
