/* The answer of /predict as a GIFTI file of one hemisphere. */
#ifndef BRAINENCD_REPLY_GIFTI_H
#define BRAINENCD_REPLY_GIFTI_H

#include "server/request.h"

/* Fills it->answer but for its status and what reply_write adds. An array is called "image N" after its picture's place from 0,
 * as in the sentences about it. BE_ERROR_ARGUMENT when no vertex is asked for. */
be_status reply_write_gifti(request *it, be_error *error);

#endif
