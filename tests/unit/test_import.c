/* Import of checkpoints: what is taken over, and everything this version cannot compute refused by name. */
#include "tests/unit/model_support.h"
#include "tests/unit/weights.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/files/torch_writer.h"

enum { PREFIX = 6 /* "model." */ };

/* The tensors of the golden checkpoint, by their names in the model. */
static weights all;

#define TEXT(letters) {BE_VALUE_TEXT, {.text = {letters, sizeof letters - 1}}}
#define INTEGER(value) {BE_VALUE_INT, {.integer = value}}
#define FLOAT(value) {BE_VALUE_FLOAT, {.number = value}}
static const be_value none = {.kind = BE_VALUE_NONE}, yes = {BE_VALUE_BOOL, {.boolean = true}};

static const be_torch_setting golden_settings[] = {
    {"backbone_arch", TEXT("dinov2_q")}, {"encoder_arch", TEXT("transformer")}, {"readout_res", TEXT("rois_all")},
    {"position_embedding", TEXT("sine")}, {"enc_output_layer", INTEGER(1)},     {"enc_layers", INTEGER(0)},
    {"dec_layers", INTEGER(1)},          {"hidden_dim", INTEGER(96)},           {"nheads", INTEGER(16)},
    {"pre_norm", INTEGER(1)},            {"subj", TEXT("01")},                  {"lr", FLOAT(0.0005)},
    {"save_dir", TEXT("/home/someone/nsd")}, {"user_name", TEXT("someone")},
};
enum { N_SETTINGS = sizeof golden_settings / sizeof *golden_settings };

static int open_fixture(void **state)
{
    (void)state;
    all = take_weights(golden(GOLDEN_CHECKPOINT));
    for (size_t i = 0; i < all.count; i++) {
        char *name = (char *)(uintptr_t)all.tensors[i].name;
        assert_int_equal(strncmp(name, "model.", PREFIX), 0);
        memmove(name, name + PREFIX, strlen(name + PREFIX) + 1);
    }
    return 0;
}

static int close_fixture(void **state)
{
    (void)state;
    free_weights(&all);
    return 0;
}

/* Writes a checkpoint with the golden settings, of which `name` has another value, or none at all (`value` NULL). */
static const char *write_checkpoint(const char *name, const be_value *value)
{
    be_torch_setting settings[N_SETTINGS + 1];
    size_t count = 0;
    bool found = false;
    be_error error;
    for (size_t i = 0; i < N_SETTINGS; i++) {
        bool is_it = name && strcmp(golden_settings[i].name, name) == 0;
        found = found || is_it;
        if (is_it && !value)
            continue;
        settings[count] = golden_settings[i];
        if (is_it)
            settings[count].value = *value;
        count++;
    }
    if (name && value && !found)
        settings[count++] = (be_torch_setting){name, *value};
    assert_ok(be_torch_write(scratch("checkpoint.pth"), all.tensors, all.count, settings, count, &error), &error);
    return scratch("checkpoint.pth");
}

static void refuse(const char *name, const be_value *value, be_status status, const char *part)
{
    refuse_import(write_checkpoint(name, value), golden(GOLDEN_DATA), status, part);
}

/* Imports a checkpoint that must be good and opens the result. */
static be_subject *accept(const char *checkpoint, const char *name)
{
    be_subject *subject = NULL;
    be_error error;
    be_import_options options = {.checkpoint = checkpoint, .data = golden(GOLDEN_DATA), .name = name,
                                 .output = scratch("accepted.safetensors")};
    assert_ok(be_subject_import(&options, &error), &error);
    assert_ok(be_subject_open(scratch("accepted.safetensors"), BE_PRECISION_F32, &subject, &error), &error);
    return subject;
}

/* --- what is taken over ------------------------------------------------------------------------------------------- */

static void test_accepted(void **state)
{
    (void)state;
    be_subject *subject = accept(write_checkpoint(NULL, NULL), NULL);
    const be_subject_info *info = be_subject_get_info(subject);
    assert_string_equal(info->name, "subj01");
    assert_false(info->demo || info->member[0].has_validation);
    assert_int_equal(info->image_size, BE_DEFAULT_IMAGE_SIZE);
    assert_int_equal(info->channels, 96);
    assert_string_equal(info->unverified, "");
    be_subject_close(subject);
    size_t size;
    unsigned char *bytes = read_bytes(scratch("accepted.safetensors"), &size);
    assert_null(memmem(bytes, size, "someone", 7));
    free(bytes);
}

static void test_accepted_settings(void **state)
{
    (void)state;
    const be_value layer = INTEGER(3), size = INTEGER(224), heads = INTEGER(8), score = FLOAT(0.25), number = INTEGER(1),
                   seven = INTEGER(7), path = TEXT("../x"), dataset = TEXT("random numbers");
    be_subject *subject = accept(write_checkpoint("enc_output_layer", &layer), "monkey 1");
    assert_int_equal(be_subject_get_info(subject)->member[0].tap.layer, 3);
    assert_string_equal(be_subject_get_info(subject)->name, "monkey 1");
    assert_false(be_subject_get_info(subject)->demo);
    be_subject_close(subject);
    subject = accept(write_checkpoint("dataset", &dataset), NULL);
    assert_true(be_subject_get_info(subject)->demo);
    be_subject_close(subject);
    subject = accept(write_checkpoint("image_size", &size), NULL);
    assert_int_equal(be_subject_get_info(subject)->image_size, 224);
    be_subject_close(subject);
    subject = accept(write_checkpoint("image_size", &none), NULL);
    assert_int_equal(be_subject_get_info(subject)->image_size, BE_DEFAULT_IMAGE_SIZE);
    be_subject_close(subject);
    subject = accept(write_checkpoint("nheads", &heads), NULL);
    assert_non_null(strstr(be_subject_get_info(subject)->unverified, "nheads 8"));
    be_subject_close(subject);
    subject = accept(write_checkpoint("val_perf", &score), NULL);
    assert_true(be_subject_get_info(subject)->member[0].has_validation &&
                be_subject_get_info(subject)->member[0].validation == 0.25);
    be_subject_close(subject);
    subject = accept(write_checkpoint("pre_norm", &yes), NULL);
    be_subject_close(subject);
    subject = accept(write_checkpoint("subj", &number), NULL);
    assert_string_equal(be_subject_get_info(subject)->name, "subj01");
    be_subject_close(subject);
    refuse("subj", &seven, BE_ERROR_FORMAT, "was trained on subject 7"); /* the folder is called subj01 */
    subject = accept(write_checkpoint("subj", &path), NULL);
    assert_string_equal(be_subject_get_info(subject)->name, "subject");
    be_subject_close(subject);
    subject = accept(write_checkpoint("subj", NULL), NULL);
    assert_string_equal(be_subject_get_info(subject)->name, "subject");
    be_subject_close(subject);
}

/* --- settings ----------------------------------------------------------------------------------------------------- */

static void test_unsupported_settings(void **state)
{
    (void)state;
    static const struct { const char *name; be_value value; const char *part; } cases[] = {
        {"backbone_arch", TEXT("vgg16"), "backbone_arch: 'vgg16'"},
        {"backbone_arch", TEXT("dinov2_q_cls"), "encoder_arch 'transformer' cannot be read from a class token"},
        {"encoder_arch", TEXT("convolution"), "encoder_arch 'convolution'"},
        {"readout_res", TEXT("gyri"), "readout_res 'gyri'"},
        {"position_embedding", TEXT("rotary"), "position_embedding 'rotary'"},
        {"dec_layers", INTEGER(0), "dec_layers 0"},
        {"dec_layers", INTEGER(65), "dec_layers 65"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuse(cases[i].name, &cases[i].value, BE_ERROR_UNSUPPORTED, cases[i].part);
}

static void test_settings_that_contradict(void **state)
{
    (void)state;
    static const struct { const char *name; be_value value; const char *part; } cases[] = {
        {"hidden_dim", INTEGER(98), "hidden_dim 98"}, {"hidden_dim", INTEGER(0), "hidden_dim 0"},
        {"hidden_dim", INTEGER(64), "linear1.weight"}, {"nheads", INTEGER(7), "nheads 7"},
        {"nheads", INTEGER(0), "nheads 0"},           {"nheads", INTEGER(-1), "args.nheads is -1"},
        {"nheads", INTEGER(INT64_MAX), "args.nheads"}, {"hidden_dim", INTEGER(INT64_MIN), "args.hidden_dim"},
        {"enc_output_layer", INTEGER(-3), "args.enc_output_layer"}, {"image_size", INTEGER(-1), "args.image_size"},
        {"image_size", TEXT("224"), "args.image_size"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuse(cases[i].name, &cases[i].value, BE_ERROR_FORMAT, cases[i].part);
}

static void test_settings_that_are_missing(void **state)
{
    (void)state;
    static const char *const names[] = {"backbone_arch", "encoder_arch", "readout_res", "position_embedding", "nheads",
                                        "enc_output_layer", "enc_layers", "dec_layers", "hidden_dim", "pre_norm"};
    static const be_value number = FLOAT(1.5);
    static const be_value text = TEXT("a text of sixty-four letters, which is one more than any setting");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char part[64];
        snprintf(part, sizeof part, "args.%s is ", names[i]);
        refuse(names[i], NULL, BE_ERROR_FORMAT, part);
        refuse(names[i], &number, BE_ERROR_FORMAT, part);
        refuse(names[i], &none, BE_ERROR_FORMAT, part);
        refuse(names[i], &text, BE_ERROR_FORMAT, part);
    }
}

/* --- tensors ------------------------------------------------------------------------------------------------------ */

static void test_missing_tensors(void **state)
{
    (void)state;
    for (size_t i = 0; i < all.count; i++) {
        const char *name = all.tensors[i].name;
        bool unused = strstr(name, ".self_attn.") || strstr(name, ".norm2.") || strstr(name, ".memory_proj.") ||
                      strstr(name, "layers.0.norm1.weight") || strncmp(name, "transformer.encoder", 19) == 0;
        char part[256];
        snprintf(part, sizeof part, "'model.%s'", name);
        all.tensors[i].name = "transformer.something_else";
        if (unused)
            be_subject_close(accept(write_checkpoint(NULL, NULL), NULL));
        else
            refuse(NULL, NULL, BE_ERROR_FORMAT, part);
        all.tensors[i].name = name;
    }
}

static void test_wrong_shapes(void **state)
{
    (void)state;
    static const struct { const char *name; size_t rows, columns; const char *part; } cases[] = {
        {"query_embed.weight", 48, 96, "the model has 48 queries"}, {"query_embed.weight", 49, 96, "the model has 49 queries"},
        {"query_embed.weight", 50, 90, "'model.query_embed.weight' has the wrong shape, expected [50][96]"},
        {"lh_embed.0.weight", 299, 96, "'model.lh_embed.0.weight' is for 299 vertices"},
        {"rh_embed.0.weight", 320, 95, "'model.rh_embed.0.weight' has the wrong shape, expected [320][96]"},
        {"lh_embed.0.bias", 20, 15, "'model.lh_embed.0.bias' has the wrong shape, expected [300]"},
        {"transformer.decoder.layers.0.multihead_attn.in_proj_weight", 96, 96, "in_proj_weight"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        be_tensor_source *tensor = weight_named(&all, cases[i].name), before = *tensor;
        tensor->n_dims = 2;
        tensor->shape[0] = cases[i].rows;
        tensor->shape[1] = cases[i].columns;
        refuse(NULL, NULL, BE_ERROR_FORMAT, cases[i].part);
        *tensor = before;
    }
}

/* --- files -------------------------------------------------------------------------------------------------------- */

static void test_no_checkpoint(void **state)
{
    (void)state;
    char data[1024];
    snprintf(data, sizeof data, "%s", golden(GOLDEN_DATA));
    refuse_import(golden("dinov2_q_rois/dinov2_small_pretrain.pth"), data, BE_ERROR_UNSUPPORTED, "is no checkpoint");
    refuse_import(golden(GOLDEN_BACKBONE), data, BE_ERROR_UNSUPPORTED, "is no checkpoint");
    refuse_import(golden("corrupt/os_system.pth"), data, BE_ERROR_FORMAT, "system");
    refuse_import(golden("corrupt/truncated.pth"), data, BE_ERROR_FORMAT, "truncated.pth: ");
    refuse_import("/nowhere/checkpoint.pth", data, BE_ERROR_NOT_FOUND, "/nowhere/checkpoint.pth: ");
}

static void refuse_output(const char *output, be_status status, const char *part)
{
    be_error error;
    be_import_options options = {.checkpoint = golden(GOLDEN_CHECKPOINT), .data = golden(GOLDEN_DATA), .output = output};
    assert_error(be_subject_import(&options, &error), status, &error, part);
}

static void test_output(void **state)
{
    (void)state;
    char folder[512], path[1024], longest[8000];
    be_error error;
    snprintf(folder, sizeof folder, "%s", scratch("outputs"));
    assert_int_equal(mkdir(folder, 0700), 0);
    snprintf(path, sizeof path, "%s/missing/subject.safetensors", folder);
    refuse_output(path, BE_ERROR_IO, "missing/subject.safetensors");
    snprintf(path, sizeof path, "%s/taken", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    refuse_output(path, BE_ERROR_IO, "outputs/taken"); /* a folder is in the way */
    assert_int_equal(count_files(folder), 1);
    assert_int_equal(rmdir(path), 0);
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    refuse_output(longest, BE_ERROR_IO, "xxxx");
    be_import_options unnamed = {.checkpoint = golden(GOLDEN_CHECKPOINT), .data = golden(GOLDEN_DATA), .name = ""};
    unnamed.output = path;
    snprintf(path, sizeof path, "%s/subject.safetensors", folder);
    assert_error(be_subject_import(&unnamed, &error), BE_ERROR_ARGUMENT, &error, "name: ''");
    longest[BE_SUBJECT_NAME_SIZE] = '\0';
    unnamed.name = longest;
    assert_error(be_subject_import(&unnamed, &error), BE_ERROR_ARGUMENT, &error, "name: 'xxxx");
    assert_int_equal(count_files(folder), 0);
    unnamed.name = "named";
    assert_ok(be_subject_import(&unnamed, &error), &error);
    assert_ok(be_subject_import(&unnamed, &error), &error); /* again, over the first */
    assert_int_equal(count_files(folder), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),                 cmocka_unit_test(test_accepted_settings),
        cmocka_unit_test(test_unsupported_settings),     cmocka_unit_test(test_settings_that_contradict),
        cmocka_unit_test(test_settings_that_are_missing), cmocka_unit_test(test_missing_tensors),
        cmocka_unit_test(test_wrong_shapes),             cmocka_unit_test(test_no_checkpoint),
        cmocka_unit_test(test_output),
    };
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
