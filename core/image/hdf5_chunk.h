/* Private to this folder: the chunks of an HDF5 dataset of bytes, looked at before libhdf5 reads from them. It takes the number
 * of bytes in a chunk on trust (1.10.8): one that unpacks to fewer than its shape says is read past its end. */
#ifndef BRAINENC_IMAGE_HDF5_CHUNK_H
#define BRAINENC_IMAGE_HDF5_CHUNK_H

#include "core/image/hdf5_dataset.h"

enum { BE_HDF5_FILTERS = 3 };

typedef struct be_hdf5_chunks {
    hsize_t shape[BE_HDF5_DIMS];
    size_t bytes;                          /* in one, unpacked */
    size_t n_filters;
    H5Z_filter_t filters[BE_HDF5_FILTERS]; /* in the order of packing: deflate, shuffle, fletcher32, each at most once */
    bool deflated;
    bool whole_only;                       /* those that reach past the pictures' edges pass no filter */
} be_hdf5_chunks;

/* From a dataset's creation properties. BE_ERROR_UNSUPPORTED for other filters, BE_ERROR_FORMAT for a shape that none can have;
 * sentences begin with `label`. */
be_status be_hdf5_chunks_examine(hid_t properties, const char *label, be_hdf5_chunks *chunks, be_error *error);

/* BE_OK when the chunk that begins at `place` of a dataset of the shape `whole` holds as many bytes as its shape says;
 * BE_ERROR_FORMAT when not, or when it is not in the file, which has `file_size` bytes. */
be_status be_hdf5_chunk_check(const be_hdf5_chunks *chunks, hid_t dataset, const size_t whole[BE_HDF5_DIMS],
                              const hsize_t place[BE_HDF5_DIMS], size_t file_size, const char *label, be_error *error);

#endif
