#include <stdio.h>

#include "core/answer/parts.h"

/* "weights": [[..columns..] x rows]. */
static void add_weights(be_json *json, cJSON *to, const float *map, const be_answer_image *image)
{
    be_text text = {0};
    for (size_t row = 0; row < image->rows; row++) {
        be_text_add(&text, row ? "," : "[");
        be_text_add_floats(&text, map + row * image->columns, image->columns);
    }
    be_text_add(&text, "]");
    be_answer_add_raw(json, to, "weights", &text);
}

static cJSON *add_label(be_json *json, cJSON *list, const be_subject_info *info, const be_map_label *label)
{
    cJSON *object = be_json_object(json, list, NULL);
    char name[32];
    if (label->group) {
        be_json_text(json, object, "roi", label->group->name);
        cJSON *members = be_json_array(json, object, "members");
        for (size_t m = 0; m < label->group->n_members; m++)
            be_json_text(json, members, NULL, info->rois.rois[label->group->members[m]].name);
    } else {
        snprintf(name, sizeof name, "%s:%zu", be_hemisphere_name(label->hemisphere), label->vertex);
        be_json_text(json, object, "vertex", name);
    }
    be_json_text(json, object, "hemi", be_hemisphere_name(label->hemisphere));
    be_json_flag(json, object, "dynamic", info->dynamic);
    return object;
}

void be_answer_add_maps(be_json *json, cJSON *to, const be_subject_info *info, const be_answer_image *image,
                        const be_answer_maps *maps)
{
    size_t cells = image->rows * image->columns, sheets = be_map_selection_sheets(info, maps->asked);
    be_answer_add_pair(json, to, "grid", image->rows, image->columns);
    cJSON *list = be_json_array(json, to, "maps");
    for (size_t i = 0; i < be_map_selection_count(maps->asked) * sheets; i++) {
        be_map_label label = be_map_label_of(info, maps->asked, i / sheets);
        cJSON *object = add_label(json, list, info, &label);
        if (maps->asked->heads)
            be_json_number(json, object, "head", (double)(i % sheets));
        if (label.none)
            be_json_null(json, object, "weights");
        else
            add_weights(json, object, maps->values + i * cells, image);
    }
}

be_status be_answer_attention(const be_model *model, size_t subject, const be_answer_image *image, const be_answer_maps *maps,
                              char **text, be_error *error)
{
    const be_subject_info *info = be_subject_get_info(be_model_subject(model, subject));
    be_json json = be_json_begin();
    be_status status = be_answer_add_identity(&json, model, subject, image, error);
    if (status != BE_OK) {
        be_json_discard(&json);
        return status;
    }
    be_answer_add_unverified(&json, json.root, model, info);
    be_answer_add_maps(&json, json.root, info, image, maps);
    return be_json_print(&json, text, error);
}
