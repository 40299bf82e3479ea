#include "server/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <microhttpd.h>

#include "core/base/memory.h"
#include "server/log.h"
#include "server/pages.h"

enum { HTTP_THREADS = 2, SPARE_CONNECTIONS = 64, HEADER_MEMORY = 32 << 10, IDLE_SECONDS = 60, DRAINED_BYTES = 1 << 20,
       ADDRESS_SIZE = 160, POST_BUFFER = 64 << 10,
       CLIENT_LEFT = 499 }; /* counted for a request that was never answered, as nginx does */

struct http {
    struct MHD_Daemon *daemon;
    scheduler *scheduler;
    results *held;
    metrics *metrics;
    pthread_mutex_t lock;
    settings *settings; /* under the lock; NULL while loading */
    size_t most_connections;
    atomic_bool draining;
    atomic_size_t open;
    char address[ADDRESS_SIZE], socket_path[sizeof ((struct sockaddr_un *)0)->sun_path];
};

/* One request as it comes in and goes out. */
typedef struct exchange {
    http *http;
    settings *settings;         /* NULL while loading */
    struct MHD_Connection *connection;
    metric_route route;
    char method[12], url[200], caller[CALLER_NAME_SIZE];
    parameters parameters;
    request *request;           /* NULL: nothing is to be computed */
    struct MHD_PostProcessor *form;
    bool submitted, answered, too_large, broken, damaged; /* broken: no room for the body; damaged: it is no form */
    size_t received_bytes;
    double started;
    answer answer;              /* made here, not by the scheduler */
    unsigned retry_after;
    unsigned status;            /* of what went out */
    size_t sent_bytes;
    char id[BE_ID_SIZE];
} exchange;

/* --- routes --------------------------------------------------------------------------------------- */

static const struct { const char *path; metric_route route; bool get, post, open; } routes[] = {
    {"/predict", ROUTE_PREDICT, false, true, false},   {"/attention", ROUTE_ATTENTION, true, true, false},
    {"/subjects", ROUTE_SUBJECTS, true, false, false}, {"/rois", ROUTE_ROIS, true, false, false},
    {"/healthz", ROUTE_HEALTHZ, true, false, true},    {"/readyz", ROUTE_READYZ, true, false, true},
    {"/metrics", ROUTE_METRICS, true, false, true},    {"/openapi.json", ROUTE_OPENAPI, true, false, true},
};
enum { N_ROUTES = sizeof routes / sizeof *routes };

static void fail(exchange *it, unsigned status, const char *code, const char *message)
{
    answer_fail_with(&it->answer, status, code, message);
}

static void fail_busy(exchange *it, metric_rejection reason, const char *code, const char *message)
{
    metrics_rejected(it->http->metrics, reason);
    it->retry_after = scheduler_retry_after(it->http->scheduler);
    fail(it, 503, code, message);
}

static const char *header(const exchange *it, const char *name)
{
    return MHD_lookup_connection_value(it->connection, MHD_HEADER_KIND, name);
}

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
    const char *authorization = header(it, "Authorization"), *key = header(it, "X-API-Key");
    char hash[BE_HASH_SIZE];
    if (!it->settings || it->settings->n_keys == 0)
        return true;
    if (authorization && strncasecmp(authorization, "Bearer ", 7) == 0)
        key = authorization + 7;
    if (key && settings_knows_key(it->settings, key) && be_hash_bytes(key, strlen(key), hash, NULL) == BE_OK) {
        snprintf(it->caller, sizeof it->caller, "key:%.16s", hash);
        return true;
    }
    metrics_rejected(it->http->metrics, REJECTED_KEY);
    fail(it, 401, "key", key ? "the API key is not known" : "an API key is needed: Authorization: Bearer KEY, or X-API-Key: KEY");
    return false;
}

/* --- answers -------------------------------------------------------------------------------------- */

static bool allows_origin(const exchange *it, const char *origin)
{
    const config *from = it->settings ? &it->settings->config : NULL;
    for (size_t i = 0; from && i < from->n_cors; i++) {
        if (strcmp(from->cors[i], "*") == 0 || strcmp(from->cors[i], origin) == 0)
            return true;
    }
    return false;
}

static void add_cors(const exchange *it, struct MHD_Response *response)
{
    const char *origin = header(it, "Origin");
    if (!origin || !allows_origin(it, origin))
        return;
    MHD_add_response_header(response, "Access-Control-Allow-Origin", origin);
    MHD_add_response_header(response, "Vary", "Origin");
    MHD_add_response_header(response, "Access-Control-Expose-Headers", "X-Brainenc-Id, X-Brainenc-Vertices, Retry-After");
    if (strcmp(it->method, "OPTIONS") == 0) {
        MHD_add_response_header(response, "Access-Control-Allow-Methods", "GET, POST, OPTIONS");
        MHD_add_response_header(response, "Access-Control-Allow-Headers", "Authorization, X-API-Key, Content-Type, Accept");
        MHD_add_response_header(response, "Access-Control-Max-Age", "600");
    }
}

/* Sends an answer and takes its bytes. */
static enum MHD_Result send_answer(exchange *it, answer *from)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(from->size, from->bytes ? from->bytes : (char *)"",
                                                                    from->bytes ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    char number[24];
    if (!response)
        return MHD_NO;
    from->bytes = NULL; /* the response frees them */
    if (from->type)
        MHD_add_response_header(response, "Content-Type", from->type);
    if (*from->split)
        MHD_add_response_header(response, "X-Brainenc-Vertices", from->split);
    if (*from->id)
        MHD_add_response_header(response, "X-Brainenc-Id", from->id);
    if (it->retry_after) {
        snprintf(number, sizeof number, "%u", it->retry_after);
        MHD_add_response_header(response, "Retry-After", number);
    }
    if (from->status == 401)
        MHD_add_response_header(response, "WWW-Authenticate", "Bearer");
    if (from->status == 405)
        MHD_add_response_header(response, "Allow", it->route == ROUTE_PREDICT ? "POST" : it->route == ROUTE_ATTENTION ? "GET, POST" : "GET");
    if (it->too_large || atomic_load(&it->http->draining))
        MHD_add_response_header(response, "Connection", "close");
    add_cors(it, response);
    it->status = from->status;
    it->sent_bytes = from->size;
    it->answered = true;
    metrics_request(it->http->metrics, it->route, from->status); /* before it goes out: who has read it finds it counted */
    memcpy(it->id, from->id, sizeof it->id);
    enum MHD_Result result = MHD_queue_response(it->connection, from->status, response);
    MHD_destroy_response(response);
    return result;
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
    metrics_write(it->http->metrics, it->settings ? it->settings->engine : NULL, &text);
    it->answer = (answer){.status = 200, .type = "text/plain; version=0.0.4; charset=utf-8", .bytes = text.bytes, .size = text.length};
}

static void answer_page(exchange *it)
{
    be_error error;
    be_status status = BE_OK;
    const engine *served = it->settings ? it->settings->engine : NULL;
    bool ready = served && !atomic_load(&it->http->draining);
    switch (it->route) {
    case ROUTE_HEALTHZ: answer_text(it, 200, "alive\n"); break;
    case ROUTE_READYZ: answer_text(it, ready ? 200 : 503, ready ? "ready\n" : served ? "draining\n" : "loading\n"); break;
    case ROUTE_METRICS: answer_metrics(it); break;
    case ROUTE_OPENAPI: status = page_openapi(&it->answer, &error); break;
    case ROUTE_SUBJECTS: status = page_subjects(served, &it->answer, &error); break;
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

/* Counts bytes that the request is going to hold; false when there are too many in flight already. */
static bool count_bytes(exchange *it, size_t bytes)
{
    size_t before = atomic_fetch_add(&it->http->metrics->bytes_in_flight, bytes);
    if (before + bytes > it->settings->config.bytes_in_flight) {
        atomic_fetch_sub(&it->http->metrics->bytes_in_flight, bytes);
        return false;
    }
    it->request->counted_bytes += bytes;
    return true;
}

/* GET /attention: finds the prediction. */
static be_status find_held(exchange *it, const char *id, be_error *error)
{
    request *asked = it->request;
    bool named = parameter(&it->parameters, "subject") != NULL;
    if (named && asked->query.n_subjects != 1)
        return be_fail(error, BE_ERROR_ARGUMENT, "subject: one at a time");
    asked->held = results_get(it->http->held, id, it->caller, named ? &asked->query.subjects[0] : NULL);
    if (asked->held && named && asked->held->engine != asked->engine) { /* its subjects are others */
        held_result_release(asked->held);
        asked->held = NULL;
    }
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
    return query_select_held(asked, &it->parameters, error);
}

static bool begin_request(exchange *it, bool post)
{
    be_error error;
    const char *id;
    request *asked = it->request = request_create(it->settings->engine, it->http->metrics);
    if (!asked) {
        fail(it, 503, "memory", "out of memory");
        return false;
    }
    asked->kind = it->route == ROUTE_PREDICT ? REQUEST_PREDICT : post ? REQUEST_ATTENTION : REQUEST_HELD_ATTENTION;
    asked->wake = wake;
    asked->connection = it->connection;
    asked->deadline = it->started + 1e-3 * (double)it->settings->config.deadline_ms;
    memcpy(asked->caller, it->caller, sizeof asked->caller);
    be_status status = query_read(asked, &it->parameters, header(it, "Accept"), it->settings->config.fit, &id, &error);
    if (status == BE_OK && !post)
        status = find_held(it, id, &error);
    if (status != BE_OK)
        answer_fail(&it->answer, &error);
    return status == BE_OK;
}

/* One piece of a multipart form; parts named "image" are images, each file of several too. Empty ones, such as a web form's
 * field without a file, are none; the library also begins some parts with an empty piece. */
static enum MHD_Result take_form(void *context, enum MHD_ValueKind kind, const char *key, const char *filename,
                                 const char *type, const char *encoding, const char *data, uint64_t offset, size_t size)
{
    exchange *it = context;
    (void)kind, (void)filename, (void)type, (void)encoding;
    if (!key || (strcmp(key, "image") != 0 && strcmp(key, "images") != 0) || size == 0)
        return MHD_YES; /* other fields of a form mean nothing here */
    if (offset == 0 && !request_add_part(it->request))
        it->broken = true;
    if (!it->broken && !request_extend_part(it->request, data, size))
        it->broken = true;
    return it->broken ? MHD_NO : MHD_YES;
}

/* Prepares for the body: its size is checked before a byte of it is read. */
static bool begin_body(exchange *it)
{
    const char *length = header(it, "Content-Length"), *type = header(it, "Content-Type");
    unsigned long long bytes = length ? strtoull(length, NULL, 10) : 0;
    if (bytes > it->settings->config.body) {
        char message[120];
        snprintf(message, sizeof message, "the body has %llu bytes, the limit is %zu", bytes, it->settings->config.body);
        metrics_rejected(it->http->metrics, REJECTED_BODY);
        it->too_large = true;
        fail(it, 413, "limit", message);
        return false;
    }
    if (!count_bytes(it, (size_t)bytes)) {
        fail_busy(it, REJECTED_BYTES, "busy", "too many bytes are in flight");
        return false;
    }
    if (type && strncasecmp(type, "multipart/form-data", 19) == 0) {
        it->form = MHD_create_post_processor(it->connection, POST_BUFFER, take_form, it);
        if (!it->form) {
            fail(it, 400, "argument", "the multipart form has no usable boundary");
            return false;
        }
    } else if (!request_add_part(it->request)) {
        fail(it, 503, "memory", "out of memory");
        return false;
    }
    it->request->is_json = type && strncasecmp(type, "application/json", 16) == 0;
    return true;
}

/* The most that is read of this body. */
static size_t most_bytes(const exchange *it)
{
    return it->settings ? it->settings->config.body : DRAINED_BYTES;
}

/* Whether the answer, an error, goes out before the body is read; that ends the connection. Other errors take and drop the
 * body, so that the client is listening when the answer comes and may go on with the next request. */
static bool answers_at_once(const exchange *it)
{
    const char *length = header(it, "Content-Length");
    bool has_body = length ? strcmp(length, "0") != 0 : header(it, "Transfer-Encoding") != NULL;
    return has_body && (it->answer.status >= 500 || it->answer.status == 401 || it->answer.status == 413 || header(it, "Expect") ||
                        (length && strtoull(length, NULL, 10) > most_bytes(it)));
}

/* A piece of the body. False ends the connection: a client that goes on sending past its limit. */
static bool take_body(exchange *it, const char *data, size_t size)
{
    size_t limit = most_bytes(it);
    it->received_bytes += size;
    if (it->answer.status)
        return it->received_bytes <= limit;
    if (it->received_bytes > limit)
        it->too_large = true;
    if (it->too_large)
        return it->received_bytes <= limit + DRAINED_BYTES;
    if (be_clock() > it->request->deadline)
        return false; /* an upload may not take longer than a request */
    if (it->request->kind == REQUEST_HELD_ATTENTION)
        return true; /* what a GET carries means nothing */
    if (it->received_bytes > it->request->counted_bytes && !count_bytes(it, it->received_bytes - it->request->counted_bytes))
        it->broken = true;
    if (it->broken || it->damaged)
        return true;
    if (it->form)
        it->damaged = MHD_post_process(it->form, data, size) != MHD_YES && !it->broken;
    else
        it->broken = !request_extend_part(it->request, data, size);
    return true;
}

/* The body is there: hands the request to the scheduler. True when the connection is suspended. */
static bool submit(exchange *it)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(it->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (it->form) {
        bool whole = MHD_destroy_post_processor(it->form) == MHD_YES;
        it->form = NULL;
        it->damaged |= !whole && !it->broken && it->request->n_parts == 0;
    }
    if (it->too_large) {
        metrics_rejected(it->http->metrics, REJECTED_BODY);
        fail(it, 413, "limit", "the body is larger than limits.body");
        return false;
    }
    if (it->broken) {
        fail_busy(it, REJECTED_BYTES, "busy", "too many bytes are in flight");
        return false;
    }
    if (it->damaged) {
        fail(it, 400, "argument", "the multipart form is damaged or cut short");
        return false;
    }
    if (it->request->kind != REQUEST_HELD_ATTENTION && it->request->n_parts == 0) {
        fail(it, 400, "argument", "the form has no part named image with a file in it");
        return false;
    }
    it->submitted = true;
    MHD_suspend_connection(it->connection);
    if (scheduler_submit(it->http->scheduler, it->request, info->connect_fd))
        return true;
    it->submitted = false;
    fail_busy(it, REJECTED_QUEUE, "busy", "the queue is full");
    MHD_resume_connection(it->connection);
    return true; /* the handler is called again, and finds the answer */
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
        fail(it, 405, "method", "this path does not take that method");
        return false;
    }
    fail(it, 404, "not_found", "there is no such path; GET /openapi.json tells which there are");
    return false;
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
    if (!open && atomic_load(&it->http->metrics->connections) > it->http->most_connections) {
        fail_busy(it, REJECTED_CONNECTIONS, "busy", "too many connections are open");
        return;
    }
    if (!open && !check_key(it))
        return;
    MHD_get_connection_values(it->connection, MHD_GET_ARGUMENT_KIND, take_parameter, &it->parameters);
    if (open) {
        answer_page(it);
    } else if (!it->settings || atomic_load(&it->http->draining)) {
        fail_busy(it, REJECTED_DRAINING, "not_ready", it->settings ? "the daemon is ending" : "the daemon is loading");
    } else if (it->route == ROUTE_SUBJECTS || it->route == ROUTE_ROIS) {
        answer_page(it);
    } else if (begin_request(it, post) && post) {
        begin_body(it);
    }
}

static exchange *make_exchange(http *self, struct MHD_Connection *connection, const char *url, const char *method)
{
    void *memory;
    if (be_allocate(&memory, 1, sizeof(exchange), "an exchange", NULL) != BE_OK)
        return NULL;
    exchange *it = memory;
    it->http = self;
    it->connection = connection;
    it->started = be_clock();
    snprintf(it->method, sizeof it->method, "%s", method);
    snprintf(it->url, sizeof it->url, "%s", url);
    pthread_mutex_lock(&self->lock);
    if (self->settings)
        it->settings = settings_acquire(self->settings);
    pthread_mutex_unlock(&self->lock);
    name_client(it, it->caller);
    atomic_fetch_add(&self->open, 1);
    return it;
}

/* What a settled request gets. */
static enum MHD_Result send_settled(exchange *it)
{
    switch (atomic_load(&it->request->state)) {
    case STATE_ANSWERED: return send_answer(it, &it->request->answer);
    case STATE_EXPIRED: fail(it, 504, "deadline", "the request's deadline (limits.deadline_ms) passed before it was computed"); break;
    default: return MHD_NO; /* the client left */
    }
    return send_answer(it, &it->answer);
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
        return it->answer.status && answers_at_once(it) ? send_answer(it, &it->answer) : MHD_YES;
    }
    if (it->answered)
        return MHD_YES;
    if (*size > 0) {
        size_t given = *size;
        *size = 0;
        return take_body(it, data, given) ? MHD_YES : MHD_NO;
    }
    if (it->submitted)
        return send_settled(it);
    if (it->answer.status)
        return send_answer(it, &it->answer);
    return submit(it) ? MHD_YES : send_answer(it, &it->answer);
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
        metrics_request(it->http->metrics, it->route, CLIENT_LEFT);
    if (!it->settings || it->settings->config.log_access) {
        log_access_line line = {.client = it->caller, .method = it->method, .path = it->url, .status = it->status,
                                .bytes = it->sent_bytes, .seconds = be_clock() - it->started, .id = it->id,
                                .cut = why != MHD_REQUEST_TERMINATED_COMPLETED_OK};
        log_access(&line, it->settings && it->settings->config.log_json);
    }
    answer_free(&it->answer);
    request_release(it->request);
    settings_release(it->settings);
    atomic_fetch_sub(&it->http->open, 1);
    free(it);
    *state = NULL;
}

static void connection_changed(void *context, struct MHD_Connection *connection, void **state,
                               enum MHD_ConnectionNotificationCode code)
{
    http *self = context;
    (void)connection, (void)state;
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        atomic_fetch_add(&self->metrics->connections, 1);
    else
        atomic_fetch_sub(&self->metrics->connections, 1);
}

/* --- listening ------------------------------------------------------------------------------------ */

static int listen_unix(http *self, const char *path, be_error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat info;
    if (strlen(path) >= sizeof address.sun_path) {
        be_fail(error, BE_ERROR_ARGUMENT, "listen: unix:%s: the path is too long", path);
        return -1;
    }
    strcpy(address.sun_path, path);
    if (lstat(path, &info) == 0 && S_ISSOCK(info.st_mode)) /* of an earlier run */
        unlink(path);
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0 || bind(descriptor, (struct sockaddr *)&address, sizeof address) != 0 ||
        chmod(path, 0666) != 0 || listen(descriptor, SOMAXCONN) != 0) {
        be_fail(error, BE_ERROR_IO, "listen: unix:%s: %s", path, strerror(errno));
        if (descriptor >= 0)
            close(descriptor);
        return -1;
    }
    strcpy(self->socket_path, path);
    snprintf(self->address, sizeof self->address, "unix:%s", path);
    return descriptor;
}

static int listen_port(http *self, const config *from, be_error *error)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_PASSIVE}, *found;
    char port[8];
    int one = 1;
    snprintf(port, sizeof port, "%u", from->listen_port);
    bool any = strcmp(from->listen_host, "*") == 0;
    const char *host = strcmp(from->listen_host, "localhost") == 0 ? "127.0.0.1" : from->listen_host;
    if (getaddrinfo(any ? "0.0.0.0" : host, port, &hints, &found) != 0) {
        be_fail(error, BE_ERROR_ARGUMENT, "listen: '%s' is no address", from->listen_host);
        return -1;
    }
    int descriptor = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool good = descriptor >= 0 && setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
                bind(descriptor, found->ai_addr, found->ai_addrlen) == 0 && listen(descriptor, SOMAXCONN) == 0;
    struct sockaddr_storage bound;
    socklen_t size = sizeof bound;
    if (good && getsockname(descriptor, (struct sockaddr *)&bound, &size) == 0) {
        char name[80];
        getnameinfo((struct sockaddr *)&bound, size, name, sizeof name, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
        snprintf(self->address, sizeof self->address, found->ai_family == AF_INET6 ? "http://[%s]:%s" : "http://%s:%s", name, port);
    } else {
        be_fail(error, BE_ERROR_IO, "listen: %s:%s: %s", from->listen_host, port, strerror(errno));
        if (descriptor >= 0)
            close(descriptor);
        descriptor = -1;
    }
    freeaddrinfo(found);
    return descriptor;
}

be_status http_start(const config *first, scheduler *scheduling, results *held, metrics *counters, http **out,
                     be_error *error)
{
    void *memory;
    be_status status = be_allocate(&memory, 1, sizeof(http), "the HTTP side", error);
    if (status != BE_OK)
        return status;
    http *self = memory;
    self->scheduler = scheduling;
    self->held = held;
    self->metrics = counters;
    self->most_connections = first->connections;
    pthread_mutex_init(&self->lock, NULL);
    int descriptor = first->listen_unix ? listen_unix(self, first->listen_unix, error) : listen_port(self, first, error);
    if (descriptor < 0) {
        http_stop(self);
        return error ? error->status : BE_ERROR_IO;
    }
    /* poll, not epoll: with epoll libmicrohttpd overlooks an end of file that comes together with the last bytes. */
    self->daemon = MHD_start_daemon(MHD_USE_POLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, handle, self,
                                    MHD_OPTION_LISTEN_SOCKET, descriptor, MHD_OPTION_NOTIFY_COMPLETED, complete, self,
                                    MHD_OPTION_NOTIFY_CONNECTION, connection_changed, self,
                                    MHD_OPTION_THREAD_POOL_SIZE, (unsigned)HTTP_THREADS,
                                    MHD_OPTION_CONNECTION_LIMIT, (unsigned)(first->connections + SPARE_CONNECTIONS),
                                    MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADER_MEMORY,
                                    MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS, MHD_OPTION_END);
    if (!self->daemon) {
        close(descriptor);
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
    return self->address;
}

void http_drain(http *self)
{
    atomic_store(&self->draining, true);
    atomic_store(&self->metrics->draining, 1);
    int descriptor = MHD_quiesce_daemon(self->daemon);
    if (descriptor >= 0)
        close(descriptor);
}

size_t http_open_requests(const http *self)
{
    return atomic_load(&self->open);
}

void http_stop(http *self)
{
    if (!self)
        return;
    if (self->daemon)
        MHD_stop_daemon(self->daemon);
    if (*self->socket_path)
        unlink(self->socket_path);
    settings_release(self->settings);
    pthread_mutex_destroy(&self->lock);
    free(self);
}
