/* Subject files: no trace of whose machine they came from, and damaged metadata refused with the name of what is wrong. */
#include "tests/unit/subject_pieces.h"

#include <stdio.h>

#include "core/subject/subject_format.h"

/* --- what is in it ------------------------------------------------------------------------------------------------ */

static bool holds(const unsigned char *bytes, size_t size, const char *text)
{
    return memmem(bytes, size, text, strlen(text)) != NULL;
}

static void test_no_paths_and_names(void **state)
{
    (void)state;
    static const char *const secrets[] = {"/", "nsd_project", "wandb", "algonauts_2023", "results", "save_dir", "data_dir"};
    size_t size, header = 0;
    unsigned char *bytes = read_bytes(golden(GOLDEN_CHECKPOINT), &size);
    assert_true(holds(bytes, size, "nsd_project") && holds(bytes, size, "wandb")); /* they are there to be left out */
    free(bytes);
    bytes = read_bytes(scratch("good.safetensors"), &size);
    assert_true(size > 8);
    for (size_t i = 0; i < 8; i++)
        header |= (size_t)bytes[i] << 8 * i;
    assert_true(header < size - 8);
    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++) {
        if (holds(bytes + 8, header, secrets[i]))
            fail_msg("the subject file's header holds \"%s\"", secrets[i]);
    }
    assert_true(holds(bytes + 8, header, "\\\"lr\\\":0.0005")); /* the settings are kept */
    assert_true(holds(bytes + 8, header, "terms of use"));
    assert_false(holds(bytes + 8, header, "self_attn"));
    assert_false(holds(bytes + 8, header, "norm2"));
    free(bytes);
}

static void test_metadata(void **state)
{
    (void)state;
    char hash[BE_HASH_SIZE];
    be_error error;
    pieces it = take_apart();
    const cJSON *member = cJSON_GetArrayItem(cJSON_GetObjectItem(it.root, "members"), 0);
    const cJSON *source = cJSON_GetObjectItem(member, "source"), *training = cJSON_GetObjectItem(member, "training");
    assert_ok(be_hash_file(golden(GOLDEN_CHECKPOINT), hash, &error), &error);
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(source, "sha256")), hash);
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(source, "format")), "torch zip");
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(training, "backbone_arch")), "dinov2_q");
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(training, "subj")), "01");
    assert_true(cJSON_GetNumberValue(cJSON_GetObjectItem(training, "batch_size")) == 6);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(training, "horizontal_flip")));
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(it.root, "image_size")));
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(it.root, "rois")), 24);
    free_pieces(&it);
}

/* --- damaged metadata --------------------------------------------------------------------------------------------- */

/* The object in which a dotted name ends: "members.0.layer" is `layer` of the first member. */
static cJSON *holder(cJSON *root, const char *dotted)
{
    cJSON *at = root;
    char part[64];
    for (const char *dot; (dot = strchr(dotted, '.')); dotted = dot + 1) {
        snprintf(part, sizeof part, "%.*s", (int)(dot - dotted), dotted);
        at = cJSON_IsArray(at) ? cJSON_GetArrayItem(at, atoi(part)) : cJSON_GetObjectItem(at, part);
    }
    return at;
}

static const char *last_part(const char *dotted)
{
    const char *dot = strrchr(dotted, '.');
    return dot ? dot + 1 : dotted;
}

static const char *const needed_fields[] = {
    "format", "subject", "demo", "units", "unverified", "features", "channels", "image_size", "encoder", "readout", "rois",
    "fsaverage", "members", "rois.3.name", "rois.3.family", "fsaverage.rh", "members.0.layer", "members.0.run",
    "members.0.validation", "dilation", "settings.width", "settings.queries", "settings.heads", "settings.enc_layers",
    "settings.dec_layers", "settings.pre_norm", "settings.learned_position", "settings.class_token", "settings.input_projection",
    "settings.stride",
};
enum { N_FIELDS = sizeof needed_fields / sizeof *needed_fields };

static void test_missing_fields(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_FIELDS; i++) {
        pieces it = take_apart();
        cJSON_DeleteItemFromObject(holder(it.root, needed_fields[i]), last_part(needed_fields[i]));
        refuse_pieces(&it, BE_ERROR_FORMAT, last_part(needed_fields[i]));
        free_pieces(&it);
    }
}

static bool is_right_type(const char *field, const cJSON *before, const cJSON *value)
{
    if (strcmp(field, "validation") == 0)
        return cJSON_IsNumber(value);
    return (cJSON_IsBool(before) && cJSON_IsBool(value)) || (cJSON_IsString(before) && cJSON_IsString(value)) ||
           (cJSON_IsArray(before) && cJSON_IsArray(value)) || (cJSON_IsObject(before) && cJSON_IsObject(value));
}

static void test_wrong_types(void **state)
{
    (void)state;
    static const char *const values[] = {"[]", "{}", "\"x\"", "true", "-1", "1.5", "1e300", "[null]"};
    for (size_t i = 0; i < N_FIELDS; i++) {
        const char *field = last_part(needed_fields[i]);
        for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
            pieces it = take_apart();
            cJSON *object = holder(it.root, needed_fields[i]), *value = cJSON_Parse(values[v]);
            assert_non_null(value);
            bool right = is_right_type(field, cJSON_GetObjectItem(object, field), value);
            cJSON_ReplaceItemInObject(object, field, value);
            if (!right) /* the values of the right type are those of the next test */
                refuse_pieces(&it, BE_ERROR_FORMAT, field);
            free_pieces(&it);
        }
    }
}

/* A field set to a JSON value that reads well and is wrong. */
static void test_wrong_values(void **state)
{
    (void)state;
    static const struct { const char *field, *value; be_status status; const char *part; } cases[] = {
        {"format", "1", BE_ERROR_UNSUPPORTED, "format 1, this version reads format 2: `brainenc import` makes it anew"},
        {"format", "3", BE_ERROR_UNSUPPORTED, "format 3"},
        {"format", "0", BE_ERROR_UNSUPPORTED, "format 0"},
        {"subject", "\"\"", BE_ERROR_FORMAT, "'subject'"},
        {"subject", "\"0123456789012345678901234567890123456789012345678901234567890123\"", BE_ERROR_FORMAT, "'subject'"},
        {"features", "\"vgg16\"", BE_ERROR_UNSUPPORTED, "features: "},
        {"encoder", "\"convolution\"", BE_ERROR_UNSUPPORTED, "encoder_arch 'convolution'"},
        {"encoder", "\"linear\"", BE_ERROR_FORMAT, "queries are 50, its readout rois_all has 1"},
        {"encoder", "\"spatial_feature\"", BE_ERROR_FORMAT, "encoder_arch is 'spatial_feature'"},
        {"encoder", "\"custom_transformer\"", BE_ERROR_FORMAT, "cross_attn.q_proj.weight"},
        {"readout", "\"voxels\"", BE_ERROR_FORMAT, "queries are 50, its readout voxels has 620"},
        {"readout", "\"gyri\"", BE_ERROR_UNSUPPORTED, "readout_res 'gyri'"},
        {"readout", "\"streams_inc\"", BE_ERROR_ARGUMENT, "--streams-order"},
        {"streams_order", "\"middle\"", BE_ERROR_FORMAT, "'streams_order'"},
        {"features", "\"dinov2_q_cls\"", BE_ERROR_FORMAT, "settings.class_token"},
        {"channels", "98", BE_ERROR_FORMAT, "hidden_dim 96 is not the backbone's width 98"},
        {"channels", "0", BE_ERROR_FORMAT, "channels 0"},
        {"settings.width", "112", BE_ERROR_FORMAT, "hidden_dim 112 is not the backbone's width 96"},
        {"settings.enc_layers", "1", BE_ERROR_FORMAT, "enc_layers 1"},
        {"settings.dec_layers", "2", BE_ERROR_FORMAT, "transformer.decoder.layers.1"},
        {"settings.dec_layers", "0", BE_ERROR_UNSUPPORTED, "dec_layers 0"},
        {"settings.pre_norm", "false", BE_ERROR_FORMAT, "norm2.weight"},
        {"settings.learned_position", "true", BE_ERROR_FORMAT, "row_embed.weight"},
        {"settings.input_projection", "true", BE_ERROR_FORMAT, "input_proj.weight"},
        {"channels", "1048576", BE_ERROR_FORMAT, "channels 1048576"},
        {"channels", "1048577", BE_ERROR_FORMAT, "'channels'"},
        {"image_size", "0", BE_ERROR_FORMAT, "'image_size'"},
        {"settings.heads", "0", BE_ERROR_FORMAT, "nheads 0"},
        {"settings.heads", "7", BE_ERROR_FORMAT, "nheads 7"},
        {"members", "[]", BE_ERROR_FORMAT, "'members'"},
        {"members", "[{}, {}]", BE_ERROR_FORMAT, "'validation'"},
        {"members", "[{\"layer\": 1, \"run\": 1, \"validation\": null}, {\"layer\": 2, \"run\": 1, \"validation\": null}]",
         BE_ERROR_FORMAT, "an ensemble needs the tensors 'validation.lh'"},
        {"members", "[5]", BE_ERROR_FORMAT, "'validation'"},
        {"rois", "[]", BE_ERROR_FORMAT, "masks.lh"},
        {"storage", "\"f16\"", BE_ERROR_FORMAT, "'storage'"},
        {"storage", "16", BE_ERROR_FORMAT, "'storage'"},
        {"storage", "\"bf16\"", BE_ERROR_FORMAT, "storage is bf16, tensor 'members.0.lh_embed.0.weight' is F32"},
        {"training_set", "[]", BE_ERROR_FORMAT, "'training_set'"},
        {"members.0.checkpoint_date", "20250301", BE_ERROR_FORMAT, "'checkpoint_date'"},
        {"members.0.checkpoint_date", "\"yesterday!\"", BE_ERROR_FORMAT, "'checkpoint_date'"},
        {"members.0.checkpoint_date", "\"2025-03-01T00:00\"", BE_ERROR_FORMAT, "'checkpoint_date'"},
        {"rois.23.name", "\"\"", BE_ERROR_FORMAT, "'' is no name for a ROI"},
        {"rois.23.name", "\"V1v\"", BE_ERROR_FORMAT, "the name V1v is there twice"},
        {"rois.23.name", "\"rest\"", BE_ERROR_FORMAT, "the name rest is there twice"},
        {"rois.23.name", "\"all\"", BE_ERROR_FORMAT, "it stands for every ROI"},
        {"rois.23.family", "\"all\"", BE_ERROR_FORMAT, "it stands for every ROI"},
        {"rois.23.family", "\"\"", BE_ERROR_FORMAT, "'family'"},
        {"fsaverage", "{\"lh\": 163842, \"rh\": 5}", BE_ERROR_FORMAT, "fsaverage.rh"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pieces it = take_apart();
        cJSON *object = holder(it.root, cases[i].field);
        cJSON_DeleteItemFromObject(object, last_part(cases[i].field)); /* where it is there */
        cJSON_AddItemToObject(object, last_part(cases[i].field), cJSON_Parse(cases[i].value));
        refuse_pieces(&it, cases[i].status, cases[i].part);
        free_pieces(&it);
    }
}

static be_subject *open_pieces(const pieces *it)
{
    be_subject *subject;
    be_error error;
    char *metadata = cJSON_PrintUnformatted(it->root);
    const be_text_pair pair = {BE_SUBJECT_METADATA_KEY, metadata};
    assert_ok(be_safetensors_write(scratch("changed.safetensors"), it->all.tensors, it->all.count, &pair, 1, &error), &error);
    assert_ok(be_subject_open(scratch("changed.safetensors"), BE_PRECISION_F32, &subject, &error), &error);
    free(metadata);
    return subject;
}

/* What a file says of its training, and one that says nothing. */
static void test_what_a_file_may_do_without(void **state)
{
    (void)state;
    static const char *const fields[] = {"storage", "training_set", "members.0.checkpoint_date"};
    pieces it = take_apart();
    cJSON_ReplaceItemInObject(holder(it.root, "members.0.x"), "checkpoint_date", cJSON_CreateString("2025-03-01"));
    be_subject *subject = open_pieces(&it);
    const be_subject_info *info = be_subject_get_info(subject);
    assert_string_equal(info->storage, "f32");
    assert_string_equal(info->training_set, "NSD (Algonauts 2023), subj01");
    assert_string_equal(info->member[0].date, "2025-03-01");
    assert_string_equal(info->date, "2025-03-01");
    be_subject_close(subject);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        cJSON_DeleteItemFromObject(holder(it.root, fields[i]), last_part(fields[i]));
    subject = open_pieces(&it);
    info = be_subject_get_info(subject);
    assert_string_equal(info->storage, "f32");
    assert_string_equal(info->training_set, "");
    assert_string_equal(info->date, "");
    be_subject_close(subject);
    free_pieces(&it);
}

/* They go into headers, which cannot hold a line's end: an answer in .npy was sent without its warning. */
static void test_texts_are_of_one_line(void **state)
{
    (void)state;
    static const char *const fields[] = {"units", "unverified", "training_set"};
    pieces it = take_apart();
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        cJSON_ReplaceItemInObject(it.root, fields[i], cJSON_CreateString("of another lab\r\nX-Brainenc-Demo: \x1b[2J"));
    be_subject *subject = open_pieces(&it);
    const be_subject_info *info = be_subject_get_info(subject);
    const char *const found[] = {info->units, info->unverified, info->training_set};
    for (size_t i = 0; i < sizeof found / sizeof *found; i++)
        assert_string_equal(found[i], "of another lab??X-Brainenc-Demo: ?[2J");
    be_subject_close(subject);
    free_pieces(&it);
}

static void test_no_json(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "{", "[]", "5", "null", "{\"format\":1", "\"format\""};
    pieces it = take_apart();
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        refuse_metadata(&it, texts[i], BE_ERROR_FORMAT, "is no JSON object");
    refuse_metadata(&it, NULL, BE_ERROR_UNSUPPORTED, "is no subject file");
    enum { DEEP = 200000 };
    char *deep = malloc(DEEP + 1);
    assert_non_null(deep);
    memset(deep, '[', DEEP);
    deep[DEEP] = '\0';
    refuse_metadata(&it, deep, BE_ERROR_FORMAT, "is no JSON object");
    free(deep);
    free_pieces(&it);
    refuse_file(golden(GOLDEN_CHECKPOINT), BE_ERROR_UNSUPPORTED, "brainenc import");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_paths_and_names), cmocka_unit_test(test_metadata),
        cmocka_unit_test(test_missing_fields),     cmocka_unit_test(test_wrong_types),
        cmocka_unit_test(test_wrong_values),       cmocka_unit_test(test_what_a_file_may_do_without),
        cmocka_unit_test(test_texts_are_of_one_line),
        cmocka_unit_test(test_no_json),
    };
    return cmocka_run_group_tests(tests, make_good_file, NULL);
}
