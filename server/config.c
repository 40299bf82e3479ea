#include "server/config.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "core/base/memory.h"

enum { PATH_SIZE = 4096, MOST_ITEMS = 1000 };

/* A file being read. */
typedef struct reader {
    const char *path;
    yaml_document_t document;
    config *to;
    be_error *error;
} reader;

static be_status fail_at(const reader *self, const yaml_node_t *node, const char *what)
{
    return be_fail(self->error, BE_ERROR_ARGUMENT, "%s:%zu: %s", self->path, node->start_mark.line + 1, what);
}

static be_status fail_key(const reader *self, const yaml_node_t *node, const char *key, const char *what)
{
    return be_fail(self->error, BE_ERROR_ARGUMENT, "%s:%zu: %s: %s", self->path, node->start_mark.line + 1, key, what);
}

static const char *text_of(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;
}

static bool is_null(const yaml_node_t *node)
{
    const char *text = text_of(node);
    bool plain = text && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    return plain && (!*text || strcmp(text, "null") == 0 || strcmp(text, "~") == 0);
}

/* --- values --------------------------------------------------------------------------------------- */

static be_status read_text(reader *self, const char *key, yaml_node_t *node, char **to)
{
    const char *text = text_of(node);
    if (!text || !*text || is_null(node) || strlen(text) != node->data.scalar.length)
        return fail_key(self, node, key, "is to be a text");
    free(*to);
    *to = NULL;
    return be_copy_text(to, text, self->error);
}

/* A path, taken from the folder of the configuration file unless it begins with a slash. */
static be_status read_path(reader *self, const char *key, yaml_node_t *node, char **to)
{
    char path[PATH_SIZE];
    be_status status = read_text(self, key, node, to);
    if (status != BE_OK || **to == '/')
        return status;
    const char *slash = strrchr(self->path, '/');
    int folder = slash ? (int)(slash - self->path) + 1 : 0;
    if (snprintf(path, sizeof path, "%.*s%s", folder, self->path, *to) >= (int)sizeof path)
        return fail_key(self, node, key, "the path is too long");
    free(*to);
    *to = NULL;
    return be_copy_text(to, path, self->error);
}

static be_status read_flag(reader *self, const char *key, yaml_node_t *node, bool *to)
{
    const char *text = text_of(node);
    bool yes = text && strcmp(text, "true") == 0;
    if (!yes && (!text || strcmp(text, "false") != 0))
        return fail_key(self, node, key, "is to be true or false");
    *to = yes;
    return BE_OK;
}

/* A whole number from `least` to `most`, with a unit of bytes when `bytes`: KiB, MiB, GiB. */
static be_status read_number(reader *self, const char *key, yaml_node_t *node, size_t least, size_t most, bool bytes,
                             size_t *to)
{
    static const struct { const char *unit; size_t factor; } units[] = {
        {"", 1}, {"KiB", (size_t)1 << 10}, {"MiB", (size_t)1 << 20}, {"GiB", (size_t)1 << 30},
    };
    const char *text = text_of(node);
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

/* A key of a mapping and what reads its value; `base` is what the reading function fills. */
typedef struct key_rule {
    const char *name;
    be_status (*read)(reader *self, const char *key, yaml_node_t *value, void *base);
} key_rule;

static yaml_node_t *node_at(reader *self, int index)
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
                   key->start_mark.line + 1, text_of(key) ? text_of(key) : "?", where ? " in " : "", where ? where : "", names);
}

/* Reads each pair of a mapping by its rule; a key twice or without a rule is an error. */
static be_status read_mapping(reader *self, const char *where, yaml_node_t *node, const key_rule *rules, size_t count,
                              void *base)
{
    uint64_t seen = 0;
    be_status status = BE_OK;
    if (node->type != YAML_MAPPING_NODE)
        return fail_key(self, node, where ? where : "the configuration", "is to be a mapping of keys to values");
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top && status == BE_OK;
         pair++) {
        yaml_node_t *key = node_at(self, pair->key);
        const key_rule *rule = text_of(key) ? find_rule(rules, count, text_of(key)) : NULL;
        if (!rule)
            return fail_unknown(self, key, where, rules, count);
        if (seen & (uint64_t)1 << (rule - rules))
            return fail_key(self, key, rule->name, "is there twice");
        seen |= (uint64_t)1 << (rule - rules);
        status = rule->read(self, rule->name, node_at(self, pair->value), base);
    }
    return status;
}

#define READ_MAPPING(SELF, WHERE, NODE, RULES, BASE) \
    read_mapping(SELF, WHERE, NODE, RULES, sizeof(RULES) / sizeof *(RULES), BASE)

/* A function that reads a number into a field of the configuration. */
#define NUMBER(FUNCTION, FIELD, LEAST, MOST, BYTES)                                                       \
    static be_status FUNCTION(reader *self, const char *key, yaml_node_t *node, void *base)             \
    {                                                                                                   \
        return read_number(self, key, node, LEAST, MOST, BYTES, &((config *)base)->FIELD);              \
    }

NUMBER(read_batch_max, batch_max, 1, 1024, false)
NUMBER(read_batch_wait, batch_wait_ms, 0, 60000, false)
NUMBER(read_body, body, 1024, (size_t)4 << 30, true)
NUMBER(read_pixels, pixels, 1, (size_t)1 << 32, false)
NUMBER(read_tokens, tokens, 1, 1 << 20, false)
NUMBER(read_queue, queue, 1, 1000000, false)
NUMBER(read_bytes_in_flight, bytes_in_flight, 1024, (size_t)1 << 40, true)
NUMBER(read_deadline, deadline_ms, 1, 86400000, false)
NUMBER(read_drain, drain_ms, 0, 86400000, false)
NUMBER(read_connections, connections, 1, 1000000, false)
NUMBER(read_held, results_held, 0, (size_t)1 << 40, true)

/* --- sections ------------------------------------------------------------------------------------- */

static be_status read_listen(reader *self, const char *key, yaml_node_t *node, void *base)
{
    config *to = base;
    char *text = NULL, *end;
    be_status status = read_text(self, key, node, &text);
    if (status != BE_OK)
        return status;
    char *colon = strrchr(text, ':');
    unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;
    free(to->listen_host);
    free(to->listen_unix);
    to->listen_host = to->listen_unix = NULL;
    if (strncmp(text, "unix:/", 6) == 0) {
        status = be_copy_text(&to->listen_unix, text + 5, self->error);
    } else if (!colon || colon == text || colon[1] < '0' || colon[1] > '9' || *end || port > 65535) {
        status = fail_key(self, node, key, "is to be ADDRESS:PORT or unix:/PATH");
    } else {
        to->listen_port = (unsigned short)port;
        bool brackets = text[0] == '[' && colon[-1] == ']';
        *(brackets ? colon - 1 : colon) = '\0';
        status = be_copy_text(&to->listen_host, text + brackets, self->error);
    }
    free(text);
    return status;
}

static be_status read_weights(reader *self, const char *key, yaml_node_t *node, void *base)
{
    return read_path(self, key, node, &((config_backbone *)base)->weights);
}

static be_status read_kind(reader *self, const char *key, yaml_node_t *node, void *base)
{
    (void)base; /* what a file is is read from the file; the key says what the administrator expects */
    const char *text = text_of(node);
    return text && strcmp(text, "dinov2") == 0 ? BE_OK : fail_key(self, node, key, "is none of: dinov2");
}

static be_status read_heads(reader *self, const char *key, yaml_node_t *node, void *base)
{
    return read_number(self, key, node, 1, 1024, false, &((config_backbone *)base)->heads);
}

/* {NAME: {weights: FILE, kind: dinov2}, ...} */
static be_status read_backbones(reader *self, const char *key, yaml_node_t *node, void *base)
{
    static const key_rule rules[] = {{"weights", read_weights}, {"kind", read_kind}, {"heads", read_heads}};
    config *to = base;
    void *memory;
    if (node->type != YAML_MAPPING_NODE)
        return fail_key(self, node, key, "is to be a mapping of names to backbones");
    size_t count = (size_t)(node->data.mapping.pairs.top - node->data.mapping.pairs.start);
    if (count > MOST_ITEMS)
        return fail_key(self, node, key, "has too many entries");
    be_status status = be_allocate(&memory, count, sizeof(config_backbone), "backbones", self->error);
    if (status != BE_OK)
        return status;
    to->backbones = memory;
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++) {
        config_backbone *it = &to->backbones[to->n_backbones++];
        yaml_node_t *value = node_at(self, pair->value);
        status = read_text(self, key, node_at(self, pair->key), &it->name);
        if (status == BE_OK)
            status = READ_MAPPING(self, it->name, value, rules, it);
        if (status == BE_OK && !it->weights)
            status = fail_key(self, value, it->name, "weights is missing");
        for (size_t i = 0; i + 1 < to->n_backbones && status == BE_OK; i++) {
            if (strcmp(to->backbones[i].name, it->name) == 0)
                status = fail_key(self, value, it->name, "is there twice");
        }
        if (status != BE_OK)
            return status;
    }
    return BE_OK;
}

/* A subject while it is read: its backbone's name is looked up when all backbones are known. */
typedef struct subject_entry {
    char *name, *weights, *backbone;
} subject_entry;

static be_status read_subject_name(reader *self, const char *key, yaml_node_t *node, void *base)
{
    return read_text(self, key, node, &((subject_entry *)base)->name);
}

static be_status read_subject_weights(reader *self, const char *key, yaml_node_t *node, void *base)
{
    return read_path(self, key, node, &((subject_entry *)base)->weights);
}

static be_status read_subject_backbone(reader *self, const char *key, yaml_node_t *node, void *base)
{
    return read_text(self, key, node, &((subject_entry *)base)->backbone);
}

static be_status find_backbone(const reader *self, const yaml_node_t *node, const char *name, size_t *index)
{
    const config *to = self->to;
    for (*index = 0; *index < to->n_backbones; (*index)++) {
        if (strcmp(to->backbones[*index].name, name) == 0)
            return BE_OK;
    }
    return be_fail(self->error, BE_ERROR_ARGUMENT, "%s:%zu: backbone: there is no '%.60s' under backbones", self->path,
                   node->start_mark.line + 1, name);
}

static be_status take_subject(reader *self, yaml_node_t *node, subject_entry *entry, config_subject *to)
{
    if (!entry->name || !entry->weights || !entry->backbone)
        return fail_key(self, node, "subjects", "an entry needs name, weights and backbone");
    for (const config_subject *other = self->to->subjects; other < to; other++) {
        if (strcmp(other->name, entry->name) == 0)
            return fail_key(self, node, entry->name, "is there twice");
    }
    if (strcmp(entry->name, "all") == 0 || strchr(entry->name, ','))
        return fail_key(self, node, entry->name, "is no name for a subject: requests use 'all' and commas");
    be_status status = find_backbone(self, node, entry->backbone, &to->backbone);
    to->name = entry->name;
    to->weights = entry->weights;
    entry->name = entry->weights = NULL;
    return status;
}

static be_status read_subjects_list(reader *self, yaml_node_t *node)
{
    static const key_rule rules[] = {
        {"name", read_subject_name}, {"weights", read_subject_weights}, {"backbone", read_subject_backbone},
    };
    config *to = self->to;
    void *memory;
    if (node->type != YAML_SEQUENCE_NODE)
        return fail_key(self, node, "subjects", "is to be a list");
    size_t count = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    if (count == 0 || count > MOST_ITEMS)
        return fail_key(self, node, "subjects", "is empty or too long");
    be_status status = be_allocate(&memory, count, sizeof(config_subject), "subjects", self->error);
    if (status != BE_OK)
        return status;
    to->subjects = memory;
    for (size_t i = 0; i < count && status == BE_OK; i++) {
        yaml_node_t *item = node_at(self, node->data.sequence.items.start[i]);
        subject_entry entry = {0};
        status = READ_MAPPING(self, "subjects", item, rules, &entry);
        if (status == BE_OK) {
            status = take_subject(self, item, &entry, &to->subjects[i]);
            to->n_subjects++;
        }
        free(entry.name);
        free(entry.weights);
        free(entry.backbone);
    }
    return status;
}

/* The subjects name backbones, which may stand after them: they are read when all keys have been seen. */
static be_status pass_subjects(reader *self, const char *key, yaml_node_t *node, void *base)
{
    (void)self, (void)key, (void)node, (void)base;
    return BE_OK;
}

static be_status read_fit(reader *self, const char *key, yaml_node_t *node, void *base)
{
    const char *text = text_of(node);
    if (text && be_fit_parse(text, &((config *)base)->fit, NULL) == BE_OK)
        return BE_OK;
    return fail_key(self, node, key, "is none of: crop, stretch, pad, native");
}

static be_status read_precision(reader *self, const char *key, yaml_node_t *node, void *base)
{
    (void)base;
    const char *text = text_of(node);
    bool known = text && (strcmp(text, "f32") == 0 || strcmp(text, "auto") == 0);
    return known ? BE_OK : fail_key(self, node, key, "is none of: f32, auto");
}

static be_status read_isa(reader *self, const char *key, yaml_node_t *node, void *base)
{
    return read_text(self, key, node, &((config *)base)->isa);
}

static be_status read_threads(reader *self, const char *key, yaml_node_t *node, void *base)
{
    size_t *threads = &((config *)base)->threads;
    *threads = 0;
    return text_of(node) && strcmp(text_of(node), "auto") == 0 ? BE_OK
                                                               : read_number(self, key, node, 1, 1024, false, threads);
}

static be_status read_batch(reader *self, const char *key, yaml_node_t *node, void *base)
{
    static const key_rule rules[] = {{"max", read_batch_max}, {"wait_ms", read_batch_wait}};
    return READ_MAPPING(self, key, node, rules, base);
}

static be_status read_compute(reader *self, const char *key, yaml_node_t *node, void *base)
{
    static const key_rule rules[] = {
        {"precision", read_precision}, {"isa", read_isa}, {"threads", read_threads}, {"batch", read_batch},
    };
    return READ_MAPPING(self, key, node, rules, base);
}

static be_status read_limits(reader *self, const char *key, yaml_node_t *node, void *base)
{
    static const key_rule rules[] = {
        {"body", read_body}, {"pixels", read_pixels}, {"tokens", read_tokens}, {"queue", read_queue},
        {"bytes_in_flight", read_bytes_in_flight}, {"deadline_ms", read_deadline}, {"drain_ms", read_drain},
        {"connections", read_connections},
    };
    return READ_MAPPING(self, key, node, rules, base);
}

static be_status read_results(reader *self, const char *key, yaml_node_t *node, void *base)
{
    static const key_rule rules[] = {{"held", read_held}};
    return READ_MAPPING(self, key, node, rules, base);
}

static be_status read_keys_file(reader *self, const char *key, yaml_node_t *node, void *base)
{
    return is_null(node) ? BE_OK : read_path(self, key, node, &((config *)base)->keys_file);
}

static be_status read_auth(reader *self, const char *key, yaml_node_t *node, void *base)
{
    static const key_rule rules[] = {{"keys_file", read_keys_file}};
    return READ_MAPPING(self, key, node, rules, base);
}

static be_status read_cors(reader *self, const char *key, yaml_node_t *node, void *base)
{
    config *to = base;
    void *memory;
    if (node->type != YAML_SEQUENCE_NODE)
        return fail_key(self, node, key, "is to be a list of origins");
    size_t count = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    if (count > MOST_ITEMS)
        return fail_key(self, node, key, "is too long");
    be_status status = be_allocate(&memory, count, sizeof(char *), "origins", self->error);
    if (status != BE_OK)
        return status;
    to->cors = memory;
    for (to->n_cors = 0; to->n_cors < count && status == BE_OK; to->n_cors++)
        status = read_text(self, key, node_at(self, node->data.sequence.items.start[to->n_cors]), &to->cors[to->n_cors]);
    return status;
}

static be_status read_access(reader *self, const char *key, yaml_node_t *node, void *base)
{
    return read_flag(self, key, node, &((config *)base)->log_access);
}

static be_status read_format(reader *self, const char *key, yaml_node_t *node, void *base)
{
    const char *text = text_of(node);
    bool json = text && strcmp(text, "json") == 0;
    if (!json && (!text || strcmp(text, "text") != 0))
        return fail_key(self, node, key, "is none of: text, json");
    ((config *)base)->log_json = json;
    return BE_OK;
}

static be_status read_log(reader *self, const char *key, yaml_node_t *node, void *base)
{
    static const key_rule rules[] = {{"access", read_access}, {"format", read_format}};
    return READ_MAPPING(self, key, node, rules, base);
}

/* --- the whole ------------------------------------------------------------------------------------ */

static yaml_node_t *find_value(reader *self, yaml_node_t *mapping, const char *name)
{
    for (yaml_node_pair_t *pair = mapping->data.mapping.pairs.start; pair < mapping->data.mapping.pairs.top; pair++) {
        const char *key = text_of(node_at(self, pair->key));
        if (key && strcmp(key, name) == 0)
            return node_at(self, pair->value);
    }
    return NULL;
}

static be_status read_document(reader *self)
{
    static const key_rule rules[] = {
        {"listen", read_listen}, {"backbones", read_backbones}, {"subjects", pass_subjects}, {"fit", read_fit},
        {"compute", read_compute}, {"limits", read_limits}, {"results", read_results}, {"auth", read_auth},
        {"cors", read_cors}, {"log", read_log},
    };
    yaml_node_t *root = yaml_document_get_root_node(&self->document);
    if (!root)
        return be_fail(self->error, BE_ERROR_ARGUMENT, "%s:1: is empty", self->path);
    be_status status = READ_MAPPING(self, NULL, root, rules, self->to);
    if (status != BE_OK)
        return status;
    yaml_node_t *subjects = find_value(self, root, "subjects");
    if (!subjects || self->to->n_backbones == 0)
        return fail_at(self, root, "backbones and subjects are needed: what is to be served?");
    return read_subjects_list(self, subjects);
}

static be_status set_defaults(config *to, be_error *error)
{
    *to = (config){
        .listen_port = 8080, .fit = BE_FIT_CROP, .batch_max = 8, .body = (size_t)20 << 20, .pixels = 40000000,
        .tokens = 1369, .queue = 64, .bytes_in_flight = (size_t)256 << 20, .deadline_ms = 30000, .drain_ms = 20000,
        .connections = 512, .results_held = (size_t)64 << 20, .log_access = true,
    };
    be_status status = be_copy_text(&to->listen_host, "127.0.0.1", error);
    return status == BE_OK ? be_copy_text(&to->isa, "auto", error) : status;
}

static be_status parse(reader *self, FILE *stream)
{
    yaml_parser_t parser;
    be_status status;
    if (!yaml_parser_initialize(&parser))
        return be_fail_memory(self->error, sizeof parser, "a YAML parser");
    yaml_parser_set_input_file(&parser, stream);
    if (!yaml_parser_load(&parser, &self->document)) {
        status = parser.error == YAML_MEMORY_ERROR
                     ? be_fail_memory(self->error, 0, "a YAML document")
                     : be_fail(self->error, BE_ERROR_ARGUMENT, "%s:%zu: is no YAML: %s", self->path,
                               parser.problem_mark.line + 1, parser.problem ? parser.problem : "unreadable");
    } else {
        status = read_document(self);
        yaml_document_delete(&self->document);
    }
    yaml_parser_delete(&parser);
    return status;
}

be_status config_read(const char *path, config *out, be_error *error)
{
    config read;
    reader self = {.path = path, .to = &read, .error = error};
    FILE *stream = fopen(path, "re");
    if (!stream)
        return be_fail(error, errno == ENOENT ? BE_ERROR_NOT_FOUND : BE_ERROR_IO, "%s: cannot be read: %s", path,
                       strerror(errno));
    be_status status = set_defaults(&read, error);
    if (status == BE_OK)
        status = parse(&self, stream);
    fclose(stream);
    if (status == BE_OK)
        *out = read;
    else
        config_free(&read);
    return status;
}

void config_free(config *it)
{
    for (size_t i = 0; i < it->n_backbones; i++) {
        free(it->backbones[i].name);
        free(it->backbones[i].weights);
    }
    for (size_t i = 0; i < it->n_subjects; i++) {
        free(it->subjects[i].name);
        free(it->subjects[i].weights);
    }
    for (size_t i = 0; i < it->n_cors; i++)
        free(it->cors[i]);
    free(it->backbones);
    free(it->subjects);
    free(it->cors);
    free(it->listen_host);
    free(it->listen_unix);
    free(it->isa);
    free(it->keys_file);
    *it = (config){0};
}
