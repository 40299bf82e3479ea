#include "core/subject/algonauts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/memory.h"
#include "core/files/npy.h"
#include "core/subject/masks.h"

enum { PATH_SIZE = 4096 };

/* One family's labels of one hemisphere, and what they mean. */
typedef struct labels {
    int64_t *values;
    size_t count;
} labels;

static be_status make_path(char path[PATH_SIZE], const char *folder, const char *before, const char *middle, const char *after,
                           be_error *error)
{
    if (snprintf(path, PATH_SIZE, "%s/roi_masks/%s%s%s", folder, before, middle, after) >= PATH_SIZE)
        return be_fail(error, BE_ERROR_ARGUMENT, "%.200s...: the path is too long", folder);
    return BE_OK;
}

/* A vector of integers out of an .npy file. */
static be_status read_integers(const char *path, labels *out, be_error *error)
{
    be_npy npy;
    be_error why;
    void *memory;
    be_status status = be_npy_read(path, &npy, error);
    if (status != BE_OK)
        return status;
    if (npy.n_dims != 1 || npy.count == 0 || npy.count > BE_MOST_VERTICES) {
        status = be_fail(error, BE_ERROR_FORMAT, "%s: is no vector with one label a vertex", path);
    } else if ((status = be_allocate(&memory, npy.count, sizeof(int64_t), "labels", error)) == BE_OK) {
        status = be_npy_to_i64(&npy, memory, &why);
        if (status == BE_OK) {
            *out = (labels){memory, npy.count};
        } else {
            free(memory);
            be_fail(error, status, "%s: %s", path, why.message);
        }
    }
    be_npy_free(&npy);
    return status;
}

/* --- names ---------------------------------------------------------------------------------------- */

static int by_label(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return left < right ? -1 : left > right;
}

static const char *name_of(const be_npy_mapping *mapping, int64_t label)
{
    for (size_t i = 0; i < mapping->count; i++) {
        if (mapping->labels[i] == label)
            return mapping->names[i];
    }
    return NULL;
}

/* The family's ROIs in label order; label 0 is "Unknown" and is none. */
static be_status add_family(be_roi_set *set, size_t *capacity, const be_npy_mapping *mapping, const char *family,
                            const char *path, be_error *error)
{
    void *memory;
    be_status status = be_allocate(&memory, mapping->count, sizeof(int64_t), "labels", error);
    if (status != BE_OK)
        return status;
    int64_t *sorted = memory;
    memcpy(sorted, mapping->labels, mapping->count * sizeof *sorted);
    qsort(sorted, mapping->count, sizeof *sorted, by_label);
    for (size_t i = 0; i < mapping->count && status == BE_OK; i++) {
        if (sorted[i] < 0 || (i > 0 && sorted[i] == sorted[i - 1]))
            status = be_fail(error, BE_ERROR_FORMAT, "%s: label %lld is negative or there twice", path, (long long)sorted[i]);
        else if (sorted[i] != 0)
            status = be_roi_set_add(set, capacity, name_of(mapping, sorted[i]), family, path, error);
    }
    free(sorted);
    return status;
}

static be_status read_mappings(const char *folder, const char *const *families, be_npy_mapping *mappings, be_roi_set *set,
                               be_error *error)
{
    char path[PATH_SIZE];
    size_t capacity = 0;
    be_status status = BE_OK;
    for (size_t f = 0; families[f] && status == BE_OK; f++) {
        status = make_path(path, folder, "mapping_", families[f], ".npy", error);
        if (status == BE_OK)
            status = be_npy_read_mapping(path, &mappings[f], error);
        if (status == BE_OK)
            status = add_family(set, &capacity, &mappings[f], families[f], path, error);
    }
    return status == BE_OK ? be_roi_set_add(set, &capacity, "rest", "", folder, error) : status;
}

/* --- masks ---------------------------------------------------------------------------------------- */

static size_t find_roi(const be_roi_set *set, const char *name)
{
    size_t r = 0;
    while (strcmp(set->rois[r].name, name) != 0)
        r++;
    return r;
}

/* Sets the family's rows of masks [count - 1][n_vertices] from its labels. */
static be_status mark_family(const be_roi_set *set, const be_npy_mapping *mapping, const labels *family, uint8_t *masks,
                             const char *path, be_error *error)
{
    for (size_t v = 0; v < family->count; v++) {
        int64_t label = family->values[v];
        const char *name = label == 0 ? NULL : name_of(mapping, label);
        if (label != 0 && !name)
            return be_fail(error, BE_ERROR_FORMAT, "%s: label %lld of vertex %zu is not in the family's mapping", path,
                           (long long)label, v);
        if (name)
            masks[find_roi(set, name) * family->count + v] = 1;
    }
    return BE_OK;
}

static be_status mark_families(const char *folder, const char *const *families, const be_npy_mapping *mappings,
                               be_hemisphere hemisphere, be_algonauts *data, uint8_t **masks, be_error *error)
{
    char path[PATH_SIZE], before[8];
    be_status status = BE_OK;
    snprintf(before, sizeof before, "%s.", be_hemisphere_name(hemisphere));
    for (size_t f = 0; families[f] && status == BE_OK; f++) {
        labels family = {0};
        status = make_path(path, folder, before, families[f], "_challenge_space.npy", error);
        if (status == BE_OK)
            status = read_integers(path, &family, error);
        if (status == BE_OK && !*masks) {
            void *memory;
            data->n_vertices[hemisphere] = family.count;
            status = be_allocate(&memory, data->rois.count, family.count, "ROI masks", error);
            if (status == BE_OK)
                *masks = memory;
        }
        if (status == BE_OK && family.count != data->n_vertices[hemisphere])
            status = be_fail(error, BE_ERROR_FORMAT, "%s: has %zu labels, the families before it have %zu", path, family.count,
                             data->n_vertices[hemisphere]);
        if (status == BE_OK)
            status = mark_family(&data->rois, &mappings[f], &family, *masks, path, error);
        free(family.values);
    }
    return status;
}

/* --- fsaverage ------------------------------------------------------------------------------------ */

/* How many ones there are, which must be as many as the hemisphere has vertices; without ROI masks they say how many it has. */
static be_status count_ones(const labels *surface, size_t *vertices, const char *path, be_error *error)
{
    size_t ones = 0;
    for (size_t i = 0; i < surface->count; i++) {
        if (surface->values[i] != 0 && surface->values[i] != 1)
            return be_fail(error, BE_ERROR_FORMAT, "%s: element %zu is neither 0 nor 1", path, i);
        ones += surface->values[i] == 1;
    }
    if (ones == 0)
        return be_fail(error, BE_ERROR_FORMAT, "%s: marks no vertex", path);
    if (*vertices != 0 && ones != *vertices)
        return be_fail(error, BE_ERROR_FORMAT, "%s: marks %zu vertices, the ROI masks have %zu", path, ones, *vertices);
    *vertices = ones;
    return BE_OK;
}

static be_status read_fsaverage(const char *folder, be_hemisphere hemisphere, be_algonauts *data, be_error *error)
{
    char path[PATH_SIZE];
    void *memory;
    labels surface = {0};
    be_status status = make_path(path, folder, be_hemisphere_name(hemisphere), ".all-vertices_fsaverage_space", ".npy", error);
    if (status == BE_OK)
        status = read_integers(path, &surface, error);
    if (status == BE_OK)
        status = count_ones(&surface, &data->n_vertices[hemisphere], path, error);
    if (status == BE_OK)
        status = be_allocate(&memory, data->n_vertices[hemisphere], sizeof(int32_t), "an fsaverage index", error);
    if (status == BE_OK) {
        data->n_fsaverage[hemisphere] = surface.count;
        data->fsaverage[hemisphere] = memory;
        for (size_t i = 0, next = 0; i < surface.count; i++) {
            if (surface.values[i] == 1)
                data->fsaverage[hemisphere][next++] = (int32_t)i;
        }
    }
    free(surface.values);
    return status;
}

/* --- all of it ------------------------------------------------------------------------------------ */

/* Without families all vertices are "rest". */
static be_status read_hemisphere(const char *folder, const char *const *families, const be_npy_mapping *mappings,
                                 be_hemisphere hemisphere, be_algonauts *data, be_error *error)
{
    uint8_t *masks = NULL;
    be_status status = mark_families(folder, families, mappings, hemisphere, data, &masks, error);
    if (status == BE_OK)
        status = read_fsaverage(folder, hemisphere, data, error);
    if (status == BE_OK)
        status = be_masks_to_vertices(&data->rois, hemisphere, masks, data->n_vertices[hemisphere], folder, error);
    free(masks);
    return status;
}

static be_status check_folder(const char *folder, be_error *error)
{
    char path[PATH_SIZE];
    struct stat info;
    if (stat(folder, &info) != 0 || !S_ISDIR(info.st_mode))
        return be_fail(error, BE_ERROR_NOT_FOUND, "%s: there is no such folder", folder);
    be_status status = make_path(path, folder, ".", "", "", error);
    if (status == BE_OK && (stat(path, &info) != 0 || !S_ISDIR(info.st_mode)))
        status = be_fail(error, BE_ERROR_NOT_FOUND, "%s/roi_masks: there is no such folder: is that a subject's Algonauts folder?",
                         folder);
    return status;
}

be_status be_algonauts_read(const char *folder, const char *const *families, be_algonauts *out, be_error *error)
{
    enum { MOST_FAMILIES = 8 };
    be_npy_mapping mappings[MOST_FAMILIES] = {0};
    be_algonauts data = {0};
    be_status status = check_folder(folder, error);
    if (status == BE_OK)
        status = read_mappings(folder, families, mappings, &data.rois, error);
    for (int h = BE_LEFT; h < BE_HEMISPHERES && status == BE_OK; h++)
        status = read_hemisphere(folder, families, mappings, (be_hemisphere)h, &data, error);
    for (size_t f = 0; f < MOST_FAMILIES; f++)
        be_npy_mapping_free(&mappings[f]);
    if (status != BE_OK) {
        be_algonauts_free(&data);
        return status;
    }
    *out = data;
    return BE_OK;
}

be_status be_algonauts_check_length(const be_algonauts *data, be_hemisphere hemisphere, size_t count, const char *path,
                                    be_error *error)
{
    if (count == data->n_vertices[hemisphere] || count == data->n_fsaverage[hemisphere])
        return BE_OK;
    return be_fail(error, BE_ERROR_FORMAT, "%s: has %zu numbers for the %s hemisphere, whose vertices are %zu of the surface's %zu",
                   path, count, be_hemisphere_name(hemisphere), data->n_vertices[hemisphere], data->n_fsaverage[hemisphere]);
}

size_t be_algonauts_place(const be_algonauts *data, be_hemisphere hemisphere, size_t count, size_t vertex)
{
    return count == data->n_vertices[hemisphere] ? vertex : (size_t)data->fsaverage[hemisphere][vertex];
}

void be_algonauts_free(be_algonauts *data)
{
    be_roi_set_free(&data->rois);
    free(data->fsaverage[BE_LEFT]);
    free(data->fsaverage[BE_RIGHT]);
    *data = (be_algonauts){0};
}
