#include "server/scheduler.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/memory.h"
#include "server/watch.h"

struct scheduler {
    pthread_mutex_t lock;
    pthread_cond_t arrived;
    pthread_t thread;
    bool thread_runs, ending;
    scheduler_options options;
    results *held;
    metrics *metrics;
    watch *watch;
    request *first, **last; /* the queue */
    size_t queued;
    double pace;            /* seconds a request took lately */
    double busy_since;      /* 0: between batches */
};

/* --- the queue, under the lock -------------------------------------------------------------------- */

static request *take(scheduler *self)
{
    request *it = self->first;
    self->first = it->next;
    if (!self->first)
        self->last = &self->first;
    it->next = NULL;
    self->queued--;
    atomic_store(&self->metrics->queued, self->queued);
    return it;
}

/* Gives the result to whoever waits, unless it was settled meanwhile, and lets go. */
static void finish(scheduler *self, request *it)
{
    watch_forget(self->watch, it);
    if (request_settle(it, STATE_ANSWERED)) {
        metrics_time(self->metrics, STAGE_TOTAL, be_clock() - it->received);
        it->wake(it);
    }
    atomic_fetch_sub(&self->metrics->in_flight, 1);
    request_release(it);
}

/* Takes up to batch_max requests; those whose client left or whose deadline passed are dropped undone. */
static size_t take_batch(scheduler *self, request **batch)
{
    size_t count = 0, most = self->options.batch_max < MOST_BATCHED ? self->options.batch_max : MOST_BATCHED;
    while (self->first && count < most)
        batch[count++] = take(self);
    return count;
}

/* A request past its deadline that the watch could not watch is settled here. */
static void expire(scheduler *self, request *it)
{
    if (be_clock() < it->deadline || !request_settle(it, STATE_EXPIRED))
        return;
    metrics_rejected(self->metrics, REJECTED_DEADLINE);
    it->wake(it);
}

static size_t drop_settled(scheduler *self, request **batch, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        expire(self, batch[i]);
        if (request_is_pending(batch[i]))
            batch[kept++] = batch[i];
        else
            finish(self, batch[i]);
    }
    return kept;
}

/* Waits up to batch_wait_ms for more requests than the first. */
static void wait_for_others(scheduler *self)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (long)(self->options.batch_wait_ms % 1000) * 1000000;
    until.tv_sec += (time_t)(self->options.batch_wait_ms / 1000) + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    while (!self->ending && self->queued < self->options.batch_max) {
        if (pthread_cond_timedwait(&self->arrived, &self->lock, &until) != 0)
            return;
    }
}

/* --- the computing thread ------------------------------------------------------------------------- */

static void run_batch(scheduler *self, request **batch, size_t count, const body_limits *limits)
{
    double start = be_clock();
    count = drop_settled(self, batch, count);
    if (count == 0)
        return;
    compute_batch(batch, count, limits, self->held, self->metrics);
    for (size_t i = 0; i < count; i++)
        finish(self, batch[i]);
    pthread_mutex_lock(&self->lock);
    double each = (be_clock() - start) / (double)count;
    self->pace = self->pace > 0 ? 0.7 * self->pace + 0.3 * each : each;
    pthread_mutex_unlock(&self->lock);
}

static void *run(void *argument)
{
    scheduler *self = argument;
    request *batch[MOST_BATCHED];
    pthread_mutex_lock(&self->lock);
    for (;;) {
        self->busy_since = 0;
        while (!self->first && !self->ending)
            pthread_cond_wait(&self->arrived, &self->lock);
        if (self->ending)
            break;
        if (self->options.batch_wait_ms > 0)
            wait_for_others(self);
        self->busy_since = be_clock();
        size_t count = take_batch(self, batch);
        body_limits limits = self->options.limits;
        pthread_mutex_unlock(&self->lock);
        run_batch(self, batch, count, &limits);
        pthread_mutex_lock(&self->lock);
    }
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

be_status scheduler_start(const scheduler_options *options, results *held, metrics *counters, scheduler **out,
                          be_error *error)
{
    void *memory;
    be_status status = be_allocate(&memory, 1, sizeof(scheduler), "the scheduler", error);
    if (status != BE_OK)
        return status;
    scheduler *self = memory;
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->arrived, NULL);
    self->options = *options;
    self->held = held;
    self->metrics = counters;
    self->last = &self->first;
    status = watch_start(counters, &self->watch, error);
    if (status == BE_OK && pthread_create(&self->thread, NULL, run, self) != 0)
        status = be_fail(error, BE_ERROR_IO, "the computing thread cannot be started");
    self->thread_runs = status == BE_OK;
    if (status != BE_OK) {
        scheduler_stop(self);
        scheduler_free(self);
        return status;
    }
    *out = self;
    return BE_OK;
}

void scheduler_configure(scheduler *self, const scheduler_options *options)
{
    pthread_mutex_lock(&self->lock);
    self->options = *options;
    pthread_mutex_unlock(&self->lock);
}

void scheduler_stop(scheduler *self)
{
    if (!self)
        return;
    pthread_mutex_lock(&self->lock);
    self->ending = true;
    pthread_cond_broadcast(&self->arrived);
    pthread_mutex_unlock(&self->lock);
    if (self->thread_runs)
        pthread_join(self->thread, NULL);
    while (self->first) {
        request *it = take(self);
        answer_fail_with(&it->answer, 503, "draining", "the daemon is ending");
        finish(self, it);
    }
    watch_stop(self->watch);
}

void scheduler_free(scheduler *self)
{
    if (!self)
        return;
    pthread_cond_destroy(&self->arrived);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

bool scheduler_submit(scheduler *self, request *it, int socket)
{
    pthread_mutex_lock(&self->lock);
    bool room = self->queued < self->options.queue && !self->ending;
    if (room) {
        request_acquire(it);
        watch_add(self->watch, it, socket);
        *self->last = it;
        self->last = &it->next;
        self->queued++;
        atomic_store(&self->metrics->queued, self->queued);
        atomic_fetch_add(&self->metrics->in_flight, 1);
        pthread_cond_signal(&self->arrived);
    }
    pthread_mutex_unlock(&self->lock);
    return room;
}

unsigned scheduler_retry_after(scheduler *self)
{
    pthread_mutex_lock(&self->lock);
    double seconds = ceil(self->pace * (double)(self->queued + 1));
    pthread_mutex_unlock(&self->lock);
    return seconds < 1 ? 1 : seconds > 3600 ? 3600 : (unsigned)seconds;
}

double scheduler_silence(scheduler *self)
{
    pthread_mutex_lock(&self->lock);
    double silence = self->busy_since > 0 ? be_clock() - self->busy_since : 0;
    pthread_mutex_unlock(&self->lock);
    return silence;
}
