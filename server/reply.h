/* The answer of a request that was computed, in the format it asked for. */
#ifndef BRAINENCD_REPLY_H
#define BRAINENCD_REPLY_H

#include "server/request.h"

/* Fills it->answer, whose status becomes 200. On an error it is as it was. May be called on any thread. */
be_status reply_write(request *it, be_error *error);

#endif
