#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/memory.h"
#include "core/files/atomic_file.h"
#include "core/files/json.h"
#include "core/files/npy.h"
#include "core/files/tensor_file.h"
#include "core/subject/algonauts.h"
#include "core/subject/checkpoint.h"
#include "core/subject/masks.h"
#include "core/subject/readout_plan.h"
#include "core/subject/subject.h"
#include "core/subject/subject_format.h"

enum { FIXED_TENSORS = 8, UNVERIFIED_SIZE = 256 };

/* One checkpoint being imported. */
typedef struct source {
    be_import_member from;
    be_tensor_file *file;
    be_checkpoint checkpoint;
    char hash[BE_HASH_SIZE];
} source;

/* Everything an import holds while it works. */
typedef struct import {
    const be_import_options *options;
    be_error *error;
    source *sources;           /* [n_sources] */
    size_t n_sources;
    be_class_token class_token;
    be_streams_order streams_order;
    be_algonauts data;
    char unverified[UNVERIFIED_SIZE];
    be_tensor_source *tensors; /* what will be written */
    size_t n_tensors;
    void **owned;              /* [n_owned]: names and values to free; entries may be NULL */
    size_t n_owned;
    uint8_t *masks[BE_HEMISPHERES];
    float *validation[BE_HEMISPHERES], *ncsnr[BE_HEMISPHERES]; /* [sources][vertices], [vertices]; NULL: not given */
    char *metadata;
} import;

/* --- checks --------------------------------------------------------------------------------------- */

/* What only the checkpoint's owner knows. */
static be_status read_choices(import *self)
{
    const be_import_options *options = self->options;
    be_status status = BE_OK;
    if (options->class_token)
        status = be_class_token_parse(options->class_token, &self->class_token, self->error);
    if (status == BE_OK && options->streams_order)
        status = be_streams_order_parse(options->streams_order, &self->streams_order, self->error);
    if (status == BE_OK && options->name && !be_name_is_plain(options->name))
        status = be_fail(self->error, BE_ERROR_ARGUMENT, "name: '%.80s' is no name for a subject (1 to %d printable bytes, no comma)",
                         options->name, BE_SUBJECT_NAME_SIZE - 1);
    return status;
}

static be_status check_vertices(const import *self, const source *it)
{
    const be_checkpoint *checkpoint = &it->checkpoint;
    for (int h = BE_LEFT; h < BE_HEMISPHERES; h++) {
        if (checkpoint->n_vertices[h] != self->data.n_vertices[h])
            return be_fail(self->error, BE_ERROR_FORMAT, "%s: tensor 'model.%s_embed.0.weight' is for %zu vertices, %s has %zu",
                           it->from.checkpoint, be_hemisphere_name((be_hemisphere)h), checkpoint->n_vertices[h],
                           self->options->data, self->data.n_vertices[h]);
    }
    return BE_OK;
}

/* Loads the encoder and readout as they stand in the checkpoint, so that what is missing is named as it is called there. */
static be_status check_model(import *self, const source *it)
{
    const be_checkpoint *checkpoint = &it->checkpoint;
    const be_algonauts *data = &self->data;
    be_encoder_settings settings = be_checkpoint_settings(checkpoint);
    be_encoder *encoder = NULL;
    be_readout *readout = NULL;
    be_readout_plan plan = {0};
    be_readout_lists lists = {0};
    be_status status = be_readout_plan_make(checkpoint->readout_res, checkpoint->encoder_arch, self->streams_order, &data->rois,
                                            data->n_vertices, it->from.checkpoint, &plan, self->error);
    if (status == BE_OK && plan.queries != checkpoint->queries)
        status = be_fail(self->error, BE_ERROR_FORMAT, "%s: the model has %zu queries; readout_res %s and the %zu ROIs of %s and the "
                         "rest need %zu", it->from.checkpoint, checkpoint->queries, checkpoint->readout_res, data->rois.count - 1,
                         self->options->data, plan.queries);
    if (status == BE_OK)
        status = be_encoder_load(it->file, BE_CHECKPOINT_PREFIX, &settings, &encoder, self->error);
    if (status == BE_OK)
        status = be_readout_plan_lists(&plan, &data->rois, data->n_vertices, &lists, self->error);
    if (status == BE_OK)
        status = be_readout_load(it->file, BE_CHECKPOINT_PREFIX, be_encoder_get_info(encoder)->width, data->n_vertices[BE_LEFT],
                                 data->n_vertices[BE_RIGHT], plan.by_vertex ? NULL : &lists, &readout, self->error);
    if (status == BE_OK)
        snprintf(self->unverified, sizeof self->unverified, "%s%s%s", be_encoder_get_info(encoder)->unverified,
                 *be_encoder_get_info(encoder)->unverified && *be_readout_unverified(checkpoint->readout_res) ? "; " : "",
                 be_readout_unverified(checkpoint->readout_res));
    free(lists.start);
    free(lists.queries);
    be_readout_plan_free(&plan);
    be_readout_free(readout);
    be_encoder_free(encoder);
    return status;
}

/* The members of an ensemble differ in layer and run alone. */
static be_status check_alike(const import *self, const source *it)
{
    const be_checkpoint *a = &self->sources[0].checkpoint, *b = &it->checkpoint;
    const struct { const char *key; bool same; } settings[] = {
        {"backbone_arch", strcmp(a->backbone_arch, b->backbone_arch) == 0}, {"encoder_arch", strcmp(a->encoder_arch, b->encoder_arch) == 0},
        {"readout_res", strcmp(a->readout_res, b->readout_res) == 0}, {"subj", strcmp(a->subject, b->subject) == 0},
        {"position_embedding", strcmp(a->position_embedding, b->position_embedding) == 0},
        {"enc_layers", a->enc_layers == b->enc_layers}, {"dec_layers", a->dec_layers == b->dec_layers},
        {"hidden_dim", a->hidden_dim == b->hidden_dim}, {"nheads", a->nheads == b->nheads}, {"pre_norm", a->pre_norm == b->pre_norm},
        {"image_size", a->image_size == b->image_size}, {"dilation", a->dilation == b->dilation},
    };
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        if (!settings[i].same)
            return be_fail(self->error, BE_ERROR_FORMAT, "%s: its %s is not that of %s: members of an ensemble differ in layer and run alone",
                           it->from.checkpoint, settings[i].key, self->sources[0].from.checkpoint);
    }
    return BE_OK;
}

/* Writing over the checkpoint itself would lose it. */
static be_status check_output(const import *self, const source *it)
{
    struct stat input, output;
    if (stat(it->from.checkpoint, &input) == 0 && stat(self->options->output, &output) == 0 &&
        input.st_dev == output.st_dev && input.st_ino == output.st_ino)
        return be_fail(self->error, BE_ERROR_ARGUMENT, "%s: is the checkpoint itself; name another output", self->options->output);
    return BE_OK;
}

/* --- reading -------------------------------------------------------------------------------------- */

static be_status open_source(import *self, source *it)
{
    be_status status = check_output(self, it);
    if (status == BE_OK)
        status = be_tensor_file_open(it->from.checkpoint, &it->file, self->error);
    if (status == BE_OK)
        status = be_checkpoint_read(it->file, &it->checkpoint, self->error);
    if (status == BE_OK)
        status = be_checkpoint_supported(&it->checkpoint, self->class_token, it->from.checkpoint, self->error);
    return status == BE_OK ? check_alike(self, it) : status;
}

/* One number a vertex out of an .npy file. */
static be_status read_scores(import *self, const char *path, be_hemisphere hemisphere, float *out)
{
    be_npy npy;
    size_t vertices = self->data.n_vertices[hemisphere];
    be_status status = be_npy_read(path, &npy, self->error);
    if (status != BE_OK)
        return status;
    if (npy.count != vertices || npy.n_dims > 2)
        status = be_fail(self->error, BE_ERROR_FORMAT, "%s: has %zu numbers for the %zu vertices of the %s hemisphere", path, npy.count,
                         vertices, be_hemisphere_name(hemisphere));
    else
        be_npy_to_f32(&npy, out);
    be_npy_free(&npy);
    return status;
}

static be_status read_all_scores(import *self, be_hemisphere hemisphere)
{
    size_t vertices = self->data.n_vertices[hemisphere];
    const char *ncsnr = self->options->ncsnr[hemisphere];
    void *memory;
    be_status status = BE_OK;
    for (size_t m = 1; m < self->n_sources; m++) {
        if (!self->sources[m].from.scores[hemisphere] != !self->sources[0].from.scores[hemisphere])
            return be_fail(self->error, BE_ERROR_ARGUMENT, "%s: some members have validation correlations of the %s hemisphere and some "
                           "have none", self->sources[m].from.checkpoint, be_hemisphere_name(hemisphere));
    }
    if (self->sources[0].from.scores[hemisphere]) {
        status = be_allocate(&memory, self->n_sources * vertices, sizeof(float), "scores", self->error);
        if (status == BE_OK)
            self->validation[hemisphere] = memory;
    }
    for (size_t m = 0; self->validation[hemisphere] && m < self->n_sources && status == BE_OK; m++)
        status = read_scores(self, self->sources[m].from.scores[hemisphere], hemisphere, self->validation[hemisphere] + m * vertices);
    if (status != BE_OK || !ncsnr)
        return status;
    status = be_allocate(&memory, vertices, sizeof(float), "scores", self->error);
    if (status != BE_OK)
        return status;
    self->ncsnr[hemisphere] = memory;
    return read_scores(self, ncsnr, hemisphere, memory);
}

static be_status list_sources(import *self)
{
    const be_import_options *options = self->options;
    void *memory;
    size_t count = options->checkpoint ? 1 : options->n_members;
    if (count == 0 || count > BE_MOST_MEMBERS)
        return be_fail(self->error, BE_ERROR_ARGUMENT, "an import needs from 1 to %d checkpoints, not %zu", BE_MOST_MEMBERS, count);
    be_status status = be_allocate(&memory, count, sizeof(source), "checkpoints", self->error);
    if (status != BE_OK)
        return status;
    self->sources = memory;
    self->n_sources = count;
    for (size_t m = 0; m < count; m++)
        self->sources[m].from = options->checkpoint ? (be_import_member){.checkpoint = options->checkpoint} : options->members[m];
    return BE_OK;
}

static be_status read_inputs(import *self)
{
    be_status status = read_choices(self);
    if (status == BE_OK)
        status = list_sources(self);
    for (size_t m = 0; m < self->n_sources && status == BE_OK; m++)
        status = open_source(self, &self->sources[m]);
    if (status == BE_OK)
        status = be_algonauts_read(self->options->data, be_readout_families(self->sources[0].checkpoint.readout_res), &self->data,
                                   self->error);
    for (size_t m = 0; m < self->n_sources && status == BE_OK; m++) {
        source *it = &self->sources[m];
        status = check_vertices(self, it);
        if (status == BE_OK)
            status = check_model(self, it);
        if (status == BE_OK)
            status = be_hash_file(it->from.checkpoint, it->hash, self->error);
    }
    for (int h = BE_LEFT; h < BE_HEMISPHERES && status == BE_OK; h++)
        status = read_all_scores(self, (be_hemisphere)h);
    return status;
}

/* --- tensors -------------------------------------------------------------------------------------- */

/* What the published program saves and never uses: MODEL section 4. */
static bool is_unused(const be_checkpoint *checkpoint, const char *name)
{
    bool decoder = strstr(name, "transformer.decoder.") != NULL;
    return strstr(name, ".memory_proj.") || (decoder && strstr(name, ".self_attn.")) ||
           (decoder && checkpoint->pre_norm && strstr(name, ".norm2.")) || strstr(name, ".c_attn.") || strstr(name, ".v_proj.");
}

/* The tensor's name in the subject file, behind the member's prefix; NULL when it is not wanted. */
static const char *wanted_name(const be_checkpoint *checkpoint, const char *name)
{
    static const char *const parts[] = {"transformer.", "query_embed.", "spatial_embed.", "lh_embed.", "rh_embed."};
    static const char *const tables[] = {"row_embed.weight", "col_embed.weight"};
    size_t prefix = strlen(BE_CHECKPOINT_PREFIX);
    if (strncmp(name, BE_CHECKPOINT_PREFIX, prefix) != 0 || is_unused(checkpoint, name))
        return NULL;
    const char *stem = name + prefix;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (strncmp(stem, parts[i], strlen(parts[i])) == 0)
            return stem;
    }
    bool convolution = strcmp(checkpoint->encoder_arch, "linear") == 0 && !strstr(checkpoint->backbone_arch, "_cls");
    if (strncmp(stem, "input_proj.", 11) == 0 && (checkpoint->input_projection || convolution))
        return stem;
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) { /* which the training program keeps inside its backbone */
        size_t length = strlen(stem), end = strlen(tables[i]);
        if (strcmp(checkpoint->position_embedding, "learned") == 0 && length > end && strcmp(stem + length - end, tables[i]) == 0)
            return tables[i];
    }
    return NULL;
}

/* Adds a tensor of a checkpoint, widened to float32, under its member's prefix. */
static be_status add_model_tensor(import *self, size_t number, const be_tensor *tensor, const char *stem)
{
    be_tensor_source *to = &self->tensors[self->n_tensors];
    void **owned = &self->owned[2 * self->n_tensors];
    char prefix[32];
    size_t size = (size_t)snprintf(prefix, sizeof prefix, BE_SUBJECT_MEMBER_PREFIX, number) + strlen(stem) + 1;
    be_status status = be_allocate(&owned[0], size, 1, "a tensor's name", self->error);
    if (status == BE_OK)
        status = be_allocate(&owned[1], tensor->count, sizeof(float), tensor->name, self->error);
    if (status != BE_OK)
        return status;
    snprintf(owned[0], size, "%s%s", prefix, stem);
    *to = (be_tensor_source){.name = owned[0], .dtype = BE_DTYPE_F32, .n_dims = tensor->n_dims, .data = owned[1]};
    memcpy(to->shape, tensor->shape, sizeof to->shape);
    self->n_tensors++;
    return be_tensor_file_read_f32(self->sources[number].file, tensor, owned[1], self->error);
}

static be_status add_model_tensors(import *self)
{
    size_t count = 0;
    void *tensors, *owned;
    for (size_t m = 0; m < self->n_sources; m++)
        count += be_tensor_file_count(self->sources[m].file);
    be_status status = be_allocate(&tensors, count + FIXED_TENSORS, sizeof(be_tensor_source), "a list of tensors", self->error);
    if (status != BE_OK)
        return status;
    self->tensors = tensors;
    status = be_allocate(&owned, 2 * count, sizeof(void *), "a list of tensors", self->error);
    if (status != BE_OK)
        return status;
    self->owned = owned;
    self->n_owned = 2 * count;
    for (size_t m = 0; m < self->n_sources; m++) {
        const source *from = &self->sources[m];
        for (size_t i = 0; i < be_tensor_file_count(from->file) && status == BE_OK; i++) {
            const be_tensor *tensor = be_tensor_file_at(from->file, i);
            const char *stem = wanted_name(&from->checkpoint, tensor->name);
            if (stem)
                status = add_model_tensor(self, m, tensor, stem);
        }
    }
    return status;
}

static void add_scores(import *self, const char *name, const float *scores, size_t rows, size_t vertices)
{
    if (scores)
        self->tensors[self->n_tensors++] = (be_tensor_source){
            .name = name, .dtype = BE_DTYPE_F32, .n_dims = 2, .shape = {rows, vertices}, .data = scores};
}

static be_status add_anatomy(import *self)
{
    static const char *const mask_names[] = {"masks.lh", "masks.rh"}, *const index_names[] = {"fsaverage.lh", "fsaverage.rh"};
    static const char *const validation_names[] = {"validation.lh", "validation.rh"}, *const ncsnr_names[] = {"ncsnr.lh", "ncsnr.rh"};
    const be_algonauts *data = &self->data;
    for (int h = BE_LEFT; h < BE_HEMISPHERES; h++) {
        void *masks;
        size_t rois = data->rois.count - 1, vertices = data->n_vertices[h];
        be_status status = be_allocate(&masks, rois, vertices, "ROI masks", self->error);
        if (status != BE_OK)
            return status;
        self->masks[h] = masks;
        be_vertices_to_masks(&data->rois, (be_hemisphere)h, masks, vertices);
        self->tensors[self->n_tensors++] = (be_tensor_source){
            .name = mask_names[h], .dtype = BE_DTYPE_U8, .n_dims = 2, .shape = {rois, vertices}, .data = masks};
        self->tensors[self->n_tensors++] = (be_tensor_source){
            .name = index_names[h], .dtype = BE_DTYPE_I32, .n_dims = 1, .shape = {vertices}, .data = data->fsaverage[h]};
        add_scores(self, validation_names[h], self->validation[h], self->n_sources, vertices);
        add_scores(self, ncsnr_names[h], self->ncsnr[h], 1, vertices);
    }
    return BE_OK;
}

/* --- metadata ------------------------------------------------------------------------------------- */

/* The arguments worth keeping: every number and flag, and of the texts those that are settings. Paths, user names and the
 * names of logging accounts are texts, and so are left out. */
static void add_training(be_json *json, cJSON *member, const be_value *args)
{
    static const char *const texts[] = {"backbone_arch", "encoder_arch", "readout_res", "position_embedding", "objective",
                                        "dataset", "subj"};
    cJSON *training = be_json_object(json, member, "training");
    for (size_t i = 0; args->kind == BE_VALUE_DICT && i < args->as.dict.count; i++) {
        const char *key, *text;
        const be_value *value = args->as.dict.pairs[i].value;
        double number;
        bool flag;
        if (!be_value_text(args->as.dict.pairs[i].key, &key) || cJSON_GetObjectItemCaseSensitive(training, key))
            continue;
        if (be_value_boolean(value, &flag))
            be_json_flag(json, training, key, flag);
        else if (be_value_number(value, &number))
            be_json_number(json, training, key, number);
        for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) {
            if (strcmp(key, texts[t]) == 0 && be_value_text(value, &text) && !strchr(text, '/') && strlen(text) < 64)
                be_json_text(json, training, key, text);
        }
    }
}

static void add_rois(be_json *json, const be_roi_set *set)
{
    cJSON *list = be_json_array(json, json->root, "rois");
    for (size_t i = 0; i + 1 < set->count; i++) {
        cJSON *roi = be_json_object(json, list, NULL);
        be_json_text(json, roi, "name", set->rois[i].name);
        be_json_text(json, roi, "family", set->rois[i].family);
    }
}

static void add_member(be_json *json, cJSON *list, const source *from)
{
    const be_checkpoint *checkpoint = &from->checkpoint;
    cJSON *member = be_json_object(json, list, NULL);
    be_json_number(json, member, "layer", (double)checkpoint->enc_output_layer);
    be_json_number(json, member, "run", (double)checkpoint->run);
    cJSON *origin = be_json_object(json, member, "source");
    be_json_text(json, origin, "sha256", from->hash);
    be_json_text(json, origin, "format", be_tensor_format_name(be_tensor_file_format(from->file)));
    if (checkpoint->has_validation)
        be_json_number(json, member, "validation", checkpoint->validation);
    else
        be_json_null(json, member, "validation");
    add_training(json, member, be_value_get(be_tensor_file_root(from->file), "args"));
}

static void add_settings(be_json *json, const be_checkpoint *checkpoint)
{
    be_encoder_settings settings = be_checkpoint_settings(checkpoint);
    cJSON *to = be_json_object(json, json->root, "settings");
    const struct { const char *key; size_t value; } sizes[] = {
        {"width", settings.width}, {"queries", settings.queries}, {"heads", settings.heads}, {"enc_layers", settings.enc_layers},
        {"dec_layers", settings.dec_layers}, {"stride", settings.stride},
    };
    const struct { const char *key; bool value; } flags[] = {
        {"pre_norm", settings.pre_norm}, {"learned_position", settings.learned_position}, {"class_token", settings.class_token},
        {"input_projection", settings.input_projection},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        be_json_number(json, to, sizes[i].key, (double)sizes[i].value);
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        be_json_flag(json, to, flags[i].key, flags[i].value);
}

static const char *subject_name(const import *self)
{
    if (self->options->name)
        return self->options->name;
    return *self->sources[0].checkpoint.subject ? self->sources[0].checkpoint.subject : "subject";
}

static be_status make_metadata(import *self)
{
    const be_checkpoint *checkpoint = &self->sources[0].checkpoint;
    char features[BE_CHECKPOINT_TEXT_SIZE];
    be_checkpoint_features(checkpoint, self->class_token, features);
    be_json json = be_json_begin();
    be_json_number(&json, json.root, "format", BE_SUBJECT_FORMAT);
    be_json_text(&json, json.root, "subject", subject_name(self));
    be_json_flag(&json, json.root, "demo", self->options->demo);
    be_json_text(&json, json.root, "units", BE_SUBJECT_UNITS);
    be_json_text(&json, json.root, "terms", BE_SUBJECT_TERMS);
    be_json_text(&json, json.root, "features", features);
    be_json_number(&json, json.root, "channels", (double)checkpoint->channels);
    if (checkpoint->image_size)
        be_json_number(&json, json.root, "image_size", (double)checkpoint->image_size);
    else
        be_json_null(&json, json.root, "image_size");
    be_json_flag(&json, json.root, "dilation", checkpoint->dilation);
    be_json_text(&json, json.root, "encoder", checkpoint->encoder_arch);
    be_json_text(&json, json.root, "readout", checkpoint->readout_res);
    if (self->streams_order != BE_STREAMS_UNKNOWN)
        be_json_text(&json, json.root, "streams_order", be_streams_order_name(self->streams_order));
    be_json_text(&json, json.root, "unverified", self->unverified);
    add_settings(&json, checkpoint);
    add_rois(&json, &self->data.rois);
    cJSON *surface = be_json_object(&json, json.root, "fsaverage");
    for (int h = BE_LEFT; h < BE_HEMISPHERES; h++)
        be_json_number(&json, surface, be_hemisphere_name((be_hemisphere)h), (double)self->data.n_fsaverage[h]);
    cJSON *members = be_json_array(&json, json.root, "members");
    for (size_t m = 0; m < self->n_sources; m++)
        add_member(&json, members, &self->sources[m]);
    return be_json_print(&json, &self->metadata, self->error);
}

/* --- writing -------------------------------------------------------------------------------------- */

/* Writes under a temporary name, opens the result as a check, and only then gives it its own. */
static be_status write_checked(const import *self)
{
    be_text_pair metadata[] = {{"format", "pt"}, {BE_SUBJECT_METADATA_KEY, self->metadata}};
    be_atomic_file *file;
    be_subject *subject;
    be_status status = be_atomic_file_create(self->options->output, &file, self->error);
    if (status != BE_OK)
        return status;
    const char *path = be_atomic_file_temporary(file);
    status = be_safetensors_write(path, self->tensors, self->n_tensors, metadata, 2, self->error);
    if (status == BE_OK)
        status = be_subject_open(path, &subject, self->error);
    if (status != BE_OK) {
        be_atomic_file_discard(file);
        return status;
    }
    be_subject_close(subject);
    return be_atomic_file_commit(file, self->error);
}

static void clean_up(import *self)
{
    for (size_t i = 0; i < self->n_owned; i++)
        free(self->owned[i]);
    for (size_t m = 0; m < self->n_sources; m++)
        be_tensor_file_close(self->sources[m].file);
    for (int h = BE_LEFT; h < BE_HEMISPHERES; h++) {
        free(self->masks[h]);
        free(self->validation[h]);
        free(self->ncsnr[h]);
    }
    free(self->sources);
    free(self->owned);
    free(self->tensors);
    free(self->metadata);
    be_algonauts_free(&self->data);
}

be_status be_subject_import(const be_import_options *options, be_error *error)
{
    import self = {.options = options, .error = error};
    be_status status = read_inputs(&self);
    if (status == BE_OK)
        status = add_model_tensors(&self);
    if (status == BE_OK)
        status = add_anatomy(&self);
    if (status == BE_OK)
        status = make_metadata(&self);
    if (status == BE_OK)
        status = write_checked(&self);
    clean_up(&self);
    return status;
}
