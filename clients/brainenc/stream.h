/* Results that are written as they come and survive the death of the process.
 *
 * While a run is under way its results are in OUT.partial and what is known to be on disk in OUT.resume; a run that finds
 * both, made by the same command on the same files, goes on where they end. At the end OUT.partial becomes OUT.
 */
#ifndef BRAINENC_TOOL_STREAM_H
#define BRAINENC_TOOL_STREAM_H

#include <stdbool.h>

#include "clients/brainenc/pictures.h"
#include "core/base/error.h"
#include "core/files/hash.h"
#include "core/files/json.h"

/* Images that failed, a JSON array of {"image", "error"}. Begin with a zeroed one. */
typedef struct failure_list {
    be_json json; /* an object with the array "failed" */
    size_t count;
} failure_list;
be_status failure_list_add(failure_list *list, const char *image, const char *message, be_error *error);
/* Adds the first `count` of them under "failed". */
void failure_list_write(const failure_list *list, size_t count, be_json *json);
void failure_list_free(failure_list *list);

typedef struct stream stream;

/* What is written where. All of it must outlive the stream. */
typedef struct stream_plan {
    const char *path;
    const char *run;          /* a hash over all that decides the results but the content of the images */
    const picture_list *pictures; /* in the order of the results */
    bool restart;             /* throw away what an unfinished run left */
    const void *head;         /* what the file begins with */
    size_t head_size;
    failure_list *failures;   /* kept with the results; those of an unfinished run are added when the stream is opened */
} stream_plan;

/* Opens the results. *done is the number of images that an unfinished run has finished. BE_ERROR_ARGUMENT when its `run` is
 * another, or an image it has finished has changed since; BE_ERROR_IO when another process is writing there. */
be_status stream_open(const stream_plan *plan, stream **stream, size_t *done, be_error *error);
/* Appends the results of images up to number `done` in all. What is appended is made safe every few seconds. */
be_status stream_append(stream *stream, const void *bytes, size_t size, size_t done, be_error *error);
/* Appends `tail`, makes all of it safe and gives the file its name. Frees `stream` whatever happens. */
be_status stream_finish(stream *stream, const void *tail, size_t tail_size, be_error *error);
/* Makes safe what there is and frees: the next run goes on from here. Returns for how many images; with none, nothing is left
 * behind. NULL is allowed. */
size_t stream_close(stream *stream);

#endif
