#include "core/subject/import_job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/memory.h"

/* --- checks --------------------------------------------------------------------------------------- */

/* What only the checkpoint's owner knows. */
static be_status read_choices(be_import_job *self)
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

static be_status check_vertices(const be_import_job *self, const be_import_source *it)
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
static be_status check_model(be_import_job *self, const be_import_source *it)
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
static be_status check_alike(const be_import_job *self, const be_import_source *it)
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
static be_status check_output(const be_import_job *self, const be_import_source *it)
{
    struct stat input, output;
    if (stat(it->from.checkpoint, &input) == 0 && stat(self->options->output, &output) == 0 &&
        input.st_dev == output.st_dev && input.st_ino == output.st_ino)
        return be_fail(self->error, BE_ERROR_ARGUMENT, "%s: is the checkpoint itself; name another output", self->options->output);
    return BE_OK;
}

/* --- reading -------------------------------------------------------------------------------------- */

static be_status open_source(be_import_job *self, be_import_source *it)
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


static be_status list_sources(be_import_job *self)
{
    const be_import_options *options = self->options;
    void *memory;
    size_t count = options->checkpoint ? 1 : options->n_members;
    if (count == 0 || count > BE_MOST_MEMBERS)
        return be_fail(self->error, BE_ERROR_ARGUMENT, "an import needs from 1 to %d checkpoints, not %zu", BE_MOST_MEMBERS, count);
    be_status status = be_allocate(&memory, count, sizeof(be_import_source), "checkpoints", self->error);
    if (status != BE_OK)
        return status;
    self->sources = memory;
    self->n_sources = count;
    for (size_t m = 0; m < count; m++)
        self->sources[m].from = options->checkpoint ? (be_import_member){.checkpoint = options->checkpoint} : options->members[m];
    return BE_OK;
}

be_status be_import_sources(be_import_job *self)
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
        be_import_source *it = &self->sources[m];
        status = check_vertices(self, it);
        if (status == BE_OK)
            status = be_tensor_file_hash(it->file, it->hash, self->error);
        if (status == BE_OK)
            status = check_model(self, it);
        be_tensor_file_forget(it->file);
    }
    return status;
}
