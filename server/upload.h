/* The body of a request: its limits, its multipart form, and its way to the scheduler. */
#ifndef BRAINENCD_UPLOAD_H
#define BRAINENCD_UPLOAD_H

#include "server/exchange.h"

/* Prepares for the body: its declared size is checked before a byte of it is read. On failure it->answer is set. */
void upload_begin(exchange *it);
/* Whether it->answer, an error, goes out before the body is read; that ends the connection. Other errors take and drop the
 * body, so that the client is listening when the answer comes and may go on with the next request. */
bool upload_is_refused(const exchange *it);
/* A piece of the body. False ends the connection: a client that goes on sending past its limit or its time, which has been
 * told why. */
bool upload_take(exchange *it, const char *data, size_t size);
/* The body is there: hands the request to the scheduler. True when the connection is suspended; else it->answer is set. */
bool upload_submit(exchange *it);

#endif
