/* Which query stands for which ROI or vertex, by the authors' `readout_res`: MODEL section 4. */
#ifndef BRAINENC_SUBJECT_READOUT_PLAN_H
#define BRAINENC_SUBJECT_READOUT_PLAN_H

#include <stdbool.h>

#include "core/encoder/encoder.h"
#include "core/subject/roi.h"

/* Of "streams_inc": where a hemisphere's query for the vertices in no stream stands. A checkpoint does not say. */
typedef enum be_streams_order { BE_STREAMS_UNKNOWN, BE_STREAMS_REST_LAST, BE_STREAMS_REST_FIRST } be_streams_order;
/* "rest-last", "rest-first"; BE_ERROR_ARGUMENT naming them otherwise. */
be_status be_streams_order_parse(const char *text, be_streams_order *order, be_error *error);
const char *be_streams_order_name(be_streams_order order);

typedef struct be_readout_plan {
    size_t queries;                   /* Q */
    bool by_vertex;                   /* vertex v is read from query v */
    bool whole;                       /* one token for all vertices ("linear"): no maps */
    uint32_t *of_roi[BE_HEMISPHERES]; /* [ROIs with rest]: each one's query; NULL by vertex and for a whole */
} be_readout_plan;

/* The families whose ROIs such a readout's subject has, ended by NULL: of all families, of the streams, or of one. NULL for an
 * unknown name. */
const char *const *be_readout_families(const char *readout);
/* Which ROIs such a readout of such an encoder (`encoder_arch`) has queries for. */
typedef enum be_queried_rois {
    BE_QUERIED_ANY,  /* any: one a hemisphere for each there is */
    BE_QUERIED_OWN,  /* those of families of its own */
    BE_QUERIED_NONE  /* none: ROIs are but sets of vertices */
} be_queried_rois;
be_queried_rois be_readout_queried_rois(const char *readout, const char *encoder);
/* "" or what no golden case covers of such a readout. */
const char *be_readout_unverified(const char *readout);

/* Whether such a readout of such an encoder depends on the order. */
bool be_readout_needs_order(const char *readout, const char *encoder);
/* BE_ERROR_ARGUMENT naming the choice when it does and the order is not known; `path` begins the sentence. */
be_status be_readout_check_order(const char *readout, const char *encoder, be_streams_order order, const char *path,
                                 be_error *error);

/* Makes the plan of a readout for these ROIs. `encoder` is the `encoder_arch`: "linear" reads all from one token whatever the
 * readout is called. BE_ERROR_UNSUPPORTED for an unknown readout, BE_ERROR_ARGUMENT when the order of streams is not given,
 * BE_ERROR_FORMAT when the ROIs are too many for it; `path` begins the sentence. To be released with be_readout_plan_free. */
be_status be_readout_plan_make(const char *readout, const char *encoder, be_streams_order order, const be_roi_set *rois,
                               const size_t n_vertices[BE_HEMISPHERES], const char *path, be_readout_plan *plan, be_error *error);
void be_readout_plan_free(be_readout_plan *plan);

/* Which queries each vertex is read from (left vertices first); nothing for a plan by vertex. To be freed by whoever takes the
 * lists, which is also NULL-safe: free(lists->start), free(lists->queries). */
be_status be_readout_plan_lists(const be_readout_plan *plan, const be_roi_set *rois, const size_t n_vertices[BE_HEMISPHERES],
                                be_readout_lists *lists, be_error *error);

#endif
