/* Checks of what is to be written, shared by the writers. */
#ifndef BRAINENC_FILES_TENSOR_SOURCE_H
#define BRAINENC_FILES_TENSOR_SOURCE_H

#include <stdbool.h>
#include <stddef.h>

#include "core/files/tensor_file.h"

/* BE_ERROR_ARGUMENT unless all names are different UTF-8 texts and the shapes possible. */
be_status be_tensor_sources_check(const char *path, const be_tensor_source *tensors, size_t n_tensors,
                                  be_error *error);

/* The bytes of its data; the source has passed the check. */
size_t be_tensor_source_size(const be_tensor_source *tensor);

/* Whether a text is there twice. `texts` is sorted by this. */
bool be_texts_repeat(const char **texts, size_t count, const char **repeated);

#endif
