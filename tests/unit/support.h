/* What the unit tests share: golden data and comparison with a tolerance. cmocka's own header is included here, in the
 * order it asks for. */
#ifndef BRAINENC_TESTS_SUPPORT_H
#define BRAINENC_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/error.h"
#include "core/files/npy.h"

/* "tests/golden/" + name, or the folder of $BRAINENC_GOLDEN; a static buffer, good until the fourth call after. */
const char *golden(const char *name);

/* A path for a file a test writes, in a folder of this process's own that is removed at exit. Static buffer as above. */
const char *scratch(const char *name);

/* Fails the test with the error's sentence when `status` is not BE_OK. */
void assert_ok(be_status status, const be_error *error);
/* Fails the test unless `status` is `expected` and the sentence holds the text `part`. */
void assert_error(be_status status, be_status expected, const be_error *error, const char *part);

/* The bytes of a file, malloc'd; fails the test when it cannot be read. */
unsigned char *read_bytes(const char *path, size_t *size);

/* Makes a file of these bytes. */
void write_bytes(const char *path, const void *bytes, size_t size);
/* How many entries the folder has. */
size_t count_files(const char *folder);

/* A golden float array: fails the test when it cannot be read or has not `count` elements (0: any). To be freed. */
float *golden_f32(const char *name, size_t count);

/* Fails the test, printing where, when any |actual - expected| is over `tolerance` or is NaN. */
void assert_close(const char *what, const float *actual, const float *expected, size_t count, float tolerance);

#endif
