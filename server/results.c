#include "server/results.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

enum { CALLER_SIZE = 80 };

/* An entry of the list; the result lives on while somebody reads it. */
typedef struct entry {
    held_result result; /* first: a result is its entry */
    atomic_size_t references;
    char caller[CALLER_SIZE]; /* whose it is */
    unsigned long long put;   /* which of the puts it was */
    bool overtaken, overtaken_here; /* a later one of the caller, or of the caller and the subject, is held no more */
    size_t bytes;
    struct entry *newer, *older;
} entry;

struct results {
    pthread_mutex_t lock;
    metrics *metrics;
    unsigned long long puts; /* so far */
    size_t limit, bytes, count;
    entry *newest, *oldest;
};

be_status results_create(size_t bytes, metrics *counters, results **out, be_error *error)
{
    void *memory;
    be_status status = be_allocate(&memory, 1, sizeof(results), "the held results", error);
    if (status != BE_OK)
        return status;
    results *self = memory;
    pthread_mutex_init(&self->lock, NULL);
    self->limit = bytes;
    self->metrics = counters;
    *out = self;
    return BE_OK;
}

void held_result_release(const held_result *result)
{
    entry *it = (entry *)result;
    if (!it || atomic_fetch_sub(&it->references, 1) != 1)
        return;
    be_image_free(&it->result.input);
    free(it->result.output.attention);
    free(it->result.output.features);
    engine_release(it->result.engine);
    free(it);
}

/* --- the list, under the lock --------------------------------------------------------------------- */

static void unlink_entry(results *self, entry *it)
{
    *(it->newer ? &it->newer->older : &self->newest) = it->older;
    *(it->older ? &it->older->newer : &self->oldest) = it->newer;
    it->newer = it->older = NULL;
}

static void push(results *self, entry *it)
{
    it->older = self->newest;
    *(self->newest ? &self->newest->newer : &self->oldest) = it;
    self->newest = it;
}

static void forget(results *self, entry *it)
{
    unlink_entry(self, it);
    self->bytes -= it->bytes;
    self->count--;
    held_result_release(&it->result);
}

/* A prediction of the caller that is not held: those before it are not the most recent ones in its place. */
static void overtake(results *self, const entry *lost)
{
    for (entry *it = self->newest; it; it = it->older) {
        bool earlier = it->put < lost->put && strcmp(it->caller, lost->caller) == 0;
        it->overtaken |= earlier;
        it->overtaken_here |= earlier && it->result.subject == lost->result.subject;
    }
}

static void shrink(results *self, size_t limit)
{
    while (self->oldest && self->bytes > limit) {
        overtake(self, self->oldest);
        forget(self, self->oldest);
    }
    atomic_store(&self->metrics->held_bytes, self->bytes);
    atomic_store(&self->metrics->held_results, self->count);
}

/* The one put last of those with this id, of this caller, of this subject; NULL is any. Without an id NULL when a later one was put
 * and is gone. */
static entry *find(results *self, const char *id, const char *caller, const size_t *subject)
{
    entry *found = NULL;
    for (entry *it = self->newest; it; it = it->older) {
        bool wanted = (!id || strcmp(it->result.id, id) == 0) && (!caller || strcmp(it->caller, caller) == 0);
        wanted = wanted && (id || !(subject ? it->overtaken_here : it->overtaken));
        if (wanted && (!subject || it->result.subject == *subject) && (!found || it->put > found->put))
            found = it;
    }
    return found;
}

/* --- from outside --------------------------------------------------------------------------------- */

static be_status copy_picture(be_image *out, const be_image *from)
{
    void *pixels;
    be_status status = be_allocate(&pixels, from->width * from->height, 3, "a held picture", NULL);
    if (status != BE_OK)
        return status;
    *out = (be_image){from->width, from->height, pixels};
    memcpy(pixels, from->rgb, from->width * from->height * 3);
    return BE_OK;
}

static be_status copy_floats(float **out, const float *from, size_t count)
{
    be_status status = be_allocate_floats(out, count, "a held prediction", NULL);
    if (status == BE_OK)
        memcpy(*out, from, count * sizeof(float));
    return status;
}

static entry *make_entry(engine *served, size_t subject, const be_answer_image *about, const be_image *input,
                         const be_output *output)
{
    size_t cells = about->rows * about->columns, maps = engine_subject_info(served, subject)->maps * cells;
    size_t features = engine_feature_floats(served, subject, cells);
    const engine_subject *place = engine_subject_at(served, subject);
    void *memory;
    if (be_allocate(&memory, 1, sizeof(entry), "a held result", NULL) != BE_OK)
        return NULL;
    entry *it = memory;
    atomic_init(&it->references, 1);
    it->result.engine = engine_acquire(served);
    it->result.subject = subject;
    it->result.about = *about;
    it->result.about.name = NULL;
    it->bytes = sizeof *it + input->width * input->height * 3 + (maps + features) * sizeof(float);
    if (be_answer_id(engine_model(served, place->model), place->subject, about, it->result.id, NULL) != BE_OK ||
        copy_picture(&it->result.input, input) != BE_OK ||
        (maps > 0 && copy_floats(&it->result.output.attention, output->attention, maps) != BE_OK) ||
        (features > 0 && copy_floats(&it->result.output.features, output->features, features) != BE_OK)) {
        held_result_release(&it->result);
        return NULL;
    }
    return it;
}

void results_put(results *self, const char *caller, engine *served, size_t subject, const be_answer_image *about,
                 const be_image *input, const be_output *output)
{
    entry *it = make_entry(served, subject, about, input, output);
    if (!it)
        return;
    strncpy(it->caller, caller, CALLER_SIZE - 1);
    pthread_mutex_lock(&self->lock);
    entry *same = find(self, it->result.id, it->caller, &subject);
    if (same)
        forget(self, same);
    it->put = ++self->puts;
    if (it->bytes > self->limit) {
        overtake(self, it);
    } else {
        shrink(self, self->limit - it->bytes);
        push(self, it);
        self->bytes += it->bytes;
        self->count++;
        it = NULL;
    }
    shrink(self, self->limit);
    pthread_mutex_unlock(&self->lock);
    if (it)
        held_result_release(&it->result);
}

const held_result *results_get(results *self, const char *id, const char *caller, const size_t *subject)
{
    pthread_mutex_lock(&self->lock);
    entry *it = find(self, id, id ? NULL : caller, subject);
    if (it) {
        atomic_fetch_add(&it->references, 1);
        unlink_entry(self, it); /* what was used last goes last */
        push(self, it);
    }
    pthread_mutex_unlock(&self->lock);
    return it ? &it->result : NULL;
}

void results_resize(results *self, size_t bytes)
{
    pthread_mutex_lock(&self->lock);
    self->limit = bytes;
    shrink(self, bytes);
    pthread_mutex_unlock(&self->lock);
}

void results_clear(results *self)
{
    pthread_mutex_lock(&self->lock);
    while (self->oldest)
        forget(self, self->oldest);
    shrink(self, self->limit);
    pthread_mutex_unlock(&self->lock);
}

void results_free(results *self)
{
    if (!self)
        return;
    results_clear(self);
    pthread_mutex_destroy(&self->lock);
    free(self);
}
