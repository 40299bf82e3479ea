/* Importing an ensemble with everything that goes with it when memory runs out: the caller is told of it, nothing leaks, and
 * nothing is half written. */
#include "tests/unit/allocation.h"

#include "core/subject/label_names.h"
#include "core/subject/results_tree.h"

static char results[1024], data[1024], json[1024], lines[1024], mapping[1024], labels[2][1024], ncsnr[2][1024];

static void write_labels(be_hemisphere hemisphere, size_t count)
{
    be_error error;
    int32_t *values = calloc(count, sizeof *values);
    float *ratios = calloc(count, sizeof *ratios);
    assert_true(values && ratios);
    for (size_t v = 0; v < count; v++)
        values[v] = (int32_t)(v % 25);
    snprintf(labels[hemisphere], sizeof labels[hemisphere], "%s", scratch(hemisphere == BE_LEFT ? "lh.npy" : "rh.npy"));
    snprintf(ncsnr[hemisphere], sizeof ncsnr[hemisphere], "%s", scratch(hemisphere == BE_LEFT ? "lh.ncsnr.npy" : "rh.ncsnr.npy"));
    assert_ok(be_npy_write(labels[hemisphere], BE_DTYPE_I32, 1, &count, values, &error), &error);
    assert_ok(be_npy_write(ncsnr[hemisphere], BE_DTYPE_F32, 1, &count, ratios, &error), &error);
    free(values), free(ratios);
}

static int open_fixture(void **state)
{
    (void)state;
    char text[1024] = "";
    snprintf(results, sizeof results, "%s", golden("ensemble/results"));
    snprintf(data, sizeof data, "%s", golden(GOLDEN_DATA));
    snprintf(mapping, sizeof mapping, "%s", golden(GOLDEN_DATA "/roi_masks/mapping_floc-bodies.npy"));
    for (int i = 1; i <= 24; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "parcel %d\n", i);
    snprintf(lines, sizeof lines, "%s", scratch("names.txt"));
    write_bytes(lines, text, strlen(text));
    snprintf(json, sizeof json, "%s", scratch("names.json"));
    write_bytes(json, "{\"2\": \"b\", \"1\": \"a\"}", 20);
    write_labels(BE_LEFT, GOLDEN_LEFT);
    write_labels(BE_RIGHT, GOLDEN_RIGHT);
    make_output_folder();
    return 0;
}

static be_status find_results(be_error *error)
{
    be_results found;
    be_status status = be_results_find(&(be_results_options){.folder = results, .data = data}, &found, error);
    if (status == BE_OK)
        be_results_free(&found);
    return status;
}

static be_status look_beside(be_error *error)
{
    be_results found;
    be_status status = be_results_beside(json, &found, error);
    if (status == BE_OK)
        be_results_free(&found);
    return status;
}

static be_status read_names(const char *path, be_error *error)
{
    be_npy_mapping names;
    be_status status = be_label_names_read(path, &names, error);
    if (status == BE_OK)
        be_npy_mapping_free(&names);
    return status;
}

static be_status read_lines(be_error *error)
{
    return read_names(lines, error);
}

static be_status read_json(be_error *error)
{
    return read_names(json, error);
}

static be_status read_mapping(be_error *error)
{
    return read_names(mapping, error);
}

static void test_what_is_read(void **state)
{
    (void)state;
    fail_each("finding results", find_results, NULL);
    fail_each("looking beside a checkpoint", look_beside, NULL);
    fail_each("names in lines", read_lines, NULL);
    fail_each("names in JSON", read_json, NULL);
    fail_each_in_json("names in JSON", read_json);
    fail_each("names in a mapping", read_mapping, NULL);
}

static be_results found;

static be_status import_ensemble(be_error *error)
{
    const be_import_options options = {
        .members = found.members, .n_members = 2, .data = data, .output = output, .storage = "bf16", .ncsnr = {ncsnr[0], ncsnr[1]},
        .parcellation = {labels[0], labels[1]}, .parcellation_names = lines,
    };
    return be_subject_import(&options, error);
}

static void test_an_ensemble(void **state)
{
    (void)state;
    be_error error;
    assert_ok(be_results_find(&(be_results_options){.folder = results, .data = data}, &found, &error), &error);
    fail_each_writer("importing an ensemble", import_ensemble);
    be_results_free(&found);
}

static be_status inspect(be_error *error)
{
    be_subject *subject;
    be_status status = be_subject_inspect(output, &subject, error);
    if (status == BE_OK)
        be_subject_close(subject);
    return status;
}

static void test_an_inspection(void **state)
{
    (void)state;
    fail_each("inspecting an ensemble", inspect, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_what_is_read), cmocka_unit_test(test_an_ensemble),
                                       cmocka_unit_test(test_an_inspection)};
    return cmocka_run_group_tests(tests, open_fixture, NULL);
}
