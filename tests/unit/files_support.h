/* What the tests of core/files share. */
#ifndef BRAINENC_TESTS_FILES_SUPPORT_H
#define BRAINENC_TESTS_FILES_SUPPORT_H

#include "tests/unit/support.h"

#include "core/files/tensor_file.h"

/* Writes the bytes to a scratch file and returns its path. */
const char *scratch_bytes(const char *name, const void *bytes, size_t size);

/* Opens a file that must be good. */
be_tensor_file *open_good(const char *path);
/* Opens a file that must be refused with this status and part of the sentence, which must begin with the path. */
void assert_refused(const char *path, be_status status, const char *part);
/* The same for damaged files tests/golden/corrupt/NAME + ending, with BE_ERROR_FORMAT. */
typedef struct corrupt_file {
    const char *name, *part;
} corrupt_file;
void assert_corrupt_refused(const corrupt_file *files, size_t count, const char *ending);

/* The tensor of that name as float32, to be freed; fails the test when it is not there. */
float *tensor_f32(be_tensor_file *file, const char *name);
const be_tensor *assert_tensor(const be_tensor_file *file, const char *name, be_dtype dtype, size_t n_dims,
                               const size_t *shape);

/* Bit for bit, so that NaN equals NaN and 0 is not -0. */
void assert_same_bits(const char *what, const void *actual, const void *expected, size_t size);

/* Cuts the file at every length and changes it in `mutations` random but repeatable ways; gives each to `read`, which
 * answers whether the file was accepted. No cut file may be. */
typedef bool (*damage_reader)(const char *path);
void damage(const char *path, size_t mutations, damage_reader read);
/* The readers for damage: open and read all there is. */
bool read_all_tensors(const char *path);

#endif
