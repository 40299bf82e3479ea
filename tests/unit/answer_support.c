#include "tests/unit/answer_support.h"

#include <stdio.h>

int open_answered(void **state)
{
    static answered it;
    be_error error;
    it.model = open_golden_model("subject.safetensors");
    be_session *session = open_session(it.model, 1, NULL);
    be_image noise = make_noise(COLUMNS * PATCH, ROWS * PATCH, 1);
    it.output = predict(session, it.model, &noise);
    it.image = (be_answer_image){.name = "a \"picture\"\n.png", .width = 500, .height = 300, .fit = BE_FIT_NATIVE,
                                 .rows = ROWS, .columns = COLUMNS};
    assert_ok(be_hash_bytes(noise.rgb, CELLS * PATCH * PATCH * 3, it.image.hash, &error), &error);
    assert_ok(be_npy_read(golden("dinov2_q_rois/expected/lh_masks.npy"), &it.masks[BE_LEFT], &error), &error);
    assert_ok(be_npy_read(golden("dinov2_q_rois/expected/rh_masks.npy"), &it.masks[BE_RIGHT], &error), &error);
    be_image_free(&noise);
    be_session_close(session);
    *state = &it;
    return 0;
}

int close_answered(void **state)
{
    answered *it = *state;
    free_output(&it->output);
    be_npy_free(&it->masks[BE_LEFT]);
    be_npy_free(&it->masks[BE_RIGHT]);
    be_model_close(it->model);
    return 0;
}

const be_subject_info *info_of(const answered *it)
{
    return be_subject_get_info(be_model_subject(it->model, 0));
}

be_roi_selection select_rois(const answered *it, const char *names)
{
    be_roi_selection selection;
    be_error error;
    assert_ok(be_roi_select(&info_of(it)->rois, names, &selection, &error), &error);
    return selection;
}

cJSON *parse(char *text)
{
    assert_null(strchr(text, '\n'));
    cJSON *root = cJSON_ParseWithOpts(text, NULL, true);
    assert_non_null(root);
    free(text);
    return root;
}

cJSON *answer(const answered *it, const be_output *output, const be_answer_options *options,
                     const be_answer_timing *timing)
{
    char *text = NULL;
    be_error error;
    assert_ok(be_answer_prediction(it->model, 0, &it->image, output, options, timing, &text, &error), &error);
    return parse(text);
}

const cJSON *get(const cJSON *root, const char *dotted)
{
    char name[128], *rest = name;
    snprintf(name, sizeof name, "%s", dotted);
    for (char *part; (part = strsep(&rest, "."));)
        root = cJSON_IsArray(root) ? cJSON_GetArrayItem(root, atoi(part)) : cJSON_GetObjectItemCaseSensitive(root, part);
    if (!root)
        fail_msg("the answer has no %s", dotted);
    return root;
}

const char *text_at(const cJSON *root, const char *dotted)
{
    return cJSON_GetStringValue(get(root, dotted));
}

double number_at(const cJSON *root, const char *dotted)
{
    return cJSON_GetNumberValue(get(root, dotted));
}
