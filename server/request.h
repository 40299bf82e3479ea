/* One request for the scheduler: what is asked, the images it carries, and in the end its answer.
 *
 * It has two holders, the HTTP exchange it came in and the scheduler, each with a reference. Who first calls request_settle
 * decides what the client gets: the computed answer, a missed deadline, or nothing because it left.
 */
#ifndef BRAINENCD_REQUEST_H
#define BRAINENCD_REQUEST_H

#include <stdatomic.h>

#include "server/engine.h"
#include "server/results.h"

enum { MOST_SUBJECTS = 64, CALLER_NAME_SIZE = 80 };

typedef enum answer_format { FORMAT_JSON, FORMAT_NPY, FORMAT_PNG, FORMAT_GIFTI } answer_format;

typedef enum request_kind {
    REQUEST_PREDICT,       /* POST /predict */
    REQUEST_ATTENTION,     /* POST /attention: the map of the image in the body */
    REQUEST_HELD_ATTENTION /* GET /attention: of a prediction that is still held */
} request_kind;

/* What the query string asks, resolved against the engine: every name in it is known. */
typedef struct request_query {
    be_fit fit;
    answer_format format;
    bool vertices, rois, spread, quality;          /* output=, spread=, quality= */
    be_space space;
    be_hemisphere hemisphere;                      /* hemi=, of FORMAT_GIFTI */
    bool only_some, with_maps;                     /* rois=, and attention=, roi= or vertex= was given */
    bool heads, hemispheres[BE_HEMISPHERES];       /* heads=all, hemi= */
    size_t subjects[MOST_SUBJECTS], n_subjects;    /* of the engine */
    be_roi_selection only[MOST_SUBJECTS];          /* by place in `subjects` */
    be_map_selection maps[MOST_SUBJECTS];
} request_query;

void request_query_free(request_query *query);

/* The body, or one part of it: an image file's bytes. */
typedef struct request_part {
    unsigned char *bytes; /* owned */
    size_t size, capacity;
} request_part;

/* One image of the request, from its part (or the held prediction) to what is answered. */
typedef struct request_image {
    be_image decoded, input;
    be_answer_image about;
    be_output outputs[MOST_SUBJECTS]; /* by place in query.subjects; owned */
    float *maps[MOST_SUBJECTS];       /* those of query.maps; owned */
    be_timing timing;
    double decode_ms;
} request_image;

#define GIFTI_TYPE "application/gifti+xml"

/* What goes back. */
typedef struct answer {
    unsigned status;        /* HTTP */
    const char *type;       /* a constant */
    char *bytes;            /* owned */
    size_t size;
    char split[48];         /* X-Brainenc-Vertices: lh=19004,rh=20544, or "" */
    char file[BE_SUBJECT_NAME_SIZE + 16]; /* Content-Disposition: the name to save it under, or "" */
    char id[BE_ID_SIZE];
    bool demo;              /* of random weights */
    const char *unverified; /* NULL, or what no golden case covers; the engine's */
} answer;

typedef enum request_state { STATE_PENDING, STATE_ANSWERED, STATE_EXPIRED, STATE_LEFT } request_state;

typedef struct request {
    atomic_int references;
    atomic_int state;             /* request_state */
    request_kind kind;
    engine *engine;               /* referenced */
    request_query query;
    const held_result *held;      /* of REQUEST_HELD_ATTENTION; referenced */
    char caller[CALLER_NAME_SIZE];
    request_part *parts;          /* owned */
    size_t n_parts, part_capacity;
    bool declared_json;           /* the client says the one part is JSON with base64 in it */
    request_image *images;        /* made from the parts; owned */
    size_t n_images;
    double received, deadline, started; /* be_clock */
    answer answer;
    void (*wake)(struct request *request); /* called once, when it is settled */
    void *connection;
    size_t counted_bytes;         /* of metrics.bytes_in_flight */
    metrics *metrics;
    struct request *next;         /* in the queue */
} request;

/* A new one with one reference; the engine is acquired. */
request *request_create(engine *served, metrics *counters);
request *request_acquire(request *it);
void request_release(request *it);

/* True for the one caller that settles it; that one then calls it->wake. */
bool request_settle(request *it, request_state state);
bool request_is_pending(const request *it);

/* Counts bytes that it is going to hold among those in flight, up to its end. False, and not counted, when that would be more
 * than `limit` in all. */
bool request_count_bytes(request *it, size_t bytes, size_t limit);

/* Appends bytes to the last part, which request_add_part begins. False when there is no memory. */
bool request_add_part(request *it);
bool request_extend_part(request *it, const void *bytes, size_t size);

/* The answer for an error: {"error": {"code", "message"}} with the status that goes with it. */
void answer_fail(answer *to, const be_error *error);
void answer_fail_with(answer *to, unsigned status, const char *code, const char *message);
void answer_free(answer *it);

#endif
