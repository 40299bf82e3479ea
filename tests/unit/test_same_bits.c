/* The same image gives the same bits, whatever else is in the batch, however many threads compute, whatever ran before. */
#include "tests/unit/model_support.h"

#include <pthread.h>
#include <stdio.h>

#include "core/pace.h"

enum { IMAGES = 5 };

typedef struct fixture {
    be_model *model;
    be_image images[IMAGES]; /* of different shapes: each its own grid */
    be_output alone[IMAGES]; /* each predicted by itself, by one thread */
} fixture;

static int open_fixture(void **state)
{
    static fixture it;
    static const size_t sizes[IMAGES][2] = {{238, 322}, {140, 84}, {15, 14}, {196, 154}, {140, 84}};
    it.model = open_golden_model("subject.safetensors");
    be_session *session = open_session(it.model, 1, NULL);
    for (uint32_t i = 0; i < IMAGES; i++)
        it.images[i] = make_noise(sizes[i][0], sizes[i][1], i);
    for (size_t i = 0; i < IMAGES; i++)
        it.alone[i] = predict(session, it.model, &it.images[i]);
    be_session_close(session);
    *state = &it;
    return 0;
}

static int close_fixture(void **state)
{
    fixture *it = *state;
    for (size_t i = 0; i < IMAGES; i++) {
        free_output(&it->alone[i]);
        be_image_free(&it->images[i]);
    }
    be_model_close(it->model);
    return 0;
}

/* The first `count` images, beginning with number `first`, in one batch. */
static void check_batch(const fixture *it, be_session *session, size_t first, size_t count)
{
    be_image images[IMAGES] = {{0}};
    be_output outputs[IMAGES] = {{0}};
    be_timing timings[IMAGES];
    be_error error;
    char what[64];
    for (size_t i = 0; i < count; i++) {
        images[i] = it->images[(first + i) % IMAGES];
        outputs[i] = make_output(it->model, &images[i]);
    }
    assert_ok(be_session_predict(session, images, count, outputs, timings, &error), &error);
    for (size_t i = 0; i < count; i++) {
        snprintf(what, sizeof what, "image %zu of %zu, %zu threads", i, count, be_session_threads(session));
        assert_same_output(what, it->model, &images[i], &outputs[i], &it->alone[(first + i) % IMAGES]);
        assert_true(timings[i].backbone >= 0 && timings[i].encoder >= 0);
        free_output(&outputs[i]);
    }
}

static void test_batches_and_threads(void **state)
{
    const fixture *it = *state;
    for (size_t threads = 1; threads <= 3; threads++) {
        be_session *session = open_session(it->model, threads, NULL);
        for (size_t count = 1; count <= IMAGES; count++)
            check_batch(it, session, count, count);
        be_session_close(session);
    }
}

/* However the session shares batches out by what it measured, and when it tries the other way. */
static void test_as_the_measured_times_change(void **state)
{
    const fixture *it = *state;
    for (size_t threads = 2; threads <= 3; threads++) {
        be_session *session = open_session(it->model, threads, NULL);
        for (size_t batch = 0; batch < 3 * BE_PACE_TRIAL; batch++)
            check_batch(it, session, 1 + batch % 3, 1 + batch % 4);
        be_session_close(session);
    }
}

/* The features too, and nothing remains of what a session did before. */
static void test_features(void **state)
{
    const fixture *it = *state;
    enum { CELLS = 17 * 23, CHANNELS = 96 };
    static float features[2][CELLS * CHANNELS];
    be_error error;
    for (size_t threads = 1; threads <= 2; threads++) {
        be_session *session = open_session(it->model, threads, NULL);
        float *wanted[] = {features[threads - 1]};
        check_batch(it, session, 1, 3);
        assert_ok(be_session_features(session, &it->images[0], wanted, &error), &error);
        check_batch(it, session, 0, 1);
        be_session_close(session);
    }
    assert_memory_equal(features[0], features[1], sizeof features[0]);
}

/* More grids than a model holds, each time anew. */
static void test_grids_that_come_and_go(void **state)
{
    const fixture *it = *state;
    be_session *session = open_session(it->model, 2, NULL);
    for (size_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < 8; i++) {
            be_image other = make_noise(14 * (i + 1), 20, 5);
            be_output output = predict(session, it->model, &other);
            free_output(&output);
            be_image_free(&other);
        }
        check_batch(it, session, 0, 1);
    }
    be_session_close(session);
}

/* --- two sessions at once ----------------------------------------------------------------------------------------- */

/* What one thread computes with a session of its own. cmocka's checks may only run in the main thread. */
typedef struct caller {
    const fixture *it;
    size_t first, threads;
    be_output outputs[IMAGES];
    be_status status;
    be_error error;
} caller;

static void *call(void *argument)
{
    caller *self = argument;
    be_session *session;
    be_session_options options = {.threads = self->threads};
    self->status = be_session_open(self->it->model, &options, &session, &self->error);
    if (self->status != BE_OK)
        return NULL;
    for (size_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < IMAGES && self->status == BE_OK; i++) {
            size_t at = (self->first + i) % IMAGES;
            self->status = be_session_predict(session, &self->it->images[at], 1, &self->outputs[at], NULL, &self->error);
        }
    }
    be_session_close(session);
    return NULL;
}

static void test_two_sessions_at_once(void **state)
{
    enum { CALLERS = 2 };
    const fixture *it = *state;
    static caller callers[CALLERS];
    pthread_t threads[CALLERS];
    for (size_t c = 0; c < CALLERS; c++) {
        callers[c] = (caller){.it = it, .first = 2 * c, .threads = 1 + c};
        for (size_t i = 0; i < IMAGES; i++)
            callers[c].outputs[i] = make_output(it->model, &it->images[i]);
    }
    for (size_t c = 0; c < CALLERS; c++)
        assert_int_equal(pthread_create(&threads[c], NULL, call, &callers[c]), 0);
    for (size_t c = 0; c < CALLERS; c++)
        pthread_join(threads[c], NULL);
    for (size_t c = 0; c < CALLERS; c++) {
        assert_ok(callers[c].status, &callers[c].error);
        for (size_t i = 0; i < IMAGES; i++) {
            assert_same_output("two sessions", it->model, &it->images[i], &callers[c].outputs[i], &it->alone[i]);
            free_output(&callers[c].outputs[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batches_and_threads), cmocka_unit_test(test_as_the_measured_times_change),
           cmocka_unit_test(test_features),
        cmocka_unit_test(test_grids_that_come_and_go), cmocka_unit_test(test_two_sessions_at_once),
    };
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
