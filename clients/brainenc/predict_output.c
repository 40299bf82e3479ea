#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/brainenc/predict.h"
#include "core/base/utf8.h"
#include "core/files/atomic_file.h"

static void add_row(const predict_job *self, be_text *text, const float *vertices)
{
    be_columns_add_bytes(&self->columns[0][BE_LEFT], vertices, text);
    be_columns_add_bytes(&self->columns[0][BE_RIGHT], vertices + self->subjects[0].info->n_vertices[BE_LEFT], text);
}

static void add_empty_row(const predict_job *self, be_text *text)
{
    be_columns_add_bytes(&self->columns[0][BE_LEFT], NULL, text);
    be_columns_add_bytes(&self->columns[0][BE_RIGHT], NULL, text);
}

static be_status add_json(predict_job *self, be_text *text, size_t subject, const predict_answer *answer, be_error *error)
{
    char *prediction;
    if (self->written++ > 0)
        be_text_add(text, ",\n");
    if (answer->texts) {
        be_text_add_bytes(text, answer->texts[subject].bytes, answer->texts[subject].length);
        return BE_OK;
    }
    be_status status = predict_local_json(self, subject, answer, &prediction, error);
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

/* Names and notes come from files and servers, and go to a terminal. */
static void add_printable(be_text *text, const char *words)
{
    size_t start = text->length;
    be_text_add(text, words);
    if (!text->failed && text->length > start)
        text->length = start + be_make_printable(text->bytes + start);
}

static void add_table(const predict_job *self, be_text *text, size_t subject, const predict_answer *answer)
{
    const be_subject_info *info = self->subjects[subject].info;
    const char *const notes[] = {info->unverified, self->subjects[subject].by.backbone_unverified};
    const float *values = answer->outputs[subject].vertices;
    char name[BE_ROI_NAME_SIZE + 4];
    add_printable(text, answer->picture->about.name);
    be_text_add(text, "  (");
    add_printable(text, info->name);
    be_text_add(text, info->demo ? ", demo: random weights)\n" : ")\n");
    for (size_t i = 0; i < sizeof notes / sizeof *notes; i++) {
        if (!*notes[i])
            continue;
        be_text_add(text, "  unverified: ");
        add_printable(text, notes[i]);
        be_text_add(text, "\n");
    }
    be_text_add_format(text, "  %-12s  %9s %6s  %9s %6s\n", "ROI", "lh mean", "n", "rh mean", "n");
    for (size_t r = 0; r < info->rois.count; r++) {
        if (self->ask->rois && !be_roi_is_selected(&self->only[subject], r))
            continue;
        snprintf(name, sizeof name, "  %-12s", info->rois.rois[r].name);
        add_printable(text, name);
        add_cell(text, &info->rois.rois[r], BE_LEFT, values);
        add_cell(text, &info->rois.rois[r], BE_RIGHT, values + info->n_vertices[BE_LEFT]);
        be_text_add(text, "\n");
    }
}

be_status predict_add_picture(predict_job *self, be_text *text, const predict_answer *answer, be_error *error)
{
    be_status status = BE_OK;
    for (size_t s = 0; s < self->n_subjects && status == BE_OK; s++) {
        if (self->ask->kind == KIND_NPY)
            add_row(self, text, answer->outputs[s].vertices);
        else if (self->ask->kind == KIND_GIFTI)
            status = predict_gifti_keep(self, answer->outputs[s].vertices, error);
        else if (self->ask->kind == KIND_JSON)
            status = add_json(self, text, s, answer, error);
        else
            add_table(self, text, s, answer);
    }
    return status;
}

be_status predict_note_failure(predict_job *self, be_text *text, const picture *from, be_error *error)
{
    self->stopped = !self->ask->skip_broken;
    if (self->stopped)
        return be_fail(error, from->status, "%s", from->error.message);
    progress_break(&self->bar);
    fprintf(stderr, "brainenc: %s\n", from->error.message);
    if (self->ask->kind == KIND_NPY)
        add_empty_row(self, text);
    be_status status = self->ask->kind == KIND_GIFTI ? predict_gifti_keep(self, NULL, error) : BE_OK;
    if (status != BE_OK)
        return status;
    return failure_list_add(&self->failures, from->about.name, from->error.message, error);
}

be_status predict_write_description(const predict_job *self, be_error *error)
{
    const be_subject_info *info = self->subjects[0].info;
    char path[4096], *text;
    if (snprintf(path, sizeof path, "%s.json", self->ask->output) >= (int)sizeof path)
        return be_fail(error, BE_ERROR_ARGUMENT, "-o: the path is too long");
    be_json json = be_json_begin();
    be_json_text(&json, json.root, "subject", info->name);
    be_json_flag(&json, json.root, "demo", info->demo);
    be_json_text(&json, json.root, "weights", info->weights_hash);
    be_provenance_add(&json, json.root, &self->subjects[0].by);
    be_json_text(&json, json.root, "units", info->units);
    be_json_text(&json, json.root, "unverified", info->unverified);
    be_json_text(&json, json.root, "backbone_unverified", self->subjects[0].by.backbone_unverified);
    be_json_text(&json, json.root, "fit", be_fit_name(self->ask->compute.fit));
    be_json_text(&json, json.root, "space", be_space_name(self->ask->space));
    cJSON *columns = be_json_object(&json, json.root, "columns");
    for (int h = BE_LEFT; h < BE_HEMISPHERES; h++)
        be_json_number(&json, columns, be_hemisphere_name((be_hemisphere)h), (double)self->columns[0][h].length);
    for (int h = BE_LEFT; h < BE_HEMISPHERES && self->ask->rois; h++)
        be_answer_add_numbers(&json, json.root, h == BE_LEFT ? "lh_indices" : "rh_indices", self->columns[0][h].numbers,
                              self->columns[0][h].count);
    failure_list_write(&self->failures, self->failures.count, &json);
    cJSON *rows = be_json_array(&json, json.root, "rows");
    for (size_t i = 0; i < picture_list_count(self->ask->pictures); i++)
        be_json_text(&json, rows, NULL, picture_list_at(self->ask->pictures, i)->name);
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
