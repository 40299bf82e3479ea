#include "core/files/hash.h"

#include <stdio.h>

#include <openssl/evp.h>

enum { PIECE = 4 << 20 };

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

be_status be_hash_mapped(const be_mapped_file *file, char hash[BE_HASH_SIZE], be_error *error)
{
    EVP_MD_CTX *context;
    be_status status = begin(&context, error);
    for (size_t at = 0, size; at < file->size && status == BE_OK; at += size) {
        size = file->size - at < PIECE ? file->size - at : PIECE;
        if (EVP_DigestUpdate(context, file->bytes + at, size) != 1)
            status = be_fail(error, BE_ERROR_MEMORY, "libcrypto could not compute a SHA-256");
        be_mapped_file_release(file->bytes + at, size);
    }
    if (status == BE_OK)
        status = write_digest(context, hash, error);
    EVP_MD_CTX_free(context);
    return status;
}

be_status be_hash_file(const char *path, char hash[BE_HASH_SIZE], be_error *error)
{
    be_mapped_file file;
    be_status status = be_mapped_file_open(path, &file, error);
    if (status != BE_OK)
        return status;
    status = be_hash_mapped(&file, hash, error);
    be_mapped_file_close(&file);
    return status;
}
