/* SHA-256 of files and bytes (libcrypto). */
#ifndef BRAINENC_FILES_HASH_H
#define BRAINENC_FILES_HASH_H

#include <stddef.h>

#include "core/base/error.h"
#include "core/files/mapped_file.h"

enum { BE_HASH_SIZE = 65 }; /* 64 lower-case hexadecimal digits and the ending 0 */

/* The hash of the bytes of a file; no more than a piece of it is in memory at a time. */
be_status be_hash_file(const char *path, char hash[BE_HASH_SIZE], be_error *error);
be_status be_hash_mapped(const be_mapped_file *file, char hash[BE_HASH_SIZE], be_error *error);
/* The hash of `size` bytes. */
be_status be_hash_bytes(const void *bytes, size_t size, char hash[BE_HASH_SIZE], be_error *error);

#endif
