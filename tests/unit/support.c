#include "tests/unit/support.h"

#include <dirent.h>
#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

enum { BUFFERS = 4, PATH_SIZE = 1024 };

const char *golden(const char *name)
{
    static char buffers[BUFFERS][PATH_SIZE];
    static unsigned next;
    char *path = buffers[next++ % BUFFERS];
    const char *folder = getenv("BRAINENC_GOLDEN");
    snprintf(path, PATH_SIZE, "%s/%s", folder ? folder : "tests/golden", name);
    return path;
}

static char scratch_folder[] = "/tmp/brainenc-test-XXXXXX";
static pid_t scratch_owner;

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info, (void)type, (void)walk;
    return remove(path);
}

static void remove_scratch(void)
{
    if (getpid() == scratch_owner)
        nftw(scratch_folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *scratch(const char *name)
{
    static char buffers[BUFFERS][PATH_SIZE];
    static unsigned next;
    if (!scratch_owner) {
        assert_non_null(mkdtemp(scratch_folder));
        scratch_owner = getpid();
        atexit(remove_scratch);
    }
    char *path = buffers[next++ % BUFFERS];
    snprintf(path, PATH_SIZE, "%s/%s", scratch_folder, name);
    return path;
}

void assert_ok(be_status status, const be_error *error)
{
    if (status != BE_OK)
        fail_msg("%s: %s", be_status_name(status), error->message);
}

void assert_error(be_status status, be_status expected, const be_error *error, const char *part)
{
    if (status != expected)
        fail_msg("status %s, expected %s (%s)", be_status_name(status), be_status_name(expected),
                 status == BE_OK ? "no error" : error->message);
    assert_int_equal(error->status, expected);
    if (!strstr(error->message, part))
        fail_msg("the sentence \"%s\" does not hold \"%s\"", error->message, part);
}

unsigned char *read_bytes(const char *path, size_t *size)
{
    FILE *stream = fopen(path, "rb");
    if (!stream)
        fail_msg("cannot open %s", path);
    fseek(stream, 0, SEEK_END);
    *size = (size_t)ftell(stream);
    rewind(stream);
    unsigned char *bytes = malloc(*size ? *size : 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *size, stream), *size);
    fclose(stream);
    return bytes;
}

void write_bytes(const char *path, const void *bytes, size_t size)
{
    FILE *stream = fopen(path, "wb");
    assert_non_null(stream);
    assert_int_equal(fwrite(bytes, 1, size, stream), size);
    assert_int_equal(fclose(stream), 0);
}

size_t count_files(const char *folder)
{
    DIR *entries = opendir(folder);
    size_t count = 0;
    assert_non_null(entries);
    for (const struct dirent *entry; (entry = readdir(entries));)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(entries);
    return count;
}

float *golden_f32(const char *name, size_t count)
{
    be_npy npy;
    be_error error;
    assert_ok(be_npy_read(golden(name), &npy, &error), &error);
    if (count)
        assert_int_equal(npy.count, count);
    float *values = malloc(npy.count * sizeof *values);
    assert_non_null(values);
    be_npy_to_f32(&npy, values);
    be_npy_free(&npy);
    return values;
}

void assert_close(const char *what, const float *actual, const float *expected, size_t count, float tolerance)
{
    float worst = 0;
    size_t where = 0;
    for (size_t i = 0; i < count; i++) {
        float difference = fabsf(actual[i] - expected[i]);
        if (!(difference <= worst)) {
            worst = difference;
            where = i;
        }
    }
    if (!(worst <= tolerance))
        fail_msg("%s: element %zu is %.9g, expected %.9g (difference %.3g, tolerance %.3g)", what, where,
                 (double)actual[where], (double)expected[where], (double)worst, (double)tolerance);
}
