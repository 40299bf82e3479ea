#include "core/image/hdf5_chunk.h"

#include <stdint.h>
#include <stdlib.h>

#include <zlib.h>

#include "core/base/memory.h"

enum { CHECKSUM_BYTES = 4, PIECE = 1 << 15 };

/* --- what they are -------------------------------------------------------------------------------- */

static be_status take_filter(be_hdf5_chunks *chunks, H5Z_filter_t filter, const char *name, const char *label, be_error *error)
{
    if (filter != H5Z_FILTER_DEFLATE && filter != H5Z_FILTER_SHUFFLE && filter != H5Z_FILTER_FLETCHER32)
        return be_fail(error, BE_ERROR_UNSUPPORTED, "%s: is packed by the filter %d%s%s%s; those read are deflate (gzip), "
                       "shuffle and fletcher32: h5repack -f GZIP=4 makes such a file", label,
                       (int)filter, *name ? " (" : "", name, *name ? ")" : "");
    for (size_t i = 0; i < chunks->n_filters; i++) {
        if (chunks->filters[i] == filter)
            return be_fail(error, BE_ERROR_UNSUPPORTED, "%s: is packed by the filter %d twice", label, (int)filter);
    }
    chunks->filters[chunks->n_filters++] = filter;
    chunks->deflated |= filter == H5Z_FILTER_DEFLATE;
    return BE_OK;
}

be_status be_hdf5_chunks_examine(hid_t properties, const char *label, be_hdf5_chunks *chunks, be_error *error)
{
    int count = H5Pget_nfilters(properties);
    unsigned options = 0;
    be_status status = BE_OK;
    *chunks = (be_hdf5_chunks){.bytes = 1};
    if (count < 0 || H5Pget_chunk(properties, BE_HDF5_DIMS, chunks->shape) != BE_HDF5_DIMS ||
        H5Pget_chunk_opts(properties, &options) < 0)
        return be_fail(error, BE_ERROR_FORMAT, "%s: its chunks have no sound shape", label);
    chunks->whole_only = options & H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS;
    for (size_t i = 0; i < BE_HDF5_DIMS; i++) {
        bool fits = be_size_multiply(chunks->bytes, chunks->shape[i], &chunks->bytes);
        if (!fits || chunks->bytes == 0 || chunks->bytes > UINT32_MAX)
            return be_fail(error, BE_ERROR_FORMAT, "%s: its chunks have no sound size", label);
    }
    for (int i = 0; i < count && status == BE_OK; i++) {
        char name[32] = "";
        size_t values = 0;
        H5Z_filter_t filter = H5Pget_filter2(properties, (unsigned)i, NULL, &values, NULL, sizeof name, name, NULL);
        name[sizeof name - 1] = '\0';
        status = take_filter(chunks, filter, name, label, error);
    }
    return status;
}

/* --- what is in one ------------------------------------------------------------------------------- */

/* To how many bytes a zlib stream unpacks, counted as far as `most`; SIZE_MAX when it is damaged. */
static size_t count_inflated(const unsigned char *bytes, size_t size, size_t most)
{
    unsigned char piece[PIECE];
    z_stream stream = {.next_in = (unsigned char *)(uintptr_t)bytes, .avail_in = (unsigned)size};
    int answer = inflateInit(&stream);
    while (answer == Z_OK && stream.total_out <= most) {
        stream.next_out = piece;
        stream.avail_out = PIECE;
        answer = inflate(&stream, Z_NO_FLUSH);
    }
    inflateEnd(&stream);
    return answer == Z_STREAM_END || answer == Z_OK ? stream.total_out : SIZE_MAX;
}

/* How many bytes libhdf5 makes of a packed chunk; a bit of `skipped` is a filter that was left out for it. */
static size_t count_unpacked(const be_hdf5_chunks *chunks, const unsigned char *bytes, size_t size, uint32_t skipped)
{
    for (size_t i = chunks->n_filters; i-- > 0;) {
        if (skipped >> i & 1)
            continue;
        if (chunks->filters[i] == H5Z_FILTER_FLETCHER32)
            size = size > CHECKSUM_BYTES ? size - CHECKSUM_BYTES : 0;
        else if (chunks->filters[i] == H5Z_FILTER_DEFLATE)
            size = count_inflated(bytes, size, chunks->bytes + CHECKSUM_BYTES);
    }
    return size;
}

static be_status check_packed(const be_hdf5_chunks *chunks, hid_t dataset, const hsize_t place[BE_HDF5_DIMS], size_t size,
                              const char *label, be_error *error)
{
    void *memory;
    uint32_t skipped = 0;
    be_status status = be_allocate(&memory, size, 1, "a chunk of an HDF5 file", error);
    if (status != BE_OK)
        return status;
    if (H5Dread_chunk(dataset, H5P_DEFAULT, place, &skipped, memory) < 0)
        status = be_hdf5_fail(error, label, "a chunk cannot be read");
    else if (count_unpacked(chunks, memory, size, skipped) != chunks->bytes)
        status = be_fail(error, BE_ERROR_FORMAT, "%s: the chunk of picture %llu is damaged", label, (unsigned long long)place[0]);
    free(memory);
    return status;
}

static bool is_packed(const be_hdf5_chunks *chunks, const size_t whole[BE_HDF5_DIMS], const hsize_t place[BE_HDF5_DIMS])
{
    for (size_t i = 0; i < BE_HDF5_DIMS && chunks->whole_only; i++) {
        if (place[i] + chunks->shape[i] > whole[i])
            return false;
    }
    return chunks->n_filters > 0;
}

be_status be_hdf5_chunk_check(const be_hdf5_chunks *chunks, hid_t dataset, const size_t whole[BE_HDF5_DIMS],
                              const hsize_t place[BE_HDF5_DIMS], size_t file_size, const char *label, be_error *error)
{
    unsigned long long first = place[0];
    bool packed = is_packed(chunks, whole, place);
    hsize_t size;
    if (H5Dget_chunk_storage_size(dataset, place, &size) < 0 || size == 0) /* which libhdf5 reads as zeros: a black picture */
        return be_fail(error, BE_ERROR_FORMAT, "%s: the chunk of picture %llu is not in the file", label, first);
    if (size > file_size || (!packed && size != chunks->bytes))
        return be_fail(error, BE_ERROR_FORMAT, "%s: the chunk of picture %llu cannot have %llu bytes", label, first,
                       (unsigned long long)size);
    return packed ? check_packed(chunks, dataset, place, size, label, error) : BE_OK;
}
