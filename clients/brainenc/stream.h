/* Results that are written as they come and survive the death of the process.
 *
 * While a run is under way its results are in OUT.partial and what is known to be on disk in OUT.resume; a run that finds
 * both, made by the same command on the same files, goes on where they end. At the end OUT.partial becomes OUT.
 */
#ifndef BRAINENC_TOOL_STREAM_H
#define BRAINENC_TOOL_STREAM_H

#include "core/answer/text.h"
#include "core/base/error.h"
#include "core/files/hash.h"

typedef struct stream stream;

/* Opens the results of `path`. `run` is a hash over all that decides them: when it differs from an unfinished run's that is
 * found there, the call fails (BE_ERROR_ARGUMENT) unless `restart` says to begin anew. `head` is what the file begins with.
 * *done is the number of images an earlier run has finished. BE_ERROR_IO when another process is writing there. */
be_status stream_open(const char *path, const char run[BE_HASH_SIZE], bool restart, const void *head, size_t head_size,
                      stream **stream, size_t *done, be_error *error);
/* Images that failed, as JSON objects separated by commas; grows with stream_note_failure, also from an earlier run. */
const char *stream_failures(const stream *stream);
size_t stream_n_failures(const stream *stream);
/* Adds the failure of an image; it is kept with the next stream_append. */
be_status stream_note_failure(stream *stream, const char *name, const char *message, be_error *error);
/* Appends the results of images up to number `done` in all. What is appended is made safe every few seconds. */
be_status stream_append(stream *stream, const void *bytes, size_t size, size_t done, be_error *error);
/* Appends `tail`, makes all of it safe and gives the file its name. Frees `stream` whatever happens. */
be_status stream_finish(stream *stream, const void *tail, size_t tail_size, be_error *error);
/* Makes safe what there is and frees: the next run goes on from here. NULL is allowed. */
void stream_close(stream *stream);

#endif
