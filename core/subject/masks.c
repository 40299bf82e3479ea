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

/* Left vertices come first, and the left hemisphere's queries. */
be_status be_masks_to_lists(const be_roi_set *set, const size_t n_vertices[BE_HEMISPHERES], be_readout_lists *lists,
                            be_error *error)
{
    size_t vertices = n_vertices[BE_LEFT] + n_vertices[BE_RIGHT], pairs = 0;
    for (size_t r = 0; r < set->count; r++)
        pairs += set->rois[r].n_vertices[BE_LEFT] + set->rois[r].n_vertices[BE_RIGHT];
    void *start, *queries, *filled;
    be_status status = be_allocate(&start, vertices + 1, sizeof(size_t), "the readout's vertex lists", error);
    if (status != BE_OK)
        return status;
    status = be_allocate(&queries, pairs, sizeof(uint16_t), "the readout's query lists", error);
    if (status != BE_OK)
        goto free_start;
    status = be_allocate(&filled, vertices, sizeof(size_t), "the readout's vertex lists", error);
    if (status != BE_OK)
        goto free_queries;
    *lists = (be_readout_lists){start, queries};
    size_t *next = filled;
    for (int hemisphere = BE_LEFT; hemisphere < BE_HEMISPHERES; hemisphere++) {
        size_t offset = hemisphere == BE_LEFT ? 0 : n_vertices[BE_LEFT];
        for (size_t r = 0; r < set->count; r++) {
            for (size_t i = 0; i < set->rois[r].n_vertices[hemisphere]; i++)
                next[offset + set->rois[r].vertices[hemisphere][i]]++;
        }
    }
    for (size_t v = 0; v < vertices; v++) {
        lists->start[v + 1] = lists->start[v] + next[v];
        next[v] = lists->start[v];
    }
    for (int hemisphere = BE_LEFT; hemisphere < BE_HEMISPHERES; hemisphere++) {
        size_t offset = hemisphere == BE_LEFT ? 0 : n_vertices[BE_LEFT];
        for (size_t r = 0; r < set->count; r++) {
            size_t query = hemisphere == BE_LEFT ? r : set->count + r;
            for (size_t i = 0; i < set->rois[r].n_vertices[hemisphere]; i++)
                lists->queries[next[offset + set->rois[r].vertices[hemisphere][i]]++] = (uint16_t)query;
        }
    }
    free(filled);
    return BE_OK;
free_queries:
    free(queries);
free_start:
    free(start);
    return status;
}
