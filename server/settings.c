#include "server/settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "core/base/memory.h"

enum { KEY_HASH_SIZE = 32 };

static bool hash_key(const char *key, size_t length, unsigned char out[KEY_HASH_SIZE])
{
    unsigned size = 0;
    return EVP_Digest(key, length, out, &size, EVP_sha256(), NULL) == 1 && size == KEY_HASH_SIZE;
}

/* One key a line; empty lines and those that begin with # are passed over. */
static be_status read_keys(const char *path, settings *to, be_error *error)
{
    FILE *stream = fopen(path, "re");
    char *line = NULL;
    size_t room = 0, capacity = 0;
    be_status status = BE_OK;
    if (!stream)
        return be_fail(error, errno == ENOENT ? BE_ERROR_NOT_FOUND : BE_ERROR_IO, "auth.keys_file: %s: cannot be read: %s", path,
                       strerror(errno));
    while (status == BE_OK && getline(&line, &room, stream) >= 0) {
        size_t length = strcspn(line, "\r\n");
        void *keys = to->keys;
        if (length == 0 || *line == '#')
            continue;
        status = be_grow(&keys, &capacity, to->n_keys + 1, KEY_HASH_SIZE, "API keys", error);
        to->keys = keys;
        if (status == BE_OK && !hash_key(line, length, to->keys[to->n_keys++]))
            status = be_fail_memory(error, KEY_HASH_SIZE, "an API key");
    }
    if (status == BE_OK && to->n_keys == 0)
        status = be_fail(error, BE_ERROR_ARGUMENT, "auth.keys_file: %s: holds no key", path);
    if (line)
        OPENSSL_cleanse(line, room);
    free(line);
    fclose(stream);
    return status;
}

bool settings_knows_key(const settings *it, const char *key)
{
    unsigned char hash[KEY_HASH_SIZE];
    bool known = false;
    if (!hash_key(key, strlen(key), hash))
        return false;
    for (size_t i = 0; i < it->n_keys; i++)
        known |= CRYPTO_memcmp(it->keys[i], hash, KEY_HASH_SIZE) == 0;
    return known;
}

be_status settings_load(const char *path, bool load, settings **out, be_error *error)
{
    void *memory;
    be_status status = be_allocate(&memory, 1, sizeof(settings), "the settings", error);
    if (status != BE_OK)
        return status;
    settings *it = memory;
    atomic_init(&it->references, 1);
    status = config_read(path, &it->config, error);
    if (status == BE_OK && it->config.keys_file)
        status = read_keys(it->config.keys_file, it, error);
    if (status == BE_OK && load)
        status = engine_load(&it->config, &it->engine, error);
    if (status != BE_OK) {
        settings_release(it);
        return status;
    }
    *out = it;
    return BE_OK;
}

settings *settings_acquire(settings *it)
{
    atomic_fetch_add(&it->references, 1);
    return it;
}

void settings_release(settings *it)
{
    if (!it || atomic_fetch_sub(&it->references, 1) != 1)
        return;
    engine_release(it->engine);
    config_free(&it->config);
    free(it->keys);
    free(it);
}
