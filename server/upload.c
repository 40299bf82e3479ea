#include "server/upload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* How much of a body past its limit is read and dropped before the connection is closed, and of one nobody asked for. */
enum { DRAINED_BYTES = 8 << 20, UNASKED_BYTES = 1 << 20, POST_BUFFER = 64 << 10 };

static bool count_bytes(const exchange *it, size_t bytes)
{
    return request_count_bytes(it->request, bytes, it->settings->config.bytes_in_flight);
}

/* One piece of a multipart form; parts named "image" are images, each file of several too. Empty ones, such as a web form's
 * field without a file, are none; the library also begins some parts with an empty piece. */
static enum MHD_Result take_form(void *context, enum MHD_ValueKind kind, const char *key, const char *filename,
                                 const char *type, const char *encoding, const char *data, uint64_t offset, size_t size)
{
    exchange *it = context;
    (void)kind, (void)filename, (void)type, (void)encoding;
    if (!key || size == 0)
        return MHD_YES;
    if (query_has_parameter(it->request->kind, key)) { /* here it would be passed over in silence */
        it->misplaced = true;
        return MHD_NO;
    }
    if (strcmp(key, "image") != 0 && strcmp(key, "images") != 0)
        return MHD_YES; /* other fields of a form mean nothing here */
    if (offset == 0 && !request_add_part(it->request))
        it->broken = true;
    if (!it->broken && !request_extend_part(it->request, data, size))
        it->broken = true;
    return it->broken ? MHD_NO : MHD_YES;
}

void upload_begin(exchange *it)
{
    const char *length = exchange_header(it, "Content-Length"), *type = exchange_header(it, "Content-Type");
    unsigned long long bytes = length ? strtoull(length, NULL, 10) : 0;
    if (bytes > it->settings->config.body) {
        char message[120];
        snprintf(message, sizeof message, "the body has %llu bytes, the limit is %zu", bytes, it->settings->config.body);
        metrics_rejected(it->shared->metrics, REJECTED_BODY);
        it->too_large = true;
        exchange_fail(it, 413, "limit", message);
        return;
    }
    if (!count_bytes(it, (size_t)bytes)) {
        exchange_fail_busy(it, REJECTED_BYTES, "busy", "too many bytes are in flight");
        return;
    }
    if (type && strncasecmp(type, "multipart/form-data", 19) == 0) {
        it->form = MHD_create_post_processor(it->connection, POST_BUFFER, take_form, it);
        if (!it->form)
            exchange_fail(it, 400, "argument", "the multipart form has no usable boundary");
    } else if (!request_add_part(it->request)) {
        exchange_fail(it, 503, "memory", "out of memory");
    }
    it->request->declared_json = type && strncasecmp(type, "application/json", 16) == 0;
}

/* The most that is read of this body. */
static size_t most_bytes(const exchange *it)
{
    return it->settings ? it->settings->config.body : UNASKED_BYTES;
}

bool upload_is_refused(const exchange *it)
{
    const char *length = exchange_header(it, "Content-Length");
    bool has_body = length ? strcmp(length, "0") != 0 : exchange_header(it, "Transfer-Encoding") != NULL;
    return has_body && (it->answer.status >= 500 || it->answer.status == 401 || it->answer.status == 413 ||
                        exchange_header(it, "Expect") || (length && strtoull(length, NULL, 10) > most_bytes(it)));
}

/* Ends an upload that is not going to be computed. */
static bool refuse(exchange *it, unsigned status, const char *code, const char *message)
{
    exchange_fail(it, status, code, message);
    exchange_send_and_close(it);
    return false;
}

static void keep(exchange *it, const char *data, size_t size)
{
    if (it->received_bytes > it->request->counted_bytes && !count_bytes(it, it->received_bytes - it->request->counted_bytes))
        it->broken = true;
    if (it->broken || it->damaged)
        return;
    if (it->form)
        it->damaged = MHD_post_process(it->form, data, size) != MHD_YES && !it->broken;
    else
        it->broken = !request_extend_part(it->request, data, size);
}

bool upload_take(exchange *it, const char *data, size_t size)
{
    size_t limit = most_bytes(it);
    it->received_bytes += size;
    if (it->answer.status && it->received_bytes > limit) {
        exchange_send_and_close(it);
        return false;
    }
    if (it->answer.status)
        return true;
    if (be_clock() > it->request->deadline) {
        metrics_rejected(it->shared->metrics, REJECTED_DEADLINE);
        return refuse(it, 408, "deadline", "the upload took longer than limits.deadline_ms");
    }
    if (it->received_bytes > limit + DRAINED_BYTES) {
        metrics_rejected(it->shared->metrics, REJECTED_BODY);
        return refuse(it, 413, "limit", "the body is larger than limits.body");
    }
    if (it->received_bytes > limit)
        it->too_large = true;
    if (!it->too_large && it->request->kind != REQUEST_HELD_ATTENTION) /* what a GET carries means nothing */
        keep(it, data, size);
    return true;
}

bool upload_submit(exchange *it)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(it->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (it->form) {
        bool whole = MHD_destroy_post_processor(it->form) == MHD_YES;
        it->form = NULL;
        it->damaged |= !whole && !it->broken && it->request->n_parts == 0;
    }
    if (it->too_large) {
        metrics_rejected(it->shared->metrics, REJECTED_BODY);
        exchange_fail(it, 413, "limit", "the body is larger than limits.body");
        return false;
    }
    if (it->misplaced) {
        exchange_fail(it, 400, "argument",
                      "the form has a parameter as a field; parameters go into the URL: /predict?subject=NAME");
        return false;
    }
    if (it->broken) {
        exchange_fail_busy(it, REJECTED_BYTES, "busy", "too many bytes are in flight");
        return false;
    }
    if (it->damaged) {
        exchange_fail(it, 400, "argument", "the multipart form is damaged or cut short");
        return false;
    }
    if (it->request->kind != REQUEST_HELD_ATTENTION && it->request->n_parts == 0) {
        exchange_fail(it, 400, "argument", "the form has no part named image with a file in it");
        return false;
    }
    it->submitted = true;
    MHD_suspend_connection(it->connection);
    if (scheduler_submit(it->shared->scheduler, it->request, info->connect_fd))
        return true;
    it->submitted = false;
    exchange_fail_busy(it, REJECTED_QUEUE, "busy", "the queue is full");
    MHD_resume_connection(it->connection);
    return true; /* the handler is called again, and finds the answer */
}

