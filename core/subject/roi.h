/* Regions of interest: their names, families and vertices, and how a user names them.
 *
 * Algonauts 2023 layout, MODEL section 5; the naming rules are API.md's.
 */
#ifndef BRAINENC_SUBJECT_ROI_H
#define BRAINENC_SUBJECT_ROI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"

typedef enum be_hemisphere { BE_LEFT, BE_RIGHT, BE_HEMISPHERES } be_hemisphere;
/* "lh", "rh". */
const char *be_hemisphere_name(be_hemisphere hemisphere);

/* Limits on what files may claim: far above any atlas and any cortical surface in use. */
enum { BE_ROI_NAME_SIZE = 64, BE_MOST_ROIS = 1000, BE_MOST_VERTICES = 1 << 20 };

typedef struct be_roi {
    char name[BE_ROI_NAME_SIZE];   /* "FBA-1"; the last one of a set is "rest" */
    char family[BE_ROI_NAME_SIZE]; /* "floc-bodies"; "" for "rest" */
    size_t n_vertices[BE_HEMISPHERES];
    uint32_t *vertices[BE_HEMISPHERES]; /* ascending, of the hemisphere's own numbering from 0; may be empty */
} be_roi;

/* True when a name out of a file may be used as one: 1 to BE_ROI_NAME_SIZE - 1 bytes, no comma (it separates names), no
 * control characters (names are printed). */
bool be_name_is_plain(const char *name);

/* The ROIs of a subject in the order of its queries, and after them "rest": the vertices of no ROI. */
typedef struct be_roi_set {
    size_t count; /* with "rest" */
    be_roi *rois; /* owned */
} be_roi_set;

void be_roi_set_free(be_roi_set *set);
/* Appends a ROI without vertices; *capacity is the set's, 0 at first. BE_ERROR_FORMAT when the name is none, is "all" or is there
 * already, BE_ERROR_LIMIT when there are too many; `path` begins the sentence. */
be_status be_roi_set_add(be_roi_set *set, size_t *capacity, const char *name, const char *family, const char *path,
                         be_error *error);

/* The families whose ROIs a rois_all model has queries for, in their order; NULL ends the list. */
extern const char *const be_roi_families[];

/* One thing a user asked for: a ROI, or a stem that stands for several (the mean of their maps, the union of their
 * vertices). */
typedef struct be_roi_group {
    char name[BE_ROI_NAME_SIZE]; /* as asked: "FBA" */
    size_t n_members;
    size_t *members;             /* indices into the set, ascending */
} be_roi_group;

typedef struct be_roi_selection {
    size_t count;
    be_roi_group *groups; /* owned */
} be_roi_selection;

/* Resolves names separated by commas. A name is, in this order: an exact ROI name (or "rest"); "all", a group for each
 * ROI and for "rest"; a family, a group for each of its ROIs; a stem, "FBA" for every FBA-<number>: one group. A group
 * asked for twice is given once. BE_ERROR_NOT_FOUND names the unknown name and the close ones, BE_ERROR_ARGUMENT an
 * empty name. On success *selection is to be released with be_roi_selection_free. */
be_status be_roi_select(const be_roi_set *set, const char *names, be_roi_selection *selection, be_error *error);
void be_roi_selection_free(be_roi_selection *selection);
/* Whether a group has the ROI, by its place in the set, as a member. */
bool be_roi_is_selected(const be_roi_selection *selection, size_t roi);

#endif
