#include "tests/unit/files_pickle.h"

enum { ROOM = 1 << 16 };

const char legacy_start[] = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
                            "\x80\x02M\xe9\x03."
                            "\x80\x02}X\x0d\0\0\0little_endian\x88s.";
const size_t legacy_start_size = sizeof legacy_start - 1;

const char one_storage[] = "\x80\x02]X\x01\0\0\0ka."
                           "\x04\0\0\0\0\0\0\0"
                           "\0\0\0\0\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40";
const size_t one_storage_size = sizeof one_storage - 1;

const char *pickle_file(const void *pickle, size_t size, const void *after, size_t after_size)
{
    static unsigned char bytes[ROOM];
    assert_true(legacy_start_size + size + after_size <= sizeof bytes);
    memcpy(bytes, legacy_start, legacy_start_size);
    memcpy(bytes + legacy_start_size, pickle, size);
    memcpy(bytes + legacy_start_size + size, after, after_size);
    return scratch_bytes("made.pth", bytes, legacy_start_size + size + after_size);
}

const char *plain_pickle_file(const void *pickle, size_t size)
{
    return pickle_file(pickle, size, "\x80\x02].", 4);
}

const char *storage_pickle_file(const void *pickle, size_t size)
{
    return pickle_file(pickle, size, one_storage, one_storage_size);
}
