/* The socket that the daemon listens on. */
#ifndef BRAINENCD_LISTEN_H
#define BRAINENCD_LISTEN_H

#include <sys/un.h>

#include "server/config.h"

enum { LISTEN_ADDRESS_SIZE = 160 };

typedef struct listening {
    int descriptor;
    char address[LISTEN_ADDRESS_SIZE]; /* as text: "http://127.0.0.1:8080" or "unix:/run/..." */
    char socket_path[sizeof ((struct sockaddr_un *)0)->sun_path]; /* "" for a port */
} listening;

/* Listens where the configuration says: a port (0: any free one) or a unix socket, whose file left by an earlier run is
 * replaced. The sentence names the address. The caller closes the descriptor. */
be_status listen_open(const config *from, listening *out, be_error *error);
/* Removes a unix socket's file. */
void listen_remove(const listening *it);

#endif
