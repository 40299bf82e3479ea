#include "core/subject/subject.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/files/json.h"
#include "core/files/tensor_file.h"
#include "core/subject/masks.h"
#include "core/subject/member_weights.h"
#include "core/subject/readout_plan.h"
#include "core/subject/subject_format.h"

enum { LARGEST_SIZE = 1 << 20 };

/* One trained model. */
typedef struct loaded_member {
    be_encoder *encoder;
    be_readout *readout;
} loaded_member;

struct be_subject {
    be_subject_info info;
    be_encoder_settings settings; /* of every member's encoder; kind is info.encoder */
    be_readout_plan plan;
    be_readout_lists lists;       /* shared by the members' readouts */
    loaded_member *members;              /* [info.members] */
    float *weights;               /* [members][V]; NULL with one member */
    uint32_t *map_queries;        /* [info.maps], or NULL */
    int32_t *fsaverage[BE_HEMISPHERES];
    float *validation[BE_HEMISPHERES], *ncsnr[BE_HEMISPHERES]; /* or NULL */
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
        status = be_fail(self->error, BE_ERROR_UNSUPPORTED,
                         "%s: is of format %zu, this version reads format %d: `brainenc import` makes it anew", self->path, format,
                         BE_SUBJECT_FORMAT);
    return status;
}

static be_status get_flag(const opening *self, const cJSON *object, const char *field, bool *out)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, field);
    if (!cJSON_IsBool(item))
        return fail_field(self, field, "true or false");
    *out = cJSON_IsTrue(item);
    return BE_OK;
}

static be_status read_identity(opening *self)
{
    be_subject_info *info = &self->subject->info;
    const char *name = "", *units = "", *unverified = "";
    be_status status = get_text(self, self->root, "subject", &name);
    if (status == BE_OK)
        status = get_text(self, self->root, "units", &units);
    if (status == BE_OK)
        status = get_text(self, self->root, "unverified", &unverified);
    if (status != BE_OK)
        return status;
    if (!be_name_is_plain(name))
        return fail_field(self, "subject", "name of 1 to 63 printable bytes");
    status = get_flag(self, self->root, "demo", &info->demo); /* a demo must never pass for real data */
    if (status != BE_OK)
        return status;
    snprintf(info->name, sizeof info->name, "%s", name);
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

static be_status read_member(opening *self, const cJSON *from, const be_tap *common, be_member_info *to)
{
    const cJSON *validation = cJSON_GetObjectItemCaseSensitive(from, "validation");
    if (!cJSON_IsNumber(validation) && !cJSON_IsNull(validation))
        return fail_field(self, "validation", "number or null");
    to->tap = *common;
    to->has_validation = cJSON_IsNumber(validation);
    to->validation = to->has_validation ? validation->valuedouble : 0;
    be_status status = get_size(self, from, "layer", &to->tap.layer);
    return status == BE_OK ? get_size(self, from, "run", &to->run) : status;
}

static be_status read_members(opening *self, const be_tap *common)
{
    be_subject_info *info = &self->subject->info;
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(self->root, "members"), *item;
    int count = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0;
    void *memory;
    if (count < 1 || count > BE_MOST_MEMBERS)
        return fail_field(self, "members", "list of models");
    be_status status = be_allocate(&memory, (size_t)count, sizeof(be_member_info), "a list of members", self->error);
    if (status != BE_OK)
        return status;
    info->member = memory;
    cJSON_ArrayForEach(item, list) {
        status = read_member(self, item, common, &info->member[info->members++]);
        if (status != BE_OK)
            return status;
    }
    for (size_t m = 0; m < info->members; m++) {
        size_t runs = 0;
        for (size_t n = 0; n < info->members; n++)
            runs += info->member[n].tap.layer == info->member[m].tap.layer;
        info->runs = runs > info->runs ? runs : info->runs;
    }
    return BE_OK;
}

static be_status read_encoder_settings(opening *self)
{
    be_encoder_settings *to = &self->subject->settings;
    const cJSON *from = cJSON_GetObjectItemCaseSensitive(self->root, "settings");
    const struct { const char *field; size_t *to; } sizes[] = {
        {"width", &to->width}, {"queries", &to->queries}, {"heads", &to->heads}, {"enc_layers", &to->enc_layers},
        {"dec_layers", &to->dec_layers}, {"stride", &to->stride},
    };
    const struct { const char *field; bool *to; } flags[] = {
        {"pre_norm", &to->pre_norm}, {"learned_position", &to->learned_position}, {"class_token", &to->class_token},
        {"input_projection", &to->input_projection},
    };
    be_status status = get_text(self, self->root, "encoder", &to->kind);
    if (status == BE_OK)
        status = get_size(self, self->root, "channels", &to->channels);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && status == BE_OK; i++)
        status = get_size(self, from, sizes[i].field, sizes[i].to);
    for (size_t i = 0; i < sizeof flags / sizeof *flags && status == BE_OK; i++)
        status = get_flag(self, from, flags[i].field, flags[i].to);
    if (status == BE_OK && (to->channels == 0 || to->channels > LARGEST_SIZE / 16 || to->width > LARGEST_SIZE / 16))
        status = be_fail(self->error, BE_ERROR_FORMAT, "%s: the metadata's channels %zu or width %zu is out of range", self->path,
                         to->channels, to->width);
    return status == BE_OK ? be_encoder_check(to, self->path, self->error) : status;
}

static be_status read_settings(opening *self)
{
    be_subject_info *info = &self->subject->info;
    const char *features = "", *readout = "";
    be_tap tap = {0};
    be_error why;
    be_status status = read_encoder_settings(self);
    if (status == BE_OK)
        status = get_text(self, self->root, "readout", &readout);
    if (status == BE_OK && strlen(readout) >= sizeof info->readout)
        status = fail_field(self, "readout", "known name");
    if (status == BE_OK)
        status = get_text(self, self->root, "features", &features);
    if (status == BE_OK && be_features_parse(features, &tap.features, &why) != BE_OK)
        status = be_fail(self->error, why.status, "%s: features: %s", self->path, why.message);
    if (status == BE_OK)
        status = get_flag(self, self->root, "dilation", &tap.dilation);
    if (status == BE_OK && be_features_is_class(tap.features) != self->subject->settings.class_token)
        status = be_fail(self->error, BE_ERROR_FORMAT, "%s: the metadata's features '%s' and settings.class_token contradict each other",
                         self->path, features);
    if (status == BE_OK)
        status = read_image_size(self);
    if (status != BE_OK)
        return status;
    snprintf(info->readout, sizeof info->readout, "%s", readout);
    info->channels = self->subject->settings.channels;
    return read_members(self, &tap);
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

/* --- scores --------------------------------------------------------------------------------------- */

/* The float32 tensor stem + "lh" or "rh" of `rows` numbers a vertex, where there is one. */
static be_status read_scores(opening *self, const char *stem, be_hemisphere hemisphere, size_t rows, float **out)
{
    size_t count = rows * self->subject->info.n_vertices[hemisphere];
    const be_tensor *tensor;
    char name[32];
    void *memory;
    snprintf(name, sizeof name, "%s%s", stem, be_hemisphere_name(hemisphere));
    tensor = be_tensor_file_find(self->file, name);
    if (!tensor)
        return BE_OK;
    if (tensor->dtype != BE_DTYPE_F32 || tensor->count != count)
        return be_fail(self->error, BE_ERROR_FORMAT, "%s: tensor '%s' is not float32 [%zu][%zu]", self->path, name, rows,
                       self->subject->info.n_vertices[hemisphere]);
    be_status status = be_allocate(&memory, count, sizeof(float), "scores", self->error);
    if (status != BE_OK)
        return status;
    *out = memory;
    return be_tensor_file_read_f32(self->file, tensor, memory, self->error);
}

static be_status read_all_scores(opening *self)
{
    be_subject *subject = self->subject;
    be_status status = BE_OK;
    for (int h = BE_LEFT; h < BE_HEMISPHERES && status == BE_OK; h++) {
        status = read_scores(self, "validation.", (be_hemisphere)h, subject->info.members, &subject->validation[h]);
        if (status == BE_OK)
            status = read_scores(self, "ncsnr.", (be_hemisphere)h, 1, &subject->ncsnr[h]);
    }
    if (status != BE_OK || subject->info.members == 1)
        return status;
    if (!subject->validation[BE_LEFT] || !subject->validation[BE_RIGHT])
        return be_fail(self->error, BE_ERROR_FORMAT, "%s: an ensemble needs the tensors 'validation.lh' and 'validation.rh'", self->path);
    return be_member_weights(subject->info.member, subject->info.members, subject->info.n_vertices,
                             (const float *const[]){subject->validation[BE_LEFT], subject->validation[BE_RIGHT]}, &subject->weights,
                             self->error);
}

/* --- weights -------------------------------------------------------------------------------------- */

/* Sessions are sized for the first member: the others must be of its shapes. */
static be_status check_alike(const opening *self, size_t number)
{
    const be_encoder_info *a = be_encoder_get_info(self->subject->members[0].encoder);
    const be_encoder_info *b = be_encoder_get_info(self->subject->members[number].encoder);
    if (a->queries == b->queries && a->width == b->width && a->heads == b->heads && a->hidden == b->hidden && a->side == b->side)
        return BE_OK;
    return be_fail(self->error, BE_ERROR_FORMAT, "%s: member %zu is of other shapes than member 0 (token width %zu and %zu, feed-forward "
                   "width %zu and %zu)", self->path, number, b->width, a->width, b->hidden, a->hidden);
}

static be_status load_member(opening *self, size_t number)
{
    be_subject *subject = self->subject;
    const be_subject_info *info = &subject->info;
    be_encoder_settings settings = subject->settings;
    loaded_member *to = &subject->members[number];
    char prefix[32];
    snprintf(prefix, sizeof prefix, BE_SUBJECT_MEMBER_PREFIX, number);
    settings.memory_layer = info->member[number].tap.layer;
    be_status status = be_encoder_load(self->file, prefix, &settings, &to->encoder, self->error);
    if (status == BE_OK)
        status = check_alike(self, number);
    if (status != BE_OK)
        return status;
    return be_readout_load(self->file, prefix, be_encoder_get_info(to->encoder)->width, info->n_vertices[BE_LEFT],
                           info->n_vertices[BE_RIGHT], subject->plan.by_vertex ? NULL : &subject->lists, &to->readout, self->error);
}

/* Which query each map is of. */
static be_status list_maps(opening *self)
{
    be_subject *subject = self->subject;
    be_subject_info *info = &subject->info;
    void *memory;
    if (info->heads == 0)
        return BE_OK;
    info->by_vertex = subject->plan.by_vertex;
    if (info->by_vertex)
        return BE_OK;
    info->maps = BE_HEMISPHERES * info->rois.count;
    be_status status = be_allocate(&memory, info->maps, sizeof(uint32_t), "a list of maps", self->error);
    if (status != BE_OK)
        return status;
    subject->map_queries = memory;
    for (size_t map = 0; map < info->maps; map++)
        subject->map_queries[map] = subject->plan.of_roi[map / info->rois.count][map % info->rois.count];
    return BE_OK;
}

static be_status load_weights(opening *self)
{
    be_subject *subject = self->subject;
    be_subject_info *info = &subject->info;
    const char *text = "";
    be_streams_order order = BE_STREAMS_UNKNOWN;
    void *memory;
    const cJSON *asked = cJSON_GetObjectItemCaseSensitive(self->root, "streams_order");
    be_status status = asked ? get_text(self, self->root, "streams_order", &text) : BE_OK;
    if (status == BE_OK && *text && be_streams_order_parse(text, &order, NULL) != BE_OK)
        status = fail_field(self, "streams_order", "order of rest-last and rest-first");
    if (status == BE_OK)
        status = be_readout_plan_make(info->readout, subject->settings.kind, order, &info->rois, info->n_vertices, self->path,
                                      &subject->plan, self->error);
    if (status == BE_OK && subject->settings.queries != subject->plan.queries)
        status = be_fail(self->error, BE_ERROR_FORMAT, "%s: the metadata's queries are %zu, its readout %s has %zu", self->path,
                         subject->settings.queries, info->readout, subject->plan.queries);
    if (status == BE_OK)
        status = be_readout_plan_lists(&subject->plan, &info->rois, info->n_vertices, &subject->lists, self->error);
    if (status == BE_OK)
        status = be_allocate(&memory, info->members, sizeof(loaded_member), "members", self->error);
    if (status != BE_OK)
        return status;
    subject->members = memory;
    for (size_t m = 0; m < info->members && status == BE_OK; m++)
        status = load_member(self, m);
    if (status != BE_OK)
        return status;
    const be_encoder_info *encoder = be_encoder_get_info(subject->members[0].encoder);
    info->encoder = be_encoder_name(subject->members[0].encoder);
    info->queries = encoder->queries;
    info->heads = encoder->heads;
    info->dynamic = encoder->dynamic;
    return list_maps(self);
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
        status = read_all_scores(self);
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
    for (size_t m = 0; subject->members && m < subject->info.members; m++) {
        be_encoder_free(subject->members[m].encoder);
        be_readout_free(subject->members[m].readout);
    }
    free(subject->members);
    be_readout_plan_free(&subject->plan);
    free(subject->lists.start);
    free(subject->lists.queries);
    free(subject->weights);
    free(subject->map_queries);
    free(subject->info.member);
    for (int h = BE_LEFT; h < BE_HEMISPHERES; h++) {
        free(subject->validation[h]);
        free(subject->ncsnr[h]);
    }
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

const be_encoder *be_subject_encoder(const be_subject *subject, size_t member)
{
    return subject->members[member].encoder;
}

const be_readout *be_subject_readout(const be_subject *subject, size_t member)
{
    return subject->members[member].readout;
}

const float *be_subject_member_weights(const be_subject *subject, size_t member)
{
    size_t vertices = subject->info.n_vertices[BE_LEFT] + subject->info.n_vertices[BE_RIGHT];
    return subject->weights ? subject->weights + member * vertices : NULL;
}

const uint32_t *be_subject_map_queries(const be_subject *subject)
{
    return subject->map_queries;
}

const float *be_subject_validation(const be_subject *subject, be_hemisphere hemisphere)
{
    return subject->validation[hemisphere];
}

const float *be_subject_ncsnr(const be_subject *subject, be_hemisphere hemisphere)
{
    return subject->ncsnr[hemisphere];
}
