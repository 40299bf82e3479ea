#include "server/request.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/files/json.h"

void request_query_free(request_query *query)
{
    for (size_t i = 0; i < MOST_SUBJECTS; i++) {
        be_roi_selection_free(&query->only[i]);
        be_map_selection_free(&query->maps[i]);
    }
}

request *request_create(engine *served, metrics *counters)
{
    void *memory;
    if (be_allocate(&memory, 1, sizeof(request), "a request", NULL) != BE_OK)
        return NULL;
    request *it = memory;
    atomic_init(&it->references, 1);
    atomic_init(&it->state, STATE_PENDING);
    it->engine = engine_acquire(served);
    it->metrics = counters;
    it->received = be_clock();
    return it;
}

request *request_acquire(request *it)
{
    atomic_fetch_add(&it->references, 1);
    return it;
}

static void free_image(request_image *image)
{
    be_image_free(&image->decoded);
    be_image_free(&image->input);
    for (size_t s = 0; s < MOST_SUBJECTS; s++) {
        free(image->outputs[s].vertices);
        free(image->outputs[s].spread);
        free(image->outputs[s].attention);
        free(image->outputs[s].attention_heads);
        free(image->outputs[s].features);
        free(image->maps[s]);
    }
}

void request_release(request *it)
{
    if (!it || atomic_fetch_sub(&it->references, 1) != 1)
        return;
    for (size_t i = 0; i < it->n_parts; i++)
        free(it->parts[i].bytes);
    for (size_t i = 0; i < it->n_images; i++)
        free_image(&it->images[i]);
    free(it->parts);
    free(it->images);
    answer_free(&it->answer);
    request_query_free(&it->query);
    held_result_release(it->held);
    engine_release(it->engine);
    atomic_fetch_sub(&it->metrics->bytes_in_flight, it->counted_bytes);
    free(it);
}

bool request_settle(request *it, request_state state)
{
    int pending = STATE_PENDING;
    return atomic_compare_exchange_strong(&it->state, &pending, (int)state);
}

bool request_is_pending(const request *it)
{
    return atomic_load(&it->state) == STATE_PENDING;
}

bool request_count_bytes(request *it, size_t bytes, size_t limit)
{
    size_t before = atomic_load(&it->metrics->bytes_in_flight);
    do {
        if (before > limit || bytes > limit - before)
            return false;
    } while (!atomic_compare_exchange_weak(&it->metrics->bytes_in_flight, &before, before + bytes));
    it->counted_bytes += bytes;
    return true;
}

bool request_add_part(request *it)
{
    void *parts = it->parts;
    if (be_grow(&parts, &it->part_capacity, it->n_parts + 1, sizeof *it->parts, "a request's parts", NULL) != BE_OK)
        return false;
    it->parts = parts;
    it->parts[it->n_parts++] = (request_part){0};
    return true;
}

bool request_extend_part(request *it, const void *bytes, size_t size)
{
    request_part *part = &it->parts[it->n_parts - 1];
    void *grown = part->bytes;
    if (be_grow(&grown, &part->capacity, part->size + size, 1, "a request's body", NULL) != BE_OK)
        return false;
    part->bytes = grown;
    if (size)
        memcpy(part->bytes + part->size, bytes, size);
    part->size += size;
    return true;
}

/* --- errors --------------------------------------------------------------------------------------- */

static unsigned status_code(be_status status)
{
    switch (status) {
    case BE_ERROR_ARGUMENT: return 400;
    case BE_ERROR_NOT_FOUND: return 404;
    case BE_ERROR_FORMAT: return 422;
    case BE_ERROR_UNSUPPORTED: return 415;
    case BE_ERROR_LIMIT: return 413;
    case BE_ERROR_MEMORY: return 503;
    default: return 500;
    }
}

void answer_fail(answer *to, const be_error *error)
{
    answer_fail_with(to, status_code(error->status), be_status_name(error->status), error->message);
}

void answer_fail_with(answer *to, unsigned status, const char *code, const char *message)
{
    char *text;
    be_json json = be_json_begin();
    cJSON *error = be_json_object(&json, json.root, "error");
    be_json_text(&json, error, "code", code);
    be_json_text(&json, error, "message", message);
    answer_free(to);
    *to = (answer){.status = status, .type = "application/json"};
    if (be_json_print(&json, &text, NULL) == BE_OK) { /* without memory the status alone goes out */
        to->bytes = text;
        to->size = strlen(text);
    }
}

void answer_free(answer *it)
{
    free(it->bytes);
    it->bytes = NULL;
    it->size = 0;
}
