#include "clients/brainenc/remote.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>

#include "clients/brainenc/remote_json.h"
#include "core/base/clock.h"
#include "core/base/memory.h"

enum { CONNECT_SECONDS = 20, KEY_SIZE = 4096, PAUSE_MS = 1000, MOST_HEADER_BYTES = 1 << 20 };

typedef enum exchange_state { EXCHANGE_IDLE, EXCHANGE_RUNNING, EXCHANGE_RESTING, EXCHANGE_DONE } exchange_state;

/* One place: a request, and its answer as it comes. */
typedef struct exchange {
    CURL *easy;
    exchange_state state;
    be_text answer;
    size_t header_bytes;   /* of the answer, with what stands behind a body in pieces */
    size_t too_large;      /* the limit that it is above, or 0 */
    double give_up, again; /* be_clock: when it is given up; RESTING: when it is sent once more */
    unsigned status;
    CURLcode result;
    char reason[CURL_ERROR_SIZE];
} exchange;

struct remote {
    char *name, *base;     /* as the user gave it; what a path is added to */
    const char *socket;    /* of the local domain, or NULL */
    double seconds;
    struct curl_slist *headers;
    CURLM *multi;
    exchange places[REMOTE_REQUESTS];
};

/* --- setting up ----------------------------------------------------------------------------------- */

static bool is_web_address(const char *server)
{
    size_t scheme = strncasecmp(server, "http://", 7) == 0 ? 7 : strncasecmp(server, "https://", 8) == 0 ? 8 : 0;
    return scheme > 0 && server[scheme] && server[scheme] != '/' && !strpbrk(server, "?#@ ");
}

static be_status read_address(remote *self, const char *server, be_error *error)
{
    bool local = strncmp(server, "unix:", 5) == 0 && server[5];
    if (!local && !is_web_address(server))
        return be_fail(error, BE_ERROR_ARGUMENT, "--server: '%s' is none of http://HOST[:PORT], https://HOST[:PORT] and unix:/PATH",
                       server);
    be_status status = be_copy_text(&self->name, server, error);
    if (status == BE_OK)
        status = be_copy_text(&self->base, local ? "http://localhost" : server, error);
    if (status != BE_OK)
        return status;
    for (size_t end = strlen(self->base); end > 0 && self->base[end - 1] == '/'; end--)
        self->base[end - 1] = '\0';
    self->socket = local ? self->name + 5 : NULL;
    return BE_OK;
}

static be_status read_key(const char *path, char key[KEY_SIZE], be_error *error)
{
    FILE *stream = fopen(path, "re");
    if (!stream)
        return be_fail(error, errno == ENOENT ? BE_ERROR_NOT_FOUND : BE_ERROR_IO, "%s: cannot be read: %s", path, strerror(errno));
    bool good = fgets(key, KEY_SIZE, stream) != NULL;
    fclose(stream);
    size_t length = good ? strcspn(key, "\r\n") : 0;
    good = length > 0 && length < KEY_SIZE - 1;
    for (size_t i = 0; i < length; i++)
        good &= (unsigned char)key[i] >= 0x20 && key[i] != 0x7f;
    key[length] = '\0';
    return good ? BE_OK : be_fail(error, BE_ERROR_FORMAT, "%s: its first line is no API key", path);
}

static bool add_header(remote *self, const char *line)
{
    struct curl_slist *longer = curl_slist_append(self->headers, line);
    if (longer)
        self->headers = longer;
    return longer != NULL;
}

static be_status make_headers(remote *self, const char *key_file, be_error *error)
{
    static const char before[] = "Authorization: Bearer ";
    char line[sizeof before + KEY_SIZE], key[KEY_SIZE] = "";
    be_status status = key_file ? read_key(key_file, key, error) : BE_OK;
    snprintf(line, sizeof line, "%s%s", before, key);
    bool good = status != BE_OK || !key_file || add_header(self, line);
    explicit_bzero(line, sizeof line);
    explicit_bzero(key, sizeof key);
    good = good && add_header(self, "Accept: application/json") && add_header(self, "Content-Type: application/octet-stream");
    return good ? status : be_fail_memory(error, sizeof line, "a request's headers");
}

/* Takes what comes of an answer; curl breaks off when not all of it is taken. `size` is 1 by curl's word. */
static size_t take_bytes(char *bytes, size_t size, size_t count, void *context)
{
    exchange *it = context;
    if (count > REMOTE_MOST_BYTES - it->answer.length)
        it->too_large = REMOTE_MOST_BYTES;
    else
        be_text_add_bytes(&it->answer, bytes, size * count);
    return it->too_large || it->answer.failed ? 0 : count;
}

/* Counts them, since curl keeps those that come behind the body without any limit. */
static size_t count_header(char *bytes, size_t size, size_t count, void *context)
{
    exchange *it = context;
    (void)bytes;
    it->header_bytes += size * count;
    if (it->header_bytes > MOST_HEADER_BYTES)
        it->too_large = MOST_HEADER_BYTES;
    return it->too_large ? 0 : count;
}

static bool allow_http_alone(CURL *easy)
{
#if LIBCURL_VERSION_NUM >= 0x075500
    return curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK;
#else
    return curl_easy_setopt(easy, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS)) == CURLE_OK;
#endif
}

static bool make_exchange(remote *self, exchange *it)
{
    it->easy = curl_easy_init();
    return it->easy && curl_easy_setopt(it->easy, CURLOPT_PRIVATE, it) == CURLE_OK &&
           curl_easy_setopt(it->easy, CURLOPT_ERRORBUFFER, it->reason) == CURLE_OK &&
           curl_easy_setopt(it->easy, CURLOPT_WRITEFUNCTION, take_bytes) == CURLE_OK &&
           curl_easy_setopt(it->easy, CURLOPT_WRITEDATA, it) == CURLE_OK &&
           curl_easy_setopt(it->easy, CURLOPT_HEADERFUNCTION, count_header) == CURLE_OK &&
           curl_easy_setopt(it->easy, CURLOPT_HEADERDATA, it) == CURLE_OK &&
           curl_easy_setopt(it->easy, CURLOPT_HTTPHEADER, self->headers) == CURLE_OK &&
           curl_easy_setopt(it->easy, CURLOPT_USERAGENT, "brainenc/" BRAINENC_VERSION) == CURLE_OK &&
           allow_http_alone(it->easy) &&
           curl_easy_setopt(it->easy, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl_easy_setopt(it->easy, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS) == CURLE_OK &&
           curl_easy_setopt(it->easy, CURLOPT_UNIX_SOCKET_PATH, self->socket) == CURLE_OK;
}

static be_status make_exchanges(remote *self, be_error *error)
{
    bool good = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK && (self->multi = curl_multi_init());
    for (size_t i = 0; i < REMOTE_REQUESTS && good; i++)
        good = make_exchange(self, &self->places[i]);
    return good ? BE_OK : be_fail_memory(error, sizeof *self, "the HTTP library");
}

be_status remote_open(const remote_options *options, remote **out, be_error *error)
{
    void *memory;
    be_status status = be_allocate(&memory, 1, sizeof(remote), "a server's state", error);
    if (status != BE_OK)
        return status;
    remote *self = memory;
    self->seconds = (double)options->seconds;
    status = read_address(self, options->server, error);
    if (status == BE_OK)
        status = make_headers(self, options->key_file, error);
    if (status == BE_OK)
        status = make_exchanges(self, error);
    if (status != BE_OK) {
        remote_close(self);
        return status;
    }
    *out = self;
    return BE_OK;
}

void remote_close(remote *self)
{
    if (!self)
        return;
    for (size_t i = 0; i < REMOTE_REQUESTS; i++) {
        exchange *it = &self->places[i];
        if (it->state == EXCHANGE_RUNNING)
            curl_multi_remove_handle(self->multi, it->easy);
        curl_easy_cleanup(it->easy);
        free(it->answer.bytes);
    }
    if (self->multi)
        curl_multi_cleanup(self->multi);
    curl_slist_free_all(self->headers);
    curl_global_cleanup();
    free(self->name);
    free(self->base);
    free(self);
}

const char *remote_name(const remote *self)
{
    return self->name;
}

void remote_add_parameter(be_text *path, const char *key, const char *value)
{
    char *escaped = curl_easy_escape(NULL, value, 0);
    be_text_add(path, path->bytes && strchr(path->bytes, '?') ? "&" : "?");
    be_text_add(path, key);
    be_text_add(path, "=");
    be_text_add(path, escaped ? escaped : "");
    path->failed |= !escaped;
    curl_free(escaped);
}

/* --- exchanging ----------------------------------------------------------------------------------- */

/* Begins a transfer, for the first time or once more. */
static void start(remote *self, exchange *it)
{
    double left = it->give_up - be_clock();
    free(it->answer.bytes);
    it->answer = (be_text){0};
    it->header_bytes = 0;
    it->too_large = 0;
    it->reason[0] = '\0';
    it->state = EXCHANGE_RUNNING;
    it->result = curl_easy_setopt(it->easy, CURLOPT_TIMEOUT_MS, left > 0 ? (long)(1e3 * left) + 1 : 1L);
    if (it->result != CURLE_OK || curl_multi_add_handle(self->multi, it->easy) != CURLM_OK) {
        it->result = CURLE_OUT_OF_MEMORY;
        it->state = EXCHANGE_DONE;
    }
}

/* After the time that the server names; false when that would be too late. */
static bool may_rest(exchange *it)
{
    curl_off_t seconds = 0;
    curl_easy_getinfo(it->easy, CURLINFO_RETRY_AFTER, &seconds);
    it->again = be_clock() + (seconds < 1 ? 1 : (double)seconds);
    return it->again < it->give_up;
}

static void settle(remote *self, exchange *it, CURLcode result)
{
    long status = 0;
    curl_multi_remove_handle(self->multi, it->easy);
    curl_easy_getinfo(it->easy, CURLINFO_RESPONSE_CODE, &status);
    it->result = result;
    it->status = (unsigned)status;
    bool busy = result == CURLE_OK && (status == 503 || status == 504);
    it->state = busy && may_rest(it) ? EXCHANGE_RESTING : EXCHANGE_DONE;
}

/* Lets all exchanges go on, as far as they can without waiting. */
static bool go_on(remote *self)
{
    int running, left;
    const CURLMsg *message;
    for (size_t i = 0; i < REMOTE_REQUESTS; i++) {
        if (self->places[i].state == EXCHANGE_RESTING && self->places[i].again <= be_clock())
            start(self, &self->places[i]);
    }
    bool good = curl_multi_perform(self->multi, &running) == CURLM_OK;
    while ((message = curl_multi_info_read(self->multi, &left))) {
        char *it = NULL;
        if (message->msg == CURLMSG_DONE && curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &it) == CURLE_OK)
            settle(self, (exchange *)(void *)it, message->data.result);
    }
    return good;
}

/* Until something comes, or it is time for one that rests. */
static bool wait(remote *self)
{
    int pause = PAUSE_MS;
    for (size_t i = 0; i < REMOTE_REQUESTS; i++) {
        double left = 1e3 * (self->places[i].again - be_clock());
        if (self->places[i].state == EXCHANGE_RESTING && left < pause)
            pause = left > 0 ? (int)left + 1 : 0;
    }
    return curl_multi_poll(self->multi, NULL, 0, pause, NULL) == CURLM_OK;
}

static be_status fail_transfer(const remote *self, const exchange *it, be_error *error)
{
    const char *reason = *it->reason ? it->reason : curl_easy_strerror(it->result);
    long cause = 0;
    if (it->too_large)
        return be_fail(error, BE_ERROR_LIMIT, "%s: the answer%s larger than %zu MiB", self->name,
                       it->too_large == MOST_HEADER_BYTES ? "'s headers are" : " is", it->too_large >> 20);
    curl_easy_getinfo(it->easy, CURLINFO_OS_ERRNO, &cause);
    switch (it->result) {
    case CURLE_COULDNT_CONNECT:
        return be_fail(error, BE_ERROR_IO, "%s: cannot be reached: %s", self->name, cause ? strerror((int)cause) : reason);
    case CURLE_OUT_OF_MEMORY: /* also of a single header that is far too long */
    case CURLE_WRITE_ERROR: return be_fail(error, BE_ERROR_MEMORY, "%s: there is no memory for the answer", self->name);
    case CURLE_URL_MALFORMAT: return be_fail(error, BE_ERROR_ARGUMENT, "--server: %s: %s", self->name, reason);
    case CURLE_OPERATION_TIMEDOUT: return be_fail(error, BE_ERROR_IO, "%s: no answer in time (--timeout): %s", self->name, reason);
    case CURLE_PARTIAL_FILE: return be_fail(error, BE_ERROR_IO, "%s: the answer is cut short: %s", self->name, reason);
    default: return be_fail(error, BE_ERROR_IO, "%s: %s", self->name, reason);
    }
}

be_status remote_send(remote *self, size_t place, const char *path, const void *body, size_t size, be_error *error)
{
    exchange *it = &self->places[place];
    be_text url = {0};
    be_text_add(&url, self->base);
    be_text_add(&url, path);
    be_status status = be_text_finish(&url, error);
    bool good = status == BE_OK && curl_easy_setopt(it->easy, CURLOPT_URL, url.bytes) == CURLE_OK;
    free(url.bytes);
    if (good && body) /* in this order: the body is not copied, and may hold zeros */
        good = curl_easy_setopt(it->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)size) == CURLE_OK &&
               curl_easy_setopt(it->easy, CURLOPT_POSTFIELDS, body) == CURLE_OK;
    else if (good)
        good = curl_easy_setopt(it->easy, CURLOPT_HTTPGET, 1L) == CURLE_OK;
    if (!good)
        return status != BE_OK ? status : be_fail_memory(error, strlen(path), "a request");
    it->give_up = be_clock() + self->seconds;
    start(self, it);
    return BE_OK;
}

be_status remote_receive(remote *self, size_t place, remote_answer *answer, be_error *error)
{
    exchange *it = &self->places[place];
    bool good = go_on(self);
    while (good && it->state != EXCHANGE_DONE)
        good = wait(self) && go_on(self);
    if (!good)
        return be_fail(error, BE_ERROR_IO, "%s: the HTTP library could not go on", self->name);
    it->state = EXCHANGE_IDLE;
    if (it->result != CURLE_OK)
        return fail_transfer(self, it, error);
    char *redirect = NULL;
    curl_easy_getinfo(it->easy, CURLINFO_REDIRECT_URL, &redirect);
    *answer = (remote_answer){.status = it->status, .text = it->answer.bytes ? it->answer.bytes : "", .size = it->answer.length,
                              .redirect = redirect};
    return BE_OK;
}

/* --- reading answers ------------------------------------------------------------------------------ */

be_status remote_status(unsigned status)
{
    switch (status) {
    case 404: return BE_ERROR_NOT_FOUND;
    case 413: return BE_ERROR_LIMIT;
    case 415: return BE_ERROR_UNSUPPORTED;
    case 422: return BE_ERROR_FORMAT;
    default: return status >= 400 && status < 500 ? BE_ERROR_ARGUMENT : BE_ERROR_IO;
    }
}

char *remote_message(const remote_answer *answer)
{
    cJSON *root = NULL;
    char *copy = NULL;
    if (remote_json_parse(answer->text, answer->size, &root, NULL) != BE_OK)
        return NULL;
    const char *message = cJSON_GetStringValue(
        cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(root, "error"), "message"));
    if (message && *message)
        be_copy_text(&copy, message, NULL);
    cJSON_Delete(root);
    return copy;
}

be_status remote_check(const remote *self, const remote_answer *answer, be_error *error)
{
    if (answer->status == 200)
        return BE_OK;
    be_status status = remote_status(answer->status);
    char *message = remote_message(answer);
    const char *hint = answer->status == 401 ? " (--key-file)" : "";
    if (answer->redirect)
        be_fail(error, status, "%s: sends to %s instead, which is not followed", self->name, answer->redirect);
    else if (message)
        be_fail(error, status, "%s: %s%s", self->name, message, hint);
    else
        be_fail(error, status, "%s: answered with the HTTP status %u%s", self->name, answer->status, hint);
    free(message);
    return status;
}

be_status remote_ask(remote *self, const char *path, cJSON **root, be_error *error)
{
    remote_answer answer;
    be_error reason;
    be_status status = remote_send(self, 0, path, NULL, 0, error);
    if (status == BE_OK)
        status = remote_receive(self, 0, &answer, error);
    if (status == BE_OK)
        status = remote_check(self, &answer, error);
    if (status != BE_OK)
        return status;
    status = remote_json_parse(answer.text, answer.size, root, &reason);
    return status == BE_OK ? BE_OK : be_fail(error, status, "%s: %.*s: %s", self->name, (int)strcspn(path, "?"), path,
                                             reason.message);
}
