#include "core/subject/roi.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/base/memory.h"

const char *const be_roi_families[] = {"prf-visualrois", "floc-bodies", "floc-faces", "floc-places", "floc-words", NULL};
static const char every_one[] = "all";

const char *be_hemisphere_name(be_hemisphere hemisphere)
{
    return hemisphere == BE_LEFT ? "lh" : "rh";
}

bool be_name_is_plain(const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f || name[i] == ',')
            return false;
    }
    return length > 0 && length < BE_ROI_NAME_SIZE;
}

void be_roi_set_free(be_roi_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        free(set->rois[i].vertices[BE_LEFT]);
        free(set->rois[i].vertices[BE_RIGHT]);
    }
    free(set->rois);
    *set = (be_roi_set){0};
}

be_status be_roi_set_add(be_roi_set *set, size_t *capacity, const char *name, const char *family, const char *path, be_error *error)
{
    if (!be_name_is_plain(name))
        return be_fail(error, BE_ERROR_FORMAT, "%s: '%.80s' is no name for a ROI (1 to %d printable bytes, no comma)", path, name,
                       BE_ROI_NAME_SIZE - 1);
    if (strcmp(name, every_one) == 0 || strcmp(family, every_one) == 0)
        return be_fail(error, BE_ERROR_FORMAT, "%s: '%s' is no name for a ROI or family: it stands for every ROI", path, every_one);
    for (size_t i = 0; i < set->count; i++) {
        if (strcmp(set->rois[i].name, name) == 0)
            return be_fail(error, BE_ERROR_FORMAT, "%s: the name %s is there twice", path, name);
    }
    if (set->count > BE_MOST_ROIS)
        return be_fail(error, BE_ERROR_LIMIT, "%s: names more than %d regions", path, BE_MOST_ROIS);
    void *rois = set->rois;
    be_status status = be_grow(&rois, capacity, set->count + 1, sizeof *set->rois, "a list of ROIs", error);
    if (status != BE_OK)
        return status;
    set->rois = rois;
    be_roi *roi = &set->rois[set->count++];
    *roi = (be_roi){0};
    snprintf(roi->name, sizeof roi->name, "%s", name);
    snprintf(roi->family, sizeof roi->family, "%s", family);
    return BE_OK;
}

void be_roi_selection_free(be_roi_selection *selection)
{
    for (size_t i = 0; i < selection->count; i++)
        free(selection->groups[i].members);
    free(selection->groups);
    *selection = (be_roi_selection){0};
}

bool be_roi_is_selected(const be_roi_selection *selection, size_t roi)
{
    for (size_t g = 0; g < selection->count; g++) {
        for (size_t m = 0; m < selection->groups[g].n_members; m++) {
            if (selection->groups[g].members[m] == roi)
                return true;
        }
    }
    return false;
}

/* True for "FBA-2" with stem "FBA": the stem, a hyphen and nothing but digits. */
static bool has_stem(const char *name, const char *stem)
{
    size_t length = strlen(stem);
    if (strncmp(name, stem, length) != 0 || name[length] != '-')
        return false;
    const char *digits = name + length + 1;
    return *digits && digits[strspn(digits, "0123456789")] == '\0';
}

/* A selection in the making. */
typedef struct selecting {
    const be_roi_set *set;
    be_roi_selection found;
    size_t capacity; /* of found.groups */
    bool *taken;     /* [set->count]: ROIs that are a group of their own already */
} selecting;

/* Appends a group of the given members. */
static be_status add_group(selecting *self, const char *name, const size_t *members, size_t n_members, be_error *error)
{
    be_roi_selection *selection = &self->found;
    void *groups = selection->groups, *copy;
    be_status status = be_grow(&groups, &self->capacity, selection->count + 1, sizeof *selection->groups, "a ROI selection", error);
    if (status != BE_OK)
        return status;
    selection->groups = groups;
    status = be_allocate(&copy, n_members, sizeof *members, "a ROI selection", error);
    if (status != BE_OK)
        return status;
    memcpy(copy, members, n_members * sizeof *members);
    be_roi_group *group = &selection->groups[selection->count++];
    *group = (be_roi_group){.n_members = n_members, .members = copy};
    snprintf(group->name, sizeof group->name, "%s", name);
    return BE_OK;
}

/* A group of its own for a ROI, once however often it is named: a name may stand in a URL thousands of times. */
static be_status add_roi(selecting *self, size_t roi, be_error *error)
{
    if (self->taken[roi])
        return BE_OK;
    self->taken[roi] = true;
    return add_group(self, self->set->rois[roi].name, &roi, 1, error);
}

/* Each ROI of the family; every ROI when `family` is NULL. */
static be_status add_each(selecting *self, const char *family, be_error *error)
{
    be_status status = BE_OK;
    for (size_t i = 0; i < self->set->count && status == BE_OK; i++) {
        if (!family || strcmp(self->set->rois[i].family, family) == 0)
            status = add_roi(self, i, error);
    }
    return status;
}

/* How many letters must be changed, added or removed to turn a into b; case does not count. Both are shorter than
 * BE_ROI_NAME_SIZE. */
static size_t distance(const char *a, const char *b)
{
    size_t row[BE_ROI_NAME_SIZE + 1], length = strlen(b);
    for (size_t j = 0; j <= length; j++)
        row[j] = j;
    for (size_t i = 0; a[i]; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < length; j++) {
            size_t change = diagonal + (tolower((unsigned char)a[i]) != tolower((unsigned char)b[j]));
            diagonal = row[j + 1];
            size_t shorter = row[j] < row[j + 1] ? row[j] + 1 : row[j + 1] + 1;
            row[j + 1] = change < shorter ? change : shorter;
        }
    }
    return row[length];
}

static bool is_close(const char *name, const char *asked)
{
    enum { FAR = 2 };
    return strcasestr(name, asked) || strcasestr(asked, name) || distance(asked, name) <= FAR;
}

static void append_close(char *list, size_t size, const char *name, const char *asked)
{
    enum { ROOM = 96 }; /* for one more name */
    size_t length = strlen(list);
    if (*name && is_close(name, asked) && length + ROOM < size)
        snprintf(list + length, size - length, "%s%s", length ? ", " : "", name);
}

/* Whether a ROI is the first of its family. */
static bool begins_family(const be_roi_set *set, size_t roi)
{
    return roi == 0 || strcmp(set->rois[roi].family, set->rois[roi - 1].family) != 0;
}

static be_status fail_unknown(const be_roi_set *set, const char *asked, be_error *error)
{
    char close[256] = "";
    for (size_t i = 0; i < set->count; i++)
        append_close(close, sizeof close, set->rois[i].name, asked);
    for (size_t i = 0; i < set->count; i++)
        append_close(close, sizeof close, begins_family(set, i) ? set->rois[i].family : "", asked);
    if (*close)
        return be_fail(error, BE_ERROR_NOT_FOUND, "roi: '%s' is no ROI, stem or family of this subject; close: %s", asked,
                       close);
    return be_fail(error, BE_ERROR_NOT_FOUND,
                   "roi: '%s' is no ROI, stem or family of this subject; 'all' stands for every one", asked);
}

static bool is_family(const be_roi_set *set, const char *name)
{
    for (size_t i = 0; i < set->count; i++) {
        if (strcmp(set->rois[i].family, name) == 0)
            return true;
    }
    return false;
}

static bool is_named(const be_roi_selection *selection, const char *name)
{
    for (size_t i = 0; i < selection->count; i++) {
        if (strcmp(selection->groups[i].name, name) == 0)
            return true;
    }
    return false;
}

/* One group of all ROIs with the stem; BE_ERROR_NOT_FOUND when there is no such ROI. */
static be_status add_stem(selecting *self, const char *stem, be_error *error)
{
    const be_roi_set *set = self->set;
    size_t count = 0;
    void *memory;
    if (is_named(&self->found, stem))
        return BE_OK;
    be_status status = be_allocate(&memory, set->count, sizeof count, "a ROI selection", error);
    if (status != BE_OK)
        return status;
    size_t *members = memory;
    for (size_t i = 0; i < set->count; i++) {
        if (has_stem(set->rois[i].name, stem))
            members[count++] = i;
    }
    status = count > 0 ? add_group(self, stem, members, count, error) : fail_unknown(set, stem, error);
    free(members);
    return status;
}

static be_status select_name(selecting *self, const char *name, be_error *error)
{
    const be_roi_set *set = self->set;
    for (size_t i = 0; i < set->count; i++) {
        if (strcmp(set->rois[i].name, name) == 0)
            return add_roi(self, i, error);
    }
    if (strcmp(name, every_one) == 0)
        return add_each(self, NULL, error);
    return is_family(set, name) ? add_each(self, name, error) : add_stem(self, name, error);
}

static be_status select_names(selecting *self, const char *names, be_error *error)
{
    be_status status = BE_OK;
    const char *at = names;
    do {
        char name[BE_ROI_NAME_SIZE];
        size_t length = strcspn(at, ",");
        if (length == 0)
            status = be_fail(error, BE_ERROR_ARGUMENT, "roi: there is an empty name in '%.100s'", names);
        else if (length >= sizeof name)
            status = be_fail(error, BE_ERROR_NOT_FOUND, "roi: '%.*s...' is no ROI of this subject", 40, at);
        else {
            snprintf(name, sizeof name, "%.*s", (int)length, at);
            status = select_name(self, name, error);
        }
        at += length;
    } while (status == BE_OK && *at++ == ',');
    return status;
}

be_status be_roi_select(const be_roi_set *set, const char *names, be_roi_selection *selection, be_error *error)
{
    selecting self = {.set = set};
    void *memory;
    be_status status = be_allocate(&memory, set->count, sizeof(bool), "a ROI selection", error);
    if (status != BE_OK)
        return status;
    self.taken = memory;
    status = select_names(&self, names, error);
    free(self.taken);
    if (status != BE_OK) {
        be_roi_selection_free(&self.found);
        return status;
    }
    *selection = self.found;
    return BE_OK;
}
