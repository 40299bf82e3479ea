#include "server/config_reader.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

enum { PATH_SIZE = 4096 };

be_status reader_fail_at(const reader *self, const yaml_node_t *node, const char *what)
{
    return be_fail(self->error, BE_ERROR_ARGUMENT, "%s:%zu: %s", self->path, node->start_mark.line + 1, what);
}

be_status reader_fail_key(const reader *self, const yaml_node_t *node, const char *key, const char *what)
{
    return be_fail(self->error, BE_ERROR_ARGUMENT, "%s:%zu: %s: %s", self->path, node->start_mark.line + 1, key, what);
}

const char *reader_text(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;
}

bool reader_is_null(const yaml_node_t *node)
{
    const char *text = reader_text(node);
    bool plain = text && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    return plain && (!*text || strcmp(text, "null") == 0 || strcmp(text, "~") == 0);
}

/* --- values --------------------------------------------------------------------------------------- */

be_status reader_read_text(reader *self, const char *key, yaml_node_t *node, char **to)
{
    const char *text = reader_text(node);
    if (!text || !*text || reader_is_null(node) || strlen(text) != node->data.scalar.length)
        return reader_fail_key(self, node, key, "is to be a text");
    free(*to);
    *to = NULL;
    return be_copy_text(to, text, self->error);
}

be_status reader_read_path(reader *self, const char *key, yaml_node_t *node, char **to)
{
    char path[PATH_SIZE];
    be_status status = reader_read_text(self, key, node, to);
    if (status != BE_OK || **to == '/')
        return status;
    const char *slash = strrchr(self->path, '/');
    int folder = slash ? (int)(slash - self->path) + 1 : 0;
    if (snprintf(path, sizeof path, "%.*s%s", folder, self->path, *to) >= (int)sizeof path)
        return reader_fail_key(self, node, key, "the path is too long");
    free(*to);
    *to = NULL;
    return be_copy_text(to, path, self->error);
}

be_status reader_read_flag(reader *self, const char *key, yaml_node_t *node, bool *to)
{
    const char *text = reader_text(node);
    bool yes = text && strcmp(text, "true") == 0;
    if (!yes && (!text || strcmp(text, "false") != 0))
        return reader_fail_key(self, node, key, "is to be true or false");
    *to = yes;
    return BE_OK;
}

be_status reader_read_number(reader *self, const char *key, yaml_node_t *node, size_t least, size_t most, bool bytes,
                             size_t *to)
{
    static const struct { const char *unit; size_t factor; } units[] = {
        {"", 1}, {"KiB", (size_t)1 << 10}, {"MiB", (size_t)1 << 20}, {"GiB", (size_t)1 << 30},
    };
    const char *text = reader_text(node);
    char *end = NULL;
    size_t value = 0;
    bool good = text && *text >= '0' && *text <= '9';
    if (good) {
        errno = 0;
        unsigned long long number = strtoull(text, &end, 10);
        size_t unit = 0, n_units = bytes ? 4 : 1;
        while (*end == ' ')
            end++;
        while (unit < n_units && strcmp(end, units[unit].unit) != 0)
            unit++;
        good = errno == 0 && unit < n_units && be_size_multiply((size_t)number, units[unit].factor, &value);
    }
    if (!good || value < least || value > most)
        return be_fail(self->error, BE_ERROR_ARGUMENT, "%s:%zu: %s: is to be a whole number%s from %zu to %zu", self->path,
                       node->start_mark.line + 1, key, bytes ? " of bytes (KiB, MiB, GiB)" : "", least, most);
    *to = value;
    return BE_OK;
}

/* --- mappings ------------------------------------------------------------------------------------- */

yaml_node_t *reader_node(reader *self, int index)
{
    return yaml_document_get_node(&self->document, index);
}

static const key_rule *find_rule(const key_rule *rules, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rules[i].name, name) == 0)
            return &rules[i];
    }
    return NULL;
}

static be_status fail_unknown(const reader *self, const yaml_node_t *key, const char *where, const key_rule *rules,
                              size_t count)
{
    char names[300] = "";
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(names);
        snprintf(names + length, sizeof names - length, "%s%s", i ? ", " : "", rules[i].name);
    }
    return be_fail(self->error, BE_ERROR_ARGUMENT, "%s:%zu: unknown key '%.60s'%s%s; there are: %s", self->path,
                   key->start_mark.line + 1, reader_text(key) ? reader_text(key) : "?", where ? " in " : "", where ? where : "",
                   names);
}

be_status reader_read_mapping(reader *self, const char *where, yaml_node_t *node, const key_rule *rules, size_t count,
                              void *base)
{
    uint64_t seen = 0;
    be_status status = BE_OK;
    if (node->type != YAML_MAPPING_NODE)
        return reader_fail_key(self, node, where ? where : "the configuration", "is to be a mapping of keys to values");
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top && status == BE_OK;
         pair++) {
        yaml_node_t *key = reader_node(self, pair->key);
        const key_rule *rule = reader_text(key) ? find_rule(rules, count, reader_text(key)) : NULL;
        if (!rule)
            return fail_unknown(self, key, where, rules, count);
        if (seen & (uint64_t)1 << (rule - rules))
            return reader_fail_key(self, key, rule->name, "is there twice");
        seen |= (uint64_t)1 << (rule - rules);
        status = rule->read(self, rule->name, reader_node(self, pair->value), base);
    }
    return status;
}
