/* Watches over requests that wait: their deadlines and their clients' sockets. A suspended connection of libmicrohttpd
 * neither times out nor notices that its client left; this does.
 */
#ifndef BRAINENCD_WATCH_H
#define BRAINENCD_WATCH_H

#include "server/request.h"

typedef struct watch watch;

be_status watch_start(metrics *counters, watch **out, be_error *error);
void watch_stop(watch *self);
/* Watches until watch_forget; takes no reference. `socket` is the client's. */
void watch_add(watch *self, request *it, int socket);
/* To be called before the request's connection goes on. */
void watch_forget(watch *self, request *it);

#endif
