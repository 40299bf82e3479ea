#include "core/answer/map_selection.h"

#include <stdlib.h>
#include <string.h>

#include "core/answer/answer.h"
#include "core/base/memory.h"

/* --- selecting ------------------------------------------------------------------------------------ */

be_status be_map_check_subject(const be_subject_info *info, be_error *error)
{
    if (info->heads > 0)
        return BE_OK;
    return be_fail(error, BE_ERROR_UNSUPPORTED, "%s has no attention maps: its %s encoder has no queries", info->name,
                   info->encoder);
}

be_status be_map_select_rois(const be_subject_info *info, const char *names, be_map_selection *selection, be_error *error)
{
    be_status status = be_map_check_subject(info, error);
    return status == BE_OK ? be_roi_select(&info->rois, names, &selection->rois, error) : status;
}

/* "lh:1234", of `length` bytes, as a number of the whole numbering. */
static be_status parse_vertex(const be_subject_info *info, const char *name, size_t length, uint32_t *vertex, be_error *error)
{
    enum { PREFIX = 3, MOST_DIGITS = 9 };
    const size_t *sizes = info->n_vertices;
    int shown = length < 40 ? (int)length : 40;
    bool right = strncmp(name, "rh:", PREFIX) == 0, side = right || strncmp(name, "lh:", PREFIX) == 0;
    size_t digits = side ? strspn(name + PREFIX, "0123456789") : 0, number = 0;
    if (digits == 0 || digits + PREFIX != length)
        return be_fail(error, BE_ERROR_ARGUMENT, "vertex: '%.*s' is neither lh:NUMBER nor rh:NUMBER; the numbers of %s are below "
                       "%zu (lh) and %zu (rh)", shown, name, info->name, sizes[BE_LEFT], sizes[BE_RIGHT]);
    for (size_t i = 0; i < digits && digits <= MOST_DIGITS; i++)
        number = number * 10 + (size_t)(name[PREFIX + i] - '0');
    if (digits > MOST_DIGITS || number >= sizes[right ? BE_RIGHT : BE_LEFT])
        return be_fail(error, BE_ERROR_NOT_FOUND, "vertex: there is no '%.*s', the numbers of %s are below %zu (lh) and %zu (rh)",
                       shown, name, info->name, sizes[BE_LEFT], sizes[BE_RIGHT]);
    *vertex = (uint32_t)(number + (right ? sizes[BE_LEFT] : 0));
    return BE_OK;
}

static bool has_vertex(const be_map_selection *selection, uint32_t vertex)
{
    for (size_t i = 0; i < selection->n_vertices; i++) {
        if (selection->vertices[i] == vertex)
            return true;
    }
    return false;
}

static be_status add_vertices(const be_subject_info *info, const char *names, be_map_selection *selection, be_error *error)
{
    for (const char *at = names;; at++) {
        uint32_t vertex = 0;
        size_t length = strcspn(at, ",");
        be_status status = parse_vertex(info, at, length, &vertex, error);
        if (status != BE_OK)
            return status;
        if (!has_vertex(selection, vertex) && selection->n_vertices == BE_MOST_MAP_VERTICES)
            return be_fail(error, BE_ERROR_ARGUMENT, "vertex: more than %d are named", BE_MOST_MAP_VERTICES);
        if (!has_vertex(selection, vertex))
            selection->vertices[selection->n_vertices++] = vertex;
        at += length;
        if (!*at)
            return BE_OK;
    }
}

be_status be_map_select_vertices(const be_subject_info *info, const char *names, be_map_selection *selection, be_error *error)
{
    void *memory;
    be_status status = be_map_check_subject(info, error);
    if (status == BE_OK && !info->by_vertex)
        status = be_fail(error, BE_ERROR_UNSUPPORTED, "vertex: %s has a map of each ROI, none of a vertex (its readout is %s): "
                         "name a roi", info->name, info->readout);
    if (status == BE_OK)
        status = be_allocate(&memory, BE_MOST_MAP_VERTICES, sizeof(uint32_t), "a list of vertices", error);
    if (status != BE_OK)
        return status;
    selection->vertices = memory;
    selection->n_vertices = 0;
    status = add_vertices(info, names, selection, error);
    if (status != BE_OK)
        be_map_selection_free(selection);
    return status;
}

void be_map_selection_free(be_map_selection *selection)
{
    be_roi_selection_free(&selection->rois);
    free(selection->vertices);
    selection->vertices = NULL;
    selection->n_vertices = 0;
}

/* --- what is selected ----------------------------------------------------------------------------- */

static size_t count_hemispheres(const be_map_selection *selection)
{
    return (size_t)selection->hemispheres[BE_LEFT] + (size_t)selection->hemispheres[BE_RIGHT];
}

size_t be_map_selection_count(const be_map_selection *selection)
{
    return selection->vertices ? selection->n_vertices : selection->rois.count * count_hemispheres(selection);
}

size_t be_map_selection_sheets(const be_subject_info *info, const be_map_selection *selection)
{
    return selection->heads ? info->heads : 1;
}

static bool has_vertices(const be_subject_info *info, const be_roi_group *group, be_hemisphere hemisphere)
{
    for (size_t m = 0; m < group->n_members; m++) {
        if (info->rois.rois[group->members[m]].n_vertices[hemisphere] > 0)
            return true;
    }
    return false;
}

be_map_label be_map_label_of(const be_subject_info *info, const be_map_selection *selection, size_t index)
{
    size_t hemispheres = count_hemispheres(selection), left = info->n_vertices[BE_LEFT];
    if (selection->vertices) {
        size_t vertex = selection->vertices[index];
        return vertex < left ? (be_map_label){.hemisphere = BE_LEFT, .vertex = vertex}
                             : (be_map_label){.hemisphere = BE_RIGHT, .vertex = vertex - left};
    }
    be_map_label label = {.group = &selection->rois.groups[index / hemispheres]};
    label.hemisphere = index % hemispheres == 0 && selection->hemispheres[BE_LEFT] ? BE_LEFT : BE_RIGHT;
    label.none = info->by_vertex && !has_vertices(info, label.group, label.hemisphere);
    return label;
}

be_status be_map_check_picture(const be_subject_info *info, const be_map_selection *selection, be_error *error)
{
    const char *what = selection->vertices ? "vertex" : "roi";
    size_t things = selection->vertices ? selection->n_vertices : selection->rois.count;
    if (things != 1)
        return be_fail(error, BE_ERROR_ARGUMENT, "%s: a PNG shows exactly one %s, %zu are asked for", what,
                       selection->vertices ? "vertex" : "ROI", things);
    if (selection->heads)
        return be_fail(error, BE_ERROR_ARGUMENT, "heads: a PNG shows the mean over heads; npy and json have each");
    for (size_t i = 0; i < be_map_selection_count(selection); i++) {
        be_map_label label = be_map_label_of(info, selection, i);
        if (label.none)
            return be_fail(error, BE_ERROR_NOT_FOUND, "roi: %s has no vertex in the %s hemisphere of %s, and so no map there",
                           label.group->name, label.hemisphere == BE_LEFT ? "left" : "right", info->name);
    }
    return BE_OK;
}

/* --- computing ------------------------------------------------------------------------------------ */

/* out[cells] = the mean of the maps of the group's members. `attention` is [info->maps][cells]. */
static void average_members(const be_subject_info *info, const be_map_label *label, const float *attention, size_t cells,
                            float *out)
{
    size_t first = label->hemisphere == BE_LEFT ? 0 : info->maps / 2;
    memset(out, 0, cells * sizeof *out);
    for (size_t m = 0; m < label->group->n_members; m++) {
        const float *map = attention + (first + label->group->members[m]) * cells;
        for (size_t i = 0; i < cells; i++)
            out[i] += map[i] / (float)label->group->n_members;
    }
}

/* The vertices of a group in the whole numbering, each once; to be freed. */
static be_status list_vertices(const be_subject_info *info, const be_map_label *label, uint32_t **vertices, size_t *count,
                               be_error *error)
{
    be_roi_group group = *label->group;
    const be_roi_selection alone = {1, &group};
    be_status status = be_answer_vertices(info, &alone, label->hemisphere, vertices, count, error);
    for (size_t i = 0; i < *count && status == BE_OK && label->hemisphere == BE_RIGHT; i++)
        (*vertices)[i] += (uint32_t)info->n_vertices[BE_LEFT];
    return status;
}

/* The vertices of each map: those of ROIs lie in arrays of their own, which `owned` keeps. */
static be_status list_groups(const be_map_source *source, const be_map_selection *selection, be_vertex_group *groups,
                             uint32_t **owned, be_error *error)
{
    be_status status = BE_OK;
    for (size_t i = 0; i < be_map_selection_count(selection) && status == BE_OK; i++) {
        be_map_label label = be_map_label_of(source->info, selection, i);
        if (label.none)
            continue;
        groups[i] = (be_vertex_group){&selection->vertices[i], 1};
        if (label.group)
            status = list_vertices(source->info, &label, &owned[i], &groups[i].count, error);
        if (label.group && status == BE_OK)
            groups[i].vertices = owned[i];
    }
    return status;
}

static bool is_wanted(const be_map_source *source)
{
    return !source->is_wanted || source->is_wanted(source->asker);
}

/* Maps by vertex of which the tokens' keys are computed once; between them is the time to find that nobody waits. */
enum { MAPS_AT_ONCE = 8 };

static be_status compute_groups(const be_map_source *source, const be_vertex_group *groups, size_t count, bool heads, size_t stride,
                                float *values, be_error *error)
{
    be_status status = BE_OK;
    for (size_t first = 0; first < count && status == BE_OK && is_wanted(source); first += MAPS_AT_ONCE) {
        size_t some = count - first < MAPS_AT_ONCE ? count - first : MAPS_AT_ONCE;
        float *out = values + first * stride;
        status = be_session_maps(source->session, source->subject, source->output->features, source->rows, source->columns,
                                 groups + first, some, heads ? NULL : out, heads ? out : NULL, error);
    }
    return status;
}

static be_status compute_by_vertex(const be_map_source *source, const be_map_selection *selection, size_t stride, float *values,
                                   be_error *error)
{
    size_t count = be_map_selection_count(selection);
    void *groups, *memory;
    be_status status = be_allocate(&groups, count, sizeof(be_vertex_group), "the vertices of maps", error);
    if (status != BE_OK)
        return status;
    status = be_allocate(&memory, count, sizeof(uint32_t *), "the vertices of maps", error);
    if (status != BE_OK) {
        free(groups);
        return status;
    }
    uint32_t **owned = memory;
    status = list_groups(source, selection, groups, owned, error);
    if (status == BE_OK)
        status = compute_groups(source, groups, count, selection->heads, stride, values, error);
    for (size_t i = 0; i < count; i++)
        free(owned[i]);
    free(owned);
    free(groups);
    return status;
}

static void compute_of_queries(const be_map_source *source, const be_map_selection *selection, size_t index, float *out)
{
    size_t cells = source->rows * source->columns;
    const float *attention = selection->heads ? source->output->attention_heads : source->output->attention;
    be_map_label label = be_map_label_of(source->info, selection, index);
    for (size_t head = 0; head < be_map_selection_sheets(source->info, selection); head++)
        average_members(source->info, &label, attention + head * source->info->maps * cells, cells, out + head * cells);
}

be_status be_maps_compute(const be_map_source *source, const be_map_selection *selection, float *values, be_error *error)
{
    size_t stride = be_map_selection_sheets(source->info, selection) * source->rows * source->columns;
    if (source->info->by_vertex)
        return compute_by_vertex(source, selection, stride, values, error);
    for (size_t i = 0; i < be_map_selection_count(selection) && is_wanted(source); i++)
        compute_of_queries(source, selection, i, values + i * stride);
    return BE_OK;
}
