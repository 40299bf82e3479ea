#include <string.h>

#include "core/answer/answer.h"
#include "core/answer/maps.h"
#include "core/base/memory.h"
#include "core/files/npy.h"

/* The shape of the array; returns the number of dimensions. */
static size_t shape_of(const be_subject_info *info, const be_answer_image *image, const be_map_selection *asked, size_t shape[5])
{
    size_t n = 0, count = be_map_selection_count(asked);
    if (asked->vertices) {
        shape[n++] = count;
    } else {
        shape[n++] = asked->rois.count;
        shape[n++] = asked->hemispheres[BE_LEFT] && asked->hemispheres[BE_RIGHT] ? 2 : 1;
    }
    if (asked->heads)
        shape[n++] = info->heads;
    shape[n++] = image->rows;
    shape[n++] = image->columns;
    return n;
}

be_status be_answer_attention_npy(const be_subject_info *info, const be_answer_image *image, const be_answer_maps *maps,
                                  unsigned char **bytes, size_t *size, be_error *error)
{
    size_t shape[5], length, dimensions = shape_of(info, image, maps->asked, shape);
    size_t cells = image->rows * image->columns;
    size_t floats = be_map_selection_count(maps->asked) * be_map_selection_sheets(info, maps->asked) * cells;
    char header[BE_NPY_HEADER_MAX];
    void *file;
    be_status status = be_npy_header(header, &length, BE_DTYPE_F32, dimensions, shape, error);
    if (status == BE_OK)
        status = be_allocate(&file, length + floats * sizeof(float), 1, "maps", error);
    if (status != BE_OK)
        return status;
    *bytes = file;
    *size = length + floats * sizeof(float);
    memcpy(*bytes, header, length);
    memcpy(*bytes + length, maps->values, floats * sizeof(float));
    return BE_OK;
}

be_status be_answer_attention_png(const be_subject_info *info, size_t patch, const be_answer_image *image, const be_image *input,
                                  const be_answer_maps *maps, unsigned char **bytes, size_t *size, be_error *error)
{
    be_image drawn[BE_HEMISPHERES] = {{0}}, beside = {0};
    size_t count = be_map_selection_count(maps->asked), cells = image->rows * image->columns;
    be_status status = be_map_check_picture(info, maps->asked, error);
    for (size_t i = 0; i < count && status == BE_OK; i++)
        status = be_map_overlay(input, maps->values + i * cells, image->rows, image->columns, patch, &drawn[i], error);
    if (status == BE_OK && count == BE_HEMISPHERES)
        status = be_images_beside(&drawn[BE_LEFT], &drawn[BE_RIGHT], &beside, error);
    if (status == BE_OK)
        status = be_image_encode_png(count == BE_HEMISPHERES ? &beside : &drawn[0], bytes, size, error);
    be_image_free(&drawn[BE_LEFT]);
    be_image_free(&drawn[BE_RIGHT]);
    be_image_free(&beside);
    return status;
}
