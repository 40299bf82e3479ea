#include "core/subject/subject_opening.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/utf8.h"
#include "core/subject/subject_format.h"

enum { LARGEST_SIZE = 1 << 20 };

/* --- fields --------------------------------------------------------------------------------------- */

be_status be_opening_fail(const be_opening *self, const char *field, const char *what)
{
    return be_fail(self->error, BE_ERROR_FORMAT, "%s: the metadata's '%s' is missing or no %s", self->path, field, what);
}

be_status be_opening_text(const be_opening *self, const cJSON *object, const char *field, const char **out)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, field);
    if (!cJSON_IsString(item))
        return be_opening_fail(self, field, "text");
    *out = item->valuestring;
    return BE_OK;
}

be_status be_opening_optional_text(const be_opening *self, const cJSON *object, const char *field, const char **out)
{
    *out = "";
    return cJSON_HasObjectItem(object, field) ? be_opening_text(self, object, field, out) : BE_OK;
}

be_status be_opening_size(const be_opening *self, const cJSON *object, const char *field, size_t *out)
{
    size_t value;
    if (!be_json_get_size(cJSON_GetObjectItemCaseSensitive(object, field), &value) || value > LARGEST_SIZE)
        return be_opening_fail(self, field, "whole number in range");
    *out = value;
    return BE_OK;
}

be_status be_opening_flag(const be_opening *self, const cJSON *object, const char *field, bool *out)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, field);
    if (!cJSON_IsBool(item))
        return be_opening_fail(self, field, "true or false");
    *out = cJSON_IsTrue(item);
    return BE_OK;
}

/* --- what is read --------------------------------------------------------------------------------- */

static be_status parse_metadata(be_opening *self)
{
    const char *text;
    size_t format;
    if (!be_value_text(be_value_get(be_tensor_file_root(self->file), BE_SUBJECT_METADATA_KEY), &text))
        return be_fail(self->error, BE_ERROR_UNSUPPORTED,
                       "%s: is no subject file (no '" BE_SUBJECT_METADATA_KEY "' in its metadata); `brainenc import` makes one "
                       "from a checkpoint", self->path);
    be_status status = be_json_parse(text, strlen(text), self->path, &self->root, self->error);
    if (status != BE_OK)
        return status;
    if (!cJSON_IsObject(self->root))
        return be_fail(self->error, BE_ERROR_FORMAT, "%s: the metadata's '" BE_SUBJECT_METADATA_KEY "' is no JSON object",
                       self->path);
    status = be_opening_size(self, self->root, "format", &format);
    if (status == BE_OK && format != BE_SUBJECT_FORMAT)
        status = be_fail(self->error, BE_ERROR_UNSUPPORTED,
                         "%s: is of format %zu, this version reads format %d: `brainenc import` makes it anew", self->path, format,
                         BE_SUBJECT_FORMAT);
    return status;
}

/* These texts stand in headers and on terminals as they are. */
static be_status copy_line(char **out, const char *text, be_error *error)
{
    be_status status = be_copy_text(out, text, error);
    if (status == BE_OK)
        be_make_printable(*out);
    return status;
}

static be_status read_identity(be_opening *self)
{
    be_subject_info *info = &self->subject->info;
    const char *name = "", *units = "", *unverified = "", *training_set = "";
    be_status status = be_opening_text(self, self->root, "subject", &name);
    if (status == BE_OK)
        status = be_opening_text(self, self->root, "units", &units);
    if (status == BE_OK)
        status = be_opening_text(self, self->root, "unverified", &unverified);
    if (status == BE_OK)
        status = be_opening_optional_text(self, self->root, "training_set", &training_set);
    if (status != BE_OK)
        return status;
    if (!be_name_is_plain(name))
        return be_opening_fail(self, "subject", "name of 1 to 63 printable bytes");
    status = be_opening_flag(self, self->root, "demo", &info->demo); /* a demo must never pass for real data */
    if (status != BE_OK)
        return status;
    snprintf(info->name, sizeof info->name, "%s", name);
    status = copy_line(&info->units, units, self->error);
    if (status == BE_OK)
        status = copy_line(&info->training_set, training_set, self->error);
    return status == BE_OK ? copy_line(&info->unverified, unverified, self->error) : status;
}

static be_status read_image_size(be_opening *self)
{
    be_subject_info *info = &self->subject->info;
    if (cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(self->root, "image_size"))) {
        info->image_size = BE_DEFAULT_IMAGE_SIZE;
        return BE_OK;
    }
    be_status status = be_opening_size(self, self->root, "image_size", &info->image_size);
    return status == BE_OK && info->image_size == 0 ? be_opening_fail(self, "image_size", "number of pixels") : status;
}

static be_status read_storage(be_opening *self)
{
    static const char *const names[] = {"f32", "bf16"};
    const char *text = "";
    be_status status = be_opening_optional_text(self, self->root, "storage", &text);
    if (status != BE_OK)
        return status;
    if (*text && strcmp(text, names[0]) != 0 && strcmp(text, names[1]) != 0)
        return be_opening_fail(self, "storage", "type of f32 and bf16");
    const be_tensor *readout = be_tensor_file_find(self->file, "members.0.lh_embed.0.weight");
    bool narrowed = strcmp(text, names[1]) == 0;
    self->subject->info.storage = names[narrowed];
    if (readout && narrowed != (readout->dtype == BE_DTYPE_BF16))
        return be_fail(self->error, BE_ERROR_FORMAT, "%s: the metadata's storage is %s, tensor '%s' is %s", self->path,
                       self->subject->info.storage, readout->name, be_dtype_name(readout->dtype));
    return BE_OK;
}

static be_status read_date(be_opening *self, const cJSON *from, char date[BE_DATE_SIZE])
{
    const char *text = "";
    be_status status = be_opening_optional_text(self, from, "checkpoint_date", &text);
    if (status == BE_OK && *text && (strlen(text) != BE_DATE_SIZE - 1 || strspn(text, "0123456789-") != BE_DATE_SIZE - 1))
        status = be_opening_fail(self, "checkpoint_date", "day as in 2025-03-01");
    if (status == BE_OK)
        snprintf(date, BE_DATE_SIZE, "%s", text);
    return status;
}

static be_status read_member(be_opening *self, const cJSON *from, const be_tap *common, be_member_info *to)
{
    const cJSON *validation = cJSON_GetObjectItemCaseSensitive(from, "validation");
    if (!cJSON_IsNumber(validation) && !cJSON_IsNull(validation))
        return be_opening_fail(self, "validation", "number or null");
    to->tap = *common;
    to->has_validation = cJSON_IsNumber(validation);
    to->validation = to->has_validation ? validation->valuedouble : 0;
    be_status status = be_opening_size(self, from, "layer", &to->tap.layer);
    if (status == BE_OK)
        status = be_opening_size(self, from, "run", &to->run);
    return status == BE_OK ? read_date(self, from, to->date) : status;
}

/* Gives each run its place, by the order in which the runs first come. */
static void number_runs(be_subject_info *info)
{
    for (size_t m = 0; m < info->members; m++) {
        size_t first = 0;
        while (info->member[first].run != info->member[m].run)
            first++;
        info->member[m].run_place = first < m ? info->member[first].run_place : info->runs++;
    }
}

static be_status read_members(be_opening *self, const be_tap *common)
{
    be_subject_info *info = &self->subject->info;
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(self->root, "members"), *item;
    int count = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0;
    void *memory;
    if (count < 1 || count > BE_MOST_MEMBERS)
        return be_opening_fail(self, "members", "list of models");
    be_status status = be_allocate(&memory, (size_t)count, sizeof(be_member_info), "a list of members", self->error);
    if (status != BE_OK)
        return status;
    info->member = memory;
    cJSON_ArrayForEach(item, list) {
        status = read_member(self, item, common, &info->member[info->members++]);
        if (status != BE_OK)
            return status;
    }
    number_runs(info);
    for (size_t m = 0; m < info->members; m++) {
        if (strcmp(info->member[m].date, info->date) > 0)
            memcpy(info->date, info->member[m].date, sizeof info->date);
    }
    return BE_OK;
}

static be_status read_encoder_settings(be_opening *self)
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
    be_status status = be_opening_text(self, self->root, "encoder", &to->kind);
    if (status == BE_OK)
        status = be_opening_size(self, self->root, "channels", &to->channels);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && status == BE_OK; i++)
        status = be_opening_size(self, from, sizes[i].field, sizes[i].to);
    for (size_t i = 0; i < sizeof flags / sizeof *flags && status == BE_OK; i++)
        status = be_opening_flag(self, from, flags[i].field, flags[i].to);
    if (status == BE_OK && (to->channels == 0 || to->channels > LARGEST_SIZE / 16 || to->width > LARGEST_SIZE / 16))
        status = be_fail(self->error, BE_ERROR_FORMAT, "%s: the metadata's channels %zu or width %zu is out of range", self->path,
                         to->channels, to->width);
    return status == BE_OK ? be_encoder_check(to, self->path, self->error) : status;
}

static be_status read_settings(be_opening *self)
{
    be_subject_info *info = &self->subject->info;
    const char *features = "", *readout = "";
    be_tap tap = {0};
    be_error why;
    be_status status = read_encoder_settings(self);
    if (status == BE_OK)
        status = be_opening_text(self, self->root, "readout", &readout);
    if (status == BE_OK && strlen(readout) >= sizeof info->readout)
        status = be_opening_fail(self, "readout", "known name");
    if (status == BE_OK)
        status = be_opening_text(self, self->root, "features", &features);
    if (status == BE_OK && be_features_parse(features, &tap.features, &why) != BE_OK)
        status = be_fail(self->error, why.status, "%s: features: %s", self->path, why.message);
    if (status == BE_OK)
        status = be_opening_flag(self, self->root, "dilation", &tap.dilation);
    if (status == BE_OK && be_features_is_class(tap.features) != self->subject->settings.class_token)
        status = be_fail(self->error, BE_ERROR_FORMAT,
                         "%s: the metadata's features '%s' and settings.class_token contradict each other", self->path, features);
    if (status == BE_OK)
        status = read_image_size(self);
    if (status == BE_OK)
        status = read_storage(self);
    if (status != BE_OK)
        return status;
    snprintf(info->readout, sizeof info->readout, "%s", readout);
    info->channels = self->subject->settings.channels;
    return read_members(self, &tap);
}

be_status be_opening_read_metadata(be_opening *self)
{
    be_status status = parse_metadata(self);
    if (status == BE_OK)
        status = read_identity(self);
    return status == BE_OK ? read_settings(self) : status;
}
