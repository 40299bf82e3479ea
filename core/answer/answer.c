#include "core/answer/answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/answer/maps.h"
#include "core/base/memory.h"
#include "core/files/hash.h"

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

static void add_model(be_text *text, const be_model *model, const be_subject_info *info)
{
    const be_backbone_info *backbone = be_model_backbone(model);
    be_text_add(text, "\"model\":{\"backbone\":");
    be_text_add_json_string(text, backbone->name);
    be_text_add_format(text, ",\"features\":\"%s\",\"layer\":%zu,\"encoder\":\"%s\",\"readout\":\"%s\",\"members\":%zu",
                       be_features_name(info->tap.features), info->tap.layer, info->encoder, info->readout, info->members);
    be_text_add_format(text, ",\"precision\":\"" PRECISION "\",\"weights\":\"%s\",\"version\":\"brainenc " BRAINENC_VERSION
                       "\",\"units\":", info->weights_hash);
    be_text_add_json_string(text, info->units);
    if (*info->unverified || *backbone->unverified) {
        be_text_add(text, ",\"unverified\":[");
        if (*info->unverified)
            be_text_add_json_string(text, info->unverified);
        if (*info->unverified && *backbone->unverified)
            be_text_add(text, ",");
        if (*backbone->unverified)
            be_text_add_json_string(text, backbone->unverified);
        be_text_add(text, "]");
    }
    be_text_add(text, "}");
}

static void add_image(be_text *text, const be_model *model, const be_answer_image *image)
{
    size_t patch = be_model_backbone(model)->patch;
    be_text_add(text, "\"image\":{");
    if (image->name) {
        be_text_add(text, "\"name\":");
        be_text_add_json_string(text, image->name);
        be_text_add(text, ",");
    }
    be_text_add_format(text, "\"width\":%zu,\"height\":%zu,\"fit\":\"%s\",\"input\":[%zu,%zu],\"grid\":[%zu,%zu]}", image->width,
                       image->height, be_fit_name(image->fit), image->rows * patch, image->columns * patch, image->rows,
                       image->columns);
}

/* "lh":{"vertices":[...]}, with "indices" when only some are wanted. `values` are the hemisphere's. */
static be_status add_hemisphere(be_text *text, const be_subject_info *info, be_hemisphere hemisphere, const float *values,
                                const be_roi_selection *only, be_error *error)
{
    be_text_add_format(text, "\"%s\":{", be_hemisphere_name(hemisphere));
    if (!only) {
        be_text_add(text, "\"vertices\":");
        be_text_add_floats(text, values, info->n_vertices[hemisphere]);
        be_text_add(text, "}");
        return BE_OK;
    }
    uint32_t *indices;
    size_t count;
    be_status status = be_answer_vertices(info, only, hemisphere, &indices, &count, error);
    if (status != BE_OK)
        return status;
    be_text_add(text, "\"indices\":[");
    for (size_t i = 0; i < count; i++)
        be_text_add_format(text, "%s%u", i ? "," : "", indices[i]);
    be_text_add(text, "],\"vertices\":[");
    for (size_t i = 0; i < count; i++) {
        be_text_add(text, i ? "," : "");
        be_text_add_float(text, values[indices[i]]);
    }
    be_text_add(text, "]}");
    free(indices);
    return BE_OK;
}

static void add_mean(be_text *text, const be_roi *roi, be_hemisphere hemisphere, const float *values)
{
    size_t count = roi->n_vertices[hemisphere];
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += values[roi->vertices[hemisphere][i]];
    be_text_add_format(text, "\"%s\":{\"mean\":", be_hemisphere_name(hemisphere));
    if (count == 0)
        be_text_add(text, "null");
    else
        be_text_add_float(text, (float)(sum / (double)count));
    be_text_add_format(text, ",\"n\":%zu}", count);
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

static void add_rois(be_text *text, const be_subject_info *info, const float *values, const be_roi_selection *only)
{
    bool first = true;
    be_text_add(text, ",\"rois\":[");
    for (size_t r = 0; r < info->rois.count; r++) {
        const be_roi *roi = &info->rois.rois[r];
        if (only && !is_selected(only, r))
            continue;
        be_text_add(text, first ? "{\"name\":" : ",{\"name\":");
        first = false;
        be_text_add_json_string(text, roi->name);
        be_text_add(text, ",\"family\":");
        if (*roi->family)
            be_text_add_json_string(text, roi->family);
        else
            be_text_add(text, "null");
        be_text_add(text, ",");
        add_mean(text, roi, BE_LEFT, values);
        be_text_add(text, ",");
        add_mean(text, roi, BE_RIGHT, values + info->n_vertices[BE_LEFT]);
        be_text_add(text, "}");
    }
    be_text_add(text, "]");
}

static void add_timing(be_text *text, const be_answer_timing *timing, double encode)
{
    be_text_add_format(text, ",\"timing_ms\":{\"decode\":%.3f,\"queue\":%.3f,\"backbone\":%.3f,\"encoder\":%.3f,"
                       "\"encode_answer\":%.3f,\"total\":%.3f}", timing->decode, timing->queue, timing->backbone,
                       timing->encoder, encode, timing->total + encode);
}

be_status be_answer_add_prediction(be_text *text, const be_model *model, size_t subject, const be_answer_image *image,
                                   const be_output *output, const be_answer_options *options,
                                   const be_answer_timing *timing, be_error *error)
{
    const be_subject_info *info = be_subject_get_info(be_model_subject(model, subject));
    double start = be_clock();
    char id[BE_ID_SIZE];
    be_status status = be_answer_id(model, subject, image, id, error);
    if (status != BE_OK)
        return status;
    be_text_add_format(text, "{\"id\":\"%s\",\"subject\":", id);
    be_text_add_json_string(text, info->name);
    be_text_add_format(text, ",\"demo\":%s,", info->demo ? "true" : "false");
    add_model(text, model, info);
    be_text_add(text, ",");
    add_image(text, model, image);
    if (options->vertices) {
        be_text_add(text, ",");
        status = add_hemisphere(text, info, BE_LEFT, output->vertices, options->only, error);
        be_text_add(text, ",");
        if (status == BE_OK)
            status = add_hemisphere(text, info, BE_RIGHT, output->vertices + info->n_vertices[BE_LEFT], options->only, error);
    }
    if (options->rois)
        add_rois(text, info, output->vertices, options->only);
    if (options->attention && status == BE_OK) {
        const be_answer_maps both = {.hemispheres = {true, true}};
        be_text_add(text, ",");
        status = be_answer_add_maps(text, info, image, output, options->attention, &both, error);
    }
    if (timing)
        add_timing(text, timing, 1e3 * (be_clock() - start));
    be_text_add(text, "}");
    return status == BE_OK ? be_text_finish(text, error) : status;
}

/* --- maps ----------------------------------------------------------------------------------------- */

/* "[[..columns..] x rows]". */
static void add_map(be_text *text, const float *map, const be_answer_image *image)
{
    be_text_add(text, "[");
    for (size_t row = 0; row < image->rows; row++) {
        be_text_add(text, row ? "," : "");
        be_text_add_floats(text, map + row * image->columns, image->columns);
    }
    be_text_add(text, "]");
}

static void add_group(be_text *text, const be_subject_info *info, const be_roi_group *group, be_hemisphere hemisphere)
{
    be_text_add(text, "{\"roi\":");
    be_text_add_json_string(text, group->name);
    be_text_add(text, ",\"members\":[");
    for (size_t m = 0; m < group->n_members; m++) {
        be_text_add(text, m ? "," : "");
        be_text_add_json_string(text, info->rois.rois[group->members[m]].name);
    }
    be_text_add_format(text, "],\"hemi\":\"%s\",\"dynamic\":true", be_hemisphere_name(hemisphere));
}

be_status be_answer_add_maps(be_text *text, const be_subject_info *info, const be_answer_image *image,
                             const be_output *output, const be_roi_selection *selection, const be_answer_maps *maps,
                             be_error *error)
{
    size_t cells = image->rows * image->columns, heads = maps->heads ? info->heads : 1;
    const float *attention = maps->heads ? output->attention_heads : output->attention;
    bool first = true;
    void *memory;
    be_status status = be_allocate(&memory, cells, sizeof(float), "a map", error);
    if (status != BE_OK)
        return status;
    float *map = memory;
    be_text_add_format(text, "\"grid\":[%zu,%zu],\"maps\":[", image->rows, image->columns);
    for (size_t g = 0; g < selection->count; g++) {
        for (int h = BE_LEFT; h < BE_HEMISPHERES; h++) {
            for (size_t head = 0; head < heads && maps->hemispheres[h]; head++) {
                be_text_add(text, first ? "" : ",");
                first = false;
                add_group(text, info, &selection->groups[g], (be_hemisphere)h);
                if (maps->heads)
                    be_text_add_format(text, ",\"head\":%zu", head);
                be_map_of_group(info, &selection->groups[g], (be_hemisphere)h, attention + head * info->queries * cells,
                                cells, map);
                be_text_add(text, ",\"weights\":");
                add_map(text, map, image);
                be_text_add(text, "}");
            }
        }
    }
    be_text_add(text, "]");
    free(memory);
    return be_text_finish(text, error);
}
