/* From start to end: signals, loading beside what is served, systemd, draining. */
#ifndef BRAINENCD_LIFECYCLE_H
#define BRAINENCD_LIFECYCLE_H

#include <stdbool.h>

/* Loads all that the configuration names and says whether it is good; the process's exit code. */
int lifecycle_check(const char *path);

/* Serves until SIGTERM or SIGINT; the process's exit code: 0 after a drain, 1 when it could not start. */
int lifecycle_run(const char *path);

#endif
