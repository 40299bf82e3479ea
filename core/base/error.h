/* Status codes and the one-sentence error that goes with them.
 *
 * Every function of the library that can fail returns a be_status. When it is not BE_OK and the
 * caller gave a be_error, `error->message` holds one English sentence that names the file, tensor,
 * key or field at fault; it has no trailing newline and never contains raw bytes of the input
 * (be_fail replaces what is not printable). A NULL be_error is allowed everywhere.
 */
#ifndef BRAINENC_BASE_ERROR_H
#define BRAINENC_BASE_ERROR_H

#include <stddef.h>

typedef enum be_status {
    BE_OK = 0,
    BE_ERROR_ARGUMENT,    /* the caller's request is wrong: a value out of range, a missing option */
    BE_ERROR_NOT_FOUND,   /* a name (file, subject, ROI, tensor) that does not exist */
    BE_ERROR_IO,          /* the operating system refused: read, write, map, rename */
    BE_ERROR_FORMAT,      /* the bytes are damaged, truncated, hostile or of no known format */
    BE_ERROR_UNSUPPORTED, /* well formed, but something this version does not compute */
    BE_ERROR_LIMIT,       /* a stated limit (pixels, tokens, bytes) is exceeded */
    BE_ERROR_MEMORY       /* an allocation failed; nothing was changed */
} be_status;

enum { BE_ERROR_MESSAGE_SIZE = 512 };

typedef struct be_error {
    be_status status;
    char message[BE_ERROR_MESSAGE_SIZE];
} be_error;

/* Fills `error` (when not NULL) and returns `status`, so that a failing function can end with
 * `return be_fail(error, BE_ERROR_FORMAT, "%s: ...", path)`. An over-long sentence is cut; what is
 * left is UTF-8 and safe to print (be_make_printable in utf8.h). */
be_status be_fail(be_error *error, be_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The sentence for an allocation of `bytes` bytes for `what` that failed. */
be_status be_fail_memory(be_error *error, size_t bytes, const char *what);

/* A stable lower-case word for a status: "ok", "argument", "not_found", "io", "format",
 * "unsupported", "limit", "memory". Never NULL. */
const char *be_status_name(be_status status);

#endif
