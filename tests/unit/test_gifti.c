/* GIFTI files: the same bytes for the same predictions, and an error where one cannot be whole. That they are read back equal is
 * shown with nibabel, in tests/tool and tests/http. */
#include "tests/unit/answer_support.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>

#include "core/answer/gifti.h"

/* What a file is made of: `n` pictures, each the golden one's responses. */
typedef struct content {
    be_surface surface;
    be_columns columns;
    const char *names[BE_GIFTI_MOST_IMAGES + 1];
    const float *vertices[BE_GIFTI_MOST_IMAGES + 1];
    be_gifti file;
} content;

static content *make_content(const answered *it, be_space space, const char *rois, size_t n)
{
    be_roi_selection only = {0};
    be_error error;
    content *made = calloc(1, sizeof *made);
    assert_non_null(made);
    made->surface = be_surface_of(be_model_subject(it->model, 0));
    if (rois)
        only = select_rois(it, rois);
    assert_ok(be_columns_make(&made->surface, space, rois ? &only : NULL, BE_RIGHT, &made->columns, &error), &error);
    be_roi_selection_free(&only);
    for (size_t i = 0; i < n; i++) {
        made->names[i] = "a.png";
        made->vertices[i] = it->output.vertices + GOLDEN_LEFT;
    }
    made->file = (be_gifti){.surface = &made->surface, .space = space, .hemisphere = BE_RIGHT, .columns = &made->columns,
                            .fit = BE_FIT_CROP, .by = be_provenance_of(it->model), .n_images = n, .names = made->names,
                            .vertices = made->vertices};
    return made;
}

static void free_content(content *it)
{
    be_columns_free(&it->columns);
    free(it);
}

static void refuse(const be_gifti *file, be_status status, const char *part)
{
    unsigned char *bytes = NULL;
    size_t size = 0;
    be_error error;
    assert_error(be_gifti_make(file, &bytes, &size, &error), status, &error, part);
    assert_null(bytes);
}

/* --- at once -------------------------------------------------------------------------------------- */

typedef struct written {
    const be_gifti *file;
    unsigned char *bytes;
    size_t size;
    be_status status;
} written;

static void *write_one(void *context)
{
    written *it = context;
    it->status = be_gifti_make(it->file, &it->bytes, &it->size, NULL);
    return NULL;
}

static void test_any_thread_writes_the_same_bytes(void **state)
{
    enum { THREADS = 6 };
    written all[THREADS];
    pthread_t threads[THREADS];
    content *it[2] = {make_content(*state, BE_SPACE_FSAVERAGE, NULL, 1), make_content(*state, BE_SPACE_CHALLENGE, "V1v", 3)};
    for (size_t i = 0; i < THREADS; i++) {
        all[i] = (written){.file = &it[i % 2]->file};
        assert_int_equal(pthread_create(&threads[i], NULL, write_one, &all[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(all[i].status, BE_OK);
        assert_int_equal(all[i].size, all[i % 2].size);
        assert_memory_equal(all[i].bytes, all[i % 2].bytes, all[i].size);
    }
    assert_int_not_equal(all[0].size, all[1].size);
    for (size_t i = 0; i < THREADS; i++)
        free(all[i].bytes);
    free_content(it[0]);
    free_content(it[1]);
}

/* --- errors --------------------------------------------------------------------------------------- */

static void test_too_many_pictures(void **state)
{
    content *it = make_content(*state, BE_SPACE_CHALLENGE, "V1v", BE_GIFTI_MOST_IMAGES + 1);
    refuse(&it->file, BE_ERROR_LIMIT, ".npy");
    free_content(it);
}

static void test_no_vertex(void **state)
{
    content *it = make_content(*state, BE_SPACE_FSAVERAGE, "mTL-faces", 1); /* empty on the right */
    refuse(&it->file, BE_ERROR_ARGUMENT, "rh");
    free_content(it);
}

/* The library tells of no write that failed. A limit on the size of files, which those in memory obey too, stands for memory that
 * runs out: after any number of bytes, so that what is missing is the end, or no more than that. */
static void test_a_file_that_cannot_be_whole(void **state)
{
    struct rlimit old, small;
    unsigned char *bytes = NULL;
    size_t size;
    be_error error;
    content *it = make_content(*state, BE_SPACE_CHALLENGE, NULL, 8);
    assert_ok(be_gifti_make(&it->file, &bytes, &size, &error), &error);
    free(bytes);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    const size_t room[] = {0, 1, 1000, size / 2, size - 100, size - 1};
    for (size_t i = 0; i < sizeof room / sizeof *room; i++) {
        small = (struct rlimit){.rlim_cur = room[i], .rlim_max = old.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        be_status status = be_gifti_make(&it->file, &bytes, &size, &error);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_error(status, BE_ERROR_IO, &error, "GIFTI");
    }
    assert_ok(be_gifti_make(&it->file, &bytes, &size, &error), &error);
    free(bytes);
    free_content(it);
}

static void test_no_file_in_memory(void **state)
{
    struct rlimit old, none;
    content *it = make_content(*state, BE_SPACE_CHALLENGE, NULL, 1);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    be_error error;
    unsigned char *bytes;
    size_t size;
    be_status status = be_gifti_make(&it->file, &bytes, &size, &error);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_error(status, BE_ERROR_IO, &error, "GIFTI");
    free_content(it);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_thread_writes_the_same_bytes), cmocka_unit_test(test_too_many_pictures),
        cmocka_unit_test(test_no_vertex),                        cmocka_unit_test(test_a_file_that_cannot_be_whole),
        cmocka_unit_test(test_no_file_in_memory),
    };
    return cmocka_run_group_tests(tests, open_answered, close_answered);
}
