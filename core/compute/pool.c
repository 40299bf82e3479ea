#include "core/compute/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "core/base/memory.h"

typedef struct worker {
    be_pool *pool;
    size_t number;
    pthread_t thread;
} worker;

struct be_pool {
    pthread_mutex_t lock;
    pthread_cond_t start, finished;
    size_t threads, started; /* wanted, and running besides the caller */
    size_t job;              /* counts jobs, so that a worker sees each of them once */
    size_t busy;             /* workers that have not finished the current job */
    bool ending;
    be_task run;
    void *context;
    size_t n_tasks;
    atomic_size_t next_task;
    worker workers[]; /* [threads - 1] */
};

static void take_tasks(be_pool *pool, size_t number)
{
    for (;;) {
        size_t task = atomic_fetch_add_explicit(&pool->next_task, 1, memory_order_relaxed);
        if (task >= pool->n_tasks)
            return;
        pool->run(pool->context, task, number);
    }
}

static void *work(void *argument)
{
    worker *self = argument;
    be_pool *pool = self->pool;
    size_t seen = 0;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (pool->job == seen && !pool->ending)
            pthread_cond_wait(&pool->start, &pool->lock);
        if (pool->ending)
            break;
        seen = pool->job;
        pthread_mutex_unlock(&pool->lock);
        take_tasks(pool, self->number);
        pthread_mutex_lock(&pool->lock);
        if (--pool->busy == 0)
            pthread_cond_signal(&pool->finished);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

be_status be_pool_create(size_t threads, be_pool **out, be_error *error)
{
    if (threads < 1 || threads > BE_MOST_THREADS)
        return be_fail(error, BE_ERROR_ARGUMENT, "threads: %zu is not between 1 and %d", threads, BE_MOST_THREADS);
    void *memory;
    be_status status = be_allocate(&memory, 1, sizeof(be_pool) + (threads - 1) * sizeof(worker), "a thread pool", error);
    if (status != BE_OK)
        return status;
    be_pool *pool = memory;
    pool->threads = threads;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->start, NULL);
    pthread_cond_init(&pool->finished, NULL);
    for (size_t i = 0; i + 1 < threads; i++) {
        pool->workers[i] = (worker){.pool = pool, .number = i + 1};
        if (pthread_create(&pool->workers[i].thread, NULL, work, &pool->workers[i]) != 0) {
            be_pool_destroy(pool);
            return be_fail(error, BE_ERROR_MEMORY, "threads: the system refused thread %zu of %zu", i + 2, threads);
        }
        pool->started++;
    }
    *out = pool;
    return BE_OK;
}

void be_pool_destroy(be_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->ending = true;
    pthread_cond_broadcast(&pool->start);
    pthread_mutex_unlock(&pool->lock);
    for (size_t i = 0; i < pool->started; i++)
        pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->finished);
    pthread_cond_destroy(&pool->start);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

size_t be_pool_threads(const be_pool *pool)
{
    return pool->threads;
}

void be_pool_run(be_pool *pool, size_t n_tasks, be_task run, void *context)
{
    pool->run = run;
    pool->context = context;
    pool->n_tasks = n_tasks;
    atomic_store_explicit(&pool->next_task, 0, memory_order_relaxed);
    if (pool->threads == 1 || n_tasks < 2) {
        take_tasks(pool, 0);
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->job++;
    pool->busy = pool->started;
    pthread_cond_broadcast(&pool->start);
    pthread_mutex_unlock(&pool->lock);
    take_tasks(pool, 0);
    pthread_mutex_lock(&pool->lock);
    while (pool->busy > 0)
        pthread_cond_wait(&pool->finished, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}
