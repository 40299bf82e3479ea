/* One HTTP request as it comes in and goes out; for the files of the HTTP side only (http.c, upload.c). */
#ifndef BRAINENCD_EXCHANGE_H
#define BRAINENCD_EXCHANGE_H

#include <stdatomic.h>
#include <stdbool.h>

#include <microhttpd.h>

#include "server/connections.h"
#include "server/query.h"
#include "server/scheduler.h"
#include "server/settings.h"

/* What all exchanges use. */
typedef struct exchange_shared {
    scheduler *scheduler;
    results *held;
    metrics *metrics;
    connections *connections;
    atomic_bool draining;
    atomic_size_t open; /* exchanges that have not ended */
} exchange_shared;

typedef struct exchange {
    exchange_shared *shared;
    settings *settings;         /* NULL while loading */
    struct MHD_Connection *connection;
    metric_route route;
    char method[12], url[200], caller[CALLER_NAME_SIZE];
    parameters parameters;
    request *request;           /* NULL: nothing is to be computed */
    struct MHD_PostProcessor *form;
    bool submitted, answered, too_large;
    bool broken, damaged, misplaced; /* no room for the body; it is no form; the form has a parameter in it */
    size_t received_bytes;
    double started;
    answer answer;              /* made here, not by the scheduler */
    unsigned retry_after;
    unsigned status;            /* of what went out */
    size_t sent_bytes;
    char id[BE_ID_SIZE];
} exchange;

/* A header of the request; NULL when it is not there. */
const char *exchange_header(const exchange *it, const char *name);

/* Makes it->answer that of an error; `busy` is 503 with the time after which to try again, counted as a rejection. */
void exchange_fail(exchange *it, unsigned status, const char *code, const char *message);
void exchange_fail_busy(exchange *it, metric_rejection reason, const char *code, const char *message);

/* Sends an answer and takes its bytes. */
enum MHD_Result exchange_send(exchange *it, answer *from);

/* Sends it->answer while the body still comes in, which libmicrohttpd has no way to do: in one piece, as far as the socket
 * takes it. The connection is to be closed then. */
void exchange_send_and_close(exchange *it);

#endif
