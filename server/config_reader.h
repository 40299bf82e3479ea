/* Values out of a YAML document, each error with the file's name and the line; for config.c only. */
#ifndef BRAINENCD_CONFIG_READER_H
#define BRAINENCD_CONFIG_READER_H

#include <stdbool.h>

#include <yaml.h>

#include "core/base/error.h"

struct config;

/* A file being read. */
typedef struct reader {
    const char *path;
    yaml_document_t document;
    struct config *to;
    be_error *error;
} reader;

/* "FILE:LINE: what", "FILE:LINE: key: what". */
be_status reader_fail_at(const reader *self, const yaml_node_t *node, const char *what);
be_status reader_fail_key(const reader *self, const yaml_node_t *node, const char *key, const char *what);

/* A scalar's text, else NULL; whether it is null, ~ or nothing. */
const char *reader_text(const yaml_node_t *node);
bool reader_is_null(const yaml_node_t *node);

/* A text in the place of *to, which is freed. */
be_status reader_read_text(reader *self, const char *key, yaml_node_t *node, char **to);
/* A path, taken from the folder of the configuration file unless it begins with a slash. */
be_status reader_read_path(reader *self, const char *key, yaml_node_t *node, char **to);
be_status reader_read_flag(reader *self, const char *key, yaml_node_t *node, bool *to);
/* A whole number from `least` to `most`, with a unit of bytes when `bytes`: KiB, MiB, GiB. */
be_status reader_read_number(reader *self, const char *key, yaml_node_t *node, size_t least, size_t most, bool bytes,
                             size_t *to);

yaml_node_t *reader_node(reader *self, int index);

/* A key of a mapping and what reads its value; `base` is what the reading function fills. */
typedef struct key_rule {
    const char *name;
    be_status (*read)(reader *self, const char *key, yaml_node_t *value, void *base);
} key_rule;

/* Reads each pair of a mapping by its rule; a key twice or without a rule is an error that names those there are. */
be_status reader_read_mapping(reader *self, const char *where, yaml_node_t *node, const key_rule *rules, size_t count,
                              void *base);
#define READ_MAPPING(SELF, WHERE, NODE, RULES, BASE) \
    reader_read_mapping(SELF, WHERE, NODE, RULES, sizeof(RULES) / sizeof *(RULES), BASE)

#endif
