#include "core/files/hash.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "core/base/memory.h"

enum { PIECE = 1 << 20 };

static be_status write_digest(EVP_MD_CTX *context, char hash[BE_HASH_SIZE], be_error *error)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    if (EVP_DigestFinal_ex(context, digest, &length) != 1 || length != (BE_HASH_SIZE - 1) / 2)
        return be_fail(error, BE_ERROR_MEMORY, "libcrypto could not compute a SHA-256");
    for (unsigned i = 0; i < length; i++)
        snprintf(hash + 2 * i, 3, "%02x", digest[i]);
    return BE_OK;
}

/* Starts a digest; *context is to be freed with EVP_MD_CTX_free, also after an error. */
static be_status begin(EVP_MD_CTX **context, be_error *error)
{
    *context = EVP_MD_CTX_new();
    if (!*context || EVP_DigestInit_ex(*context, EVP_sha256(), NULL) != 1)
        return be_fail(error, BE_ERROR_MEMORY, "libcrypto could not begin a SHA-256");
    return BE_OK;
}

be_status be_hash_bytes(const void *bytes, size_t size, char hash[BE_HASH_SIZE], be_error *error)
{
    EVP_MD_CTX *context;
    be_status status = begin(&context, error);
    if (status == BE_OK && EVP_DigestUpdate(context, bytes, size) != 1)
        status = be_fail(error, BE_ERROR_MEMORY, "libcrypto could not compute a SHA-256");
    if (status == BE_OK)
        status = write_digest(context, hash, error);
    EVP_MD_CTX_free(context);
    return status;
}

/* Read in pieces, not mapped: a mapped file counts as resident memory. */
static be_status hash_stream(FILE *stream, const char *path, char hash[BE_HASH_SIZE], be_error *error)
{
    void *piece;
    EVP_MD_CTX *context = NULL;
    be_status status = be_allocate(&piece, PIECE, 1, "a piece of a file", error);
    if (status != BE_OK)
        return status;
    status = begin(&context, error);
    for (size_t size; status == BE_OK && (size = fread(piece, 1, PIECE, stream)) > 0;) {
        if (EVP_DigestUpdate(context, piece, size) != 1)
            status = be_fail(error, BE_ERROR_MEMORY, "libcrypto could not compute a SHA-256");
    }
    if (status == BE_OK && ferror(stream))
        status = be_fail(error, BE_ERROR_IO, "%s: cannot be read: %s", path, strerror(errno));
    if (status == BE_OK)
        status = write_digest(context, hash, error);
    EVP_MD_CTX_free(context);
    free(piece);
    return status;
}

be_status be_hash_file(const char *path, char hash[BE_HASH_SIZE], be_error *error)
{
    FILE *stream = fopen(path, "rbe");
    if (!stream)
        return be_fail(error, errno == ENOENT ? BE_ERROR_NOT_FOUND : errno == ENOMEM ? BE_ERROR_MEMORY : BE_ERROR_IO,
                       "%s: cannot be read: %s", path, strerror(errno));
    be_status status = hash_stream(stream, path, hash, error);
    fclose(stream);
    return status;
}
