#include "tests/unit/files_support.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/files/atomic_file.h"
#include "core/files/mapped_file.h"

/* These take the place of the C library's, to see in which order a file is made safe: F a file synced, R a rename, D a
 * folder synced. */
static char order[16];
static size_t steps;

static void note(char step)
{
    if (steps + 1 < sizeof order)
        order[steps++] = step;
    order[steps] = '\0';
}

int fsync(int descriptor)
{
    struct stat info;
    note(fstat(descriptor, &info) == 0 && S_ISDIR(info.st_mode) ? 'D' : 'F');
    return (int)syscall(SYS_fsync, descriptor);
}

int rename(const char *from, const char *to)
{
    note('R');
    return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

/* A new folder of this name. */
static const char *make_folder(const char *name)
{
    const char *folder = scratch(name);
    assert_int_equal(mkdir(folder, 0755), 0);
    return folder;
}

static void assert_content(const char *path, const char *expected)
{
    size_t size;
    unsigned char *bytes = read_bytes(path, &size);
    assert_int_equal(size, strlen(expected));
    assert_memory_equal(bytes, expected, size);
    free(bytes);
}

static void test_nothing_is_seen_before_the_commit(void **state)
{
    (void)state;
    const char *folder = make_folder("early");
    const char *path = scratch("early/file");
    be_atomic_file *file = NULL;
    be_error error;
    assert_ok(be_atomic_file_save(path, "old", 3, &error), &error);
    assert_ok(be_atomic_file_create(path, &file, &error), &error);
    assert_ok(be_atomic_file_write(file, "new ", 4, &error), &error);
    assert_ok(be_atomic_file_write(file, NULL, 0, &error), &error);
    assert_ok(be_atomic_file_write(file, "text", 4, &error), &error);
    assert_content(path, "old");
    assert_ok(be_atomic_file_commit(file, &error), &error);
    assert_content(path, "new text");
    assert_int_equal(count_files(folder), 1);
}

static void test_content_and_name_are_made_safe(void **state)
{
    (void)state;
    be_error error;
    steps = 0;
    assert_ok(be_atomic_file_save(scratch("safe"), "x", 1, &error), &error);
    assert_string_equal(order, "FRD");
    char from[1024], to[1024];
    snprintf(from, sizeof from, "%s", scratch("safe"));
    snprintf(to, sizeof to, "%s", scratch("renamed"));
    steps = 0;
    assert_ok(be_rename_durably(from, to, &error), &error);
    assert_string_equal(order, "RD");
    assert_content(to, "x");
    assert_error(be_rename_durably(from, to, &error), BE_ERROR_IO, &error, to);
    assert_content(to, "x");
}

/* Who may make files in a folder but not list it cannot make their names safe: they are written all the same. */
static void test_a_folder_that_cannot_be_read_is_written_to(void **state)
{
    (void)state;
    const char *folder = make_folder("unreadable");
    const char *path = scratch("unreadable/file");
    be_error error;
    assert_int_equal(chmod(folder, 0300), 0);
    assert_ok(be_atomic_file_save(path, "x", 1, &error), &error);
    assert_int_equal(chmod(folder, 0700), 0);
    assert_content(path, "x");
}

static void test_discard_leaves_the_old_file(void **state)
{
    (void)state;
    const char *folder = make_folder("discarded");
    const char *path = scratch("discarded/file");
    be_atomic_file *file = NULL;
    be_error error;
    assert_ok(be_atomic_file_save(path, "old", 3, &error), &error);
    assert_ok(be_atomic_file_create(path, &file, &error), &error);
    assert_ok(be_atomic_file_write(file, "new", 3, &error), &error);
    be_atomic_file_discard(file);
    be_atomic_file_discard(NULL);
    assert_content(path, "old");
    assert_int_equal(count_files(folder), 1);
}

static void test_two_writers_do_not_meet(void **state)
{
    (void)state;
    const char *folder = make_folder("two");
    const char *path = scratch("two/file");
    be_atomic_file *first = NULL, *second = NULL;
    be_error error;
    assert_ok(be_atomic_file_create(path, &first, &error), &error);
    assert_ok(be_atomic_file_create(path, &second, &error), &error);
    assert_ok(be_atomic_file_write(first, "first", 5, &error), &error);
    assert_ok(be_atomic_file_write(second, "second", 6, &error), &error);
    assert_ok(be_atomic_file_commit(second, &error), &error);
    assert_ok(be_atomic_file_commit(first, &error), &error);
    assert_content(path, "first");
    assert_int_equal(count_files(folder), 1);
}

static void test_mode_is_0644_less_the_umask(void **state)
{
    (void)state;
    const char *path = scratch("mode");
    be_error error;
    struct stat info;
    mode_t old = umask(027);
    be_status status = be_atomic_file_save(path, "x", 1, &error);
    umask(old);
    assert_ok(status, &error);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0640);
}

static void test_missing_folder_is_an_error(void **state)
{
    (void)state;
    const char *path = scratch("missing/file");
    be_error error;
    assert_error(be_atomic_file_save(path, "x", 1, &error), BE_ERROR_IO, &error, path);
    assert_int_equal(access(path, F_OK), -1);
}

static void test_a_folder_is_not_replaced(void **state)
{
    (void)state;
    const char *folder = make_folder("outer");
    const char *path = make_folder("outer/inner");
    be_error error;
    assert_error(be_atomic_file_save(path, "x", 1, &error), BE_ERROR_IO, &error, path);
    assert_int_equal(count_files(folder), 1);
    assert_int_equal(count_files(path), 0);
}

static void test_a_pipe_is_not_replaced(void **state)
{
    (void)state;
    const char *path = scratch("pipe");
    struct stat info;
    be_error error;
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_error(be_atomic_file_save(path, "x", 1, &error), BE_ERROR_IO, &error, "no regular file");
    assert_int_equal(stat(path, &info), 0);
    assert_true(S_ISFIFO(info.st_mode));
}

/* The target becomes a folder between create and commit: the rename fails. */
static void test_failed_commit_removes_the_temporary_file(void **state)
{
    (void)state;
    const char *folder = make_folder("late");
    const char *path = scratch("late/file");
    be_atomic_file *file = NULL;
    be_error error;
    assert_ok(be_atomic_file_create(path, &file, &error), &error);
    assert_int_equal(mkdir(path, 0755), 0);
    assert_error(be_atomic_file_commit(file, &error), BE_ERROR_IO, &error, path);
    assert_int_equal(count_files(folder), 1);
    assert_int_equal(count_files(path), 0);
}

/* A limit on the size of files stands for a full disk. */
static void test_full_disk_leaves_the_old_file(void **state)
{
    (void)state;
    const char *folder = make_folder("full");
    const char *path = scratch("full/file");
    static const char large[100000];
    struct rlimit old, small = {.rlim_cur = 1000};
    be_error error;
    assert_ok(be_atomic_file_save(path, "old", 3, &error), &error);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    be_status status = be_atomic_file_save(path, large, sizeof large, &error);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_error(status, BE_ERROR_IO, &error, path);
    assert_content(path, "old");
    assert_int_equal(count_files(folder), 1);
}

static void test_mapping_of_what_is_no_file(void **state)
{
    (void)state;
    be_mapped_file file;
    be_error error;
    assert_error(be_mapped_file_open(scratch("nothing"), &file, &error), BE_ERROR_NOT_FOUND, &error, "no such file");
    assert_error(be_mapped_file_open("/", &file, &error), BE_ERROR_UNSUPPORTED, &error, "/: is a folder");
    const char *pipe = scratch("read-pipe");
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_error(be_mapped_file_open(pipe, &file, &error), BE_ERROR_IO, &error, "is no regular file");
    be_mapped_file_close(&file);
}

static void test_mapping_of_an_empty_file(void **state)
{
    (void)state;
    be_mapped_file file;
    be_error error;
    assert_ok(be_mapped_file_open(scratch_bytes("empty", "", 0), &file, &error), &error);
    assert_null(file.bytes);
    assert_int_equal(file.size, 0);
    be_mapped_file_close(&file);
    be_mapped_file_close(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_seen_before_the_commit),
        cmocka_unit_test(test_content_and_name_are_made_safe),
        cmocka_unit_test(test_a_folder_that_cannot_be_read_is_written_to),
        cmocka_unit_test(test_discard_leaves_the_old_file),
        cmocka_unit_test(test_two_writers_do_not_meet),
        cmocka_unit_test(test_mode_is_0644_less_the_umask),
        cmocka_unit_test(test_missing_folder_is_an_error),
        cmocka_unit_test(test_a_folder_is_not_replaced),
        cmocka_unit_test(test_a_pipe_is_not_replaced),
        cmocka_unit_test(test_failed_commit_removes_the_temporary_file),
        cmocka_unit_test(test_full_disk_leaves_the_old_file),
        cmocka_unit_test(test_mapping_of_what_is_no_file),
        cmocka_unit_test(test_mapping_of_an_empty_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
