#include "core/subject/roi.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/base/memory.h"

const char *const be_roi_families[] = {"prf-visualrois", "floc-bodies", "floc-faces", "floc-places", "floc-words", NULL};

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

/* True for "FBA-2" with stem "FBA": the stem, a hyphen and nothing but digits. */
static bool has_stem(const char *name, const char *stem)
{
    size_t length = strlen(stem);
    if (strncmp(name, stem, length) != 0 || name[length] != '-')
        return false;
    const char *digits = name + length + 1;
    return *digits && digits[strspn(digits, "0123456789")] == '\0';
}

static bool already_selected(const be_roi_selection *selection, const char *name)
{
    for (size_t i = 0; i < selection->count; i++) {
        if (strcmp(selection->groups[i].name, name) == 0)
            return true;
    }
    return false;
}

/* Appends a group of the given members; `capacity` is that of selection->groups. */
static be_status add_group(be_roi_selection *selection, size_t *capacity, const char *name, const size_t *members,
                           size_t n_members, be_error *error)
{
    if (already_selected(selection, name))
        return BE_OK;
    void *groups = selection->groups, *copy;
    be_status status = be_grow(&groups, capacity, selection->count + 1, sizeof *selection->groups, "a ROI selection", error);
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

/* A group of its own for each ROI of the family; every ROI when `family` is NULL. */
static be_status add_each(const be_roi_set *set, const char *family, be_roi_selection *selection, size_t *capacity,
                          be_error *error)
{
    be_status status = BE_OK;
    for (size_t i = 0; i < set->count && status == BE_OK; i++) {
        if (!family || strcmp(set->rois[i].family, family) == 0)
            status = add_group(selection, capacity, set->rois[i].name, &i, 1, error);
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

static void append_name(char *list, size_t size, const char *name)
{
    size_t length = strlen(list);
    snprintf(list + length, size - length, "%s%s", length ? ", " : "", name);
}

static be_status fail_unknown(const be_roi_set *set, const char *asked, be_error *error)
{
    char close[256] = "";
    for (size_t i = 0; i < set->count; i++) {
        if (is_close(set->rois[i].name, asked) && strlen(close) < 160)
            append_name(close, sizeof close, set->rois[i].name);
    }
    for (const char *const *family = be_roi_families; *family; family++) {
        if (is_close(*family, asked) && strlen(close) < 160)
            append_name(close, sizeof close, *family);
    }
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

/* One group of all ROIs with the stem; none when there is no such ROI. */
static be_status add_stem(const be_roi_set *set, const char *stem, be_roi_selection *selection, size_t *capacity,
                          be_error *error)
{
    size_t count = 0;
    void *memory;
    be_status status = be_allocate(&memory, set->count, sizeof count, "a ROI selection", error);
    if (status != BE_OK)
        return status;
    size_t *members = memory;
    for (size_t i = 0; i < set->count; i++) {
        if (has_stem(set->rois[i].name, stem))
            members[count++] = i;
    }
    if (count > 0)
        status = add_group(selection, capacity, stem, members, count, error);
    free(members);
    return status;
}

static be_status select_name(const be_roi_set *set, const char *name, be_roi_selection *selection, size_t *capacity,
                             be_error *error)
{
    for (size_t i = 0; i < set->count; i++) {
        if (strcmp(set->rois[i].name, name) == 0)
            return add_group(selection, capacity, name, &i, 1, error);
    }
    if (strcmp(name, "all") == 0)
        return add_each(set, NULL, selection, capacity, error);
    if (is_family(set, name))
        return add_each(set, name, selection, capacity, error);
    be_status status = add_stem(set, name, selection, capacity, error);
    if (status == BE_OK && !already_selected(selection, name))
        return fail_unknown(set, name, error);
    return status;
}

be_status be_roi_select(const be_roi_set *set, const char *names, be_roi_selection *selection, be_error *error)
{
    be_roi_selection found = {0};
    size_t capacity = 0;
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
            status = select_name(set, name, &found, &capacity, error);
        }
        at += length;
    } while (status == BE_OK && *at++ == ',');
    if (status != BE_OK) {
        be_roi_selection_free(&found);
        return status;
    }
    *selection = found;
    return BE_OK;
}
