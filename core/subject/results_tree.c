#include "core/subject/results_tree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/memory.h"
#include "core/files/folder.h"

/* From `results` it is four folders down to the one that holds enc_*. So many folders no lab has; a web of links may. */
enum { DEEPEST = 4, MOST_FOLDERS = 20000 };

/* A folder that holds enc_*. */
typedef struct model {
    char *path; /* owned */
    dev_t device;
    ino_t number;
} model;

typedef struct walk {
    const be_results_options *options;
    be_error *error;
    model *models;
    size_t n_models, model_capacity, member_capacity, skipped_capacity;
    size_t folders; /* entered so far */
    be_results results;
} walk;

/* --- names ---------------------------------------------------------------------------------------- */

/* The number of a name that is `stem` and digits. */
static bool numbered(const char *name, const char *stem, size_t *number)
{
    enum { MOST_DIGITS = 6 };
    size_t length = strlen(stem);
    if (strncmp(name, stem, length) != 0)
        return false;
    const char *digits = name + length;
    size_t n_digits = strspn(digits, "0123456789");
    if (n_digits == 0 || n_digits > MOST_DIGITS || digits[n_digits])
        return false;
    *number = strtoul(digits, NULL, 10);
    return true;
}

static bool is_subject(const char *name, size_t *number)
{
    return numbered(name, "subj", number) || numbered(name, "subj_", number);
}

bool be_subject_number(const char *path, size_t *number)
{
    char name[16];
    size_t end = strlen(path);
    while (end > 0 && path[end - 1] == '/')
        end--;
    size_t start = end;
    while (start > 0 && path[start - 1] != '/')
        start--;
    if (end - start >= sizeof name)
        return false;
    snprintf(name, sizeof name, "%.*s", (int)(end - start), path + start);
    return is_subject(name, number);
}

static const char *last_name(const char *path)
{
    return strrchr(path, '/') + 1;
}

/* Whether one of the folders from `path` on is called as the subject is. */
static bool has_subject(const char *path, size_t subject)
{
    for (const char *at = path; *at; at += strspn(at, "/")) {
        char name[16];
        size_t length = strcspn(at, "/"), number;
        if (length < sizeof name) {
            snprintf(name, sizeof name, "%.*s", (int)length, at);
            if (is_subject(name, &number) && number == subject)
                return true;
        }
        at += length;
    }
    return false;
}

/* --- models --------------------------------------------------------------------------------------- */

static be_status enter(walk *self, const char *path, be_folder *folder)
{
    if (self->folders++ == MOST_FOLDERS)
        return be_fail(self->error, BE_ERROR_LIMIT, "%s: holds more than %d folders: name a deeper one", self->options->folder,
                       MOST_FOLDERS);
    return be_folder_open(path, folder, self->error);
}

/* Of two ways to one folder the shorter one counts. */
static bool is_known(walk *self, const struct stat *info, const char *path, be_status *status)
{
    for (size_t i = 0; i < self->n_models; i++) {
        model *it = &self->models[i];
        if (it->device != info->st_dev || it->number != info->st_ino)
            continue;
        if (strlen(path) < strlen(it->path)) {
            free(it->path);
            it->path = NULL;
            *status = be_copy_text(&it->path, path, self->error);
        }
        return true;
    }
    return false;
}

static be_status add_model(walk *self, const be_folder *folder)
{
    struct stat info;
    void *models = self->models;
    be_status status = BE_OK;
    if (stat(folder->path, &info) != 0)
        return be_fail(self->error, BE_ERROR_IO, "%s: cannot be examined: %s", folder->path, strerror(errno));
    if (is_known(self, &info, folder->path, &status))
        return status;
    status = be_grow(&models, &self->model_capacity, self->n_models + 1, sizeof(model), "a list of models", self->error);
    if (status != BE_OK)
        return status;
    self->models = models;
    self->models[self->n_models] = (model){NULL, info.st_dev, info.st_ino};
    status = be_copy_text(&self->models[self->n_models].path, folder->path, self->error);
    if (status == BE_OK)
        self->n_models++;
    return status;
}

static be_status find_models(walk *self, const char *path, size_t depth)
{
    be_folder folder;
    char *child;
    size_t layer;
    bool holds_layers = false;
    be_status status = enter(self, path, &folder);
    if (status != BE_OK)
        return status;
    while ((status = be_folder_next(&folder, &child, self->error)) == BE_OK && child) {
        if (numbered(last_name(child), "enc_", &layer))
            holds_layers = true;
        else if (depth < DEEPEST)
            status = find_models(self, child, depth + 1);
        free(child);
        if (status != BE_OK)
            break;
    }
    if (status == BE_OK && holds_layers)
        status = add_model(self, &folder);
    be_folder_close(&folder);
    return status;
}

/* The part of a model's path that is below the named folder. */
static const char *below(const walk *self, const model *it)
{
    const char *rest = it->path + strlen(self->options->folder);
    return rest + strspn(rest, "/");
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const model *)a)->path, ((const model *)b)->path);
}

static be_status fail_several(const walk *self, const char *what)
{
    enum { LISTED = 300 };
    char list[LISTED + 100] = "";
    for (size_t i = 0; i < self->n_models; i++) {
        size_t length = strlen(list);
        if (length > LISTED) {
            snprintf(list + length, sizeof list - length, ", ...");
            break;
        }
        snprintf(list + length, sizeof list - length, "%s%.80s", length ? ", " : "", below(self, &self->models[i]));
    }
    return be_fail(self->error, BE_ERROR_ARGUMENT, "%s: %s: %s", self->options->folder, what, list);
}

/* Keeps the models of the subject, when there is a choice. */
static be_status choose_model(walk *self)
{
    size_t subject = 0, kept = 0;
    if (self->n_models == 0)
        return be_fail(self->error, BE_ERROR_NOT_FOUND, "%s: holds no results: no folder enc_<layer> in it or up to %d folders down",
                       self->options->folder, DEEPEST);
    if (self->n_models == 1)
        return BE_OK;
    qsort(self->models, self->n_models, sizeof(model), by_path);
    bool known = be_subject_number(self->options->data, &subject);
    for (size_t i = 0; i < self->n_models && known; i++)
        kept += has_subject(below(self, &self->models[i]), subject);
    if (known && kept == 0)
        return fail_several(self, "holds several models, none of --data's subject; name the folder of one");
    for (size_t i = 0, to = 0; i < self->n_models && known; i++) {
        if (has_subject(below(self, &self->models[i]), subject)) {
            model other = self->models[to];
            self->models[to++] = self->models[i];
            self->models[i] = other;
        }
    }
    if (known && kept == 1)
        return BE_OK;
    return fail_several(self, "holds several models; name the folder of one");
}

/* --- runs ----------------------------------------------------------------------------------------- */

/* The results own the text from now on, also when this fails. */
static be_status own(be_results *results, char *text, be_error *error)
{
    void *texts = results->texts;
    be_status status = be_grow(&texts, &results->text_capacity, results->n_texts + 1, sizeof *results->texts, "a list of paths", error);
    if (status != BE_OK) {
        free(text);
        return status;
    }
    results->texts = texts;
    results->texts[results->n_texts++] = text;
    return BE_OK;
}

/* *path = folder/name; *found says whether a file has it. */
static be_status find_file(be_results *results, const char *folder, const char *name, const char **path, bool *found, be_error *error)
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

static be_status skip(walk *self, const char *missing)
{
    be_results *results = &self->results;
    void *skipped = results->skipped;
    if (!self->options->skip_incomplete)
        return be_fail(self->error, BE_ERROR_NOT_FOUND, "%s: is missing: this run is incomplete (--skip-incomplete leaves such runs out)",
                       missing);
    be_status status = be_grow(&skipped, &self->skipped_capacity, results->n_skipped + 1, sizeof *results->skipped,
                               "a list of runs", self->error);
    if (status != BE_OK)
        return status;
    results->skipped = skipped;
    results->skipped[results->n_skipped++] = missing;
    return BE_OK;
}

static be_status add_member(walk *self, const be_import_member *member)
{
    be_results *results = &self->results;
    void *members = results->members;
    be_status status = be_grow(&members, &self->member_capacity, results->n_members + 1, sizeof *member, "a list of runs", self->error);
    if (status != BE_OK)
        return status;
    results->members = members;
    results->members[results->n_members++] = *member;
    return BE_OK;
}

static be_status add_run(walk *self, const char *folder, size_t layer, size_t run)
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

static be_status read_layer(walk *self, const char *path, size_t layer)
{
    be_folder folder;
    char *child;
    const char *missing;
    size_t run, runs = 0;
    bool found;
    be_status status = enter(self, path, &folder);
    if (status != BE_OK)
        return status;
    while ((status = be_folder_next(&folder, &child, self->error)) == BE_OK && child) {
        if (numbered(last_name(child), "run_", &run)) {
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

static be_status read_model(walk *self, const char *path)
{
    be_folder folder;
    char *child;
    size_t layer;
    be_status status = enter(self, path, &folder);
    if (status != BE_OK)
        return status;
    while ((status = be_folder_next(&folder, &child, self->error)) == BE_OK && child) {
        if (numbered(last_name(child), "enc_", &layer))
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

static be_status sort_members(walk *self)
{
    be_results *results = &self->results;
    if (results->n_members == 0)
        return be_fail(self->error, BE_ERROR_NOT_FOUND, "%s: holds no complete run", self->models[0].path);
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
    walk self = {.options = options, .error = error};
    be_status status = find_models(&self, options->folder, 0);
    if (status == BE_OK)
        status = choose_model(&self);
    if (status == BE_OK)
        status = read_model(&self, self.models[0].path);
    if (status == BE_OK)
        status = sort_members(&self);
    for (size_t i = 0; i < self.n_models; i++)
        free(self.models[i].path);
    free(self.models);
    if (status == BE_OK)
        *out = self.results;
    else
        be_results_free(&self.results);
    return status;
}

static be_status look_beside(walk *self, const char *checkpoint)
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
    walk self = {.error = error};
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
