#include "server/metrics.h"

static const char *const route_names[METRIC_ROUTES] = {"/predict", "/attention", "/subjects", "/rois", "/healthz", "/readyz",
                                                       "/metrics", "/openapi.json", "other"};
static const char *const stage_names[METRIC_STAGES] = {"queue", "decode", "backbone", "encoder", "answer", "total"};
static const char *const rejection_names[METRIC_REJECTIONS] = {"body", "pixels", "image", "key", "queue", "bytes_in_flight",
                                                               "deadline", "connections", "draining"};
/* Upper bounds of the histograms' buckets, seconds. */
static const double bounds[METRIC_BUCKETS] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                              0.25,   0.5,   1,      2.5,   5,    10,    25,   60};

void metrics_request(metrics *it, metric_route route, unsigned code)
{
    atomic_fetch_add_explicit(&it->requests[route][code < METRIC_CODES ? code : 0], 1, memory_order_relaxed);
}

void metrics_rejected(metrics *it, metric_rejection reason)
{
    atomic_fetch_add_explicit(&it->rejected[reason], 1, memory_order_relaxed);
}

void metrics_time(metrics *it, metric_stage stage, double seconds)
{
    metric_histogram *to = &it->stages[stage];
    size_t bucket = 0;
    while (bucket < METRIC_BUCKETS && seconds > bounds[bucket])
        bucket++;
    atomic_fetch_add_explicit(&to->buckets[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&to->microseconds, (unsigned long long)(seconds > 0 ? seconds * 1e6 : 0), memory_order_relaxed);
}

static void head(be_text *text, const char *name, const char *type, const char *help)
{
    be_text_add_format(text, "# HELP brainenc_%s %s\n# TYPE brainenc_%s %s\n", name, help, name, type);
}

static void write_single(be_text *text, const char *name, const char *type, const char *help, unsigned long long value)
{
    head(text, name, type, help);
    be_text_add_format(text, "brainenc_%s %llu\n", name, value);
}

static void write_requests(const metrics *it, be_text *text)
{
    head(text, "requests_total", "counter", "Answers by route and status code.");
    for (int route = 0; route < METRIC_ROUTES; route++) {
        for (int code = 0; code < METRIC_CODES; code++) {
            unsigned long long count = atomic_load_explicit(&it->requests[route][code], memory_order_relaxed);
            if (count > 0)
                be_text_add_format(text, "brainenc_requests_total{route=\"%s\",code=\"%d\"} %llu\n", route_names[route], code,
                                   count);
        }
    }
}

static void write_stage(const metric_histogram *from, const char *stage, be_text *text)
{
    unsigned long long sum = 0;
    for (size_t b = 0; b <= METRIC_BUCKETS; b++) {
        sum += atomic_load_explicit(&from->buckets[b], memory_order_relaxed);
        if (b < METRIC_BUCKETS)
            be_text_add_format(text, "brainenc_stage_seconds_bucket{stage=\"%s\",le=\"%g\"} %llu\n", stage, bounds[b], sum);
        else
            be_text_add_format(text, "brainenc_stage_seconds_bucket{stage=\"%s\",le=\"+Inf\"} %llu\n", stage, sum);
    }
    be_text_add_format(text, "brainenc_stage_seconds_sum{stage=\"%s\"} %.6f\n", stage,
                       1e-6 * (double)atomic_load_explicit(&from->microseconds, memory_order_relaxed));
    be_text_add_format(text, "brainenc_stage_seconds_count{stage=\"%s\"} %llu\n", stage, sum);
}

static void write_rejections(const metrics *it, be_text *text)
{
    head(text, "rejected_total", "counter", "Requests that were turned away, by reason.");
    for (int reason = 0; reason < METRIC_REJECTIONS; reason++)
        be_text_add_format(text, "brainenc_rejected_total{reason=\"%s\"} %llu\n", rejection_names[reason],
                           atomic_load_explicit(&it->rejected[reason], memory_order_relaxed));
}

/* A label's value; the configuration may name a subject as it likes. */
static void add_label(be_text *text, const char *value)
{
    for (; *value; value++) {
        if (*value == '\n')
            be_text_add(text, "\\n");
        else if (*value == '"' || *value == '\\')
            be_text_add_format(text, "\\%c", *value);
        else
            be_text_add_bytes(text, value, 1);
    }
}

static void write_models(const engine *served, be_text *text)
{
    head(text, "model_info", "gauge", "What is served: 1 for each subject.");
    for (size_t i = 0; i < engine_subjects(served); i++) {
        const engine_subject *subject = engine_subject_at(served, i);
        const be_model *model = engine_model(served, subject->model);
        be_text_add(text, "brainenc_model_info{subject=\"");
        add_label(text, subject->name);
        be_text_add_format(text, "\",backbone=\"%s\",weights=\"%s\",backbone_weights=\"%s\"} 1\n", be_model_backbone(model)->name,
                           engine_subject_info(served, i)->weights_hash, be_model_backbone_hash(model));
    }
}

void metrics_write(const metrics *it, const engine *served, be_text *text)
{
    const struct { const char *name, *type, *help; unsigned long long value; } singles[] = {
        {"images_total", "counter", "Images predicted.", it->images},
        {"batches_total", "counter", "Batches computed.", it->batches},
        {"batch_images_total", "counter", "Images in those batches: divided by them, the mean batch size.", it->batched_images},
        {"cancelled_total", "counter", "Requests whose client went away before the answer.", it->cancelled},
        {"queue_depth", "gauge", "Requests waiting to be computed.", it->queued},
        {"in_flight", "gauge", "Requests waiting or being computed.", it->in_flight},
        {"in_flight_bytes", "gauge", "Bytes of request bodies held.", it->bytes_in_flight},
        {"connections", "gauge", "Open connections.", it->connections},
        {"results_held", "gauge", "Predictions held for /attention.", it->held_results},
        {"results_held_bytes", "gauge", "Bytes of them.", it->held_bytes},
        {"draining", "gauge", "1 while the daemon is ending.", (unsigned long long)it->draining},
    };
    write_requests(it, text);
    head(text, "stage_seconds", "histogram", "Seconds spent on a request, by stage.");
    for (int stage = 0; stage < METRIC_STAGES; stage++)
        write_stage(&it->stages[stage], stage_names[stage], text);
    for (size_t i = 0; i < sizeof singles / sizeof *singles; i++)
        write_single(text, singles[i].name, singles[i].type, singles[i].help, singles[i].value);
    write_rejections(it, text);
    head(text, "reloads_total", "counter", "Reloads (SIGHUP) by outcome.");
    be_text_add_format(text, "brainenc_reloads_total{outcome=\"good\"} %llu\nbrainenc_reloads_total{outcome=\"failed\"} %llu\n",
                       (unsigned long long)it->reloads_good, (unsigned long long)it->reloads_failed);
    if (served)
        write_models(served, text);
}
