/* Writes torch's zip form of .pth (what torch.save makes since 1.6), for `brainenc demo` and the tests. */
#ifndef BRAINENC_FILES_TORCH_WRITER_H
#define BRAINENC_FILES_TORCH_WRITER_H

#include <stddef.h>

#include "core/base/error.h"
#include "core/files/tensor_file.h"

/* A plain setting to be stored in an argparse.Namespace. */
typedef struct be_torch_setting {
    const char *name;
    be_value value; /* NONE, BOOL, INT, FLOAT or TEXT */
} be_torch_setting;

/* Writes `path` atomically. With n_settings = 0 the root is an OrderedDict of the tensors (a state dict: how Meta
 * ships DINOv2). Otherwise the root is {"model": OrderedDict of the tensors, "epoch": 0, "args": Namespace of the
 * settings}, the form of the authors' checkpoints. Tensor dtypes: F32 only (BE_ERROR_ARGUMENT else). Records are
 * stored, not compressed. torch.load reads the result. */
be_status be_torch_write(const char *path, const be_tensor_source *tensors, size_t n_tensors,
                         const be_torch_setting *settings, size_t n_settings, be_error *error);

#endif
