/* A brainencd somewhere else: the exchange of requests and answers over HTTP (libcurl), whatever they are about.
 *
 * Nothing a server sends is trusted: an answer may have REMOTE_MOST_BYTES and, where it is JSON, REMOTE_MOST_VALUES values
 * (which are some 300 MB while they are read); no redirection is followed; every wait has an end.
 */
#ifndef BRAINENC_TOOL_REMOTE_H
#define BRAINENC_TOOL_REMOTE_H

#include <cjson/cJSON.h>

#include "core/answer/text.h"
#include "core/base/error.h"

enum {
    REMOTE_REQUESTS = 8,          /* in flight at a time, so that the server can compute them together */
    REMOTE_MOST_BYTES = 64 << 20, /* of an answer */
    REMOTE_MOST_VALUES = 4 << 20  /* of a JSON answer */
};

typedef struct remote remote;

typedef struct remote_options {
    const char *server;   /* "http://HOST[:PORT][/PATH]", "https://..." or "unix:/PATH" */
    const char *key_file; /* NULL, or a file whose first line is the API key */
    size_t seconds;       /* until an answer is given up, with the waiting for a busy server */
} remote_options;

/* Asks nothing yet. On success *out is to be closed with remote_close. */
be_status remote_open(const remote_options *options, remote **out, be_error *error);
/* Breaks off what is in flight. NULL is allowed. */
void remote_close(remote *self);

/* What sentences about the server begin with: its address as the user gave it. */
const char *remote_name(const remote *self);

/* Adds "?key=value" or, behind another one, "&key=value". */
void remote_add_parameter(be_text *path, const char *key, const char *value);

/* What came back, whatever the status. */
typedef struct remote_answer {
    unsigned status;  /* HTTP's */
    const char *text; /* [size], and a 0 behind it; the remote's, until the place is used again */
    size_t size;
    const char *redirect; /* where the server wants the question asked, or NULL */
} remote_answer;

/* Sends a request from one of REMOTE_REQUESTS places, in which none is on its way: a GET of `path` when `body` is NULL, a POST
 * otherwise; the body must stay until the answer is received. */
be_status remote_send(remote *self, size_t place, const char *path, const void *body, size_t size, be_error *error);
/* Waits for the answer while those of the other places may come too. A server that is busy (503) or past its deadline (504) is
 * asked again after the time it names, until the time for an answer is over. */
be_status remote_receive(remote *self, size_t place, remote_answer *answer, be_error *error);

/* BE_OK for 200; otherwise the server's own words and the status that fits. */
be_status remote_check(const remote *self, const remote_answer *answer, be_error *error);
/* The status that fits an HTTP status other than 200. */
be_status remote_status(unsigned status);
/* The sentence of an error answer; NULL when there is none. To be freed. */
char *remote_message(const remote_answer *answer);

/* GET of `path` from place 0: *root is a JSON object, to be freed with cJSON_Delete. */
be_status remote_ask(remote *self, const char *path, cJSON **root, be_error *error);

#endif
