#include "core/subject/import_job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/files/dtype.h"
#include "core/subject/masks.h"
#include "core/subject/subject_format.h"

enum { FIXED_TENSORS = 8 };

/* --- names ---------------------------------------------------------------------------------------- */

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

/* --- the model ------------------------------------------------------------------------------------ */

/* Queries, and tables by position or query, are what everything else is computed from and take little room: they stay whole. */
static bool may_be_narrowed(const be_tensor *tensor, const char *stem)
{
    static const char *const tables[] = {"query_embed.", "spatial_embed.", "row_embed.", "col_embed."};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        if (strncmp(stem, tables[i], strlen(tables[i])) == 0)
            return false;
    }
    return tensor->n_dims >= 2;
}

static be_status read_narrowed(const be_import_tensor *it, uint16_t *out, be_error *error)
{
    void *whole;
    be_status status = be_allocate_aligned(&whole, it->tensor->count, sizeof(float), it->tensor->name, error);
    if (status != BE_OK)
        return status;
    status = be_tensor_file_read_f32(it->file, it->tensor, whole, error);
    if (status == BE_OK)
        be_f32_to_bf16(whole, it->tensor->count, out);
    free(whole);
    return status;
}

be_status be_import_read_tensor(void *job, size_t index, void *out, be_error *error)
{
    const be_import_tensor *it = &((const be_import_job *)job)->model_tensors[index];
    be_status status = it->narrowed ? read_narrowed(it, out, error) : be_tensor_file_read_f32(it->file, it->tensor, out, error);
    be_tensor_file_forget(it->file);
    return status;
}

/* Adds a tensor of a checkpoint under its member's prefix. */
static be_status add_model_tensor(be_import_job *self, size_t number, const be_tensor *tensor, const char *stem)
{
    be_import_tensor *it = &self->model_tensors[self->n_model_tensors];
    char prefix[32];
    void *name;
    size_t size = (size_t)snprintf(prefix, sizeof prefix, BE_SUBJECT_MEMBER_PREFIX, number) + strlen(stem) + 1;
    be_status status = be_allocate(&name, size, 1, "a tensor's name", self->error);
    if (status != BE_OK)
        return status;
    snprintf(name, size, "%s%s", prefix, stem);
    *it = (be_import_tensor){self->sources[number].file, tensor, name, self->narrowed && may_be_narrowed(tensor, stem)};
    self->n_model_tensors++;
    be_tensor_source *to = &self->tensors[self->n_tensors++];
    *to = (be_tensor_source){.name = name, .dtype = it->narrowed ? BE_DTYPE_BF16 : BE_DTYPE_F32, .n_dims = tensor->n_dims};
    memcpy(to->shape, tensor->shape, sizeof to->shape);
    return BE_OK;
}

static be_status make_lists(be_import_job *self)
{
    size_t count = 0;
    void *memory;
    for (size_t m = 0; m < self->n_sources; m++)
        count += be_tensor_file_count(self->sources[m].file);
    be_status status = be_allocate(&memory, count + FIXED_TENSORS, sizeof(be_tensor_source), "a list of tensors", self->error);
    if (status != BE_OK)
        return status;
    self->tensors = memory;
    status = be_allocate(&memory, count, sizeof(be_import_tensor), "a list of tensors", self->error);
    if (status == BE_OK)
        self->model_tensors = memory;
    return status;
}

static be_status add_model_tensors(be_import_job *self)
{
    be_status status = make_lists(self);
    for (size_t m = 0; m < self->n_sources && status == BE_OK; m++) {
        const be_import_source *from = &self->sources[m];
        for (size_t i = 0; i < be_tensor_file_count(from->file) && status == BE_OK; i++) {
            const be_tensor *tensor = be_tensor_file_at(from->file, i);
            const char *stem = wanted_name(&from->checkpoint, tensor->name);
            if (stem)
                status = add_model_tensor(self, m, tensor, stem);
        }
    }
    return status;
}

/* --- the rest ------------------------------------------------------------------------------------- */

static void add_scores(be_import_job *self, const char *name, const float *scores, size_t rows, size_t vertices)
{
    if (scores)
        self->tensors[self->n_tensors++] = (be_tensor_source){
            .name = name, .dtype = BE_DTYPE_F32, .n_dims = 2, .shape = {rows, vertices}, .data = scores};
}

static be_status add_anatomy(be_import_job *self)
{
    static const char *const mask_names[] = {"masks.lh", "masks.rh"}, *const index_names[] = {"fsaverage.lh", "fsaverage.rh"};
    static const char *const validation_names[] = {"validation.lh", "validation.rh"};
    static const char *const ncsnr_names[] = {"ncsnr.lh", "ncsnr.rh"};
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

be_status be_import_tensors(be_import_job *self)
{
    be_status status = add_model_tensors(self);
    return status == BE_OK ? add_anatomy(self) : status;
}
