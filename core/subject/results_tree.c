#include "core/subject/results_tree.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/memory.h"
#include "core/files/folder.h"
#include "core/subject/folder_names.h"
#include "core/subject/results_models.h"

typedef struct search {
    bool skip_incomplete;
    be_error *error;
    be_results results;
    size_t member_capacity, skipped_capacity;
} search;

/* --- runs ----------------------------------------------------------------------------------------- */

/* The results own the text from now on, also when this fails. */
static be_status own(be_results *results, char *text, be_error *error)
{
    void *texts = results->texts;
    be_status status = be_grow(&texts, &results->text_capacity, results->n_texts + 1, sizeof *results->texts, "a list of paths",
                               error);
    if (status != BE_OK) {
        free(text);
        return status;
    }
    results->texts = texts;
    results->texts[results->n_texts++] = text;
    return BE_OK;
}

/* *path = folder/name; *found says whether a file has it. */
static be_status find_file(be_results *results, const char *folder, const char *name, const char **path, bool *found,
                           be_error *error)
{
    struct stat info;
    char *joined;
    be_status status = be_path_join(folder, name, &joined, error);
    if (status == BE_OK)
        status = own(results, joined, error);
    if (status != BE_OK)
        return status;
    *path = joined;
    *found = stat(joined, &info) == 0 && S_ISREG(info.st_mode);
    return BE_OK;
}

static be_status skip(search *self, const char *missing)
{
    be_results *results = &self->results;
    void *skipped = results->skipped;
    if (!self->skip_incomplete)
        return be_fail(self->error, BE_ERROR_NOT_FOUND,
                       "%s: is missing: this run is incomplete (--skip-incomplete leaves such runs out)", missing);
    be_status status = be_grow(&skipped, &self->skipped_capacity, results->n_skipped + 1, sizeof *results->skipped,
                               "a list of runs", self->error);
    if (status != BE_OK)
        return status;
    results->skipped = skipped;
    results->skipped[results->n_skipped++] = missing;
    return BE_OK;
}

static be_status add_member(search *self, const be_import_member *member)
{
    be_results *results = &self->results;
    void *members = results->members;
    be_status status = be_grow(&members, &self->member_capacity, results->n_members + 1, sizeof *member, "a list of runs",
                               self->error);
    if (status != BE_OK)
        return status;
    results->members = members;
    results->members[results->n_members++] = *member;
    return BE_OK;
}

static be_status add_run(search *self, const char *folder, size_t layer, size_t run)
{
    be_import_member it = {.placed = true, .layer = layer, .run = run};
    bool found = false;
    const struct { const char *name, **path; } needed[] = {
        {"checkpoint.pth", &it.checkpoint}, {"lh_val_corr.npy", &it.scores[BE_LEFT]}, {"rh_val_corr.npy", &it.scores[BE_RIGHT]},
    };
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        be_status status = find_file(&self->results, folder, needed[i].name, needed[i].path, &found, self->error);
        if (status != BE_OK)
            return status;
        if (!found)
            return skip(self, *needed[i].path);
    }
    be_status status = find_file(&self->results, folder, "idxs.npy", &it.indices, &found, self->error);
    if (!found)
        it.indices = NULL;
    return status == BE_OK ? add_member(self, &it) : status;
}

static be_status read_layer(search *self, const char *path, size_t layer)
{
    be_folder folder;
    char *child;
    const char *missing;
    size_t run, runs = 0;
    bool found;
    be_status status = be_folder_open(path, &folder, self->error);
    if (status != BE_OK)
        return status;
    while ((status = be_folder_next(&folder, &child, self->error)) == BE_OK && child) {
        if (be_numbered_name(strrchr(child, '/') + 1, "run_", &run)) {
            status = add_run(self, child, layer, run);
            runs++;
        }
        free(child);
        if (status != BE_OK)
            break;
    }
    be_folder_close(&folder);
    if (status != BE_OK || runs > 0)
        return status;
    status = find_file(&self->results, path, "run_1", &missing, &found, self->error);
    return status == BE_OK ? skip(self, missing) : status;
}

static be_status read_model(search *self, const char *path)
{
    be_folder folder;
    char *child;
    size_t layer;
    be_status status = be_folder_open(path, &folder, self->error);
    if (status != BE_OK)
        return status;
    while ((status = be_folder_next(&folder, &child, self->error)) == BE_OK && child) {
        if (be_numbered_name(strrchr(child, '/') + 1, "enc_", &layer))
            status = read_layer(self, child, layer);
        free(child);
        if (status != BE_OK)
            break;
    }
    be_folder_close(&folder);
    return status;
}

static int by_place(const void *a, const void *b)
{
    const be_import_member *left = a, *right = b;
    if (left->layer != right->layer)
        return left->layer < right->layer ? -1 : 1;
    return left->run < right->run ? -1 : left->run > right->run;
}

static be_status sort_members(search *self, const char *path)
{
    be_results *results = &self->results;
    if (results->n_members == 0)
        return be_fail(self->error, BE_ERROR_NOT_FOUND, "%s: holds no complete run", path);
    qsort(results->members, results->n_members, sizeof *results->members, by_place);
    for (size_t m = 1; m < results->n_members; m++) {
        if (by_place(&results->members[m - 1], &results->members[m]) == 0)
            return be_fail(self->error, BE_ERROR_FORMAT, "%s: is of the same layer and run as %s", results->members[m].checkpoint,
                           results->members[m - 1].checkpoint);
    }
    return BE_OK;
}

/* --- all of it ------------------------------------------------------------------------------------ */

be_status be_results_find(const be_results_options *options, be_results *out, be_error *error)
{
    search self = {.skip_incomplete = options->skip_incomplete, .error = error};
    char *model;
    be_status status = be_results_model(options, &model, error);
    if (status != BE_OK)
        return status;
    status = read_model(&self, model);
    if (status == BE_OK)
        status = sort_members(&self, model);
    free(model);
    if (status == BE_OK)
        *out = self.results;
    else
        be_results_free(&self.results);
    return status;
}

static be_status look_beside(search *self, const char *checkpoint)
{
    be_import_member it = {.checkpoint = checkpoint};
    char *folder;
    const char *slash = strrchr(checkpoint, '/');
    const struct { const char *name, **path; } files[] = {
        {"lh_val_corr.npy", &it.scores[BE_LEFT]}, {"rh_val_corr.npy", &it.scores[BE_RIGHT]}, {"idxs.npy", &it.indices},
    };
    be_status status = be_copy_text(&folder, slash ? checkpoint : ".", self->error);
    if (status != BE_OK)
        return status;
    if (slash)
        folder[slash - checkpoint + 1] = '\0';
    for (size_t i = 0; i < sizeof files / sizeof *files && status == BE_OK; i++) {
        bool found = false;
        status = find_file(&self->results, folder, files[i].name, files[i].path, &found, self->error);
        if (!found)
            *files[i].path = NULL;
    }
    free(folder);
    return status == BE_OK ? add_member(self, &it) : status;
}

be_status be_results_beside(const char *checkpoint, be_results *out, be_error *error)
{
    search self = {.error = error};
    be_status status = look_beside(&self, checkpoint);
    if (status == BE_OK)
        *out = self.results;
    else
        be_results_free(&self.results);
    return status;
}

void be_results_free(be_results *results)
{
    for (size_t i = 0; i < results->n_texts; i++)
        free(results->texts[i]);
    free(results->texts);
    free(results->skipped);
    free(results->members);
    *results = (be_results){0};
}
