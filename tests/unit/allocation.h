/* Makes each allocation of the library fail in turn. The Makefile has the linker of the tests called test_allocation* send
 * malloc and its like here; each of them includes this file once. */
#ifndef BRAINENC_TESTS_ALLOCATION_H
#define BRAINENC_TESTS_ALLOCATION_H

#include "tests/unit/model_support.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cjson/cJSON.h>

static atomic_size_t calls, failing; /* the call that is to fail, from 1; 0: none, and none is counted */

static bool refuse(void)
{
    size_t which = atomic_load(&failing);
    return which != 0 && atomic_fetch_add(&calls, 1) + 1 == which;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
int __real_posix_memalign(void **memory, size_t alignment, size_t size);
char *__real_strdup(const char *text);
void *__real_mmap(void *address, size_t length, int protection, int flags, int descriptor, off_t offset);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
int __wrap_posix_memalign(void **memory, size_t alignment, size_t size);
char *__wrap_strdup(const char *text);
void *__wrap_mmap(void *address, size_t length, int protection, int flags, int descriptor, off_t offset);

void *__wrap_malloc(size_t size)
{
    return refuse() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return refuse() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return refuse() ? NULL : __real_realloc(memory, size);
}

int __wrap_posix_memalign(void **memory, size_t alignment, size_t size)
{
    return refuse() ? ENOMEM : __real_posix_memalign(memory, alignment, size);
}

char *__wrap_strdup(const char *text)
{
    return refuse() ? NULL : __real_strdup(text);
}

void *__wrap_mmap(void *address, size_t length, int protection, int flags, int descriptor, off_t offset)
{
    if (!refuse())
        return __real_mmap(address, length, protection, flags, descriptor, offset);
    errno = ENOMEM;
    return MAP_FAILED;
}

/* Under the thread sanitizer all this is slow and little of it is about threads: a sample must do. */
#ifdef __SANITIZE_THREAD__
enum { STEP = 13 };
#else
enum { STEP = 1 };
#endif

/* Something that allocates; on success it releases everything again. */
typedef be_status (*action)(be_error *error);

/* Runs `run` with its first allocation failing, then with its second, ..., until it has none left that could fail.
 * `check`, when given, looks at what a failed run left behind. */
static void fail_each(const char *what, action run, void (*check)(void))
{
    size_t tried = 0;
    for (size_t n = 1;; n += STEP) {
        be_error error = {.message = ""};
        atomic_store(&calls, 0);
        atomic_store(&failing, n);
        be_status status = run(&error);
        atomic_store(&failing, 0);
        if (atomic_load(&calls) < n) {
            assert_ok(status, &error);
            break;
        }
        if (status != BE_ERROR_MEMORY || error.status != status || !*error.message)
            fail_msg("%s: allocation %zu failed, and the answer was %s: %s", what, n, be_status_name(status), error.message);
        if (check)
            check();
        tried++;
    }
    assert_true(tried > 0);
    print_message("%s: %zu allocations failed\n", what, tried);
}

/* --- inside the JSON library -------------------------------------------------------------------------------------- */

/* Its allocations are counted by themselves. */
static size_t json_calls, json_failing;

static void *json_malloc(size_t size)
{
    if (++json_calls != json_failing)
        return __real_malloc(size);
    errno = ENOMEM;
    return NULL;
}

static void fail_in_json(bool begin)
{
    cJSON_InitHooks(begin ? &(cJSON_Hooks){.malloc_fn = json_malloc, .free_fn = free} : NULL);
}

/* Fails each allocation that the JSON library makes in `run`. */
static void fail_each_in_json(const char *what, action run)
{
    fail_in_json(true);
    for (json_failing = 1;; json_failing += STEP) {
        be_error error;
        json_calls = 0;
        be_status status = run(&error);
        if (json_calls < json_failing) {
            assert_ok(status, &error);
            break;
        }
        assert_error(status, BE_ERROR_MEMORY, &error, "memory");
    }
    fail_in_json(false);
    assert_true(json_calls > 0);
    print_message("%s and the JSON library: %zu allocations\n", what, json_calls);
}

/* --- writers ------------------------------------------------------------------------------------------------------ */

static const char old[] = "what was there before";
static char folder[1024], output[1100];

static void make_output_folder(void)
{
    snprintf(folder, sizeof folder, "%s", scratch("out"));
    snprintf(output, sizeof output, "%s/file", folder);
    assert_int_equal(mkdir(folder, 0700), 0);
}

/* A failed writer leaves the file that was there, and nothing beside it. */
static void check_old_file(void)
{
    size_t size;
    unsigned char *bytes = read_bytes(output, &size);
    assert_int_equal(size, sizeof old);
    assert_memory_equal(bytes, old, size);
    free(bytes);
    assert_int_equal(count_files(folder), 1);
}

static void fail_each_writer(const char *what, action run)
{
    write_bytes(output, old, sizeof old);
    fail_each(what, run, check_old_file);
    assert_int_equal(count_files(folder), 1);
}

#endif
