#include <math.h>
#include <stdlib.h>

#include "core/answer/parts.h"
#include "core/base/memory.h"

static void add_text(be_json *json, cJSON *to, const char *key, const char *text)
{
    if (*text)
        be_json_text(json, to, key, text);
    else
        be_json_null(json, to, key);
}

void be_answer_add_training(be_json *json, cJSON *to, const be_subject_info *info)
{
    add_text(json, to, "training_set", info->training_set);
    add_text(json, to, "checkpoint_date", info->date);
}

void be_answer_add_quality(be_json *json, cJSON *to, const be_quality quality[BE_HEMISPHERES])
{
    cJSON *object = be_json_object(json, to, "quality");
    for (int h = BE_LEFT; h < BE_HEMISPHERES; h++) {
        cJSON *side = be_json_object(json, object, be_hemisphere_name((be_hemisphere)h));
        be_answer_add_float(json, side, "validation", quality[h].correlation);
        be_answer_add_float(json, side, "noise_ceiling", quality[h].ceiling);
        be_answer_add_float(json, side, "accuracy", quality[h].accuracy);
    }
}

void be_answer_add_roi_quality(be_json *json, cJSON *to, const be_subject *subject, const be_roi *roi)
{
    be_quality quality[BE_HEMISPHERES];
    for (int h = BE_LEFT; h < BE_HEMISPHERES; h++)
        be_quality_of(subject, (be_hemisphere)h, roi->vertices[h], roi->n_vertices[h], &quality[h]);
    be_answer_add_quality(json, to, quality);
}

be_status be_answer_add_vertex_quality(be_json *json, cJSON *to, const be_subject *subject, be_hemisphere hemisphere,
                                       const be_columns *columns, be_error *error)
{
    float *correlation;
    size_t vertices = be_subject_get_info(subject)->n_vertices[hemisphere];
    be_status status = be_allocate_floats(&correlation, 2 * vertices, "an answer", error);
    if (status != BE_OK)
        return status;
    float *ceiling = correlation + vertices;
    be_quality_vertices(subject, hemisphere, correlation, ceiling, NULL);
    be_answer_add_column(json, to, "validation", columns, be_subject_validation(subject, hemisphere) ? correlation : NULL);
    be_answer_add_column(json, to, "noise_ceiling", columns, be_subject_ncsnr(subject, hemisphere) ? ceiling : NULL);
    free(correlation);
    return BE_OK;
}
