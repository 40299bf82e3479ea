#include "core/subject/readout_plan.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

/* How queries are numbered. */
typedef enum numbering {
    BY_ROI,      /* the left hemisphere's ROIs and rest, then the right one's */
    BY_HALF,     /* sixteen: eight for each hemisphere, of which the first ones are used */
    BY_HEMISPHERE,
    BY_VERTEX
} numbering;

enum { HALF = 8 };

static const char *const streams[] = {"streams", NULL}, *const visuals[] = {"prf-visualrois", NULL},
                         *const bodies[] = {"floc-bodies", NULL}, *const faces[] = {"floc-faces", NULL},
                         *const places[] = {"floc-places", NULL}, *const words[] = {"floc-words", NULL};

static const char never_run[] = "no version of the training program runs a readout of a single family";

/* One row for each readout. */
static const struct row { const char *name; numbering numbering; const char *const *families; const char *unverified; } rows[] = {
    {"rois_all", BY_ROI, be_roi_families, ""},      {"streams_inc", BY_HALF, streams, ""},
    {"visuals", BY_HALF, visuals, never_run},       {"bodies", BY_HALF, bodies, never_run},
    {"faces", BY_HALF, faces, never_run},           {"places", BY_HALF, places, never_run},
    {"words", BY_HALF, words, never_run},           {"hemis", BY_HEMISPHERE, be_roi_families, ""},
    {"voxels", BY_VERTEX, be_roi_families, ""},
};
enum { N_ROWS = sizeof rows / sizeof *rows };

static const struct row *find_row(const char *readout)
{
    for (size_t i = 0; i < N_ROWS; i++) {
        if (strcmp(rows[i].name, readout) == 0)
            return &rows[i];
    }
    return NULL;
}

be_status be_streams_order_parse(const char *text, be_streams_order *order, be_error *error)
{
    for (be_streams_order it = BE_STREAMS_REST_LAST; it <= BE_STREAMS_REST_FIRST; it++) {
        if (strcmp(text, be_streams_order_name(it)) == 0) {
            *order = it;
            return BE_OK;
        }
    }
    return be_fail(error, BE_ERROR_ARGUMENT, "--streams-order: '%.40s' is none of: rest-last, rest-first", text);
}

const char *be_streams_order_name(be_streams_order order)
{
    return order == BE_STREAMS_REST_LAST ? "rest-last" : order == BE_STREAMS_REST_FIRST ? "rest-first" : "";
}

const char *const *be_readout_families(const char *readout)
{
    const struct row *row = find_row(readout);
    return row ? row->families : NULL;
}

be_queried_rois be_readout_queried_rois(const char *readout, const char *encoder)
{
    const struct row *row = find_row(readout);
    if (!row || strcmp(encoder, "linear") == 0)
        return BE_QUERIED_NONE;
    return row->numbering == BY_ROI ? BE_QUERIED_ANY : row->numbering == BY_HALF ? BE_QUERIED_OWN : BE_QUERIED_NONE;
}

const char *be_readout_unverified(const char *readout)
{
    const struct row *row = find_row(readout);
    return row ? row->unverified : "";
}

bool be_readout_needs_order(const char *readout, const char *encoder)
{
    const struct row *row = find_row(readout);
    return row && row->families == streams && strcmp(encoder, "linear") != 0;
}

be_status be_readout_check_order(const char *readout, const char *encoder, be_streams_order order, const char *path,
                                 be_error *error)
{
    if (!be_readout_needs_order(readout, encoder) || order != BE_STREAMS_UNKNOWN)
        return BE_OK;
    return be_fail(error, BE_ERROR_ARGUMENT,
                   "%s: readout_res streams_inc: versions of the training program differ in where the query of the vertices in no "
                   "stream stands, and the checkpoint does not say: --streams-order rest-last (the repaired public version) or "
                   "rest-first (older private ones)", path);
}

/* --- the plan ------------------------------------------------------------------------------------- */

static uint32_t query_of(const struct row *row, be_streams_order order, size_t count, int hemisphere, size_t roi)
{
    switch (row->numbering) {
    case BY_ROI: return (uint32_t)((size_t)hemisphere * count + roi);
    case BY_HEMISPHERE: return (uint32_t)hemisphere;
    default: break;
    }
    if (row->families == streams && order == BE_STREAMS_REST_FIRST)
        roi = roi + 1 == count ? 0 : roi + 1;
    return (uint32_t)((size_t)hemisphere * HALF + roi);
}

static be_status number_rois(const struct row *row, be_streams_order order, size_t count, be_readout_plan *plan, be_error *error)
{
    for (int h = BE_LEFT; h < BE_HEMISPHERES; h++) {
        void *memory;
        be_status status = be_allocate(&memory, count, sizeof(uint32_t), "a list of queries", error);
        if (status != BE_OK)
            return status;
        plan->of_roi[h] = memory;
        for (size_t r = 0; r < count; r++)
            plan->of_roi[h][r] = query_of(row, order, count, h, r);
    }
    return BE_OK;
}

be_status be_readout_plan_make(const char *readout, const char *encoder, be_streams_order order, const be_roi_set *rois,
                               const size_t n_vertices[BE_HEMISPHERES], const char *path, be_readout_plan *out, be_error *error)
{
    const struct row *row = find_row(readout);
    be_readout_plan plan = {0};
    if (!row)
        return be_fail(error, BE_ERROR_UNSUPPORTED,
                       "%s: readout_res '%.60s' is not supported; there are: rois_all, streams_inc, visuals, bodies, faces, "
                       "places, "
                       "words, hemis, voxels", path, readout);
    if (strcmp(encoder, "linear") == 0) {
        *out = (be_readout_plan){.queries = 1, .whole = true};
        return BE_OK;
    }
    if (row->numbering == BY_VERTEX) {
        *out = (be_readout_plan){.queries = n_vertices[BE_LEFT] + n_vertices[BE_RIGHT], .by_vertex = true};
        return BE_OK;
    }
    be_status status = be_readout_check_order(readout, encoder, order, path, error);
    if (status != BE_OK)
        return status;
    if (row->numbering == BY_HALF && rois->count > HALF)
        return be_fail(error, BE_ERROR_FORMAT, "%s: readout_res %s has 8 queries a hemisphere, too few for %zu ROIs and the rest",
                       path, readout, rois->count - 1);
    plan.queries = row->numbering == BY_ROI ? BE_HEMISPHERES * rois->count : row->numbering == BY_HALF ? 2 * HALF : BE_HEMISPHERES;
    status = number_rois(row, order, rois->count, &plan, error);
    if (status != BE_OK) {
        be_readout_plan_free(&plan);
        return status;
    }
    *out = plan;
    return BE_OK;
}

void be_readout_plan_free(be_readout_plan *plan)
{
    free(plan->of_roi[BE_LEFT]);
    free(plan->of_roi[BE_RIGHT]);
    *plan = (be_readout_plan){0};
}

/* --- lists ---------------------------------------------------------------------------------------- */

/* Calls add for each (vertex, query) pair; a vertex of several ROIs with one query (a hemisphere's) is read from it once. */
typedef struct pairs {
    size_t *next;      /* [vertices]: pairs so far, or where the next one goes */
    uint32_t *queries; /* NULL: only counted */
} pairs;

static void add_pair(pairs *to, size_t vertex, uint32_t query)
{
    if (to->queries)
        to->queries[to->next[vertex]] = query;
    to->next[vertex]++;
}

static void add_hemisphere(pairs *to, const be_readout_plan *plan, const be_roi_set *rois, be_hemisphere hemisphere, size_t offset,
                           size_t vertices)
{
    bool one_query = plan->whole || plan->queries == BE_HEMISPHERES; /* for all vertices of it */
    for (size_t v = 0; v < vertices && one_query; v++)
        add_pair(to, offset + v, plan->whole ? 0 : plan->of_roi[hemisphere][0]);
    for (size_t r = 0; r < rois->count && !one_query; r++) {
        for (size_t i = 0; i < rois->rois[r].n_vertices[hemisphere]; i++)
            add_pair(to, offset + rois->rois[r].vertices[hemisphere][i], plan->of_roi[hemisphere][r]);
    }
}

static void add_all(pairs *to, const be_readout_plan *plan, const be_roi_set *rois, const size_t n_vertices[BE_HEMISPHERES])
{
    add_hemisphere(to, plan, rois, BE_LEFT, 0, n_vertices[BE_LEFT]);
    add_hemisphere(to, plan, rois, BE_RIGHT, n_vertices[BE_LEFT], n_vertices[BE_RIGHT]);
}

be_status be_readout_plan_lists(const be_readout_plan *plan, const be_roi_set *rois, const size_t n_vertices[BE_HEMISPHERES],
                                be_readout_lists *lists, be_error *error)
{
    size_t vertices = n_vertices[BE_LEFT] + n_vertices[BE_RIGHT];
    void *start = NULL, *next = NULL, *queries = NULL;
    *lists = (be_readout_lists){0};
    if (plan->by_vertex)
        return BE_OK;
    be_status status = be_allocate(&start, vertices + 1, sizeof(size_t), "the readout's vertex lists", error);
    if (status == BE_OK)
        status = be_allocate(&next, vertices, sizeof(size_t), "the readout's vertex lists", error);
    if (status == BE_OK) {
        pairs counted = {.next = next};
        size_t *starts = start;
        add_all(&counted, plan, rois, n_vertices);
        for (size_t v = 0; v < vertices; v++) {
            starts[v + 1] = starts[v] + counted.next[v];
            counted.next[v] = starts[v];
        }
        status = be_allocate(&queries, starts[vertices], sizeof(uint32_t), "the readout's query lists", error);
    }
    if (status == BE_OK) {
        pairs filled = {.next = next, .queries = queries};
        add_all(&filled, plan, rois, n_vertices);
        *lists = (be_readout_lists){start, queries};
    } else {
        free(start);
    }
    free(next);
    return status;
}
