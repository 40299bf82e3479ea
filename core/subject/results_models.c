#include "core/subject/results_models.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/memory.h"
#include "core/files/folder.h"
#include "core/subject/folder_names.h"

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
    size_t n_models, capacity;
    size_t folders; /* entered so far */
} walk;

/* --- finding -------------------------------------------------------------------------------------- */

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
    status = be_grow(&models, &self->capacity, self->n_models + 1, sizeof(model), "a list of models", self->error);
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
        if (be_numbered_name(strrchr(child, '/') + 1, "enc_", &layer))
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

/* --- choosing ------------------------------------------------------------------------------------- */

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

static void swap(walk *self, size_t a, size_t b)
{
    model other = self->models[a];
    self->models[a] = self->models[b];
    self->models[b] = other;
}

/* Puts first what is chosen: the named folder itself, where it is a model, or else the one model of the subject. */
static be_status choose_model(walk *self)
{
    size_t subject = 0, kept = 0;
    if (self->n_models == 0)
        return be_fail(self->error, BE_ERROR_NOT_FOUND,
                       "%s: holds no results: no folder enc_<layer> in it or up to %d folders down",
                       self->options->folder, DEEPEST);
    for (size_t i = 0; i < self->n_models; i++) {
        if (!*below(self, &self->models[i])) {
            swap(self, i, 0);
            return BE_OK;
        }
    }
    if (self->n_models == 1)
        return BE_OK;
    qsort(self->models, self->n_models, sizeof(model), by_path);
    bool known = be_subject_number(self->options->data, &subject);
    for (size_t i = 0; i < self->n_models && known; i++)
        kept += be_path_has_subject(below(self, &self->models[i]), subject);
    if (known && kept == 0)
        return fail_several(self, "holds several models, none of --data's subject; name the folder of one");
    for (size_t i = 0, to = 0; i < self->n_models && known; i++) {
        if (be_path_has_subject(below(self, &self->models[i]), subject))
            swap(self, i, to++);
    }
    if (known && kept == 1)
        return BE_OK;
    return fail_several(self, "holds several models; name the folder of one");
}

be_status be_results_model(const be_results_options *options, char **path, be_error *error)
{
    walk self = {.options = options, .error = error};
    be_status status = find_models(&self, options->folder, 0);
    if (status == BE_OK)
        status = choose_model(&self);
    if (status == BE_OK)
        status = be_copy_text(path, self.models[0].path, error);
    for (size_t i = 0; i < self.n_models; i++)
        free(self.models[i].path);
    free(self.models);
    return status;
}
