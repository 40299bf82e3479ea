#include "server/lifecycle.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <systemd/sd-daemon.h>

#include "server/http.h"
#include "server/log.h"

/* Seconds a batch may take before the watchdog is no longer fed. */
static const double longest_silence = 120;

/* The daemon's parts. */
typedef struct daemon {
    const char *path;
    int signals, loaded; /* the end of signal_pipe that is read; eventfd that a loading thread rings */
    metrics metrics;
    results *held;
    scheduler *scheduler;
    http *http;
    settings *first;     /* the configuration alone, for where to listen */
    pthread_t loader;
    bool loading, serving;
    settings *fresh;     /* what the loading thread made; NULL: it failed */
    be_error error;
    uint64_t watchdog;   /* microseconds between feeds; 0: none asked */
} daemon_state;

int lifecycle_check(const char *path)
{
    settings *read;
    be_error error;
    if (settings_load(path, true, &read, &error) != BE_OK) {
        fprintf(stderr, "brainencd: %s\n", error.message);
        return 1;
    }
    printf("%s: good; %zu subject(s)\n", path, engine_subjects(read->engine));
    settings_release(read);
    return 0;
}

/* --- loading beside what is served ---------------------------------------------------------------- */

static void *load(void *argument)
{
    daemon_state *self = argument;
    uint64_t one = 1;
    if (settings_load(self->path, true, &self->fresh, &self->error) != BE_OK)
        self->fresh = NULL;
    while (write(self->loaded, &one, sizeof one) < 0 && errno == EINTR)
        continue;
    return NULL;
}

static void start_loading(daemon_state *self)
{
    if (self->loading) {
        log_note("is loading already; this SIGHUP is passed over");
        return;
    }
    self->fresh = NULL;
    self->loading = pthread_create(&self->loader, NULL, load, self) == 0;
    if (!self->loading)
        log_note("the loading thread cannot be started");
}

static scheduler_options options_of(const config *from)
{
    return (scheduler_options){
        .limits = {.pixels = from->pixels, .tokens = from->tokens, .images = from->queue,
                   .bytes_in_flight = from->bytes_in_flight},
        .queue = from->queue, .batch_max = from->batch_max, .batch_wait_ms = from->batch_wait_ms,
    };
}

static bool listens_elsewhere(const config *a, const config *b)
{
    const char *left = a->listen_unix ? a->listen_unix : a->listen_host;
    const char *right = b->listen_unix ? b->listen_unix : b->listen_host;
    return strcmp(left, right) != 0 || a->listen_port != b->listen_port || a->connections != b->connections;
}

static void note_subject(const engine *served, size_t index)
{
    const engine_subject *subject = engine_subject_at(served, index);
    const be_model *model = engine_model(served, subject->model);
    const be_precision_error *measured = be_model_precision_error(model, subject->subject);
    char against[128] = "";
    if (measured)
        snprintf(against, sizeof against,
                 "; against f32 over %zu pictures: correlation %.6f, largest difference %.4f of the spread",
                 measured->pictures, measured->correlation, measured->largest);
    log_note("serves %s (%s, %s by %s) with weights %.12s%s", subject->name, be_model_backbone(model)->name,
             be_precision_name(be_model_precision(model)), be_session_isa(engine_session(served, subject->model)),
             engine_subject_info(served, index)->weights_hash, against);
}

static void use_fresh(daemon_state *self)
{
    const config *from = &self->fresh->config;
    scheduler_options options = options_of(from);
    if (self->serving && listens_elsewhere(from, &self->first->config))
        log_note("listen and limits.connections take effect at the next start only");
    scheduler_configure(self->scheduler, &options);
    results_resize(self->held, from->results_held);
    http_use(self->http, self->fresh);
    results_clear(self->held); /* what they are of is no longer served */
    for (size_t i = 0; i < engine_subjects(self->fresh->engine); i++)
        note_subject(self->fresh->engine, i);
}

/* False when the first load failed: then there is nothing to serve. */
static bool finish_loading(daemon_state *self)
{
    uint64_t rings;
    if (read(self->loaded, &rings, sizeof rings) < 0)
        return true;
    pthread_join(self->loader, NULL);
    self->loading = false;
    if (!self->fresh) {
        log_note(self->serving ? "reload failed, serves on as before: %s" : "%s", self->error.message);
        if (!self->serving)
            return false;
        atomic_fetch_add(&self->metrics.reloads_failed, 1);
        sd_notify(0, "READY=1");
        return true;
    }
    use_fresh(self);
    settings_release(self->fresh); /* the HTTP side has its own reference */
    self->fresh = NULL;
    if (self->serving)
        atomic_fetch_add(&self->metrics.reloads_good, 1);
    else
        log_note("ready on %s", http_address(self->http));
    self->serving = true;
    sd_notify(0, "READY=1\nSTATUS=serving");
    return true;
}

/* --- events --------------------------------------------------------------------------------------- */

static void feed_watchdog(daemon_state *self)
{
    if (self->watchdog && scheduler_silence(self->scheduler) < longest_silence)
        sd_notify(0, "WATCHDOG=1");
}

/* The number of the signal that came, 0 for none, within `milliseconds` (-1: for ever). *load_done when a load ended. */
static int wait_for_event(daemon_state *self, int milliseconds, bool *load_done)
{
    struct pollfd events[] = {{.fd = self->signals, .events = POLLIN}, {.fd = self->loaded, .events = POLLIN}};
    unsigned char number;
    *load_done = false;
    if (poll(events, 2, milliseconds) <= 0)
        return 0;
    *load_done = events[1].revents != 0;
    return events[0].revents && read(self->signals, &number, 1) == 1 ? number : 0;
}

/* Returns when it is time to end: true for a signal, false when the first load failed. */
static bool serve(daemon_state *self)
{
    int interval = self->watchdog ? (int)(self->watchdog / 2000) : -1;
    start_loading(self);
    if (!self->loading)
        return false;
    for (;;) {
        bool load_done;
        int number = wait_for_event(self, interval, &load_done);
        if (load_done && !finish_loading(self))
            return false;
        if (number == SIGTERM || number == SIGINT)
            return true;
        if (number == SIGHUP) {
            sd_notify(0, "RELOADING=1");
            start_loading(self);
        }
        feed_watchdog(self);
    }
}

/* Waits for what is in flight, at most drain_ms; a second signal ends the waiting and the process. */
static void drain(daemon_state *self)
{
    enum { STEP_MS = 20 };
    double limit = be_clock() + 1e-3 * (double)self->first->config.drain_ms;
    sd_notify(0, "STOPPING=1");
    log_note("ends: finishes %zu request(s)", http_open_requests(self->http));
    http_drain(self->http);
    while (http_open_requests(self->http) > 0 && be_clock() < limit) {
        bool load_done;
        uint64_t rings;
        int number = wait_for_event(self, STEP_MS, &load_done);
        if (number == SIGTERM || number == SIGINT) {
            log_note("ends at once");
            _exit(0);
        }
        if (load_done && read(self->loaded, &rings, sizeof rings) < 0) /* what a reload made is not served any more */
            break;
        feed_watchdog(self);
    }
    if (http_open_requests(self->http) > 0)
        log_note("gives up %zu request(s) after limits.drain_ms", http_open_requests(self->http));
}

/* --- start and end -------------------------------------------------------------------------------- */

/* The handler, which may run in any thread, writes the signal's number into this pipe. */
static int signal_pipe[2] = {-1, -1};

static void on_signal(int number)
{
    int before = errno;
    unsigned char byte = (unsigned char)number;
    ssize_t written = write(signal_pipe[1], &byte, 1); /* a full pipe holds enough of them */
    (void)written;
    errno = before;
}

static be_status catch_signals(daemon_state *self, be_error *error)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    signal(SIGPIPE, SIG_IGN);
    bool good = pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK) == 0;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers && good; i++)
        good = sigaction(numbers[i], &action, NULL) == 0;
    self->signals = signal_pipe[0];
    self->loaded = eventfd(0, EFD_CLOEXEC);
    if (!good || self->loaded < 0)
        return be_fail(error, BE_ERROR_IO, "signals cannot be caught: %s", strerror(errno));
    return BE_OK;
}

static be_status start(daemon_state *self, be_error *error)
{
    tzset(); /* while there is one thread: libzip and libmicrohttpd convert times */
    /* Pictures and answers go back to the system when they are freed: by itself glibc raises these bounds to 32 and 64 MiB at
     * the first large block, and what a burst of requests took would stay. Few arenas for the same reason. */
    mallopt(M_MMAP_THRESHOLD, 128 << 10);
    mallopt(M_TRIM_THRESHOLD, 128 << 10);
    mallopt(M_ARENA_MAX, 2);
    be_status status = catch_signals(self, error);
    if (status == BE_OK)
        status = settings_load(self->path, false, &self->first, error);
    if (status != BE_OK)
        return status;
    scheduler_options options = options_of(&self->first->config);
    status = results_create(self->first->config.results_held, &self->metrics, &self->held, error);
    if (status == BE_OK)
        status = scheduler_start(&options, self->held, &self->metrics, &self->scheduler, error);
    if (status == BE_OK)
        status = http_start(&self->first->config, self->scheduler, self->held, &self->metrics, &self->http, error);
    if (sd_watchdog_enabled(0, &self->watchdog) <= 0)
        self->watchdog = 0;
    return status;
}

static void stop(daemon_state *self)
{
    if (self->loading) {
        pthread_join(self->loader, NULL);
        settings_release(self->fresh);
    }
    scheduler_stop(self->scheduler);
    http_stop(self->http); /* until here uploads may still end and be submitted */
    scheduler_free(self->scheduler);
    results_free(self->held);
    settings_release(self->first);
    if (self->loaded >= 0)
        close(self->loaded);
}

int lifecycle_run(const char *path)
{
    static daemon_state self; /* static for its size alone: the counters */
    be_error error;
    bool good = false;
    self = (daemon_state){.path = path, .signals = -1, .loaded = -1};
    if (start(&self, &error) != BE_OK) {
        log_note("%s", error.message);
    } else {
        good = serve(&self);
        if (good)
            drain(&self);
    }
    stop(&self);
    return good ? 0 : 1;
}
