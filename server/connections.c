#include "server/connections.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "core/base/clock.h"
#include "core/base/memory.h"

/* Seconds for which a connection is left to be idle. */
static const double shortest_idleness = 0.5;

struct open_connection {
    int socket;
    bool idle;                       /* in the list */
    bool admitted;                   /* its request is one of those that are counted */
    double since;                    /* be_clock */
    open_connection *before, *after; /* by how long they are idle */
};

struct connections {
    pthread_mutex_t lock;
    size_t limit, count, admitted;   /* count: without those that are being closed */
    open_connection *first, *last;   /* the idle ones, the one idle longest first */
};

be_status connections_create(size_t limit, connections **out, be_error *error)
{
    void *memory;
    be_status status = be_allocate(&memory, 1, sizeof(connections), "the list of connections", error);
    if (status != BE_OK)
        return status;
    connections *self = memory;
    pthread_mutex_init(&self->lock, NULL);
    self->limit = limit;
    *out = self;
    return BE_OK;
}

void connections_free(connections *self)
{
    if (!self)
        return;
    pthread_mutex_destroy(&self->lock);
    free(self);
}

/* --- under the lock ------------------------------------------------------------------------------- */

static void take_out(connections *self, open_connection *it)
{
    if (!it->idle)
        return;
    *(it->before ? &it->before->after : &self->first) = it->after;
    *(it->after ? &it->after->before : &self->last) = it->before;
    it->before = it->after = NULL;
    it->idle = false;
}

static void append(connections *self, open_connection *it)
{
    it->before = self->last;
    *(self->last ? &self->last->after : &self->first) = it;
    self->last = it;
    it->idle = true;
    it->since = be_clock();
}

/* Whether a request has come that the HTTP library had no time to read yet. */
static bool is_heard(const open_connection *it)
{
    char byte;
    return recv(it->socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* Closes idle ones; not those that had no time yet to say anything. The HTTP library sees the end of the stream. */
static void make_room(connections *self)
{
    double before = be_clock() - shortest_idleness;
    open_connection *next;
    for (open_connection *it = self->first; it && self->count > self->limit && it->since < before; it = next) {
        next = it->after;
        if (is_heard(it))
            continue;
        take_out(self, it);
        shutdown(it->socket, SHUT_RDWR);
        it->socket = -1;
        self->count--;
    }
}

static void dismiss(connections *self, open_connection *it)
{
    self->admitted -= it->admitted;
    it->admitted = false;
}

/* --- from outside --------------------------------------------------------------------------------- */

open_connection *connections_add(connections *self, int socket)
{
    void *memory;
    if (be_allocate(&memory, 1, sizeof(open_connection), "a connection", NULL) != BE_OK)
        return NULL;
    open_connection *it = memory;
    it->socket = socket;
    pthread_mutex_lock(&self->lock);
    self->count++;
    make_room(self);
    append(self, it);
    pthread_mutex_unlock(&self->lock);
    return it;
}

void connections_remove(connections *self, open_connection *it)
{
    if (!it)
        return;
    pthread_mutex_lock(&self->lock);
    dismiss(self, it);
    self->count -= it->socket >= 0;
    take_out(self, it);
    pthread_mutex_unlock(&self->lock);
    free(it);
}

void connections_set_busy(connections *self, open_connection *it, bool busy)
{
    if (!it)
        return;
    pthread_mutex_lock(&self->lock);
    if (busy) {
        take_out(self, it);
    } else {
        dismiss(self, it);
        if (!it->idle && it->socket >= 0)
            append(self, it);
    }
    make_room(self);
    pthread_mutex_unlock(&self->lock);
}

bool connections_admit(connections *self, open_connection *it)
{
    if (!it)
        return true;
    pthread_mutex_lock(&self->lock);
    bool admitted = it->admitted || self->admitted < self->limit;
    self->admitted += admitted && !it->admitted;
    it->admitted = admitted;
    pthread_mutex_unlock(&self->lock);
    return admitted;
}
