#include "server/watch.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/base/memory.h"

/* A request under watch; `socket` is a duplicate of the client's, so that it stays what it is while it is watched. */
typedef struct watched {
    request *request;
    uint64_t number; /* what its events carry: an address may be another's by the time one is read */
    int socket;
    struct watched *next;
} watched;

struct watch {
    pthread_mutex_t lock;
    pthread_t thread;
    bool thread_runs, ending;
    int poll, bell; /* epoll; an eventfd that ends a wait */
    metrics *metrics;
    watched *first;
    uint64_t added;  /* so far */
};

/* Settles a request from here and lets its connection go on. The lock is held, so that the request, which leaves the list
 * before its last reference goes, is alive. */
static void settle(watch *self, request *it, request_state state)
{
    if (!request_settle(it, state))
        return;
    if (state == STATE_LEFT)
        atomic_fetch_add(&self->metrics->cancelled, 1);
    else
        metrics_rejected(self->metrics, REJECTED_DEADLINE);
    it->wake(it);
}

static int milliseconds_to_wait(const watch *self, double now)
{
    double least = 1.0;
    for (const watched *it = self->first; it; it = it->next) {
        if (request_is_pending(it->request) && it->request->deadline - now < least)
            least = it->request->deadline - now;
    }
    return least > 0 ? (int)(least * 1e3) + 1 : 0;
}

static void expire(watch *self, double now)
{
    for (watched *it = self->first; it; it = it->next) {
        if (it->request->deadline <= now)
            settle(self, it->request, STATE_EXPIRED);
    }
}

static void client_left(watch *self, uint64_t number)
{
    for (watched *it = self->first; it; it = it->next) { /* it may have been forgotten since the event */
        if (it->number != number)
            continue;
        epoll_ctl(self->poll, EPOLL_CTL_DEL, it->socket, NULL);
        settle(self, it->request, STATE_LEFT);
        return;
    }
}

static void *run(void *argument)
{
    enum { EVENTS = 64 };
    watch *self = argument;
    struct epoll_event events[EVENTS];
    pthread_mutex_lock(&self->lock);
    while (!self->ending) {
        int wait = milliseconds_to_wait(self, be_clock());
        pthread_mutex_unlock(&self->lock);
        int count = epoll_wait(self->poll, events, EVENTS, wait);
        pthread_mutex_lock(&self->lock);
        for (int i = 0; i < count; i++) {
            uint64_t rings;
            if (events[i].data.u64 != 0)
                client_left(self, events[i].data.u64);
            else if (read(self->bell, &rings, sizeof rings) < 0 && errno != EAGAIN)
                break;
        }
        expire(self, be_clock());
    }
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

static void ring(const watch *self)
{
    uint64_t one = 1;
    while (write(self->bell, &one, sizeof one) < 0 && errno == EINTR)
        continue;
}

be_status watch_start(metrics *counters, watch **out, be_error *error)
{
    void *memory;
    be_status status = be_allocate(&memory, 1, sizeof(watch), "the watch", error);
    if (status != BE_OK)
        return status;
    watch *self = memory;
    struct epoll_event event = {.events = EPOLLIN};
    pthread_mutex_init(&self->lock, NULL);
    self->metrics = counters;
    self->poll = epoll_create1(EPOLL_CLOEXEC);
    self->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (self->poll < 0 || self->bell < 0 || epoll_ctl(self->poll, EPOLL_CTL_ADD, self->bell, &event) != 0)
        status = be_fail(error, BE_ERROR_IO, "the watch cannot be set up: %s", strerror(errno));
    else if (pthread_create(&self->thread, NULL, run, self) != 0)
        status = be_fail(error, BE_ERROR_IO, "the watch's thread cannot be started");
    else
        self->thread_runs = true;
    if (status != BE_OK) {
        watch_stop(self);
        return status;
    }
    *out = self;
    return BE_OK;
}

void watch_stop(watch *self)
{
    if (!self)
        return;
    pthread_mutex_lock(&self->lock);
    self->ending = true;
    pthread_mutex_unlock(&self->lock);
    if (self->thread_runs) {
        ring(self);
        pthread_join(self->thread, NULL);
    }
    if (self->poll >= 0)
        close(self->poll);
    if (self->bell >= 0)
        close(self->bell);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

/* Without memory or a descriptor for it the request is not watched: it is computed all the same. */
void watch_add(watch *self, request *it, int socket)
{
    void *memory;
    if (be_allocate(&memory, 1, sizeof(watched), "a watched request", NULL) != BE_OK)
        return;
    watched *added = memory;
    added->request = it;
    added->socket = dup(socket);
    pthread_mutex_lock(&self->lock);
    added->number = ++self->added;
    struct epoll_event event = {.events = EPOLLRDHUP, .data.u64 = added->number};
    if (added->socket >= 0)
        epoll_ctl(self->poll, EPOLL_CTL_ADD, added->socket, &event);
    added->next = self->first;
    self->first = added;
    pthread_mutex_unlock(&self->lock);
    ring(self); /* its deadline may be the next */
}

void watch_forget(watch *self, request *it)
{
    pthread_mutex_lock(&self->lock);
    for (watched **at = &self->first; *at; at = &(*at)->next) {
        watched *found = *at;
        if (found->request != it)
            continue;
        *at = found->next;
        if (found->socket >= 0) { /* closing a duplicate does not take it out */
            epoll_ctl(self->poll, EPOLL_CTL_DEL, found->socket, NULL);
            close(found->socket);
        }
        free(found);
        break;
    }
    pthread_mutex_unlock(&self->lock);
}
