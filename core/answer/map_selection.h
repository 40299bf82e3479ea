/* Whose attention maps are asked for, and their numbers: of ROIs, or of vertices where the readout has a query for each. */
#ifndef BRAINENC_ANSWER_MAP_SELECTION_H
#define BRAINENC_ANSWER_MAP_SELECTION_H

#include "core/brainenc.h"

enum { BE_MOST_MAP_VERTICES = 64 }; /* named in one selection: each is a map of its own */

/* What is asked of one subject. The maps are ordered: groups outermost, then hemispheres; or vertices as they were named. */
typedef struct be_map_selection {
    be_roi_selection rois;            /* of whose groups; none: of vertices */
    uint32_t *vertices;               /* [n_vertices], left ones first (a right vertex v is V_lh + v); owned */
    size_t n_vertices;
    bool hemispheres[BE_HEMISPHERES]; /* of ROIs: which are wanted */
    bool heads;                       /* each head's map in the place of their mean */
} be_map_selection;

/* BE_OK when the subject has maps at all; BE_ERROR_UNSUPPORTED with the reason otherwise. */
be_status be_map_check_subject(const be_subject_info *info, be_error *error);

/* Set the selection's ROIs (names as be_roi_select takes them) or its vertices: names like "lh:1234" separated by commas, the
 * number being the hemisphere's own; one named twice is given once. BE_ERROR_UNSUPPORTED for a subject without such maps,
 * BE_ERROR_NOT_FOUND for an unknown name or a number out of range, BE_ERROR_ARGUMENT for what is no name or too many of them.
 * The other fields stay; to be released with be_map_selection_free. */
be_status be_map_select_rois(const be_subject_info *info, const char *names, be_map_selection *selection, be_error *error);
be_status be_map_select_vertices(const be_subject_info *info, const char *names, be_map_selection *selection, be_error *error);
void be_map_selection_free(be_map_selection *selection);

/* How many maps that is, and how many of them one map stands for: 1, or the heads. */
size_t be_map_selection_count(const be_map_selection *selection);
size_t be_map_selection_sheets(const be_subject_info *info, const be_map_selection *selection);

/* BE_OK when the selection is what a picture can show: one group or vertex, the mean over heads, no map that is none.
 * BE_ERROR_ARGUMENT or BE_ERROR_NOT_FOUND otherwise. */
be_status be_map_check_picture(const be_subject_info *info, const be_map_selection *selection, be_error *error);

/* What one of the maps is of. */
typedef struct be_map_label {
    const be_roi_group *group; /* NULL: of a vertex */
    be_hemisphere hemisphere;
    size_t vertex;             /* of the hemisphere */
    bool none;                 /* a map by vertex of ROIs that have no vertex there: there is none */
} be_map_label;
be_map_label be_map_label_of(const be_subject_info *info, const be_map_selection *selection, size_t index);

/* What maps are made from. */
typedef struct be_map_source {
    const be_subject_info *info;
    const be_output *output; /* its attention (with heads wanted attention_heads); of a subject by vertex its features */
    size_t rows, columns;
    be_session *session;     /* by vertex only: not while another thread uses it */
    size_t subject;          /* of the session's model */
} be_map_source;

/* values [be_map_selection_count][be_map_selection_sheets][rows * columns]: of a group the mean of its members' maps; by vertex
 * the mean over the group's vertices in the hemisphere, each once, and NaN where there is none. Each map sums to 1. By vertex
 * the cost is a product and a softmax over the tokens for each vertex of each group: all ROIs of a full-size subject take about as
 * long as its prediction. */
be_status be_maps_compute(const be_map_source *source, const be_map_selection *selection, float *values, be_error *error);

#endif
