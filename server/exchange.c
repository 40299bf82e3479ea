#include "server/exchange.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

void exchange_fail(exchange *it, unsigned status, const char *code, const char *message)
{
    answer_fail_with(&it->answer, status, code, message);
}

void exchange_fail_busy(exchange *it, metric_rejection reason, const char *code, const char *message)
{
    metrics_rejected(it->shared->metrics, reason);
    it->retry_after = scheduler_retry_after(it->shared->scheduler);
    exchange_fail(it, 503, code, message);
}

const char *exchange_header(const exchange *it, const char *name)
{
    return MHD_lookup_connection_value(it->connection, MHD_HEADER_KIND, name);
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
    const char *origin = exchange_header(it, "Origin");
    if (!origin || !allows_origin(it, origin))
        return;
    MHD_add_response_header(response, "Access-Control-Allow-Origin", origin);
    MHD_add_response_header(response, "Vary", "Origin");
    MHD_add_response_header(response, "Access-Control-Expose-Headers", "X-Brainenc-Id, X-Brainenc-Vertices, X-Brainenc-Demo, "
                            "X-Brainenc-Unverified, Content-Disposition, Retry-After");
    if (strcmp(it->method, "OPTIONS") == 0) {
        MHD_add_response_header(response, "Access-Control-Allow-Methods", "GET, POST, OPTIONS");
        MHD_add_response_header(response, "Access-Control-Allow-Headers", "Authorization, X-API-Key, Content-Type, Accept");
        MHD_add_response_header(response, "Access-Control-Max-Age", "600");
    }
}

/* What a client should know of numbers that come without the JSON that tells it. */
static void add_warnings(const answer *from, struct MHD_Response *response)
{
    if (from->demo)
        MHD_add_response_header(response, "X-Brainenc-Demo", "true");
    if (from->unverified && *from->unverified)
        MHD_add_response_header(response, "X-Brainenc-Unverified", from->unverified);
}

/* The name goes between quotes: what a header or a file system may take for something else becomes '_'. */
static void add_file_name(const answer *from, struct MHD_Response *response)
{
    char value[sizeof "attachment; filename=\"\"" + sizeof from->file];
    size_t start = (size_t)snprintf(value, sizeof value, "attachment; filename=\"");
    snprintf(value + start, sizeof value - start, "%s\"", from->file);
    for (char *at = value + start; at[1]; at++) {
        if (!(*at >= 'a' && *at <= 'z') && !(*at >= 'A' && *at <= 'Z') && !(*at >= '0' && *at <= '9') && !strchr("._-", *at))
            *at = '_';
    }
    MHD_add_response_header(response, "Content-Disposition", value);
}

/* Counted before it goes out: who has read it finds it counted. */
static void note_sent(exchange *it, const answer *from)
{
    it->status = from->status;
    it->sent_bytes = from->size;
    it->answered = true;
    memcpy(it->id, from->id, sizeof it->id);
    metrics_request(it->shared->metrics, it->route, from->status);
}

enum MHD_Result exchange_send(exchange *it, answer *from)
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
    if (*from->file)
        add_file_name(from, response);
    if (*from->id)
        MHD_add_response_header(response, "X-Brainenc-Id", from->id);
    add_warnings(from, response);
    if (from->status == 503 && !it->retry_after)
        it->retry_after = scheduler_retry_after(it->shared->scheduler);
    if (it->retry_after) {
        snprintf(number, sizeof number, "%u", it->retry_after);
        MHD_add_response_header(response, "Retry-After", number);
    }
    if (from->status == 401)
        MHD_add_response_header(response, "WWW-Authenticate", "Bearer");
    if (from->status == 405)
        MHD_add_response_header(response, "Allow",
                                it->route == ROUTE_PREDICT ? "POST" : it->route == ROUTE_ATTENTION ? "GET, POST" : "GET");
    if (it->too_large || atomic_load(&it->shared->draining))
        MHD_add_response_header(response, "Connection", "close");
    add_cors(it, response);
    note_sent(it, from);
    enum MHD_Result result = MHD_queue_response(it->connection, from->status, response);
    MHD_destroy_response(response);
    return result;
}

void exchange_send_and_close(exchange *it)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(it->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    const answer *from = &it->answer;
    be_text text = {0};
    be_text_add_format(&text, "HTTP/1.1 %u %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
                       from->status, MHD_get_reason_phrase_for(from->status), from->type, from->size);
    be_text_add_bytes(&text, from->bytes ? from->bytes : "", from->size);
    note_sent(it, from);
    if (!text.failed && send(info->connect_fd, text.bytes, text.length, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)text.length)
        shutdown(info->connect_fd, SHUT_WR);
    free(text.bytes);
}
