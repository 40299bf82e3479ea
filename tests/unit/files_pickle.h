/* Pickles written by hand, in torch's legacy form: it has no checksums. */
#ifndef BRAINENC_TESTS_FILES_PICKLE_H
#define BRAINENC_TESTS_FILES_PICKLE_H

#include "tests/unit/files_support.h"

/* Magic number, protocol 1001, {"little_endian": True}: what stands before the object. */
extern const char legacy_start[];
extern const size_t legacy_start_size;

/* Writes a file with the object's pickle and what follows it (the keys of the storages, the storages). */
const char *pickle_file(const void *pickle, size_t size, const void *after, size_t after_size);
/* The same without storages. */
const char *plain_pickle_file(const void *pickle, size_t size);
/* The same with the storage "k" of the four floats 0, 1, 2, 3. */
const char *storage_pickle_file(const void *pickle, size_t size);

/* What follows the object when it has that storage. */
extern const char one_storage[];
extern const size_t one_storage_size;

/* The pickle is a string constant that may hold zero bytes. */
#define PICKLE(pickle) plain_pickle_file(pickle, sizeof(pickle) - 1)
#define WITH_STORAGE(pickle) storage_pickle_file(pickle, sizeof(pickle) - 1)

#endif
