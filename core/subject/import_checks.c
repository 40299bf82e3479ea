#include "core/subject/import_job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/subject/folder_names.h"

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

static be_status check_queries(const be_import_job *self, const be_import_source *it, const be_readout_plan *plan)
{
    const be_checkpoint *checkpoint = &it->checkpoint;
    be_queried_rois queried = be_readout_queried_rois(checkpoint->readout_res, checkpoint->encoder_arch);
    if (plan->queries == checkpoint->queries)
        return BE_OK;
    if (queried == BE_QUERIED_ANY)
        return be_fail(self->error, BE_ERROR_FORMAT,
                       "%s: the model has %zu queries; readout_res %s needs %zu: one a hemisphere for each of "
                       "the %zu ROIs of %s and for the rest", it->from.checkpoint, checkpoint->queries, checkpoint->readout_res,
                       plan->queries, self->data.rois.count - 1, self->rois_from);
    return be_fail(self->error, BE_ERROR_FORMAT, "%s: the model has %zu queries; readout_res %s needs %zu: %s", it->from.checkpoint,
                   checkpoint->queries, checkpoint->readout_res, plan->queries,
                   plan->by_vertex ? "one a vertex" : queried == BE_QUERIED_OWN ? "8 a hemisphere" : "one a hemisphere");
}

/* What the checkpoint computes against the data. */
static be_status check_model(be_import_job *self, const be_import_source *it)
{
    const be_checkpoint *checkpoint = &it->checkpoint;
    const be_algonauts *data = &self->data;
    be_encoder *encoder = NULL;
    be_readout *readout = NULL;
    be_readout_plan plan = {0};
    be_readout_lists lists = {0};
    be_status status = be_readout_plan_make(checkpoint->readout_res, checkpoint->encoder_arch, self->streams_order, &data->rois,
                                            data->n_vertices, it->from.checkpoint, &plan, self->error);
    if (status == BE_OK)
        status = check_queries(self, it, &plan);
    if (status == BE_OK)
        status = be_readout_plan_lists(&plan, &data->rois, data->n_vertices, &lists, self->error);
    if (status == BE_OK)
        status = be_checkpoint_load(it->file, checkpoint, plan.by_vertex ? NULL : &lists, &encoder, &readout, self->error);
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
        {"backbone_arch", strcmp(a->backbone_arch, b->backbone_arch) == 0},
        {"encoder_arch", strcmp(a->encoder_arch, b->encoder_arch) == 0},
        {"readout_res", strcmp(a->readout_res, b->readout_res) == 0}, {"subj", strcmp(a->subject, b->subject) == 0},
        {"position_embedding", strcmp(a->position_embedding, b->position_embedding) == 0},
        {"enc_layers", a->enc_layers == b->enc_layers}, {"dec_layers", a->dec_layers == b->dec_layers},
        {"hidden_dim", a->hidden_dim == b->hidden_dim}, {"nheads", a->nheads == b->nheads},
        {"pre_norm", a->pre_norm == b->pre_norm},
        {"image_size", a->image_size == b->image_size}, {"dilation", a->dilation == b->dilation},
    };
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        if (!settings[i].same)
            return be_fail(self->error, BE_ERROR_FORMAT,
                           "%s: its %s is not that of %s: members of an ensemble differ in layer and run alone",
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

/* Its folders say the layer and run too. A checkpoint without args.run takes the folder's. */
static be_status check_place(const be_import_job *self, be_import_source *it)
{
    be_checkpoint *checkpoint = &it->checkpoint;
    if (!it->from.placed)
        return BE_OK;
    if (checkpoint->enc_output_layer != it->from.layer)
        return be_fail(self->error, BE_ERROR_FORMAT, "%s: lies in a folder enc_%zu, its args.enc_output_layer is %zu",
                       it->from.checkpoint, it->from.layer, checkpoint->enc_output_layer);
    if (checkpoint->run != 0 && checkpoint->run != it->from.run)
        return be_fail(self->error, BE_ERROR_FORMAT, "%s: lies in a folder run_%zu, its args.run is %zu", it->from.checkpoint,
                       it->from.run, checkpoint->run);
    checkpoint->run = it->from.run;
    return BE_OK;
}

/* Most subjects of NSD have as many vertices as each other: only the names tell whose masks these are. */
static be_status check_subject(const be_import_job *self, const be_import_source *it)
{
    size_t trained, given;
    if (!be_subject_number(it->checkpoint.subject, &trained) || !be_subject_number(self->options->data, &given) || trained == given)
        return BE_OK;
    return be_fail(self->error, BE_ERROR_FORMAT, "%s: was trained on subject %zu, by its name %s is subject %zu's",
                   it->from.checkpoint, trained, self->options->data, given);
}

be_status be_import_check_source(be_import_job *self, be_import_source *it)
{
    be_status status = check_output(self, it);
    if (status == BE_OK)
        status = check_alike(self, it);
    if (status == BE_OK)
        status = check_place(self, it);
    return status == BE_OK ? check_subject(self, it) : status;
}

be_status be_import_check_model(be_import_job *self, const be_import_source *it)
{
    be_status status = check_vertices(self, it);
    return status == BE_OK ? check_model(self, it) : status;
}
