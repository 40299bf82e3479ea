/* The daemon's configuration: a YAML file with a few keys, all of them in config/brainencd.yaml with their defaults. */
#ifndef BRAINENCD_CONFIG_H
#define BRAINENCD_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "core/backbone/backbone.h"
#include "core/base/error.h"
#include "core/image/image.h"

typedef struct config_backbone {
    char *name, *weights;
    const char *kind;          /* what the file must be of; NULL: anything known */
    size_t heads;              /* 0: found from the file */
    be_activation activation;  /* CLIP's */
} config_backbone;

typedef struct config_subject {
    char *name, *weights;
    size_t backbone; /* index into backbones */
} config_subject;

typedef struct config {
    char *listen_host, *listen_unix; /* one of the two; an IPv6 address without its brackets */
    unsigned short listen_port;
    config_backbone *backbones;
    size_t n_backbones;
    config_subject *subjects;
    size_t n_subjects;
    be_fit fit;
    char *isa;                       /* "auto", ... */
    char *precision;                 /* "f32", "auto", ... */
    size_t threads;                  /* 0: auto */
    size_t batch_max, batch_wait_ms;
    size_t body, pixels, tokens, queue, bytes_in_flight, deadline_ms, drain_ms, connections;
    size_t results_held;             /* bytes */
    char *keys_file;                 /* NULL: no keys are asked */
    char **cors;                     /* allowed origins; "*" for any */
    size_t n_cors;
    bool log_access, log_json;
} config;

/* Reads and checks `path`. Relative paths in it are taken from its own folder. The sentence of an error begins with
 * "FILE:LINE:". On success *out is to be released with config_free. */
be_status config_read(const char *path, config *out, be_error *error);
void config_free(config *it);

#endif
