/* The thread pool runs every task of a job once, on workers that no two tasks share at a time. */
#include "tests/unit/support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#include "core/compute/pool.h"

enum { MOST_TASKS = 5000, MOST_THREADS = 8 };

/* What the tasks of a job find and leave. Failures are counted, for a task may run on any thread. */
typedef struct job {
    size_t threads;
    pthread_t caller;
    unsigned char runs[MOST_TASKS]; /* not atomic: the pool's own synchronisation must be enough to read them */
    atomic_bool in_use[MOST_THREADS];
    atomic_size_t failures;
} job;

static void run_task(void *context, size_t task, size_t worker)
{
    job *self = context;
    if (worker >= self->threads || task >= MOST_TASKS || (worker == 0) != pthread_equal(pthread_self(), self->caller)) {
        atomic_fetch_add(&self->failures, 1);
        return;
    }
    if (atomic_exchange(&self->in_use[worker], true))
        atomic_fetch_add(&self->failures, 1);
    self->runs[task]++;
    atomic_store(&self->in_use[worker], false);
}

static be_pool *make_pool(size_t threads)
{
    be_pool *pool = NULL;
    be_error error;
    assert_ok(be_pool_create(threads, &pool, &error), &error);
    assert_int_equal(be_pool_threads(pool), threads);
    return pool;
}

static void test_each_task_once(void **state)
{
    (void)state;
    static const size_t threads[] = {1, 2, 3, MOST_THREADS}, tasks[] = {0, 1, 2, 3, 7, 64, MOST_TASKS};
    static job it;
    for (size_t t = 0; t < sizeof threads / sizeof *threads; t++) {
        be_pool *pool = make_pool(threads[t]);
        for (size_t n = 0; n < sizeof tasks / sizeof *tasks; n++) {
            it = (job){.threads = threads[t], .caller = pthread_self()};
            be_pool_run(pool, tasks[n], run_task, &it);
            assert_int_equal(it.failures, 0);
            for (size_t i = 0; i < MOST_TASKS; i++)
                assert_int_equal(it.runs[i], i < tasks[n]);
        }
        be_pool_destroy(pool);
    }
}

/* A task that records when it was started, by a common count. */
typedef struct order {
    atomic_size_t started;
    size_t place[64];
} order;

static void record_start(void *context, size_t task, size_t worker)
{
    order *self = context;
    (void)worker;
    self->place[task] = atomic_fetch_add(&self->started, 1);
}

static void test_ascending_order(void **state)
{
    (void)state;
    order it = {0};
    be_pool *pool = make_pool(1);
    be_pool_run(pool, 64, record_start, &it);
    for (size_t i = 0; i < 64; i++)
        assert_int_equal(it.place[i], i);
    be_pool_destroy(pool);
}

static void add_one(void *context, size_t task, size_t worker)
{
    (void)worker;
    ((size_t *)context)[task]++;
}

static void test_many_small_jobs(void **state)
{
    (void)state;
    enum { JOBS = 10000, TASKS = 3 };
    size_t counts[TASKS] = {0};
    be_pool *pool = make_pool(3);
    for (size_t i = 0; i < JOBS; i++)
        be_pool_run(pool, TASKS, add_one, counts);
    for (size_t i = 0; i < TASKS; i++)
        assert_int_equal(counts[i], JOBS);
    be_pool_destroy(pool);
}

static void take_time(void *context, size_t task, size_t worker)
{
    nanosleep(&(struct timespec){.tv_nsec = worker == 0 ? 500000 : 10000000}, NULL);
    ((size_t *)context)[task]++;
}

/* The caller is the fastest worker by far and still returns last. */
static void test_waits_for_all(void **state)
{
    (void)state;
    enum { TASKS = 10 };
    be_pool *pool = make_pool(3);
    for (size_t round = 0; round < 5; round++) {
        size_t counts[TASKS] = {0};
        be_pool_run(pool, TASKS, take_time, counts);
        for (size_t i = 0; i < TASKS; i++)
            assert_int_equal(counts[i], 1);
    }
    be_pool_destroy(pool);
}

static void test_create_and_destroy(void **state)
{
    (void)state;
    for (size_t i = 0; i < 200; i++) {
        size_t counts[4] = {0};
        be_pool *pool = make_pool(1 + i % 4);
        if (i % 3 > 0) /* some pools never have work */
            be_pool_run(pool, 4, add_one, counts);
        be_pool_destroy(pool);
        assert_int_equal(counts[3], i % 3 > 0);
    }
    be_pool_destroy(NULL);
}

static void *use_own_pool(void *argument)
{
    size_t *counts = argument;
    be_pool *pool = NULL;
    be_error error;
    if (be_pool_create(2, &pool, &error) != BE_OK)
        return NULL;
    for (size_t i = 0; i < 200; i++)
        be_pool_run(pool, 4, add_one, counts);
    be_pool_destroy(pool);
    return NULL;
}

/* Nothing is global: pools of different callers do not meet. */
static void test_two_pools_at_once(void **state)
{
    (void)state;
    size_t counts[2][4] = {{0}};
    pthread_t threads[2];
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use_own_pool, counts[i]), 0);
    for (size_t i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        for (size_t t = 0; t < 4; t++)
            assert_int_equal(counts[i][t], 200);
    }
}

static void test_bad_arguments(void **state)
{
    (void)state;
    be_pool *pool = NULL;
    be_error error;
    assert_error(be_pool_create(0, &pool, &error), BE_ERROR_ARGUMENT, &error, "threads");
    assert_error(be_pool_create(1025, &pool, &error), BE_ERROR_ARGUMENT, &error, "1025");
    assert_error(be_pool_create(SIZE_MAX, &pool, &error), BE_ERROR_ARGUMENT, &error, "threads");
    assert_null(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_task_once),    cmocka_unit_test(test_ascending_order),
        cmocka_unit_test(test_many_small_jobs),   cmocka_unit_test(test_waits_for_all),
        cmocka_unit_test(test_create_and_destroy),
        cmocka_unit_test(test_two_pools_at_once), cmocka_unit_test(test_bad_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
