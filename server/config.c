#include "server/config.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/subject/subject.h"
#include "server/config_reader.h"

enum { MOST_ITEMS = 1000 };

/* A function that reads a number into a field of the configuration. */
#define NUMBER(FUNCTION, FIELD, LEAST, MOST, BYTES)                                                       \
    static be_status FUNCTION(reader *self, const char *key, yaml_node_t *node, void *base)             \
    {                                                                                                   \
        return reader_read_number(self, key, node, LEAST, MOST, BYTES, &((config *)base)->FIELD);              \
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
    be_status status = reader_read_text(self, key, node, &text);
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
        status = reader_fail_key(self, node, key, "is to be ADDRESS:PORT or unix:/PATH");
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
    return reader_read_path(self, key, node, &((config_backbone *)base)->weights);
}

/* What a file is is read from the file; the key says what the administrator expects. */
static be_status read_kind(reader *self, const char *key, yaml_node_t *node, void *base)
{
    static const char *const kinds[] = {"dinov2", "clip", "resnet"};
    const char *text = reader_text(node);
    for (size_t i = 0; text && i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(text, kinds[i]) == 0) {
            ((config_backbone *)base)->kind = kinds[i];
            return BE_OK;
        }
    }
    return reader_fail_key(self, node, key, "is none of: dinov2, clip, resnet");
}

static be_status read_activation(reader *self, const char *key, yaml_node_t *node, void *base)
{
    const char *text = reader_text(node);
    if (text && be_activation_parse(text, &((config_backbone *)base)->activation, NULL) == BE_OK)
        return BE_OK;
    return reader_fail_key(self, node, key, "is none of: auto, quick_gelu, gelu");
}

static be_status read_heads(reader *self, const char *key, yaml_node_t *node, void *base)
{
    return reader_read_number(self, key, node, 1, 1024, false, &((config_backbone *)base)->heads);
}

/* {NAME: {weights: FILE, kind: dinov2}, ...} */
static be_status read_backbones(reader *self, const char *key, yaml_node_t *node, void *base)
{
    static const key_rule rules[] = {
        {"weights", read_weights}, {"kind", read_kind}, {"heads", read_heads}, {"activation", read_activation},
    };
    config *to = base;
    void *memory;
    if (node->type != YAML_MAPPING_NODE)
        return reader_fail_key(self, node, key, "is to be a mapping of names to backbones");
    size_t count = (size_t)(node->data.mapping.pairs.top - node->data.mapping.pairs.start);
    if (count > MOST_ITEMS)
        return reader_fail_key(self, node, key, "has too many entries");
    be_status status = be_allocate(&memory, count, sizeof(config_backbone), "backbones", self->error);
    if (status != BE_OK)
        return status;
    to->backbones = memory;
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++) {
        config_backbone *it = &to->backbones[to->n_backbones++];
        yaml_node_t *value = reader_node(self, pair->value);
        status = reader_read_text(self, key, reader_node(self, pair->key), &it->name);
        if (status == BE_OK)
            status = READ_MAPPING(self, it->name, value, rules, it);
        if (status == BE_OK && !it->weights)
            status = reader_fail_key(self, value, it->name, "weights is missing");
        for (size_t i = 0; i + 1 < to->n_backbones && status == BE_OK; i++) {
            if (strcmp(to->backbones[i].name, it->name) == 0)
                status = reader_fail_key(self, value, it->name, "is there twice");
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
    return reader_read_text(self, key, node, &((subject_entry *)base)->name);
}

static be_status read_subject_weights(reader *self, const char *key, yaml_node_t *node, void *base)
{
    return reader_read_path(self, key, node, &((subject_entry *)base)->weights);
}

static be_status read_subject_backbone(reader *self, const char *key, yaml_node_t *node, void *base)
{
    return reader_read_text(self, key, node, &((subject_entry *)base)->backbone);
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
        return reader_fail_key(self, node, "subjects", "an entry needs name, weights and backbone");
    for (const config_subject *other = self->to->subjects; other < to; other++) {
        if (strcmp(other->name, entry->name) == 0)
            return reader_fail_key(self, node, entry->name, "is there twice");
    }
    if (strcmp(entry->name, "all") == 0 || !be_name_is_plain(entry->name))
        return be_fail(self->error, BE_ERROR_ARGUMENT,
                       "%s:%zu: name: '%.80s' is no name for a subject (1 to %d printable bytes, no "
                       "comma, not 'all')", self->path, node->start_mark.line + 1, entry->name, BE_SUBJECT_NAME_SIZE - 1);
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
        return reader_fail_key(self, node, "subjects", "is to be a list");
    size_t count = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    if (count == 0 || count > MOST_ITEMS)
        return reader_fail_key(self, node, "subjects", "is empty or too long");
    be_status status = be_allocate(&memory, count, sizeof(config_subject), "subjects", self->error);
    if (status != BE_OK)
        return status;
    to->subjects = memory;
    for (size_t i = 0; i < count && status == BE_OK; i++) {
        yaml_node_t *item = reader_node(self, node->data.sequence.items.start[i]);
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
    const char *text = reader_text(node);
    if (text && be_fit_parse(text, &((config *)base)->fit, NULL) == BE_OK)
        return BE_OK;
    return reader_fail_key(self, node, key, "is none of: crop, stretch, pad, native");
}

static be_status read_precision(reader *self, const char *key, yaml_node_t *node, void *base)
{
    const char *text = reader_text(node);
    be_precision ignored;
    bool known = text && (strcmp(text, "auto") == 0 || be_precision_parse(text, &ignored, NULL) == BE_OK);
    return known ? reader_read_text(self, key, node, &((config *)base)->precision)
                 : reader_fail_key(self, node, key, "is none of: f32, bf16, bf16x3, auto");
}

static be_status read_isa(reader *self, const char *key, yaml_node_t *node, void *base)
{
    return reader_read_text(self, key, node, &((config *)base)->isa);
}

static be_status read_threads(reader *self, const char *key, yaml_node_t *node, void *base)
{
    size_t *threads = &((config *)base)->threads;
    *threads = 0;
    return reader_text(node) && strcmp(reader_text(node), "auto") == 0 ? BE_OK
                                                               : reader_read_number(self, key, node, 1, 1024, false, threads);
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
    return reader_is_null(node) ? BE_OK : reader_read_path(self, key, node, &((config *)base)->keys_file);
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
        return reader_fail_key(self, node, key, "is to be a list of origins");
    size_t count = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    if (count > MOST_ITEMS)
        return reader_fail_key(self, node, key, "is too long");
    be_status status = be_allocate(&memory, count, sizeof(char *), "origins", self->error);
    if (status != BE_OK)
        return status;
    to->cors = memory;
    for (to->n_cors = 0; to->n_cors < count && status == BE_OK; to->n_cors++)
        status = reader_read_text(self, key, reader_node(self, node->data.sequence.items.start[to->n_cors]), &to->cors[to->n_cors]);
    return status;
}

static be_status read_access(reader *self, const char *key, yaml_node_t *node, void *base)
{
    return reader_read_flag(self, key, node, &((config *)base)->log_access);
}

static be_status read_format(reader *self, const char *key, yaml_node_t *node, void *base)
{
    const char *text = reader_text(node);
    bool json = text && strcmp(text, "json") == 0;
    if (!json && (!text || strcmp(text, "text") != 0))
        return reader_fail_key(self, node, key, "is none of: text, json");
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
        const char *key = reader_text(reader_node(self, pair->key));
        if (key && strcmp(key, name) == 0)
            return reader_node(self, pair->value);
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
        return reader_fail_at(self, root, "backbones and subjects are needed: what is to be served?");
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
    if (status == BE_OK)
        status = be_copy_text(&to->precision, "f32", error);
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
    free(it->precision);
    free(it->keys_file);
    *it = (config){0};
}
