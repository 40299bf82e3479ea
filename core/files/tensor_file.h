/* Named tensors in a file: safetensors, or torch's .pth in its zip and its pre-1.6 ("legacy") form.
 *
 * The form is recognised from the bytes, never from the file's name. Nothing in a file is executed:
 * a .pth is read by the restricted unpickler (unpickle.h). Opening checks the whole directory of the
 * file (every offset, shape, stride and storage); the values are read on demand, one tensor at a time,
 * so that a tensor nobody asks for costs no memory.
 *
 * A tensor file is immutable after open; any number of threads may look names up in it, one at a time
 * may read values.
 */
#ifndef BRAINENC_FILES_TENSOR_FILE_H
#define BRAINENC_FILES_TENSOR_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"
#include "core/files/hash.h"
#include "core/files/value.h"

enum { BE_TENSOR_MAX_DIMS = 8 };

typedef enum be_dtype {
    BE_DTYPE_BOOL, BE_DTYPE_U8, BE_DTYPE_I8, BE_DTYPE_U16, BE_DTYPE_I16, BE_DTYPE_U32, BE_DTYPE_I32,
    BE_DTYPE_U64, BE_DTYPE_I64, BE_DTYPE_F16, BE_DTYPE_BF16, BE_DTYPE_F32, BE_DTYPE_F64
} be_dtype;

/* Bytes of one element: 1, 2, 4 or 8. */
size_t be_dtype_size(be_dtype dtype);
/* "F32", "I64", "BOOL", ...: the names of the safetensors format. Never NULL. */
const char *be_dtype_name(be_dtype dtype);

typedef struct be_tensor {
    const char *name;                  /* owned by the file; the keys of nested dicts and the positions in lists are
                                          joined with '.': "model.lh_embed.0.weight" */
    be_dtype dtype;
    size_t n_dims;                     /* 0 for a scalar */
    size_t shape[BE_TENSOR_MAX_DIMS];
    size_t count;                      /* product of the shape; 1 for a scalar */
} be_tensor;

typedef enum be_tensor_format { BE_FORMAT_SAFETENSORS, BE_FORMAT_TORCH_ZIP, BE_FORMAT_TORCH_LEGACY } be_tensor_format;

typedef struct be_tensor_file be_tensor_file;

/* Opens `path`. On success *file is to be closed with be_tensor_file_close. BE_ERROR_NOT_FOUND / IO when it
 * cannot be read, BE_ERROR_FORMAT when it is damaged, hostile or none of the three formats. */
be_status be_tensor_file_open(const char *path, be_tensor_file **file, be_error *error);
/* Closes; NULL is allowed. Every be_tensor and be_value of the file dies with it. */
void be_tensor_file_close(be_tensor_file *file);

be_tensor_format be_tensor_file_format(const be_tensor_file *file);
const char *be_tensor_format_name(be_tensor_format format);   /* "safetensors", "torch zip", "torch legacy" */
const char *be_tensor_file_path(const be_tensor_file *file);  /* as given to open */

size_t be_tensor_file_count(const be_tensor_file *file);
const be_tensor *be_tensor_file_at(const be_tensor_file *file, size_t index); /* index < count; file order */
/* The tensor of that exact name, or NULL. */
const be_tensor *be_tensor_file_find(const be_tensor_file *file, const char *name);

/* Everything in the file that is no tensor. safetensors: a dict of the header's __metadata__ (string to string;
 * an empty dict when there is none). torch: the unpickled root object, in which tensors appear as BE_VALUE_TENSOR.
 * Never NULL. */
const be_value *be_tensor_file_root(const be_tensor_file *file);

/* Writes the tensor's `count` elements to `out` as float32 in C order: f16, bf16 and f32 are widened exactly,
 * f64 and integers are rounded, bools are 0 and 1; strided, transposed and expanded views are resolved. */
be_status be_tensor_file_read_f32(be_tensor_file *file, const be_tensor *tensor, float *out, be_error *error);

/* The same for numbers that are computed with: BE_ERROR_FORMAT names the tensor, and the place in it, when one is not finite. */
be_status be_tensor_file_read_weights(be_tensor_file *file, const be_tensor *tensor, float *out, be_error *error);
/* The same of a bfloat16 tensor, as it is. */
be_status be_tensor_file_read_halves(be_tensor_file *file, const be_tensor *tensor, uint16_t *out, be_error *error);
/* Writes count * be_dtype_size(dtype) bytes in the tensor's own dtype, C order, native (little) endian. */
be_status be_tensor_file_read(be_tensor_file *file, const be_tensor *tensor, void *out, be_error *error);

/* Lets go of what reading has brought into memory. Names, shapes and the root stay; values can be read again. */
void be_tensor_file_forget(be_tensor_file *file);
/* The same while more is read: a storage that many tensors share, once read out of a zip, stays. */
void be_tensor_file_release(const be_tensor_file *file);
/* The SHA-256 of the bytes that are open, whatever has the file's name by now. */
be_status be_tensor_file_hash(const be_tensor_file *file, char hash[BE_HASH_SIZE], be_error *error);

/* One tensor to be written; `data` is C order, little endian, count * size bytes, owned by the caller. */
typedef struct be_tensor_source {
    const char *name;
    be_dtype dtype;
    size_t n_dims;
    size_t shape[BE_TENSOR_MAX_DIMS];
    const void *data;
} be_tensor_source;

/* Where the values of tensors come from that are not in memory: `read` fills `out` with those of tensors[index]. */
typedef struct be_tensor_reader {
    be_status (*read)(void *context, size_t index, void *out, be_error *error);
    void *context;
} be_tensor_reader;

typedef struct be_text_pair {
    const char *key, *value; /* UTF-8 */
} be_text_pair;

/* Writes a safetensors file atomically (atomic_file.h): the old file or the whole new one, never a part.
 * Tensors lie in the file in the given order, the first at a multiple of 64 bytes from the start (the header is
 * padded with spaces); names must be unique. */
be_status be_safetensors_write(const char *path, const be_tensor_source *tensors, size_t n_tensors,
                               const be_text_pair *metadata, size_t n_metadata, be_error *error);
/* The same for tensors without data: each is read when its turn comes, so that one of them is in memory at a time. */
be_status be_safetensors_stream(const char *path, const be_tensor_source *tensors, size_t n_tensors, const be_tensor_reader *reader,
                                const be_text_pair *metadata, size_t n_metadata, be_error *error);

#endif
