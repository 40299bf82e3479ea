#include "core/answer/answer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/answer/maps.h"
#include "core/base/memory.h"
#include "core/files/hash.h"
#include "core/files/json.h"

#define PRECISION "f32"

be_status be_answer_id(const be_model *model, size_t subject, const be_answer_image *image, char id[BE_ID_SIZE],
                       be_error *error)
{
    char all[512], hash[BE_HASH_SIZE];
    const be_subject_info *info = be_subject_get_info(be_model_subject(model, subject));
    int length = snprintf(all, sizeof all, "%s %s %s %s " PRECISION, image->hash, be_fit_name(image->fit),
                          be_model_backbone_hash(model), info->weights_hash);
    be_status status = be_hash_bytes(all, (size_t)length, hash, error);
    if (status == BE_OK)
        snprintf(id, BE_ID_SIZE, "%.*s", BE_ID_SIZE - 1, hash);
    return status;
}

be_status be_answer_vertices(const be_subject_info *info, const be_roi_selection *selection, be_hemisphere hemisphere,
                             uint32_t **indices, size_t *count, be_error *error)
{
    size_t vertices = info->n_vertices[hemisphere];
    void *memory, *marks;
    be_status status = be_allocate(&marks, vertices, 1, "a ROI selection", error);
    if (status != BE_OK)
        return status;
    status = be_allocate(&memory, vertices, sizeof(uint32_t), "a ROI selection", error);
    if (status == BE_OK) {
        unsigned char *chosen = marks;
        if (!selection)
            memset(chosen, 1, vertices);
        for (size_t g = 0; selection && g < selection->count; g++) {
            for (size_t m = 0; m < selection->groups[g].n_members; m++) {
                const be_roi *roi = &info->rois.rois[selection->groups[g].members[m]];
                for (size_t i = 0; i < roi->n_vertices[hemisphere]; i++)
                    chosen[roi->vertices[hemisphere][i]] = 1;
            }
        }
        *indices = memory;
        *count = 0;
        for (size_t v = 0; v < vertices; v++) {
            if (chosen[v])
                (*indices)[(*count)++] = (uint32_t)v;
        }
    }
    free(marks);
    return status;
}

/* --- parts of a prediction ------------------------------------------------------------------------ */

/* Arrays of numbers are written by be_text_add_floats and put in as they are. */
static void add_raw(be_json *json, cJSON *to, const char *key, be_text *text)
{
    if (text->failed)
        json->failed = true;
    else
        be_json_raw(json, to, key, text->bytes);
    free(text->bytes);
}

static void add_pair(be_json *json, cJSON *to, const char *key, size_t first, size_t second)
{
    cJSON *pair = be_json_array(json, to, key);
    be_json_number(json, pair, NULL, (double)first);
    be_json_number(json, pair, NULL, (double)second);
}

static void add_unverified(be_json *json, cJSON *to, const be_subject_info *info, const be_backbone_info *backbone)
{
    if (!*info->unverified && !*backbone->unverified)
        return;
    cJSON *list = be_json_array(json, to, "unverified");
    if (*info->unverified)
        be_json_text(json, list, NULL, info->unverified);
    if (*backbone->unverified)
        be_json_text(json, list, NULL, backbone->unverified);
}

static void add_model(be_json *json, cJSON *to, const be_model *model, const be_subject_info *info)
{
    const be_backbone_info *backbone = be_model_backbone(model);
    cJSON *object = be_json_object(json, to, "model");
    be_json_text(json, object, "backbone", backbone->name);
    be_json_text(json, object, "features", be_features_name(info->member[0].tap.features));
    be_json_number(json, object, "layer", (double)info->member[0].tap.layer);
    be_json_text(json, object, "encoder", info->encoder);
    be_json_text(json, object, "readout", info->readout);
    be_json_number(json, object, "members", (double)info->members);
    be_json_text(json, object, "precision", PRECISION);
    be_json_text(json, object, "weights", info->weights_hash);
    be_json_text(json, object, "version", "brainenc " BRAINENC_VERSION);
    be_json_text(json, object, "units", info->units);
    add_unverified(json, object, info, backbone);
}

static void add_image(be_json *json, cJSON *to, const be_model *model, const be_answer_image *image)
{
    size_t patch = be_model_backbone(model)->patch;
    cJSON *object = be_json_object(json, to, "image");
    if (image->name)
        be_json_text(json, object, "name", image->name);
    be_json_number(json, object, "width", (double)image->width);
    be_json_number(json, object, "height", (double)image->height);
    be_json_text(json, object, "fit", be_fit_name(image->fit));
    add_pair(json, object, "input", image->rows * patch, image->columns * patch);
    add_pair(json, object, "grid", image->rows, image->columns);
}

/* "lh": {"vertices": [...]}, with "indices" when only some are wanted. `values` are the hemisphere's. */
static be_status add_hemisphere(be_json *json, cJSON *to, const be_surface *surface, be_hemisphere hemisphere,
                                const float *values, const be_answer_options *options, be_error *error)
{
    cJSON *object = be_json_object(json, to, be_hemisphere_name(hemisphere));
    be_text indices = {0}, vertices = {0};
    be_columns columns;
    be_status status = be_columns_make(surface, options->space, options->only, hemisphere, &columns, error);
    if (status != BE_OK)
        return status;
    if (options->only) {
        be_columns_add_numbers(&columns, &indices);
        add_raw(json, object, "indices", &indices);
    }
    be_columns_add_json(&columns, values, &vertices);
    add_raw(json, object, "vertices", &vertices);
    be_columns_free(&columns);
    return BE_OK;
}

static void add_mean(be_json *json, cJSON *to, const be_roi *roi, be_hemisphere hemisphere, const float *values)
{
    cJSON *object = be_json_object(json, to, be_hemisphere_name(hemisphere));
    char text[BE_FLOAT_TEXT_SIZE];
    size_t count = roi->n_vertices[hemisphere];
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += values[roi->vertices[hemisphere][i]];
    be_float_text(count ? (float)(sum / (double)count) : NAN, text); /* of no vertices: null */
    be_json_raw(json, object, "mean", text);
    be_json_number(json, object, "n", (double)count);
}

static bool is_selected(const be_roi_selection *selection, size_t roi)
{
    for (size_t g = 0; g < selection->count; g++) {
        for (size_t m = 0; m < selection->groups[g].n_members; m++) {
            if (selection->groups[g].members[m] == roi)
                return true;
        }
    }
    return false;
}

static void add_rois(be_json *json, cJSON *to, const be_subject_info *info, const float *values, const be_roi_selection *only)
{
    cJSON *list = be_json_array(json, to, "rois");
    for (size_t r = 0; r < info->rois.count; r++) {
        const be_roi *roi = &info->rois.rois[r];
        if (only && !is_selected(only, r))
            continue;
        cJSON *object = be_json_object(json, list, NULL);
        be_json_text(json, object, "name", roi->name);
        if (*roi->family)
            be_json_text(json, object, "family", roi->family);
        else
            be_json_null(json, object, "family");
        add_mean(json, object, roi, BE_LEFT, values);
        add_mean(json, object, roi, BE_RIGHT, values + info->n_vertices[BE_LEFT]);
    }
}

/* Milliseconds, to the microsecond. */
static void add_time(be_json *json, cJSON *to, const char *key, double milliseconds)
{
    be_json_number(json, to, key, round(milliseconds * 1e3) / 1e3);
}

static void add_timing(be_json *json, cJSON *to, const be_answer_timing *timing, double encode)
{
    cJSON *object = be_json_object(json, to, "timing_ms");
    add_time(json, object, "decode", timing->decode);
    add_time(json, object, "queue", timing->queue);
    add_time(json, object, "backbone", timing->backbone);
    add_time(json, object, "encoder", timing->encoder);
    add_time(json, object, "encode_answer", encode);
    add_time(json, object, "total", timing->total + encode);
}

/* --- maps ----------------------------------------------------------------------------------------- */

/* "weights": [[..columns..] x rows]. */
static void add_weights(be_json *json, cJSON *to, const float *map, const be_answer_image *image)
{
    be_text text = {0};
    for (size_t row = 0; row < image->rows; row++) {
        be_text_add(&text, row ? "," : "[");
        be_text_add_floats(&text, map + row * image->columns, image->columns);
    }
    be_text_add(&text, "]");
    add_raw(json, to, "weights", &text);
}

static cJSON *add_group(be_json *json, cJSON *list, const be_subject_info *info, const be_roi_group *group,
                        be_hemisphere hemisphere)
{
    cJSON *object = be_json_object(json, list, NULL);
    be_json_text(json, object, "roi", group->name);
    cJSON *members = be_json_array(json, object, "members");
    for (size_t m = 0; m < group->n_members; m++)
        be_json_text(json, members, NULL, info->rois.rois[group->members[m]].name);
    be_json_text(json, object, "hemi", be_hemisphere_name(hemisphere));
    be_json_flag(json, object, "dynamic", info->dynamic);
    return object;
}

/* "grid" and "maps" of the selected groups. */
static be_status add_maps(be_json *json, cJSON *to, const be_subject_info *info, const be_answer_image *image,
                          const be_output *output, const be_roi_selection *selection, const be_answer_maps *maps,
                          be_error *error)
{
    size_t cells = image->rows * image->columns, heads = maps->heads ? info->heads : 1;
    const float *attention = maps->heads ? output->attention_heads : output->attention;
    void *map;
    be_status status = be_allocate(&map, cells, sizeof(float), "a map", error);
    if (status != BE_OK)
        return status;
    add_pair(json, to, "grid", image->rows, image->columns);
    cJSON *list = be_json_array(json, to, "maps");
    for (size_t g = 0; g < selection->count; g++) {
        for (int h = BE_LEFT; h < BE_HEMISPHERES; h++) {
            for (size_t head = 0; head < heads && maps->hemispheres[h]; head++) {
                cJSON *object = add_group(json, list, info, &selection->groups[g], (be_hemisphere)h);
                if (maps->heads)
                    be_json_number(json, object, "head", (double)head);
                be_map_of_group(info, &selection->groups[g], (be_hemisphere)h, attention + head * info->maps * cells,
                                cells, map);
                add_weights(json, object, map, image);
            }
        }
    }
    free(map);
    return BE_OK;
}

/* --- whole answers -------------------------------------------------------------------------------- */

/* What every answer begins with. */
static be_status add_identity(be_json *json, const be_model *model, size_t subject, const be_answer_image *image,
                              be_error *error)
{
    char id[BE_ID_SIZE];
    be_status status = be_answer_id(model, subject, image, id, error);
    if (status != BE_OK)
        return status;
    be_json_text(json, json->root, "id", id);
    be_json_text(json, json->root, "subject", be_subject_get_info(be_model_subject(model, subject))->name);
    be_json_flag(json, json->root, "demo", be_subject_get_info(be_model_subject(model, subject))->demo);
    return BE_OK;
}

be_status be_answer_prediction(const be_model *model, size_t subject, const be_answer_image *image, const be_output *output,
                               const be_answer_options *options, const be_answer_timing *timing, char **text,
                               be_error *error)
{
    const be_subject_info *info = be_subject_get_info(be_model_subject(model, subject));
    const be_surface surface = be_surface_of(be_model_subject(model, subject));
    const be_answer_maps both = {.hemispheres = {true, true}};
    double start = be_clock();
    be_json json = be_json_begin();
    be_status status = add_identity(&json, model, subject, image, error);
    add_model(&json, json.root, model, info);
    add_image(&json, json.root, model, image);
    if (options->space != BE_SPACE_CHALLENGE && options->vertices)
        be_json_text(&json, json.root, "space", be_space_name(options->space));
    for (int h = BE_LEFT; h < BE_HEMISPHERES && options->vertices && status == BE_OK; h++)
        status = add_hemisphere(&json, json.root, &surface, (be_hemisphere)h,
                                output->vertices + (h == BE_LEFT ? 0 : info->n_vertices[BE_LEFT]), options, error);
    if (options->rois)
        add_rois(&json, json.root, info, output->vertices, options->only);
    if (options->attention && status == BE_OK)
        status = add_maps(&json, json.root, info, image, output, options->attention, &both, error);
    if (timing)
        add_timing(&json, json.root, timing, 1e3 * (be_clock() - start));
    if (status == BE_OK)
        return be_json_print(&json, text, error);
    be_json_discard(&json);
    return status;
}

be_status be_answer_attention(const be_model *model, size_t subject, const be_answer_image *image, const be_output *output,
                              const be_roi_selection *selection, const be_answer_maps *maps, char **text, be_error *error)
{
    be_json json = be_json_begin();
    be_status status = add_identity(&json, model, subject, image, error);
    add_unverified(&json, json.root, be_subject_get_info(be_model_subject(model, subject)), be_model_backbone(model));
    if (status == BE_OK)
        status = add_maps(&json, json.root, be_subject_get_info(be_model_subject(model, subject)), image, output, selection,
                          maps, error);
    if (status == BE_OK)
        return be_json_print(&json, text, error);
    be_json_discard(&json);
    return status;
}
