/* One line an event, to standard error for the journal, as text or as JSON. From any thread. */
#ifndef BRAINENCD_LOG_H
#define BRAINENCD_LOG_H

#include <stdbool.h>
#include <stddef.h>

typedef struct log_access_line {
    const char *client, *method, *path, *id;
    unsigned status;
    size_t bytes;
    double seconds;
    bool cut; /* the answer did not go out whole */
} log_access_line;

void log_access(const log_access_line *line, bool json);

/* A message about the daemon itself. */
void log_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
