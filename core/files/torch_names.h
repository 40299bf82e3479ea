/* From an unpickled tree to named tensors. */
#ifndef BRAINENC_FILES_TORCH_NAMES_H
#define BRAINENC_FILES_TORCH_NAMES_H

#include "core/files/pickle_object.h"

/* Walks the tree and gives `file` its tensors: the name is the way from the root, joined with '.': the keys of dicts
 * (a key that is neither text nor integer counts by its position), the positions in lists. A tensor under two names
 * is there twice; the value's index is the first one's. Makes `root` the file's root. `pickle_size` bounds the work:
 * a small pickle can describe a tree with very many ways through it. */
be_status be_torch_name_tensors(be_tensor_file *file, const be_object *root, size_t pickle_size, be_error *error);

#endif
