#include "core/subject/parcellation.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/subject/label_names.h"
#include "core/subject/masks.h"

/* A label and where its name is in the mapping. */
typedef struct parcel {
    int64_t label;
    size_t name;
} parcel;

typedef struct merging {
    const be_parcellation *from;
    be_algonauts *data;
    be_error *error;
    be_npy_mapping names;
    parcel *parcels;      /* [n_parcels], ascending by label */
    size_t n_parcels;
    be_roi_set rois;      /* what the data's will be */
} merging;

static int by_label(const void *a, const void *b)
{
    const parcel *left = a, *right = b;
    return left->label < right->label ? -1 : left->label > right->label;
}

static be_status list_parcels(merging *self)
{
    void *memory;
    be_status status = be_allocate(&memory, self->names.count, sizeof(parcel), "a list of parcels", self->error);
    if (status != BE_OK)
        return status;
    self->parcels = memory;
    for (size_t i = 0; i < self->names.count; i++) {
        if (self->names.labels[i] > 0)
            self->parcels[self->n_parcels++] = (parcel){self->names.labels[i], i};
    }
    if (self->n_parcels == 0)
        return be_fail(self->error, BE_ERROR_FORMAT, "%s: names no label above 0", self->from->names);
    qsort(self->parcels, self->n_parcels, sizeof(parcel), by_label);
    for (size_t i = 1; i < self->n_parcels; i++) {
        if (self->parcels[i].label == self->parcels[i - 1].label)
            return be_fail(self->error, BE_ERROR_FORMAT, "%s: label %lld is there twice", self->from->names,
                           (long long)self->parcels[i].label);
    }
    return BE_OK;
}

/* The names of the ROIs there are, of the parcels, and "rest". */
static be_status list_rois(merging *self)
{
    const be_roi_set *old = &self->data->rois;
    size_t capacity = 0;
    be_status status = BE_OK;
    for (size_t r = 0; r + 1 < old->count && status == BE_OK; r++)
        status = be_roi_set_add(&self->rois, &capacity, old->rois[r].name, old->rois[r].family, self->from->names, self->error);
    for (size_t i = 0; i < self->n_parcels && status == BE_OK; i++)
        status = be_roi_set_add(&self->rois, &capacity, self->names.names[self->parcels[i].name], self->from->family,
                                self->from->names, self->error);
    return status == BE_OK ? be_roi_set_add(&self->rois, &capacity, "rest", "", self->from->names, self->error) : status;
}

/* Sets the parcels' rows of masks [parcels][vertices] from the labels [count]. */
static be_status mark(const merging *self, be_hemisphere hemisphere, const int64_t *labels, size_t count, uint8_t *masks)
{
    size_t vertices = self->data->n_vertices[hemisphere];
    for (size_t v = 0; v < vertices; v++) {
        parcel wanted = {.label = labels[be_algonauts_place(self->data, hemisphere, count, v)]};
        if (wanted.label <= 0)
            continue;
        const parcel *found = bsearch(&wanted, self->parcels, self->n_parcels, sizeof(parcel), by_label);
        if (!found)
            return be_fail(self->error, BE_ERROR_FORMAT, "%s: label %lld of vertex %zu has no name in %s",
                           self->from->labels[hemisphere], (long long)wanted.label, v, self->from->names);
        masks[(size_t)(found - self->parcels) * vertices + v] = 1;
    }
    return BE_OK;
}

static be_status read_labels(const merging *self, be_hemisphere hemisphere, uint8_t *masks)
{
    const char *path = self->from->labels[hemisphere];
    be_npy npy;
    be_error why;
    void *labels = NULL;
    be_status status = be_npy_read(path, &npy, self->error);
    if (status != BE_OK)
        return status;
    status = be_algonauts_check_length(self->data, hemisphere, npy.count, path, self->error);
    if (status == BE_OK)
        status = be_allocate(&labels, npy.count, sizeof(int64_t), "labels", self->error);
    if (status == BE_OK) {
        status = be_npy_to_i64(&npy, labels, &why);
        if (status != BE_OK)
            be_fail(self->error, status, "%s: %s", path, why.message);
    }
    if (status == BE_OK)
        status = mark(self, hemisphere, labels, npy.count, masks);
    free(labels);
    be_npy_free(&npy);
    return status;
}

static be_status merge(merging *self, be_hemisphere hemisphere)
{
    void *masks;
    size_t vertices = self->data->n_vertices[hemisphere], first = self->data->rois.count - 1;
    be_status status = be_allocate(&masks, self->rois.count, vertices, "ROI masks", self->error);
    if (status != BE_OK)
        return status;
    be_vertices_to_masks(&self->data->rois, hemisphere, masks, vertices);
    status = read_labels(self, hemisphere, (uint8_t *)masks + first * vertices);
    if (status == BE_OK)
        status = be_masks_to_vertices(&self->rois, hemisphere, masks, vertices, self->from->labels[hemisphere], self->error);
    free(masks);
    return status;
}

be_status be_parcellation_add(const be_parcellation *from, be_algonauts *data, be_error *error)
{
    merging self = {.from = from, .data = data, .error = error};
    be_status status = be_label_names_read(from->names, &self.names, error);
    if (status == BE_OK)
        status = list_parcels(&self);
    if (status == BE_OK)
        status = list_rois(&self);
    for (int h = BE_LEFT; h < BE_HEMISPHERES && status == BE_OK; h++)
        status = merge(&self, (be_hemisphere)h);
    if (status == BE_OK) {
        be_roi_set old = data->rois;
        data->rois = self.rois;
        self.rois = old;
    }
    be_roi_set_free(&self.rois);
    free(self.parcels);
    be_npy_mapping_free(&self.names);
    return status;
}
