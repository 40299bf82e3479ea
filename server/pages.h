/* The answers that need no inference: what is loaded, and what the API is. */
#ifndef BRAINENCD_PAGES_H
#define BRAINENCD_PAGES_H

#include "server/query.h"

/* GET /subjects: each subject with its weights' hashes, vertex counts and quality. It takes no parameter. */
be_status page_subjects(const engine *served, const parameters *from, answer *to, be_error *error);
/* GET /rois?subject=&output=: names, families and vertex counts, or the vertices too. */
be_status page_rois(const engine *served, const parameters *from, answer *to, be_error *error);
/* GET /openapi.json. */
be_status page_openapi(answer *to, be_error *error);

#endif
