#include "core/answer/answer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/answer/parts.h"
#include "core/answer/provenance.h"
#include "core/base/memory.h"
#include "core/files/hash.h"

be_status be_answer_hash_pixels(const be_image *image, char hash[BE_HASH_SIZE], be_error *error)
{
    char text[BE_HASH_SIZE + 48];
    be_status status = be_hash_bytes(image->rgb, image->width * image->height * 3, hash, error);
    if (status != BE_OK)
        return status;
    int length = snprintf(text, sizeof text, "%s %zu %zu", hash, image->height, image->width);
    return be_hash_bytes(text, (size_t)length, hash, error);
}

be_status be_answer_id(const be_model *model, size_t subject, const be_answer_image *image, char id[BE_ID_SIZE],
                       be_error *error)
{
    char all[512], hash[BE_HASH_SIZE];
    const be_subject_info *info = be_subject_get_info(be_model_subject(model, subject));
    const be_provenance by = be_provenance_of(model);
    int length = snprintf(all, sizeof all, "%s %s %s %zu %s %s %s", image->hash, be_fit_name(image->fit), by.backbone_hash,
                          by.backbone_heads, by.backbone_activation, info->weights_hash, by.precision);
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

be_status be_answer_check_spread(const be_subject_info *info, be_error *error)
{
    if (info->runs > 1)
        return BE_OK;
    return be_fail(error, BE_ERROR_UNSUPPORTED, "spread: %s has a single run, whose spread over runs nobody knows", info->name);
}

/* --- parts of a prediction ------------------------------------------------------------------------ */

/* The members' different layers, in the order they first come. */
static void add_layers(be_json *json, cJSON *to, const be_subject_info *info)
{
    cJSON *list = be_json_array(json, to, "layers");
    for (size_t m = 0; m < info->members; m++) {
        bool first = true;
        for (size_t n = 0; n < m && first; n++)
            first = info->member[n].tap.layer != info->member[m].tap.layer;
        if (first)
            be_json_number(json, list, NULL, (double)info->member[m].tap.layer);
    }
}

/* Left out when nothing was measured, as in f32. */
static void add_precision_error(be_json *json, cJSON *to, const be_precision_error *measured)
{
    if (!measured)
        return;
    cJSON *object = be_json_object(json, to, "precision_error");
    be_json_number(json, object, "pictures", (double)measured->pictures);
    be_json_number(json, object, "side", (double)measured->side);
    be_answer_add_float(json, object, "correlation", measured->correlation);
    be_answer_add_float(json, object, "largest", measured->largest);
}

void be_answer_add_model(be_json *json, cJSON *to, const be_model *model, size_t subject)
{
    const be_subject_info *info = be_subject_get_info(be_model_subject(model, subject));
    const be_provenance by = be_provenance_of(model);
    be_provenance_add(json, to, &by);
    be_json_text(json, to, "features", be_features_name(info->member[0].tap.features));
    be_json_number(json, to, "layer", (double)info->member[0].tap.layer);
    if (info->members > 1)
        add_layers(json, to, info);
    be_json_text(json, to, "encoder", info->encoder);
    be_json_text(json, to, "readout", info->readout);
    be_json_number(json, to, "members", (double)info->members);
    be_json_number(json, to, "runs", (double)info->runs);
    add_precision_error(json, to, be_model_precision_error(model, subject));
    be_json_text(json, to, "storage", info->storage);
    be_json_text(json, to, "weights", info->weights_hash);
    be_json_text(json, to, "units", info->units);
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
    be_answer_add_pair(json, object, "input", image->rows * patch, image->columns * patch);
    be_answer_add_pair(json, object, "grid", image->rows, image->columns);
}

/* "lh": {"vertices": [...]}, with "indices" when only some are wanted, "spread" when it was computed, and their quality. */
static be_status add_hemisphere(be_json *json, cJSON *to, const be_subject *subject, be_hemisphere hemisphere,
                                const be_output *output, const be_answer_options *options, be_error *error)
{
    const be_surface surface = be_surface_of(subject);
    size_t first = hemisphere == BE_LEFT ? 0 : surface.info->n_vertices[BE_LEFT];
    be_columns columns;
    be_status status = be_columns_make(&surface, options->space, options->only, hemisphere, &columns, error);
    if (status != BE_OK)
        return status;
    cJSON *object = be_json_object(json, to, be_hemisphere_name(hemisphere));
    if (options->only)
        be_answer_add_numbers(json, object, "indices", columns.numbers, columns.count);
    be_answer_add_column(json, object, "vertices", &columns, output->vertices + first);
    if (output->spread)
        be_answer_add_column(json, object, "spread", &columns, output->spread + first);
    if (options->quality)
        status = be_answer_add_vertex_quality(json, object, subject, hemisphere, &columns, error);
    be_columns_free(&columns);
    return status;
}

/* The mean of the hemisphere's `values` over the ROI's vertices; null when it has none. */
static void add_mean(be_json *json, cJSON *to, const char *key, const be_roi *roi, be_hemisphere hemisphere, const float *values)
{
    char text[BE_FLOAT_TEXT_SIZE];
    size_t count = roi->n_vertices[hemisphere];
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += values[roi->vertices[hemisphere][i]];
    be_float_text(count ? (float)(sum / (double)count) : NAN, text);
    be_json_raw(json, to, key, text);
}

/* "lh": {"mean", "n"}, with "spread", the mean of its vertices' spreads, when that was computed. */
static void add_means(be_json *json, cJSON *to, const be_subject_info *info, const be_roi *roi, be_hemisphere hemisphere,
                    const be_output *output)
{
    size_t first = hemisphere == BE_LEFT ? 0 : info->n_vertices[BE_LEFT];
    cJSON *object = be_json_object(json, to, be_hemisphere_name(hemisphere));
    add_mean(json, object, "mean", roi, hemisphere, output->vertices + first);
    if (output->spread)
        add_mean(json, object, "spread", roi, hemisphere, output->spread + first);
    be_json_number(json, object, "n", (double)roi->n_vertices[hemisphere]);
}

static void add_rois(be_json *json, cJSON *to, const be_subject *subject, const be_output *output,
                     const be_answer_options *options)
{
    const be_subject_info *info = be_subject_get_info(subject);
    cJSON *list = be_json_array(json, to, "rois");
    for (size_t r = 0; r < info->rois.count; r++) {
        const be_roi *roi = &info->rois.rois[r];
        if (options->only && !be_roi_is_selected(options->only, r))
            continue;
        cJSON *object = be_answer_add_roi(json, list, roi);
        add_means(json, object, info, roi, BE_LEFT, output);
        add_means(json, object, info, roi, BE_RIGHT, output);
        if (options->quality)
            be_answer_add_roi_quality(json, object, subject, roi);
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

/* --- whole answers -------------------------------------------------------------------------------- */

be_status be_answer_prediction(const be_model *model, size_t subject, const be_answer_image *image, const be_output *output,
                               const be_answer_options *options, const be_answer_timing *timing, char **text,
                               be_error *error)
{
    const be_subject *of = be_model_subject(model, subject);
    const be_subject_info *info = be_subject_get_info(of);
    double start = be_clock();
    be_json json = be_json_begin();
    be_status status = be_answer_add_identity(&json, model, subject, image, error);
    cJSON *described = be_json_object(&json, json.root, "model");
    be_answer_add_model(&json, described, model, subject);
    be_answer_add_unverified(&json, described, model, info);
    if (options->quality)
        be_answer_add_training(&json, described, info);
    add_image(&json, json.root, model, image);
    if (options->space != BE_SPACE_CHALLENGE && options->vertices)
        be_json_text(&json, json.root, "space", be_space_name(options->space));
    for (int h = BE_LEFT; h < BE_HEMISPHERES && options->vertices && status == BE_OK; h++)
        status = add_hemisphere(&json, json.root, of, (be_hemisphere)h, output, options, error);
    if (options->rois)
        add_rois(&json, json.root, of, output, options);
    if (options->maps)
        be_answer_add_maps(&json, json.root, info, image, options->maps);
    if (timing)
        add_timing(&json, json.root, timing, 1e3 * (be_clock() - start));
    if (status == BE_OK)
        return be_json_print(&json, text, error);
    be_json_discard(&json);
    return status;
}
