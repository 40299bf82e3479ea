/* The HTTP side of the daemon, on libmicrohttpd: requests, limits, keys, answers. Its threads never wait for inference: a
 * request that needs it is suspended until the scheduler or the watch has settled it.
 */
#ifndef BRAINENCD_HTTP_H
#define BRAINENCD_HTTP_H

#include "server/metrics.h"
#include "server/results.h"
#include "server/scheduler.h"
#include "server/settings.h"

typedef struct http http;

/* Listens where `first` says. While no settings with an engine are set, work is answered 503 and /readyz is not ready. */
be_status http_start(const config *first, scheduler *scheduling, results *held, metrics *counters, http **out,
                     be_error *error);
/* New requests are served with these from now on (a reference is taken). */
void http_use(http *self, settings *serving);
/* The address listened on, as text: "http://127.0.0.1:8080" or "unix:/run/...". */
const char *http_address(const http *self);
/* Not ready from now on: new work is answered 503 and nothing more is accepted. */
void http_drain(http *self);
/* Requests whose answer has not gone out yet. */
size_t http_open_requests(const http *self);
/* Closes everything; every request must be settled. NULL is allowed. */
void http_stop(http *self);

#endif
