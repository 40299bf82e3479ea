#include <stdlib.h>
#include <string.h>

#include "core/answer/answer.h"
#include "core/answer/maps.h"
#include "core/base/memory.h"
#include "core/files/npy.h"

be_status be_answer_attention_npy(const be_subject_info *info, const be_answer_image *image, const be_output *output,
                                  const be_roi_selection *selection, const be_answer_maps *maps, unsigned char **bytes,
                                  size_t *size, be_error *error)
{
    size_t cells = image->rows * image->columns, heads = maps->heads ? info->heads : 1, length;
    size_t hemispheres = (size_t)maps->hemispheres[BE_LEFT] + (size_t)maps->hemispheres[BE_RIGHT];
    size_t n_maps = selection->count * hemispheres * heads;
    const float *attention = maps->heads ? output->attention_heads : output->attention;
    const size_t mean[] = {selection->count, hemispheres, image->rows, image->columns};
    const size_t each[] = {selection->count, hemispheres, heads, image->rows, image->columns};
    char header[BE_NPY_HEADER_MAX];
    void *file, *map;
    be_status status = be_npy_header(header, &length, BE_DTYPE_F32, maps->heads ? 5 : 4, maps->heads ? each : mean, error);
    if (status == BE_OK)
        status = be_allocate(&map, cells, sizeof(float), "a map", error);
    if (status != BE_OK)
        return status;
    status = be_allocate(&file, length + n_maps * cells * sizeof(float), 1, "maps", error);
    if (status == BE_OK) {
        *bytes = file;
        *size = length + n_maps * cells * sizeof(float);
        memcpy(*bytes, header, length);
        unsigned char *next = *bytes + length;
        for (size_t g = 0; g < selection->count; g++) {
            for (int h = BE_LEFT; h < BE_HEMISPHERES; h++) {
                for (size_t head = 0; head < heads && maps->hemispheres[h]; head++, next += cells * sizeof(float)) {
                    be_map_of_group(info, &selection->groups[g], (be_hemisphere)h, attention + head * info->maps * cells,
                                    cells, map);
                    memcpy(next, map, cells * sizeof(float));
                }
            }
        }
    }
    free(map);
    return status;
}

static be_status draw(const be_subject_info *info, size_t patch, const be_answer_image *image, const be_image *input,
                      const float *attention, const be_roi_group *group, be_hemisphere hemisphere, be_image *out,
                      be_error *error)
{
    size_t cells = image->rows * image->columns;
    void *map;
    be_status status = be_allocate(&map, cells, sizeof(float), "a map", error);
    if (status != BE_OK)
        return status;
    be_map_of_group(info, group, hemisphere, attention, cells, map);
    status = be_map_overlay(input, map, image->rows, image->columns, patch, out, error);
    free(map);
    return status;
}

be_status be_answer_attention_png(const be_subject_info *info, size_t patch, const be_answer_image *image,
                                  const be_image *input, const be_output *output, const be_roi_selection *selection,
                                  const be_answer_maps *maps, unsigned char **bytes, size_t *size, be_error *error)
{
    be_image drawn[BE_HEMISPHERES] = {{0}}, beside = {0};
    be_status status = BE_OK;
    if (selection->count != 1)
        return be_fail(error, BE_ERROR_ARGUMENT, "roi: a PNG shows exactly one ROI, %zu are asked for", selection->count);
    if (maps->heads)
        return be_fail(error, BE_ERROR_ARGUMENT, "heads: a PNG shows the mean over heads; npy and json have each");
    for (int h = BE_LEFT; h < BE_HEMISPHERES && status == BE_OK; h++) {
        if (maps->hemispheres[h])
            status = draw(info, patch, image, input, output->attention, &selection->groups[0], (be_hemisphere)h, &drawn[h], error);
    }
    bool both = maps->hemispheres[BE_LEFT] && maps->hemispheres[BE_RIGHT];
    if (status == BE_OK && both)
        status = be_images_beside(&drawn[BE_LEFT], &drawn[BE_RIGHT], &beside, error);
    if (status == BE_OK)
        status = be_image_encode_png(both ? &beside : &drawn[maps->hemispheres[BE_RIGHT] ? BE_RIGHT : BE_LEFT], bytes, size,
                                     error);
    be_image_free(&drawn[BE_LEFT]);
    be_image_free(&drawn[BE_RIGHT]);
    be_image_free(&beside);
    return status;
}
