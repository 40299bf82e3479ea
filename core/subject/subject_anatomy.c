#include "core/subject/subject_opening.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/memory.h"
#include "core/subject/masks.h"

static be_status read_rois(be_opening *self)
{
    be_roi_set *set = &self->subject->info.rois;
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(self->root, "rois"), *item;
    size_t capacity = 0;
    be_status status = BE_OK;
    if (!cJSON_IsArray(list))
        return be_opening_fail(self, "rois", "list of ROIs");
    cJSON_ArrayForEach(item, list) {
        const char *name = "", *family = "";
        status = be_opening_text(self, item, "name", &name);
        if (status == BE_OK)
            status = be_opening_text(self, item, "family", &family);
        if (status == BE_OK && !be_name_is_plain(family))
            status = be_opening_fail(self, "family", "name of 1 to 63 printable bytes");
        if (status == BE_OK)
            status = be_roi_set_add(set, &capacity, name, family, self->path, self->error);
        if (status != BE_OK)
            return status;
    }
    return be_roi_set_add(set, &capacity, "rest", "", self->path, self->error);
}

/* The tensor stem + "lh" or "rh", of the given dtype and dimensions. */
static be_status find_tensor(const be_opening *self, const char *stem, be_hemisphere hemisphere, be_dtype dtype, size_t n_dims,
                             const be_tensor **tensor)
{
    char name[32];
    snprintf(name, sizeof name, "%s%s", stem, be_hemisphere_name(hemisphere));
    *tensor = be_tensor_file_find(self->file, name);
    if (!*tensor || (*tensor)->dtype != dtype || (*tensor)->n_dims != n_dims)
        return be_fail(self->error, BE_ERROR_FORMAT, "%s: tensor '%s' is missing or no %s of %zu dimensions", self->path, name,
                       be_dtype_name(dtype), n_dims);
    return BE_OK;
}

static be_status read_masks(be_opening *self, be_hemisphere hemisphere)
{
    be_subject_info *info = &self->subject->info;
    const be_tensor *tensor;
    void *masks;
    be_status status = find_tensor(self, "masks.", hemisphere, BE_DTYPE_U8, 2, &tensor);
    if (status != BE_OK)
        return status;
    if (tensor->shape[0] + 1 != info->rois.count || tensor->shape[1] == 0 || tensor->shape[1] > BE_MOST_VERTICES)
        return be_fail(self->error, BE_ERROR_FORMAT, "%s: tensor '%s' is [%zu][%zu]; there are %zu ROIs", self->path,
                       tensor->name, tensor->shape[0], tensor->shape[1], info->rois.count - 1);
    info->n_vertices[hemisphere] = tensor->shape[1];
    status = be_allocate(&masks, tensor->count, 1, "ROI masks", self->error);
    if (status != BE_OK)
        return status;
    status = be_tensor_file_read(self->file, tensor, masks, self->error);
    if (status == BE_OK)
        status = be_masks_to_vertices(&info->rois, hemisphere, masks, tensor->shape[1], self->path, self->error);
    free(masks);
    return status;
}

static be_status check_index(const be_opening *self, const be_tensor *tensor, const int32_t *index, size_t surface)
{
    for (size_t v = 0; v < tensor->count; v++) {
        if (index[v] < 0 || (size_t)index[v] >= surface)
            return be_fail(self->error, BE_ERROR_FORMAT, "%s: tensor '%s' holds %d at vertex %zu; the surface has %zu",
                           self->path, tensor->name, (int)index[v], v, surface);
    }
    return BE_OK;
}

static be_status read_fsaverage(be_opening *self, be_hemisphere hemisphere)
{
    be_subject_info *info = &self->subject->info;
    const be_tensor *tensor;
    void *memory;
    const cJSON *sizes = cJSON_GetObjectItemCaseSensitive(self->root, "fsaverage");
    if (!cJSON_IsObject(sizes))
        return be_opening_fail(self, "fsaverage", "pair of sizes");
    be_status status = be_opening_size(self, sizes, be_hemisphere_name(hemisphere), &info->n_fsaverage[hemisphere]);
    if (status != BE_OK || info->n_fsaverage[hemisphere] == 0)
        return status;
    status = find_tensor(self, "fsaverage.", hemisphere, BE_DTYPE_I32, 1, &tensor);
    if (status == BE_OK && tensor->count != info->n_vertices[hemisphere])
        status = be_fail(self->error, BE_ERROR_FORMAT, "%s: tensor '%s' has %zu elements for %zu vertices", self->path,
                         tensor->name, tensor->count, info->n_vertices[hemisphere]);
    if (status == BE_OK)
        status = be_allocate(&memory, tensor->count, sizeof(int32_t), "an fsaverage index", self->error);
    if (status != BE_OK)
        return status;
    self->subject->fsaverage[hemisphere] = memory;
    status = be_tensor_file_read(self->file, tensor, memory, self->error);
    return status == BE_OK ? check_index(self, tensor, memory, info->n_fsaverage[hemisphere]) : status;
}

be_status be_opening_read_anatomy(be_opening *self)
{
    be_status status = read_rois(self);
    for (int hemisphere = BE_LEFT; hemisphere < BE_HEMISPHERES && status == BE_OK; hemisphere++) {
        status = read_masks(self, (be_hemisphere)hemisphere);
        if (status == BE_OK)
            status = read_fsaverage(self, (be_hemisphere)hemisphere);
    }
    return status;
}
