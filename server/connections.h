/* The open connections. When they are more than the limit, those that have been idle longest are closed to make room, as nginx does
 * with its keep-alive connections: who says nothing keeps nobody out. All calls may come from any thread.
 */
#ifndef BRAINENCD_CONNECTIONS_H
#define BRAINENCD_CONNECTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/error.h"

typedef struct connections connections;
/* One connection; idle or with a request under way. */
typedef struct open_connection open_connection;

be_status connections_create(size_t limit, connections **out, be_error *error);
/* When none is open any more. NULL is allowed. */
void connections_free(connections *self);

/* A new one, idle, on this socket, which stays open until connections_remove. NULL: there is no memory. */
open_connection *connections_add(connections *self, int socket);
void connections_remove(connections *self, open_connection *it);
/* A request begins or ends on it; NULL is allowed. */
void connections_set_busy(connections *self, open_connection *it, bool busy);
/* Whether the request that is under way on it may go on, which is counted until it ends: false when as many as the limit are. Those
 * that nobody asks about, such as a monitor's, take no place. */
bool connections_admit(connections *self, open_connection *it);

#endif
