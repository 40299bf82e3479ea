#include "core/subject/subject.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/files/json.h"
#include "core/files/tensor_file.h"
#include "core/subject/masks.h"
#include "core/subject/subject_format.h"

enum { LARGEST_SIZE = 1 << 20 };

struct be_subject {
    be_subject_info info;
    int32_t *fsaverage[BE_HEMISPHERES];
    be_transformer *encoder;
    be_readout *readout;
};

/* The file being opened, its parsed metadata and the subject that is filled. */
typedef struct opening {
    be_tensor_file *file;
    const char *path;
    cJSON *root;
    be_subject *subject;
    be_error *error;
} opening;

static be_status fail_field(const opening *self, const char *field, const char *what)
{
    return be_fail(self->error, BE_ERROR_FORMAT, "%s: the metadata's '%s' is missing or no %s", self->path, field, what);
}

static be_status get_text(const opening *self, const cJSON *object, const char *field, const char **out)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, field);
    if (!cJSON_IsString(item))
        return fail_field(self, field, "text");
    *out = item->valuestring;
    return BE_OK;
}

static be_status get_size(const opening *self, const cJSON *object, const char *field, size_t *out)
{
    size_t value;
    if (!be_json_get_size(cJSON_GetObjectItemCaseSensitive(object, field), &value) || value > LARGEST_SIZE)
        return fail_field(self, field, "whole number in range");
    *out = value;
    return BE_OK;
}

static be_status parse_metadata(opening *self)
{
    const char *text;
    size_t format;
    if (!be_value_text(be_value_get(be_tensor_file_root(self->file), BE_SUBJECT_METADATA_KEY), &text))
        return be_fail(self->error, BE_ERROR_UNSUPPORTED,
                       "%s: is no subject file (no '" BE_SUBJECT_METADATA_KEY "' in its metadata); `brainenc import` makes one "
                       "from a checkpoint", self->path);
    self->root = cJSON_Parse(text);
    if (!cJSON_IsObject(self->root))
        return be_fail(self->error, BE_ERROR_FORMAT, "%s: the metadata's '" BE_SUBJECT_METADATA_KEY "' is no JSON object",
                       self->path);
    be_status status = get_size(self, self->root, "format", &format);
    if (status == BE_OK && format != BE_SUBJECT_FORMAT)
        status = be_fail(self->error, BE_ERROR_UNSUPPORTED, "%s: is of format %zu, this version reads format %d", self->path,
                         format, BE_SUBJECT_FORMAT);
    return status;
}

/* A text that must be the one this version computes. */
static be_status expect_text(const opening *self, const char *field, const char *wanted)
{
    const char *text = "";
    be_status status = get_text(self, self->root, field, &text);
    if (status == BE_OK && strcmp(text, wanted) != 0)
        status = be_fail(self->error, BE_ERROR_UNSUPPORTED, "%s: %s '%.60s' is not supported by this version; '%s' is",
                         self->path, field, text, wanted);
    return status;
}

static be_status read_identity(opening *self)
{
    be_subject_info *info = &self->subject->info;
    const char *name = "", *units = "", *unverified = "";
    const cJSON *demo = cJSON_GetObjectItemCaseSensitive(self->root, "demo");
    be_status status = get_text(self, self->root, "subject", &name);
    if (status == BE_OK)
        status = get_text(self, self->root, "units", &units);
    if (status == BE_OK)
        status = get_text(self, self->root, "unverified", &unverified);
    if (status != BE_OK)
        return status;
    if (!be_name_is_plain(name))
        return fail_field(self, "subject", "name of 1 to 63 printable bytes");
    if (!cJSON_IsBool(demo)) /* a demo must never pass for real data */
        return fail_field(self, "demo", "true or false");
    snprintf(info->name, sizeof info->name, "%s", name);
    info->demo = cJSON_IsTrue(demo);
    status = be_copy_text(&info->units, units, self->error);
    return status == BE_OK ? be_copy_text(&info->unverified, unverified, self->error) : status;
}

static be_status read_image_size(opening *self)
{
    be_subject_info *info = &self->subject->info;
    if (cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(self->root, "image_size"))) {
        info->image_size = BE_DEFAULT_IMAGE_SIZE;
        return BE_OK;
    }
    be_status status = get_size(self, self->root, "image_size", &info->image_size);
    return status == BE_OK && info->image_size == 0 ? fail_field(self, "image_size", "number of pixels") : status;
}

static be_status read_member(opening *self)
{
    be_subject_info *info = &self->subject->info;
    const cJSON *members = cJSON_GetObjectItemCaseSensitive(self->root, "members");
    int count = cJSON_IsArray(members) ? cJSON_GetArraySize(members) : 0;
    if (count == 0)
        return fail_field(self, "members", "list of models");
    if (count != 1)
        return be_fail(self->error, BE_ERROR_UNSUPPORTED, "%s: has %d members; ensembles are not supported by this version",
                       self->path, count);
    info->members = 1;
    const cJSON *member = cJSON_GetArrayItem(members, 0);
    const cJSON *validation = cJSON_GetObjectItemCaseSensitive(member, "validation");
    if (!cJSON_IsNumber(validation) && !cJSON_IsNull(validation))
        return fail_field(self, "validation", "number or null");
    info->has_validation = cJSON_IsNumber(validation);
    info->validation = info->has_validation ? validation->valuedouble : 0;
    be_status status = get_size(self, member, "layer", &info->tap.layer);
    return status == BE_OK ? get_size(self, member, "heads", &info->heads) : status;
}

static be_status read_settings(opening *self)
{
    be_subject_info *info = &self->subject->info;
    const char *features = "";
    be_error why;
    be_status status = expect_text(self, "encoder", "transformer");
    if (status == BE_OK)
        status = expect_text(self, "readout", "rois_all");
    if (status == BE_OK)
        status = get_text(self, self->root, "features", &features);
    if (status == BE_OK && be_features_parse(features, &info->tap.features, &why) != BE_OK)
        status = be_fail(self->error, why.status, "%s: features: %s", self->path, why.message);
    if (status == BE_OK)
        status = get_size(self, self->root, "channels", &info->channels);
    if (status == BE_OK)
        status = read_image_size(self);
    if (status == BE_OK)
        status = read_member(self);
    if (status != BE_OK)
        return status;
    if (info->channels == 0 || info->channels % 4 != 0 || info->channels > LARGEST_SIZE / 16 || info->heads == 0 ||
        info->channels % info->heads != 0)
        return be_fail(self->error, BE_ERROR_FORMAT, "%s: the metadata's channels %zu and heads %zu do not fit each other",
                       self->path, info->channels, info->heads);
    info->encoder = "transformer";
    info->readout = "rois_all";
    return BE_OK;
}

static be_status read_rois(opening *self)
{
    be_subject_info *info = &self->subject->info;
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(self->root, "rois"), *item;
    void *memory;
    int count = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : -1;
    if (count < 0 || count > BE_MOST_ROIS)
        return fail_field(self, "rois", "list of ROIs");
    be_status status = be_allocate(&memory, (size_t)count + 1, sizeof(be_roi), "a list of ROIs", self->error);
    if (status != BE_OK)
        return status;
    info->rois = (be_roi_set){(size_t)count + 1, memory};
    be_roi *roi = info->rois.rois;
    cJSON_ArrayForEach(item, list) {
        const char *name = "", *family = "";
        status = get_text(self, item, "name", &name);
        if (status == BE_OK)
            status = get_text(self, item, "family", &family);
        if (status == BE_OK && !(be_name_is_plain(name) && be_name_is_plain(family)))
            status = fail_field(self, "rois", "list with names of 1 to 63 printable bytes");
        if (status != BE_OK)
            return status;
        snprintf(roi->name, sizeof roi->name, "%s", name);
        snprintf(roi->family, sizeof roi->family, "%s", family);
        roi++;
    }
    snprintf(roi->name, sizeof roi->name, "rest");
    info->queries = 2 * info->rois.count;
    return BE_OK;
}

/* The tensor stem + "lh" or "rh", of the given dtype and dimensions. */
static be_status find_tensor(const opening *self, const char *stem, be_hemisphere hemisphere, be_dtype dtype, size_t n_dims,
                             const be_tensor **tensor)
{
    char name[32];
    snprintf(name, sizeof name, "%s%s", stem, be_hemisphere_name(hemisphere));
    *tensor = be_tensor_file_find(self->file, name);
    if (!*tensor || (*tensor)->dtype != dtype || (*tensor)->n_dims != n_dims)
        return be_fail(self->error, BE_ERROR_FORMAT, "%s: tensor '%s' is missing or no %s of %zu dimensions", self->path, name,
                       be_dtype_name(dtype), n_dims);
    return BE_OK;
}

static be_status read_masks(opening *self, be_hemisphere hemisphere)
{
    be_subject_info *info = &self->subject->info;
    const be_tensor *tensor;
    void *masks;
    be_status status = find_tensor(self, "masks.", hemisphere, BE_DTYPE_U8, 2, &tensor);
    if (status != BE_OK)
        return status;
    if (tensor->shape[0] + 1 != info->rois.count || tensor->shape[1] == 0 || tensor->shape[1] > BE_MOST_VERTICES)
        return be_fail(self->error, BE_ERROR_FORMAT, "%s: tensor '%s' is [%zu][%zu]; there are %zu ROIs", self->path,
                       tensor->name, tensor->shape[0], tensor->shape[1], info->rois.count - 1);
    info->n_vertices[hemisphere] = tensor->shape[1];
    status = be_allocate(&masks, tensor->count, 1, "ROI masks", self->error);
    if (status != BE_OK)
        return status;
    status = be_tensor_file_read(self->file, tensor, masks, self->error);
    if (status == BE_OK)
        status = be_masks_to_vertices(&info->rois, hemisphere, masks, tensor->shape[1], self->path, self->error);
    free(masks);
    return status;
}

static be_status check_index(const opening *self, const be_tensor *tensor, const int32_t *index, size_t surface)
{
    for (size_t v = 0; v < tensor->count; v++) {
        if (index[v] < 0 || (size_t)index[v] >= surface)
            return be_fail(self->error, BE_ERROR_FORMAT, "%s: tensor '%s' holds %d at vertex %zu; the surface has %zu",
                           self->path, tensor->name, (int)index[v], v, surface);
    }
    return BE_OK;
}

static be_status read_fsaverage(opening *self, be_hemisphere hemisphere)
{
    be_subject_info *info = &self->subject->info;
    const be_tensor *tensor;
    void *memory;
    const cJSON *sizes = cJSON_GetObjectItemCaseSensitive(self->root, "fsaverage");
    if (!cJSON_IsObject(sizes))
        return fail_field(self, "fsaverage", "pair of sizes");
    be_status status = get_size(self, sizes, be_hemisphere_name(hemisphere), &info->n_fsaverage[hemisphere]);
    if (status != BE_OK || info->n_fsaverage[hemisphere] == 0)
        return status;
    status = find_tensor(self, "fsaverage.", hemisphere, BE_DTYPE_I32, 1, &tensor);
    if (status == BE_OK && tensor->count != info->n_vertices[hemisphere])
        status = be_fail(self->error, BE_ERROR_FORMAT, "%s: tensor '%s' has %zu elements for %zu vertices", self->path,
                         tensor->name, tensor->count, info->n_vertices[hemisphere]);
    if (status == BE_OK)
        status = be_allocate(&memory, tensor->count, sizeof(int32_t), "an fsaverage index", self->error);
    if (status != BE_OK)
        return status;
    self->subject->fsaverage[hemisphere] = memory;
    status = be_tensor_file_read(self->file, tensor, memory, self->error);
    return status == BE_OK ? check_index(self, tensor, memory, info->n_fsaverage[hemisphere]) : status;
}

static be_status load_weights(opening *self)
{
    be_subject *subject = self->subject;
    const be_subject_info *info = &subject->info;
    be_encoder_settings settings = {.channels = info->channels, .queries = info->queries, .heads = info->heads};
    be_readout_lists lists;
    be_status status = be_transformer_load(self->file, BE_SUBJECT_MEMBER_PREFIX, &settings, &subject->encoder, self->error);
    if (status == BE_OK)
        status = be_masks_to_lists(&info->rois, info->n_vertices, &lists, self->error);
    if (status != BE_OK)
        return status;
    status = be_readout_load(self->file, BE_SUBJECT_MEMBER_PREFIX, info->channels, info->n_vertices[BE_LEFT],
                             info->n_vertices[BE_RIGHT], &lists, &subject->readout, self->error);
    if (status != BE_OK) {
        free(lists.start);
        free(lists.queries);
    }
    return status;
}

static be_status read_all(opening *self)
{
    be_status status = parse_metadata(self);
    if (status == BE_OK)
        status = read_identity(self);
    if (status == BE_OK)
        status = read_settings(self);
    if (status == BE_OK)
        status = read_rois(self);
    for (int hemisphere = BE_LEFT; hemisphere < BE_HEMISPHERES && status == BE_OK; hemisphere++) {
        status = read_masks(self, (be_hemisphere)hemisphere);
        if (status == BE_OK)
            status = read_fsaverage(self, (be_hemisphere)hemisphere);
    }
    if (status == BE_OK)
        status = load_weights(self);
    if (status == BE_OK)
        status = be_hash_file(self->path, self->subject->info.weights_hash, self->error);
    return status;
}

be_status be_subject_open(const char *path, be_subject **out, be_error *error)
{
    opening self = {.path = path, .error = error};
    void *memory;
    be_status status = be_tensor_file_open(path, &self.file, error);
    if (status != BE_OK)
        return status;
    status = be_allocate(&memory, 1, sizeof(be_subject), "a subject", error);
    if (status == BE_OK) {
        self.subject = memory;
        status = read_all(&self);
        cJSON_Delete(self.root);
        if (status == BE_OK)
            *out = self.subject;
        else
            be_subject_close(self.subject);
    }
    be_tensor_file_close(self.file);
    return status;
}

void be_subject_close(be_subject *subject)
{
    if (!subject)
        return;
    be_transformer_free(subject->encoder);
    be_readout_free(subject->readout);
    be_roi_set_free(&subject->info.rois);
    free(subject->fsaverage[BE_LEFT]);
    free(subject->fsaverage[BE_RIGHT]);
    free(subject->info.units);
    free(subject->info.unverified);
    free(subject);
}

void be_subject_rename(be_subject *subject, const char *name)
{
    snprintf(subject->info.name, sizeof subject->info.name, "%s", name);
}

const be_subject_info *be_subject_get_info(const be_subject *subject)
{
    return &subject->info;
}

const int32_t *be_subject_fsaverage(const be_subject *subject, be_hemisphere hemisphere)
{
    return subject->fsaverage[hemisphere];
}

const be_transformer *be_subject_encoder(const be_subject *subject)
{
    return subject->encoder;
}

const be_readout *be_subject_readout(const be_subject *subject)
{
    return subject->readout;
}
