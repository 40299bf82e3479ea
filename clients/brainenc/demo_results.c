#include "clients/brainenc/demo_results.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "clients/brainenc/tool.h"
#include "core/base/memory.h"
#include "core/files/npy.h"

enum { PATH_SIZE = 4096 };

bool demo_parse_layers(const char *text, demo_ensemble *to)
{
    char item[16];
    to->n_layers = 0;
    for (const char *at = text;; at++) {
        size_t length = strcspn(at, ","), layer;
        if (to->n_layers == DEMO_MOST_LAYERS || length >= sizeof item) {
            tool_usage("--layers: a list of layers such as 1,3,5,7, ascending");
            return false;
        }
        snprintf(item, sizeof item, "%.*s", (int)length, at);
        if (!parse_count("layers", item, 1000, &layer))
            return false;
        if (to->n_layers > 0 && layer <= to->layers[to->n_layers - 1]) {
            tool_usage("--layers: a list of layers such as 1,3,5,7, ascending");
            return false;
        }
        to->layers[to->n_layers++] = layer;
        at += length;
        if (!*at)
            return true;
    }
}

/* Makes each folder of a path that is not there yet. */
static be_status make_folders(const char *path, be_error *error)
{
    char part[PATH_SIZE];
    snprintf(part, sizeof part, "%s", path);
    for (char *at = strchr(part + 1, '/');; at = strchr(at + 1, '/')) {
        if (at)
            *at = '\0';
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            return be_fail(error, BE_ERROR_IO, "%s: the folder cannot be made: %s", part, strerror(errno));
        if (!at)
            return BE_OK;
        *at = '/';
    }
}

/* Any numbers a correlation may be. */
static be_status write_correlations(const char *path, size_t vertices, demo_random *random, be_error *error)
{
    void *values;
    be_status status = be_allocate(&values, vertices, sizeof(double), "correlations", error);
    if (status != BE_OK)
        return status;
    for (size_t v = 0; v < vertices; v++)
        ((double *)values)[v] = 0.6 * demo_uniform(random);
    status = be_npy_write(path, BE_DTYPE_F64, 1, &vertices, values, error);
    free(values);
    return status;
}

static be_status join(const char *folder, const char *name, const char **path, be_error *error)
{
    size_t size = strlen(folder) + strlen(name) + 2;
    void *memory;
    be_status status = be_allocate(&memory, size, 1, "a path", error);
    if (status != BE_OK)
        return status;
    snprintf(memory, size, "%s/%s", folder, name);
    *path = memory;
    return BE_OK;
}

static be_status write_model(const char *folder, const demo_size *size, const demo_model *model, demo_random *random,
                             be_import_member *member, be_error *error)
{
    static const char *const scores[BE_HEMISPHERES] = {"lh_val_corr.npy", "rh_val_corr.npy"};
    char path[PATH_SIZE];
    if (snprintf(path, sizeof path, "%s/results/nsd_test/dinov2_q_transformer/subj_01/%s/enc_%zu/run_%zu", folder, model->readout,
                 model->layer, model->run) > PATH_SIZE - 32)
        return be_fail(error, BE_ERROR_ARGUMENT, "%.200s...: the path is too long", folder);
    be_status status = make_folders(path, error);
    if (status == BE_OK)
        status = join(path, "checkpoint.pth", &member->checkpoint, error);
    if (status == BE_OK)
        status = demo_write_checkpoint(member->checkpoint, size, model, random, error);
    for (int h = BE_LEFT; h < BE_HEMISPHERES && status == BE_OK; h++) {
        status = join(path, scores[h], &member->scores[h], error);
        if (status == BE_OK)
            status = write_correlations(member->scores[h], size->vertices[h], random, error);
    }
    return status;
}

be_status demo_write_results(const char *folder, const demo_size *size, const demo_ensemble *ensemble, const demo_model *model,
                             demo_random *random, be_import_member **members, be_error *error)
{
    void *memory;
    be_status status = be_allocate(&memory, ensemble->n_layers * ensemble->runs, sizeof(be_import_member), "members", error);
    if (status != BE_OK)
        return status;
    be_import_member *list = memory, *next = list;
    for (size_t l = 0; l < ensemble->n_layers; l++) {
        for (size_t run = 1; run <= ensemble->runs && status == BE_OK; run++) {
            demo_model one = *model;
            one.layer = ensemble->layers[l];
            one.run = run;
            status = write_model(folder, size, &one, random, next++, error);
        }
    }
    if (status != BE_OK) {
        demo_free_results(list, ensemble);
        return status;
    }
    *members = list;
    return BE_OK;
}

void demo_free_results(be_import_member *members, const demo_ensemble *ensemble)
{
    for (size_t m = 0; members && m < ensemble->n_layers * ensemble->runs; m++) {
        free((char *)members[m].checkpoint);
        free((char *)members[m].scores[BE_LEFT]);
        free((char *)members[m].scores[BE_RIGHT]);
    }
    free(members);
}
