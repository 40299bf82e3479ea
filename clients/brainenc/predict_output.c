#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/brainenc/predict.h"
#include "core/files/atomic_file.h"

const be_subject_info *predict_subject(const predict_job *self, size_t subject)
{
    return be_subject_get_info(be_model_subject(self->engine.model, subject));
}

static void add_row(const predict_job *self, be_text *text, const be_output *output)
{
    for (int h = BE_LEFT; h < BE_HEMISPHERES; h++) {
        const float *values = output->vertices + (h == BE_LEFT ? 0 : predict_subject(self, 0)->n_vertices[BE_LEFT]);
        for (size_t i = 0; i < self->n_columns[h]; i++)
            be_text_add_bytes(text, (const char *)&values[self->columns[h][i]], sizeof *values);
    }
}

static void add_empty_row(const predict_job *self, be_text *text)
{
    static const unsigned char not_a_number[4] = {0, 0, 0xc0, 0x7f};
    for (size_t i = 0; i < self->n_columns[BE_LEFT] + self->n_columns[BE_RIGHT]; i++)
        be_text_add_bytes(text, (const char *)not_a_number, sizeof not_a_number);
}

static be_status add_json(predict_job *self, be_text *text, size_t subject, const picture *from, const be_output *output,
                          const be_timing *timing, be_error *error)
{
    const predict_request *ask = self->ask;
    be_answer_options options = {.vertices = strcmp(ask->what, "rois") != 0, .rois = strcmp(ask->what, "vertices") != 0,
                                 .only = ask->rois ? &self->only[subject] : NULL,
                                 .attention = ask->attention ? &self->attention[subject] : NULL};
    be_answer_timing times = {.decode = from->decode_ms, .backbone = 1e3 * timing->backbone,
                              .encoder = 1e3 * timing->encoder};
    times.total = times.decode + times.backbone + times.encoder;
    if (self->written++ > 0)
        be_text_add(text, ",\n");
    char *prediction;
    be_status status = be_answer_prediction(self->engine.model, subject, &from->about, output, &options, &times, &prediction,
                                            error);
    if (status != BE_OK)
        return status;
    be_text_add(text, prediction);
    free(prediction);
    return BE_OK;
}

static void add_cell(be_text *text, const be_roi *roi, be_hemisphere hemisphere, const float *values)
{
    double sum = 0;
    for (size_t i = 0; i < roi->n_vertices[hemisphere]; i++)
        sum += values[roi->vertices[hemisphere][i]];
    if (roi->n_vertices[hemisphere] == 0)
        be_text_add_format(text, "  %9s %6s", "-", "0");
    else
        be_text_add_format(text, "  %9.4f %6zu", sum / (double)roi->n_vertices[hemisphere], roi->n_vertices[hemisphere]);
}

static void add_table(const predict_job *self, be_text *text, size_t subject, const picture *from, const be_output *output)
{
    const be_subject_info *info = predict_subject(self, subject);
    be_text_add(text, from->about.name);
    be_text_add_format(text, "  (%s%s)\n  %-12s  %9s %6s  %9s %6s\n", info->name, info->demo ? ", demo: random weights" : "",
                       "ROI", "lh mean", "n", "rh mean", "n");
    if (*info->unverified || *be_model_backbone(self->engine.model)->unverified) {
        be_text_add(text, "  unverified: ");
        be_text_add(text, *info->unverified ? info->unverified : be_model_backbone(self->engine.model)->unverified);
        be_text_add(text, "\n");
    }
    for (size_t r = 0; r < info->rois.count; r++) {
        const be_roi_selection *only = &self->only[subject];
        bool wanted = only->count == 0;
        for (size_t g = 0; g < only->count; g++) {
            for (size_t m = 0; m < only->groups[g].n_members; m++)
                wanted |= only->groups[g].members[m] == r;
        }
        if (!wanted)
            continue;
        be_text_add_format(text, "  %-12s", info->rois.rois[r].name);
        add_cell(text, &info->rois.rois[r], BE_LEFT, output->vertices);
        add_cell(text, &info->rois.rois[r], BE_RIGHT, output->vertices + info->n_vertices[BE_LEFT]);
        be_text_add(text, "\n");
    }
}

be_status predict_add_picture(predict_job *self, be_text *text, const picture *from, const be_output *outputs,
                             const be_timing *timing, be_error *error)
{
    be_status status = BE_OK;
    for (size_t s = 0; s < self->n_subjects && status == BE_OK; s++) {
        if (self->ask->kind == KIND_NPY)
            add_row(self, text, &outputs[s]);
        else if (self->ask->kind == KIND_JSON)
            status = add_json(self, text, s, from, &outputs[s], timing, error);
        else
            add_table(self, text, s, from, &outputs[s]);
    }
    return status;
}

be_status predict_note_failure(predict_job *self, be_text *text, const picture *from, be_error *error)
{
    if (!self->ask->skip_broken)
        return be_fail(error, from->status, "%s", from->error.message);
    progress_break(&self->bar);
    fprintf(stderr, "brainenc: %s\n", from->error.message);
    if (self->ask->kind == KIND_NPY)
        add_empty_row(self, text);
    return failure_list_add(&self->failures, from->about.name, from->error.message, error);
}

be_status predict_write_description(const predict_job *self, be_error *error)
{
    const be_subject_info *info = predict_subject(self, 0);
    char path[4096], *text;
    if (snprintf(path, sizeof path, "%s.json", self->ask->output) >= (int)sizeof path)
        return be_fail(error, BE_ERROR_ARGUMENT, "-o: the path is too long");
    be_json json = be_json_begin();
    be_json_text(&json, json.root, "subject", info->name);
    be_json_flag(&json, json.root, "demo", info->demo);
    be_json_text(&json, json.root, "weights", info->weights_hash);
    be_json_text(&json, json.root, "units", info->units);
    be_json_text(&json, json.root, "unverified", info->unverified);
    be_json_text(&json, json.root, "backbone_unverified", be_model_backbone(self->engine.model)->unverified);
    be_json_text(&json, json.root, "fit", be_fit_name(self->ask->compute.fit));
    cJSON *columns = be_json_object(&json, json.root, "columns");
    for (int h = BE_LEFT; h < BE_HEMISPHERES; h++)
        be_json_number(&json, columns, be_hemisphere_name((be_hemisphere)h), (double)self->n_columns[h]);
    for (int h = BE_LEFT; h < BE_HEMISPHERES && self->ask->rois; h++) {
        cJSON *list = be_json_array(&json, json.root, h == BE_LEFT ? "lh_indices" : "rh_indices");
        for (size_t i = 0; i < self->n_columns[h]; i++)
            be_json_number(&json, list, NULL, self->columns[h][i]);
    }
    failure_list_write(&self->failures, self->failures.count, &json);
    cJSON *rows = be_json_array(&json, json.root, "rows");
    for (size_t i = 0; i < self->ask->images.count; i++)
        be_json_text(&json, rows, NULL, self->ask->images.paths[i]);
    be_status status = be_json_print(&json, &text, error);
    if (status != BE_OK)
        return status;
    status = be_atomic_file_save(path, text, strlen(text), error);
    free(text);
    return status;
}

be_status predict_make_tail(const predict_job *self, be_text *tail, be_error *error)
{
    be_text_add(tail, "\n]");
    if (self->failures.count > 0) {
        char *text;
        be_json json = be_json_begin();
        failure_list_write(&self->failures, self->failures.count, &json);
        be_status status = be_json_print(&json, &text, error);
        if (status != BE_OK)
            return status;
        be_text_add(tail, ",");
        be_text_add_bytes(tail, text + 1, strlen(text) - 2); /* the object's one member, without its braces */
        free(text);
    }
    be_text_add(tail, "}\n");
    return be_text_finish(tail, error);
}
