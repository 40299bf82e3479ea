#include "core/subject/masks.h"

#include <stdlib.h>

#include "core/base/memory.h"

static bool in_some_roi(const uint8_t *masks, size_t n_rois, size_t n_vertices, size_t vertex)
{
    for (size_t r = 0; r < n_rois; r++) {
        if (masks[r * n_vertices + vertex])
            return true;
    }
    return false;
}

static bool belongs(const uint8_t *masks, size_t n_rois, size_t n_vertices, size_t roi, size_t vertex)
{
    if (roi < n_rois)
        return masks[roi * n_vertices + vertex] != 0;
    return !in_some_roi(masks, n_rois, n_vertices, vertex);
}

static be_status fill_roi(be_roi *roi, be_hemisphere hemisphere, const uint8_t *masks, size_t n_rois, size_t n_vertices,
                          size_t index, be_error *error)
{
    size_t count = 0;
    void *memory;
    for (size_t v = 0; v < n_vertices; v++)
        count += belongs(masks, n_rois, n_vertices, index, v);
    be_status status = be_allocate(&memory, count, sizeof(uint32_t), "the vertices of a ROI", error);
    if (status != BE_OK)
        return status;
    roi->vertices[hemisphere] = memory;
    for (size_t v = 0; v < n_vertices; v++) {
        if (belongs(masks, n_rois, n_vertices, index, v))
            roi->vertices[hemisphere][roi->n_vertices[hemisphere]++] = (uint32_t)v;
    }
    return BE_OK;
}

be_status be_masks_to_vertices(be_roi_set *set, be_hemisphere hemisphere, const uint8_t *masks, size_t n_vertices,
                               const char *name, be_error *error)
{
    size_t n_rois = set->count - 1;
    for (size_t i = 0; i < n_rois * n_vertices; i++) {
        if (masks[i] > 1)
            return be_fail(error, BE_ERROR_FORMAT, "%s: the %s mask of %s holds the value %u at vertex %zu, neither 0 nor 1",
                           name, be_hemisphere_name(hemisphere), set->rois[i / n_vertices].name, masks[i], i % n_vertices);
    }
    be_status status = BE_OK;
    for (size_t r = 0; r <= n_rois && status == BE_OK; r++)
        status = fill_roi(&set->rois[r], hemisphere, masks, n_rois, n_vertices, r, error);
    return status;
}

void be_vertices_to_masks(const be_roi_set *set, be_hemisphere hemisphere, uint8_t *masks, size_t n_vertices)
{
    for (size_t r = 0; r + 1 < set->count; r++) {
        for (size_t i = 0; i < set->rois[r].n_vertices[hemisphere]; i++)
            masks[r * n_vertices + set->rois[r].vertices[hemisphere][i]] = 1;
    }
}
