#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/memory.h"
#include "core/files/atomic_file.h"
#include "core/files/json.h"
#include "core/files/tensor_file.h"
#include "core/subject/algonauts.h"
#include "core/subject/checkpoint.h"
#include "core/subject/masks.h"
#include "core/subject/subject.h"
#include "core/subject/subject_format.h"

enum { GOLDEN_HEADS = 16, FIXED_TENSORS = 4 };

/* Everything an import holds while it works. */
typedef struct import {
    const be_import_options *options;
    be_error *error;
    be_tensor_file *file;
    be_checkpoint checkpoint;
    be_algonauts data;
    char source_hash[BE_HASH_SIZE];
    be_tensor_source *tensors; /* what will be written */
    size_t n_tensors;
    void **owned;              /* [n_owned]: names and values to free; entries may be NULL */
    size_t n_owned;
    uint8_t *masks[BE_HEMISPHERES];
    char *metadata;
} import;

/* --- checks --------------------------------------------------------------------------------------- */

static be_status check_fit(const import *self)
{
    const be_checkpoint *checkpoint = &self->checkpoint;
    const be_algonauts *data = &self->data;
    for (int h = BE_LEFT; h < BE_HEMISPHERES; h++) {
        if (checkpoint->n_vertices[h] != data->n_vertices[h])
            return be_fail(self->error, BE_ERROR_FORMAT, "%s: tensor 'model.%s_embed.0.weight' is for %zu vertices, %s has %zu",
                           self->options->checkpoint, be_hemisphere_name((be_hemisphere)h), checkpoint->n_vertices[h],
                           self->options->data, data->n_vertices[h]);
    }
    if (checkpoint->queries != 2 * data->rois.count)
        return be_fail(self->error, BE_ERROR_FORMAT,
                       "%s: query_embed has %zu rows; the %zu ROIs of %s and the rest need %zu, one a hemisphere",
                       self->options->checkpoint, checkpoint->queries, data->rois.count - 1, self->options->data,
                       2 * data->rois.count);
    return BE_OK;
}

/* Loads the encoder and readout as they stand in the checkpoint, so that what is missing is named as it is called there. */
static be_status check_model(const import *self)
{
    const be_checkpoint *checkpoint = &self->checkpoint;
    be_encoder_settings settings = {.channels = checkpoint->hidden_dim, .queries = checkpoint->queries,
                                    .heads = checkpoint->nheads};
    be_transformer *encoder = NULL;
    be_readout *readout = NULL;
    be_readout_lists lists = {0};
    be_status status = be_transformer_load(self->file, BE_CHECKPOINT_PREFIX, &settings, &encoder, self->error);
    if (status == BE_OK)
        status = be_masks_to_lists(&self->data.rois, self->data.n_vertices, &lists, self->error);
    if (status == BE_OK)
        status = be_readout_load(self->file, BE_CHECKPOINT_PREFIX, checkpoint->hidden_dim, self->data.n_vertices[BE_LEFT],
                                 self->data.n_vertices[BE_RIGHT], &lists, &readout, self->error);
    free(lists.start);
    free(lists.queries);
    be_readout_free(readout);
    be_transformer_free(encoder);
    return status;
}

/* Writing over the checkpoint itself would lose it. */
static be_status check_output(const import *self)
{
    struct stat input, output;
    if (stat(self->options->checkpoint, &input) == 0 && stat(self->options->output, &output) == 0 &&
        input.st_dev == output.st_dev && input.st_ino == output.st_ino)
        return be_fail(self->error, BE_ERROR_ARGUMENT, "%s: is the checkpoint itself; name another output", self->options->output);
    return BE_OK;
}

static be_status read_inputs(import *self)
{
    const be_import_options *options = self->options;
    if (options->name && !be_name_is_plain(options->name))
        return be_fail(self->error, BE_ERROR_ARGUMENT, "name: '%.80s' is no name for a subject (1 to %d printable bytes, no comma)", options->name,
                       BE_SUBJECT_NAME_SIZE - 1);
    be_status status = check_output(self);
    if (status == BE_OK)
        status = be_tensor_file_open(options->checkpoint, &self->file, self->error);
    if (status == BE_OK)
        status = be_checkpoint_read(self->file, &self->checkpoint, self->error);
    if (status == BE_OK)
        status = be_checkpoint_supported(&self->checkpoint, options->checkpoint, self->error);
    if (status == BE_OK)
        status = be_algonauts_read(options->data, &self->data, self->error);
    if (status == BE_OK)
        status = check_fit(self);
    if (status == BE_OK)
        status = check_model(self);
    return status == BE_OK ? be_hash_file(options->checkpoint, self->source_hash, self->error) : status;
}

/* --- tensors -------------------------------------------------------------------------------------- */

/* What the published program saves and never uses: MODEL section 4. */
static bool is_unused(const char *name)
{
    return strstr(name, ".self_attn.") || strstr(name, ".norm2.") || strstr(name, ".memory_proj.");
}

static bool is_wanted(const be_tensor *tensor)
{
    static const char *const parts[] = {"transformer.", "query_embed.", "lh_embed.", "rh_embed."};
    size_t prefix = strlen(BE_CHECKPOINT_PREFIX);
    if (strncmp(tensor->name, BE_CHECKPOINT_PREFIX, prefix) != 0 || is_unused(tensor->name))
        return false;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (strncmp(tensor->name + prefix, parts[i], strlen(parts[i])) == 0)
            return true;
    }
    return false;
}

/* Adds a tensor of the checkpoint, widened to float32, under the member's prefix. */
static be_status add_model_tensor(import *self, const be_tensor *tensor)
{
    be_tensor_source *to = &self->tensors[self->n_tensors];
    void **owned = &self->owned[2 * self->n_tensors];
    const char *stem = tensor->name + strlen(BE_CHECKPOINT_PREFIX);
    size_t size = strlen(BE_SUBJECT_MEMBER_PREFIX) + strlen(stem) + 1;
    be_status status = be_allocate(&owned[0], size, 1, "a tensor's name", self->error);
    if (status == BE_OK)
        status = be_allocate(&owned[1], tensor->count, sizeof(float), tensor->name, self->error);
    if (status != BE_OK)
        return status;
    snprintf(owned[0], size, "%s%s", BE_SUBJECT_MEMBER_PREFIX, stem);
    *to = (be_tensor_source){.name = owned[0], .dtype = BE_DTYPE_F32, .n_dims = tensor->n_dims, .data = owned[1]};
    memcpy(to->shape, tensor->shape, sizeof to->shape);
    self->n_tensors++;
    return be_tensor_file_read_f32(self->file, tensor, owned[1], self->error);
}

static be_status add_model_tensors(import *self)
{
    size_t count = be_tensor_file_count(self->file);
    void *tensors, *owned;
    be_status status = be_allocate(&tensors, count + FIXED_TENSORS, sizeof(be_tensor_source), "a list of tensors", self->error);
    if (status != BE_OK)
        return status;
    self->tensors = tensors;
    status = be_allocate(&owned, 2 * count, sizeof(void *), "a list of tensors", self->error);
    if (status != BE_OK)
        return status;
    self->owned = owned;
    self->n_owned = 2 * count;
    for (size_t i = 0; i < count && status == BE_OK; i++) {
        if (is_wanted(be_tensor_file_at(self->file, i)))
            status = add_model_tensor(self, be_tensor_file_at(self->file, i));
    }
    return status;
}

static be_status add_anatomy(import *self)
{
    static const char *const mask_names[] = {"masks.lh", "masks.rh"}, *const index_names[] = {"fsaverage.lh", "fsaverage.rh"};
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

static void add_member(const import *self, be_json *json)
{
    const be_checkpoint *checkpoint = &self->checkpoint;
    cJSON *member = be_json_object(json, be_json_array(json, json->root, "members"), NULL);
    be_json_number(json, member, "layer", (double)checkpoint->enc_output_layer);
    be_json_number(json, member, "heads", (double)checkpoint->nheads);
    cJSON *source = be_json_object(json, member, "source");
    be_json_text(json, source, "sha256", self->source_hash);
    be_json_text(json, source, "format", be_tensor_format_name(be_tensor_file_format(self->file)));
    if (checkpoint->has_validation)
        be_json_number(json, member, "validation", checkpoint->validation);
    else
        be_json_null(json, member, "validation");
    add_training(json, member, be_value_get(be_tensor_file_root(self->file), "args"));
}

static const char *subject_name(const import *self)
{
    if (self->options->name)
        return self->options->name;
    return *self->checkpoint.subject ? self->checkpoint.subject : "subject";
}

static be_status make_metadata(import *self)
{
    const be_checkpoint *checkpoint = &self->checkpoint;
    char unverified[96] = "";
    if (checkpoint->nheads != GOLDEN_HEADS)
        snprintf(unverified, sizeof unverified, "no golden case covers nheads %zu", checkpoint->nheads);
    be_json json = be_json_begin();
    be_json_number(&json, json.root, "format", BE_SUBJECT_FORMAT);
    be_json_text(&json, json.root, "subject", subject_name(self));
    be_json_flag(&json, json.root, "demo", self->options->demo);
    be_json_text(&json, json.root, "units", BE_SUBJECT_UNITS);
    be_json_text(&json, json.root, "terms", BE_SUBJECT_TERMS);
    be_json_text(&json, json.root, "features", checkpoint->backbone_arch);
    be_json_number(&json, json.root, "channels", (double)checkpoint->hidden_dim);
    if (checkpoint->image_size)
        be_json_number(&json, json.root, "image_size", (double)checkpoint->image_size);
    else
        be_json_null(&json, json.root, "image_size");
    be_json_text(&json, json.root, "encoder", checkpoint->encoder_arch);
    be_json_text(&json, json.root, "readout", checkpoint->readout_res);
    be_json_text(&json, json.root, "unverified", unverified);
    add_rois(&json, &self->data.rois);
    cJSON *surface = be_json_object(&json, json.root, "fsaverage");
    for (int h = BE_LEFT; h < BE_HEMISPHERES; h++)
        be_json_number(&json, surface, be_hemisphere_name((be_hemisphere)h), (double)self->data.n_fsaverage[h]);
    add_member(self, &json);
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
    free(self->owned);
    free(self->tensors);
    free(self->masks[BE_LEFT]);
    free(self->masks[BE_RIGHT]);
    free(self->metadata);
    be_algonauts_free(&self->data);
    be_tensor_file_close(self->file);
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
