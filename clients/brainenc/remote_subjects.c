#include "clients/brainenc/remote_subjects.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/files/json.h"

static const cJSON *member(const cJSON *object, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

/* --- fields --------------------------------------------------------------------------------------- */

/* "SERVER: /page: SUBJECT: FIELD WHAT". */
typedef struct place {
    const char *server, *page, *subject;
} place;

static be_status fail_field(const place *where, const char *field, const char *what, be_error *error)
{
    return be_fail(error, BE_ERROR_FORMAT, "%s: %s: %s: %s %s", where->server, where->page, where->subject, field, what);
}

static be_status read_text(const place *where, const cJSON *object, const char *key, const char **out, be_error *error)
{
    *out = cJSON_GetStringValue(member(object, key));
    return *out ? BE_OK : fail_field(where, key, "is no text", error);
}

static be_status read_hash(const place *where, const cJSON *object, const char *key, const char **out, be_error *error)
{
    be_status status = read_text(where, object, key, out, error);
    if (status != BE_OK)
        return status;
    bool good = strlen(*out) == BE_HASH_SIZE - 1 && strspn(*out, "0123456789abcdef") == BE_HASH_SIZE - 1;
    return good ? BE_OK : fail_field(where, key, "is no SHA-256", error);
}

static be_status read_count(const place *where, const cJSON *object, const char *key, size_t most, size_t *out, be_error *error)
{
    if (be_json_get_size(member(object, key), out) && *out <= most)
        return BE_OK;
    return fail_field(where, key, "is no number that can be", error);
}

/* --- /subjects ------------------------------------------------------------------------------------ */

/* The list "unverified" holds the subject's own text and the backbone's, those there are. */
static be_status read_unverified(const place *where, const cJSON *entry, predict_subject *to, be_subject_info *info,
                                 be_error *error)
{
    static char none[] = "";
    const cJSON *list = member(entry, "unverified");
    be_status status = read_text(where, entry, "backbone_unverified", &to->by.backbone_unverified, error);
    if (status != BE_OK)
        return status;
    int own = cJSON_GetArraySize(list) - (*to->by.backbone_unverified != '\0');
    info->unverified = own == 1 ? cJSON_GetStringValue(list->child) : own == 0 ? none : NULL;
    if (!info->unverified || !cJSON_IsArray(list))
        return fail_field(where, "unverified", "is no list of what is not verified", error);
    return BE_OK;
}

static be_status read_subject(const place *where, const cJSON *entry, predict_subject *to, be_subject_info *info, be_error *error)
{
    enum { MOST_HEADS = 1 << 20 };
    const char *units = NULL, *weights = NULL;
    const cJSON *vertices = member(entry, "vertices"), *surface = member(entry, "fsaverage"), *demo = member(entry, "demo");
    be_status status = cJSON_IsBool(demo) ? BE_OK : fail_field(where, "demo", "is neither true nor false", error);
    info->demo = cJSON_IsTrue(demo);
    if (status == BE_OK)
        status = read_hash(where, entry, "weights", &weights, error);
    if (status == BE_OK)
        status = read_text(where, entry, "backbone", &to->by.backbone, error);
    if (status == BE_OK)
        status = read_hash(where, entry, "backbone_weights", &to->by.backbone_hash, error);
    if (status == BE_OK)
        status = read_count(where, entry, "backbone_heads", MOST_HEADS, &to->by.backbone_heads, error);
    if (status == BE_OK)
        status = read_text(where, entry, "backbone_activation", &to->by.backbone_activation, error);
    if (status == BE_OK)
        status = read_text(where, entry, "isa", &to->isa, error);
    if (status == BE_OK)
        status = read_text(where, entry, "precision", &to->by.precision, error);
    if (status == BE_OK)
        status = read_text(where, entry, "version", &to->by.version, error);
    if (status == BE_OK)
        status = read_text(where, entry, "units", &units, error);
    for (int h = BE_LEFT; h < BE_HEMISPHERES && status == BE_OK; h++)
        status = read_count(where, vertices, be_hemisphere_name((be_hemisphere)h), BE_MOST_VERTICES, &info->n_vertices[h], error);
    for (int h = BE_LEFT; h < BE_HEMISPHERES && status == BE_OK; h++)
        status = read_count(where, surface, be_hemisphere_name((be_hemisphere)h), BE_MOST_VERTICES, &info->n_fsaverage[h], error);
    if (status == BE_OK)
        status = read_unverified(where, entry, to, info, error);
    if (status != BE_OK)
        return status;
    memcpy(info->weights_hash, weights, sizeof info->weights_hash);
    info->units = (char *)units; /* the tree's */
    to->info = info;
    return BE_OK;
}

/* --- /rois ---------------------------------------------------------------------------------------- */

static be_status read_vertices(const place *where, const cJSON *list, size_t n_vertices, be_hemisphere hemisphere, be_roi *roi,
                               be_error *error)
{
    void *memory;
    const cJSON *item;
    be_status status = cJSON_IsArray(list) ? be_allocate(&memory, (size_t)cJSON_GetArraySize(list), sizeof(uint32_t), "a ROI",
                                                         error)
                                           : fail_field(where, roi->name, "has no list of vertices", error);
    if (status != BE_OK)
        return status;
    uint32_t *vertices = roi->vertices[hemisphere] = memory;
    cJSON_ArrayForEach(item, list) {
        size_t vertex, *count = &roi->n_vertices[hemisphere];
        if (!be_json_get_size(item, &vertex) || vertex >= n_vertices || (*count > 0 && vertex <= vertices[*count - 1]))
            return fail_field(where, roi->name, "has a vertex that cannot be", error);
        vertices[(*count)++] = (uint32_t)vertex;
    }
    return BE_OK;
}

static be_status read_roi(const place *where, const cJSON *entry, const be_subject_info *info, be_roi *roi, be_error *error)
{
    const char *name = NULL, *family = "";
    bool rest = cJSON_IsNull(member(entry, "family"));
    be_status status = read_text(where, entry, "name", &name, error);
    if (status == BE_OK && !rest)
        status = read_text(where, entry, "family", &family, error);
    if (status != BE_OK)
        return status;
    if (!be_name_is_plain(name) || (!rest && !be_name_is_plain(family)))
        return fail_field(where, "rois", "holds a name or family that is none", error);
    memcpy(roi->name, name, strlen(name) + 1);
    memcpy(roi->family, family, strlen(family) + 1);
    for (int h = BE_LEFT; h < BE_HEMISPHERES && status == BE_OK; h++)
        status = read_vertices(where, member(member(entry, "vertices"), be_hemisphere_name((be_hemisphere)h)), info->n_vertices[h],
                               (be_hemisphere)h, roi, error);
    return status;
}

static be_status read_rois(const place *where, const cJSON *list, be_subject_info *info, be_error *error)
{
    void *memory;
    const cJSON *item;
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) < 1 || cJSON_GetArraySize(list) > BE_MOST_ROIS + 1)
        return fail_field(where, "rois", "is no list of ROIs", error);
    be_status status = be_allocate(&memory, (size_t)cJSON_GetArraySize(list), sizeof(be_roi), "ROIs", error);
    if (status != BE_OK)
        return status;
    info->rois.rois = memory;
    cJSON_ArrayForEach(item, list) {
        if (status == BE_OK)
            status = read_roi(where, item, info, &info->rois.rois[info->rois.count++], error);
    }
    return status;
}

/* Where each vertex of a hemisphere lies on fsaverage. */
static be_status read_places(const place *where, const cJSON *list, const be_subject_info *info, be_hemisphere hemisphere,
                             int32_t **out, be_error *error)
{
    void *memory;
    const cJSON *item;
    size_t number;
    if (!cJSON_IsArray(list) || (size_t)cJSON_GetArraySize(list) != info->n_vertices[hemisphere])
        return fail_field(where, "fsaverage", "does not hold a number for each vertex", error);
    be_status status = be_allocate(&memory, info->n_vertices[hemisphere], sizeof(int32_t), "an fsaverage index", error);
    if (status != BE_OK)
        return status;
    int32_t *next = *out = memory;
    cJSON_ArrayForEach(item, list) {
        if (!be_json_get_size(item, &number) || number >= info->n_fsaverage[hemisphere])
            return fail_field(where, "fsaverage", "holds a vertex that cannot be", error);
        *next++ = (int32_t)number;
    }
    return BE_OK;
}

/* Null when they are not known. */
static be_status read_fsaverage(const place *where, const cJSON *sides, const be_subject_info *info, int32_t *out[BE_HEMISPHERES],
                                be_error *error)
{
    be_status status = BE_OK;
    for (int h = BE_LEFT; h < BE_HEMISPHERES && status == BE_OK && !cJSON_IsNull(sides); h++)
        status = read_places(where, member(sides, be_hemisphere_name((be_hemisphere)h)), info, (be_hemisphere)h, &out[h], error);
    return status;
}

/* --- both ----------------------------------------------------------------------------------------- */

static const cJSON *find_subject(const cJSON *subjects, const char *name)
{
    const cJSON *entry;
    cJSON_ArrayForEach(entry, subjects) {
        const char *found = cJSON_GetStringValue(member(entry, "name"));
        if (found && strcmp(found, name) == 0)
            return entry;
    }
    return NULL;
}

/* One subject of the answer to /rois, with its entry in that to /subjects. */
static be_status add_subject(const char *server, const cJSON *entry, remote_subjects *to, be_error *error)
{
    const char *name = cJSON_GetStringValue(member(entry, "subject"));
    place about = {server, "/subjects", name}, rois = {server, "/rois", name};
    const cJSON *subject = name ? find_subject(member(to->tree, "subjects"), name) : NULL;
    if (to->count == MOST_SUBJECTS)
        return be_fail(error, BE_ERROR_LIMIT, "%s: /rois: more than %d subjects", server, MOST_SUBJECTS);
    if (!name || !be_name_is_plain(name) || !subject)
        return be_fail(error, BE_ERROR_FORMAT, "%s: /rois: subject is not the name of one in /subjects", server);
    int32_t **fsaverage = to->fsaverage[to->count];
    be_subject_info *info = &to->infos[to->count];
    predict_subject *description = &to->subjects[to->count++];
    memcpy(info->name, name, strlen(name) + 1);
    be_status status = read_subject(&about, subject, description, info, error);
    if (status == BE_OK)
        status = read_fsaverage(&rois, member(entry, "fsaverage"), info, fsaverage, error);
    description->fsaverage[BE_LEFT] = fsaverage[BE_LEFT];
    description->fsaverage[BE_RIGHT] = fsaverage[BE_RIGHT];
    return status == BE_OK ? read_rois(&rois, member(entry, "rois"), info, error) : status;
}

/* The path that asks for the ROIs of these subjects; of the first in /subjects when there are none. */
static be_status make_path(const remote *server, const char *const *names, size_t n_names, const cJSON *tree, be_text *path,
                           be_error *error)
{
    be_text all = {0};
    const cJSON *first = cJSON_GetArrayItem(member(tree, "subjects"), 0);
    const char *standard = cJSON_GetStringValue(member(first, "name"));
    for (size_t i = 0; i < n_names; i++) {
        be_text_add(&all, i ? "," : "");
        be_text_add(&all, names[i]);
    }
    if (n_names == 0 && !standard)
        return be_fail(error, BE_ERROR_FORMAT, "%s: /subjects: subjects is no list of subjects", remote_name(server));
    be_status status = be_text_finish(&all, error);
    be_text_add(path, "/rois");
    if (status == BE_OK)
        remote_add_parameter(path, "subject", n_names > 0 ? all.bytes : standard);
    remote_add_parameter(path, "output", "vertices");
    free(all.bytes);
    return status == BE_OK ? be_text_finish(path, error) : status;
}

be_status remote_subjects_ask(remote *server, const char *const *names, size_t n_names, remote_subjects *out, be_error *error)
{
    be_text path = {0};
    cJSON *rois = NULL;
    const cJSON *entry;
    be_status status = remote_ask(server, "/subjects", &out->tree, error);
    if (status == BE_OK)
        status = make_path(server, names, n_names, out->tree, &path, error);
    if (status == BE_OK)
        status = remote_ask(server, path.bytes, &rois, error);
    cJSON_ArrayForEach(entry, member(rois, "subjects")) {
        if (status == BE_OK)
            status = add_subject(remote_name(server), entry, out, error);
    }
    if (status == BE_OK && out->count == 0)
        status = be_fail(error, BE_ERROR_FORMAT, "%s: /rois: subjects is no list of subjects", remote_name(server));
    cJSON_Delete(rois);
    free(path.bytes);
    return status;
}

void remote_subjects_free(remote_subjects *it)
{
    for (size_t i = 0; i < it->count; i++) {
        be_roi_set_free(&it->infos[i].rois);
        free(it->fsaverage[i][BE_LEFT]);
        free(it->fsaverage[i][BE_RIGHT]);
    }
    cJSON_Delete(it->tree);
    *it = (remote_subjects){0};
}
