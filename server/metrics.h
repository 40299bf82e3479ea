/* What is counted and timed, in Prometheus' base units. Counting is lock-free and allowed from any thread. */
#ifndef BRAINENCD_METRICS_H
#define BRAINENCD_METRICS_H

#include <stdatomic.h>
#include <stddef.h>

#include "core/answer/text.h"
#include "server/engine.h"

typedef enum metric_route {
    ROUTE_PREDICT, ROUTE_ATTENTION, ROUTE_SUBJECTS, ROUTE_ROIS, ROUTE_HEALTHZ, ROUTE_READYZ, ROUTE_METRICS, ROUTE_OPENAPI,
    ROUTE_OTHER, METRIC_ROUTES
} metric_route;

typedef enum metric_stage {
    STAGE_QUEUE, STAGE_DECODE, STAGE_BACKBONE, STAGE_ENCODER, STAGE_ANSWER, STAGE_TOTAL, METRIC_STAGES
} metric_stage;

typedef enum metric_rejection {
    REJECTED_BODY, REJECTED_PIXELS, REJECTED_IMAGE, REJECTED_KEY, REJECTED_QUEUE, REJECTED_BYTES, REJECTED_DEADLINE,
    REJECTED_CONNECTIONS, REJECTED_DRAINING, METRIC_REJECTIONS
} metric_rejection;

enum { METRIC_CODES = 600, METRIC_BUCKETS = 16 };

typedef struct metric_histogram {
    atomic_ullong buckets[METRIC_BUCKETS + 1]; /* the last is everything above */
    atomic_ullong microseconds;
} metric_histogram;

typedef struct metrics {
    atomic_ullong requests[METRIC_ROUTES][METRIC_CODES];
    metric_histogram stages[METRIC_STAGES];
    atomic_ullong batches, batched_images, images, cancelled, reloads_good, reloads_failed;
    atomic_ullong rejected[METRIC_REJECTIONS];
    atomic_size_t queued, in_flight, bytes_in_flight, connections, held_bytes, held_results;
    atomic_int draining;
} metrics;

/* Counts an answer, a rejection, a time. */
void metrics_request(metrics *it, metric_route route, unsigned code);
void metrics_rejected(metrics *it, metric_rejection reason);
void metrics_time(metrics *it, metric_stage stage, double seconds);

/* Adds all of it in Prometheus' text format; `served` may be NULL while nothing is loaded. */
void metrics_write(const metrics *it, const engine *served, be_text *text);

#endif
