/* What a reload can change at once: the configuration, the engine made from it, and the API keys. Reference-counted; an
 * exchange keeps those it began with.
 */
#ifndef BRAINENCD_SETTINGS_H
#define BRAINENCD_SETTINGS_H

#include <stdatomic.h>

#include "server/engine.h"

typedef struct settings {
    atomic_size_t references;
    config config;
    engine *engine;
    unsigned char (*keys)[32]; /* SHA-256 of each key; owned */
    size_t n_keys;
} settings;

/* Reads the configuration `path` and, when `load`, the keys, weights and self-test too. */
be_status settings_load(const char *path, bool load, settings **out, be_error *error);
settings *settings_acquire(settings *it);
void settings_release(settings *it);

/* Whether `key` is one of the keys; compared in a time that does not depend on it. */
bool settings_knows_key(const settings *it, const char *key);

#endif
