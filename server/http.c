#include "server/http.h"

#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "server/listen.h"
#include "server/log.h"
#include "server/pages.h"
#include "server/upload.h"

enum { HTTP_THREADS = 2, SPARE_CONNECTIONS = 64, HEADER_MEMORY = 32 << 10, IDLE_SECONDS = 60,
       CLIENT_LEFT = 499 }; /* counted for a request that was never answered, as nginx does */

struct http {
    exchange_shared shared;
    struct MHD_Daemon *daemon;
    pthread_mutex_t lock;
    settings *settings; /* under the lock; NULL while loading */
    listening listening;
};

/* --- routes --------------------------------------------------------------------------------------- */

static const struct { const char *path; metric_route route; bool get, post, open; } routes[] = {
    {"/predict", ROUTE_PREDICT, false, true, false},   {"/attention", ROUTE_ATTENTION, true, true, false},
    {"/subjects", ROUTE_SUBJECTS, true, false, false}, {"/rois", ROUTE_ROIS, true, false, false},
    {"/healthz", ROUTE_HEALTHZ, true, false, true},    {"/readyz", ROUTE_READYZ, true, false, true},
    {"/metrics", ROUTE_METRICS, true, false, true},    {"/openapi.json", ROUTE_OPENAPI, true, false, true},
};
enum { N_ROUTES = sizeof routes / sizeof *routes };

/* --- who asks ------------------------------------------------------------------------------------- */

static void name_client(const exchange *it, char name[CALLER_NAME_SIZE])
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(it->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info ? info->client_addr : NULL;
    socklen_t size = address && address->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    bool internet = address && (address->sa_family == AF_INET || address->sa_family == AF_INET6);
    if (!internet || getnameinfo(address, size, name, CALLER_NAME_SIZE, NULL, 0, NI_NUMERICHOST) != 0)
        snprintf(name, CALLER_NAME_SIZE, "local");
}

/* Checks the key, and names the caller by it: "Authorization: Bearer KEY" or "X-API-Key: KEY". */
static bool check_key(exchange *it)
{
    const char *authorization = exchange_header(it, "Authorization"), *key = exchange_header(it, "X-API-Key");
    char hash[BE_HASH_SIZE];
    if (!it->settings || it->settings->n_keys == 0)
        return true;
    if (authorization && strncasecmp(authorization, "Bearer ", 7) == 0)
        key = authorization + 7;
    if (key && settings_knows_key(it->settings, key) && be_hash_bytes(key, strlen(key), hash, NULL) == BE_OK) {
        snprintf(it->caller, sizeof it->caller, "key:%.16s", hash);
        return true;
    }
    metrics_rejected(it->shared->metrics, REJECTED_KEY);
    exchange_fail(it, 401, "key",
                  key ? "the API key is not known" : "an API key is needed: Authorization: Bearer KEY, or X-API-Key: KEY");
    return false;
}

/* --- immediate answers ---------------------------------------------------------------------------- */

static void answer_text(exchange *it, unsigned status, const char *text)
{
    char *copy = NULL;
    if (be_copy_text(&copy, text, NULL) == BE_OK)
        it->answer = (answer){.status = status, .type = "text/plain; charset=utf-8", .bytes = copy, .size = strlen(copy)};
    else
        it->answer = (answer){.status = status};
}

static void answer_metrics(exchange *it)
{
    be_text text = {0};
    metrics_write(it->shared->metrics, it->settings ? it->settings->engine : NULL, &text);
    it->answer = (answer){.status = 200, .type = "text/plain; version=0.0.4; charset=utf-8", .bytes = text.bytes,
                          .size = text.length};
}

static void answer_page(exchange *it)
{
    be_error error;
    be_status status = BE_OK;
    const engine *served = it->settings ? it->settings->engine : NULL;
    bool ready = served && !atomic_load(&it->shared->draining);
    switch (it->route) {
    case ROUTE_HEALTHZ: answer_text(it, 200, "alive\n"); break;
    case ROUTE_READYZ: answer_text(it, ready ? 200 : 503, ready ? "ready\n" : served ? "draining\n" : "loading\n"); break;
    case ROUTE_METRICS: answer_metrics(it); break;
    case ROUTE_OPENAPI: status = page_openapi(&it->answer, &error); break;
    case ROUTE_SUBJECTS: status = page_subjects(served, &it->parameters, &it->answer, &error); break;
    default: status = page_rois(served, &it->parameters, &it->answer, &error); break;
    }
    if (status != BE_OK)
        answer_fail(&it->answer, &error);
}

/* --- requests that compute ------------------------------------------------------------------------ */

static void wake(request *it)
{
    MHD_resume_connection(it->connection);
}

/* GET /attention: finds the prediction. */
static be_status find_held(exchange *it, const char *id, be_error *error)
{
    request *asked = it->request;
    bool named = parameter(&it->parameters, "subject") != NULL;
    if (named && asked->query.n_subjects != 1)
        return be_fail(error, BE_ERROR_ARGUMENT, "subject: one at a time");
    asked->held = results_get(it->shared->held, id, it->caller, named ? &asked->query.subjects[0] : NULL);
    if (asked->held && named && asked->held->engine != asked->engine) { /* its subjects are others */
        held_result_release(asked->held);
        asked->held = NULL;
    }
    if (!asked->held && !id && query_check_maps(asked, error) != BE_OK)
        return error->status; /* the subject asked for, or the default one, has no maps to hold */
    if (!asked->held && id)
        return be_fail(error, BE_ERROR_NOT_FOUND, "id: '%.40s' is not held any more: POST the image to /attention", id);
    if (!asked->held)
        return be_fail(error, BE_ERROR_NOT_FOUND, "no prediction of yours is held: POST the image to /attention");
    if (asked->held->engine != asked->engine) { /* made before a reload: it is read with what made it */
        engine_release(asked->engine);
        asked->engine = engine_acquire(asked->held->engine);
    }
    asked->query.subjects[0] = asked->held->subject;
    asked->query.n_subjects = 1;
    return query_select_maps(asked, &it->parameters, error);
}

/* The code for what the model of a request cannot give. */
static const char *name_lack(const request *asked)
{
    if (query_check_space(asked, NULL) != BE_OK)
        return "no_fsaverage";
    return query_check_spread(asked, NULL) != BE_OK ? "no_spread" : "no_maps";
}

static bool begin_request(exchange *it, bool post)
{
    be_error error;
    const char *id;
    request *asked = it->request = request_create(it->settings->engine, it->shared->metrics);
    if (!asked) {
        exchange_fail(it, 503, "memory", "out of memory");
        return false;
    }
    asked->kind = it->route == ROUTE_PREDICT ? REQUEST_PREDICT : post ? REQUEST_ATTENTION : REQUEST_HELD_ATTENTION;
    asked->wake = wake;
    asked->connection = it->connection;
    asked->deadline = it->started + 1e-3 * (double)it->settings->config.deadline_ms;
    memcpy(asked->caller, it->caller, sizeof asked->caller);
    be_status status = query_read(asked, &it->parameters, exchange_header(it, "Accept"), it->settings->config.fit, &id, &error);
    if (status == BE_OK && !post)
        status = find_held(it, id, &error);
    if (status == BE_ERROR_UNSUPPORTED)
        exchange_fail(it, 409, name_lack(asked), error.message);
    else if (status != BE_OK)
        answer_fail(&it->answer, &error);
    return status == BE_OK;
}

/* --- the handler ---------------------------------------------------------------------------------- */

static enum MHD_Result take_parameter(void *context, enum MHD_ValueKind kind, const char *key, const char *value)
{
    parameters *to = context;
    (void)kind;
    if (to->count == MOST_PARAMETERS) {
        to->overflowed = true;
        return MHD_NO;
    }
    to->keys[to->count] = key;
    to->values[to->count++] = value ? value : "";
    return MHD_YES;
}

static bool find_route(exchange *it, bool get, bool post, bool *open)
{
    it->route = ROUTE_OTHER;
    for (size_t i = 0; i < N_ROUTES; i++) {
        if (strcmp(routes[i].path, it->url) != 0)
            continue;
        it->route = routes[i].route;
        *open = routes[i].open;
        if ((get && routes[i].get) || (post && routes[i].post))
            return true;
        exchange_fail(it, 405, "method", !routes[i].get  ? "this path takes POST alone, with the image as its body"
                                         : routes[i].post ? "this path takes GET and POST alone" : "this path takes GET alone");
        return false;
    }
    exchange_fail(it, 404, "not_found", "there is no such path; GET /openapi.json tells which there are");
    return false;
}

/* NULL: there was no memory to count it. */
static open_connection *connection_of(const exchange *it)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(it->connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static void set_busy(const exchange *it, bool busy)
{
    connections_set_busy(it->shared->connections, connection_of(it), busy);
}

/* The headers are there: finds out what is asked. When it leaves an answer in it->answer, that is all. */
static void begin(exchange *it)
{
    bool post = strcmp(it->method, "POST") == 0;
    bool get = strcmp(it->method, "GET") == 0 || strcmp(it->method, "HEAD") == 0, open = false;
    if (strcmp(it->method, "OPTIONS") == 0) {
        it->answer = (answer){.status = 204};
        return;
    }
    if (!find_route(it, get, post, &open))
        return;
    if (!open && !connections_admit(it->shared->connections, connection_of(it))) {
        exchange_fail_busy(it, REJECTED_CONNECTIONS, "busy", "too many connections are open, each with a request under way");
        return;
    }
    if (!open && !check_key(it))
        return;
    MHD_get_connection_values(it->connection, MHD_GET_ARGUMENT_KIND, take_parameter, &it->parameters);
    if (open) {
        answer_page(it);
    } else if (!it->settings || atomic_load(&it->shared->draining)) {
        exchange_fail_busy(it, REJECTED_DRAINING, "not_ready", it->settings ? "the daemon is ending" : "the daemon is loading");
    } else if (it->route == ROUTE_SUBJECTS || it->route == ROUTE_ROIS) {
        answer_page(it);
    } else if (begin_request(it, post) && post) {
        upload_begin(it);
    }
}

static exchange *make_exchange(http *self, struct MHD_Connection *connection, const char *url, const char *method)
{
    void *memory;
    if (be_allocate(&memory, 1, sizeof(exchange), "an exchange", NULL) != BE_OK)
        return NULL;
    exchange *it = memory;
    it->shared = &self->shared;
    it->connection = connection;
    it->started = be_clock();
    snprintf(it->method, sizeof it->method, "%s", method);
    snprintf(it->url, sizeof it->url, "%s", url);
    pthread_mutex_lock(&self->lock);
    if (self->settings)
        it->settings = settings_acquire(self->settings);
    pthread_mutex_unlock(&self->lock);
    name_client(it, it->caller);
    set_busy(it, true);
    atomic_fetch_add(&self->shared.open, 1);
    return it;
}

/* What a settled request gets. */
static enum MHD_Result send_settled(exchange *it)
{
    switch (atomic_load(&it->request->state)) {
    case STATE_ANSWERED: return exchange_send(it, &it->request->answer);
    case STATE_EXPIRED:
        exchange_fail(it, 504, "deadline", "the request's deadline (limits.deadline_ms) passed before it was computed");
        break;
    default: return MHD_NO; /* the client left */
    }
    return exchange_send(it, &it->answer);
}

static enum MHD_Result handle(void *context, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *data, size_t *size, void **state)
{
    http *self = context;
    exchange *it = *state;
    (void)version;
    if (!it) {
        it = *state = make_exchange(self, connection, url, method);
        if (!it)
            return MHD_NO;
        begin(it);
        return it->answer.status && upload_is_refused(it) ? exchange_send(it, &it->answer) : MHD_YES;
    }
    if (it->answered)
        return MHD_YES;
    if (*size > 0) {
        size_t given = *size;
        *size = 0;
        return upload_take(it, data, given) ? MHD_YES : MHD_NO;
    }
    if (it->submitted)
        return send_settled(it);
    if (it->answer.status)
        return exchange_send(it, &it->answer);
    return upload_submit(it) ? MHD_YES : exchange_send(it, &it->answer);
}

static void complete(void *context, struct MHD_Connection *connection, void **state, enum MHD_RequestTerminationCode why)
{
    exchange *it = *state;
    (void)context, (void)connection;
    if (!it)
        return;
    if (it->request && it->submitted)
        request_settle(it->request, STATE_LEFT); /* the connection is gone: nobody is to be woken */
    if (it->form)
        MHD_destroy_post_processor(it->form);
    if (!it->answered)
        metrics_request(it->shared->metrics, it->route, CLIENT_LEFT);
    if (!it->settings || it->settings->config.log_access) {
        log_access_line line = {.client = it->caller, .method = it->method, .path = it->url, .status = it->status,
                                .bytes = it->sent_bytes, .seconds = be_clock() - it->started, .id = it->id,
                                .cut = why != MHD_REQUEST_TERMINATED_COMPLETED_OK};
        log_access(&line, it->settings && it->settings->config.log_json);
    }
    set_busy(it, false);
    answer_free(&it->answer);
    request_release(it->request);
    settings_release(it->settings);
    atomic_fetch_sub(&it->shared->open, 1);
    free(it);
    *state = NULL;
}

static void connection_changed(void *context, struct MHD_Connection *connection, void **state,
                               enum MHD_ConnectionNotificationCode code)
{
    http *self = context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        *state = connections_add(self->shared.connections, info->connect_fd);
        atomic_fetch_add(&self->shared.metrics->connections, 1);
    } else {
        connections_remove(self->shared.connections, *state);
        *state = NULL;
        atomic_fetch_sub(&self->shared.metrics->connections, 1);
    }
}

/* --- start and end -------------------------------------------------------------------------------- */

be_status http_start(const config *first, scheduler *scheduling, results *held, metrics *counters, http **out,
                     be_error *error)
{
    void *memory;
    be_status status = be_allocate(&memory, 1, sizeof(http), "the HTTP side", error);
    if (status != BE_OK)
        return status;
    http *self = memory;
    self->shared.scheduler = scheduling;
    self->shared.held = held;
    self->shared.metrics = counters;
    pthread_mutex_init(&self->lock, NULL);
    status = connections_create(first->connections, &self->shared.connections, error);
    if (status == BE_OK)
        status = listen_open(first, &self->listening, error);
    if (status != BE_OK) {
        http_stop(self);
        return status;
    }
    /* poll, not epoll: with epoll libmicrohttpd overlooks an end of file that comes together with the last bytes. */
    self->daemon = MHD_start_daemon(MHD_USE_POLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, handle, self,
                                    MHD_OPTION_LISTEN_SOCKET, self->listening.descriptor, MHD_OPTION_NOTIFY_COMPLETED, complete,
                                    self, MHD_OPTION_NOTIFY_CONNECTION, connection_changed, self,
                                    MHD_OPTION_THREAD_POOL_SIZE, (unsigned)HTTP_THREADS,
                                    MHD_OPTION_CONNECTION_LIMIT, (unsigned)(first->connections + SPARE_CONNECTIONS),
                                    MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADER_MEMORY,
                                    MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS, MHD_OPTION_END);
    if (!self->daemon) {
        close(self->listening.descriptor);
        http_stop(self);
        return be_fail(error, BE_ERROR_IO, "listen: the HTTP library could not start");
    }
    *out = self;
    return BE_OK;
}

void http_use(http *self, settings *serving)
{
    pthread_mutex_lock(&self->lock);
    settings *before = self->settings;
    self->settings = settings_acquire(serving);
    pthread_mutex_unlock(&self->lock);
    settings_release(before);
}

const char *http_address(const http *self)
{
    return self->listening.address;
}

void http_drain(http *self)
{
    atomic_store(&self->shared.draining, true);
    atomic_store(&self->shared.metrics->draining, 1);
    int descriptor = MHD_quiesce_daemon(self->daemon);
    if (descriptor >= 0)
        close(descriptor);
}

size_t http_open_requests(const http *self)
{
    return atomic_load(&self->shared.open);
}

void http_stop(http *self)
{
    if (!self)
        return;
    if (self->daemon)
        MHD_stop_daemon(self->daemon);
    listen_remove(&self->listening);
    settings_release(self->settings);
    connections_free(self->shared.connections);
    pthread_mutex_destroy(&self->lock);
    free(self);
}
