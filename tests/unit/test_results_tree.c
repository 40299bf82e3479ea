/* The results folder of the authors' program: which model is found in it, its runs in order, and what is said of one that is not
 * complete. Only names count here: the files are empty. */
#include "tests/unit/support.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/subject/folder_names.h"
#include "core/subject/results_tree.h"

#define MODEL "nsd_test/dinov2_q_transformer/subj_01/rois_all"
static const char *const needed[] = {"checkpoint.pth", "lh_val_corr.npy", "rh_val_corr.npy"};

/* A path below a tree of this test's own. */
static char tree[512];

static const char *in_tree(const char *name)
{
    static char path[1024];
    snprintf(path, sizeof path, "%s/%s", tree, name);
    return path;
}

static void make_folders(const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s", in_tree(name));
    for (char *slash = path + strlen(tree) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
    mkdir(path, 0700);
}

static void put_run(const char *model, const char *run)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", model, run);
    make_folders(path);
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        snprintf(path, sizeof path, "%s/%s/%s", model, run, needed[i]);
        write_bytes(in_tree(path), "", 0);
    }
}

static int begin_tree(void **state)
{
    static int number;
    char name[32];
    (void)state;
    snprintf(name, sizeof name, "results%d", number++);
    snprintf(tree, sizeof tree, "%s", scratch(name));
    return mkdir(tree, 0700);
}

static be_status find(const char *folder, const char *data, bool skip, be_results *out, be_error *error)
{
    char path[1024];
    snprintf(path, sizeof path, "%s", in_tree(folder));
    return be_results_find(&(be_results_options){.folder = path, .data = data, .skip_incomplete = skip}, out, error);
}

static void refuse(const char *folder, const char *data, bool skip, be_status status, const char *part)
{
    be_results results;
    be_error error;
    assert_error(find(folder, data, skip, &results, &error), status, &error, part);
    if (strncmp(error.message, tree, strlen(tree)) != 0)
        fail_msg("the sentence \"%s\" does not begin with a path", error.message);
}

/* The layers and runs as "1/1 1/2 3/1". */
static const char *places(const be_results *results)
{
    static char text[256];
    *text = '\0';
    for (size_t m = 0; m < results->n_members; m++) {
        size_t length = strlen(text);
        assert_true(results->members[m].placed);
        snprintf(text + length, sizeof text - length, "%s%zu/%zu", m ? " " : "", results->members[m].layer,
                 results->members[m].run);
    }
    return text;
}

static void expect(const char *folder, const char *data, const char *want)
{
    be_results results;
    be_error error;
    assert_ok(find(folder, data, false, &results, &error), &error);
    assert_string_equal(places(&results), want);
    assert_int_equal(results.n_skipped, 0);
    be_results_free(&results);
}

static void test_runs_are_in_the_order_of_their_numbers(void **state)
{
    (void)state;
    static const char *const runs[] = {"enc_10/run_2", "enc_10/run_10", "enc_9/run_1", "enc_0/run_3", "enc_1/run_1"};
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++)
        put_run(MODEL, runs[i]);
    expect("", "data/subj01", "0/3 1/1 9/1 10/2 10/10");
}

static void test_other_folders_and_files_are_left_alone(void **state)
{
    (void)state;
    put_run(MODEL, "enc_1/run_1");
    put_run(MODEL, "enc_/run_1");
    put_run(MODEL, "enc_1b/run_1");
    put_run(MODEL, "enc_1/run_");
    put_run(MODEL, "enc_1/run_-1");
    put_run(MODEL, "enc_1/run_1 copy");
    put_run(MODEL, "enc_1/run_12345678901234567890");
    put_run(MODEL, "wandb/run_7");
    make_folders(".enc_5/run_1");
    write_bytes(in_tree("enc_7"), "", 0);
    expect("", "data/subj01", "1/1");
}

static void test_any_level_will_do(void **state)
{
    (void)state;
    static const char *const levels[] = {"", "nsd_test", "nsd_test/", "nsd_test/dinov2_q_transformer",
                                         "nsd_test/dinov2_q_transformer/subj_01", MODEL, MODEL "//"};
    put_run(MODEL, "enc_1/run_1");
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        expect(levels[i], "data/subj01", "1/1");
    refuse(MODEL "/enc_1", "data/subj01", false, BE_ERROR_NOT_FOUND, "holds no results");
    refuse("nowhere", "data/subj01", false, BE_ERROR_NOT_FOUND, "nowhere");
    refuse(MODEL "/enc_1/run_1/checkpoint.pth", "data/subj01", false, BE_ERROR_NOT_FOUND, "checkpoint.pth");
}

static void test_of_several_models_the_subject_s_is_taken(void **state)
{
    (void)state;
    put_run(MODEL, "enc_1/run_1");
    put_run("nsd_test/dinov2_q_transformer/subj_02/rois_all", "enc_2/run_2");
    put_run("nsd_test/dinov2_q_transformer/subj_12/rois_all", "enc_3/run_3");
    expect("", "data/subj01", "1/1");
    expect("nsd_test", "subj02", "2/2");
    expect("", "data/subj_12/", "3/3");
    expect("", "subj2", "2/2");
    refuse("", "data/subj03", false, BE_ERROR_ARGUMENT, "none of --data's subject");
    refuse("", "data/mary", false, BE_ERROR_ARGUMENT, "holds several models; name the folder of one: nsd_test/dinov2_q_transformer/"
           "subj_01/rois_all, nsd_test/dinov2_q_transformer/subj_02/rois_all, nsd_test/");
    put_run("nsd_test/dinov2_q_linear/subj_01/rois_all", "enc_1/run_1");
    refuse("", "data/subj01", false, BE_ERROR_ARGUMENT,
           "name the folder of one: nsd_test/dinov2_q_linear/subj_01/rois_all, nsd_test/");
    expect("nsd_test/dinov2_q_transformer", "data/subj01", "1/1");
}

/* Whatever else lies in it, a backup or another subject's model: nobody could name it more closely. */
static void test_the_named_folder_is_taken_where_it_is_a_model(void **state)
{
    (void)state;
    put_run(MODEL "/enc_1", "run_1");
    put_run(MODEL "/backup/enc_2", "run_1");
    put_run(MODEL "/subj_02/enc_3", "run_1");
    expect(MODEL, "data/subj02", "1/1");
    expect(MODEL "/", "data/mary", "1/1");
    refuse("nsd_test", "data/mary", false, BE_ERROR_ARGUMENT, "holds several models; name the folder of one");
}

static void test_files_that_are_missing(void **state)
{
    (void)state;
    be_results results;
    be_error error;
    put_run(MODEL, "enc_1/run_1");
    put_run(MODEL, "enc_3/run_1");
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        char path[256], part[512];
        snprintf(path, sizeof path, MODEL "/enc_3/run_1/%s", needed[i]);
        unlink(in_tree(path));
        snprintf(part, sizeof part, "%s: is missing", path);
        refuse("", "subj01", false, BE_ERROR_NOT_FOUND, part);
        refuse("", "subj01", false, BE_ERROR_NOT_FOUND, "--skip-incomplete");
        assert_ok(find("", "subj01", true, &results, &error), &error);
        assert_string_equal(places(&results), "1/1");
        assert_int_equal(results.n_skipped, 1);
        assert_non_null(strstr(results.skipped[0], path));
        be_results_free(&results);
        make_folders(path); /* a folder of that name is no file */
        refuse("", "subj01", false, BE_ERROR_NOT_FOUND, part);
        rmdir(in_tree(path));
        write_bytes(in_tree(path), "", 0);
    }
    make_folders(MODEL "/enc_4");
    refuse("", "subj01", false, BE_ERROR_NOT_FOUND, "enc_4/run_1: is missing");
    unlink(in_tree(MODEL "/enc_1/run_1/checkpoint.pth"));
    unlink(in_tree(MODEL "/enc_3/run_1/checkpoint.pth"));
    refuse("", "subj01", true, BE_ERROR_NOT_FOUND, "holds no complete run");
}

static void test_the_same_run_twice(void **state)
{
    (void)state;
    put_run(MODEL, "enc_1/run_2");
    put_run(MODEL, "enc_1/run_02");
    refuse("", "subj01", false, BE_ERROR_FORMAT, "is of the same layer and run as");
}

/* Links are followed: a loop of them ends, and a model that is found by several ways is one. */
static void test_links(void **state)
{
    (void)state;
    be_results results;
    be_error error;
    make_folders("elsewhere");
    put_run("elsewhere", "run_1");
    make_folders(MODEL);
    char from[1024], to[1024];
    snprintf(from, sizeof from, "%s", in_tree("elsewhere"));
    snprintf(to, sizeof to, "%s", in_tree(MODEL "/enc_1"));
    assert_int_equal(symlink(from, to), 0);
    snprintf(from, sizeof from, "%s", in_tree("nsd_test"));
    snprintf(to, sizeof to, "%s", in_tree("nsd_test/loop"));
    assert_int_equal(symlink(from, to), 0);
    snprintf(to, sizeof to, "%s", in_tree("again"));
    assert_int_equal(symlink(from, to), 0);
    assert_int_equal(symlink("nowhere", in_tree("dangling")), 0);
    assert_ok(find("", "subj01", false, &results, &error), &error);
    assert_string_equal(places(&results), "1/1");
    be_results_free(&results);
}

static void test_indices_are_found_where_they_are(void **state)
{
    (void)state;
    be_results results;
    be_error error;
    put_run(MODEL, "enc_1/run_1");
    put_run(MODEL, "enc_1/run_2");
    write_bytes(in_tree(MODEL "/enc_1/run_2/idxs.npy"), "", 0);
    assert_ok(find("", "subj01", false, &results, &error), &error);
    assert_null(results.members[0].indices);
    assert_string_equal(results.members[1].indices, in_tree(MODEL "/enc_1/run_2/idxs.npy"));
    be_results_free(&results);
}

static void test_what_lies_beside_a_checkpoint(void **state)
{
    (void)state;
    be_results results;
    be_error error;
    char checkpoint[1024];
    put_run(MODEL, "enc_1/run_1");
    unlink(in_tree(MODEL "/enc_1/run_1/rh_val_corr.npy"));
    snprintf(checkpoint, sizeof checkpoint, "%s", in_tree(MODEL "/enc_1/run_1/checkpoint.pth"));
    assert_ok(be_results_beside(checkpoint, &results, &error), &error);
    assert_int_equal(results.n_members, 1);
    assert_false(results.members[0].placed);
    assert_string_equal(results.members[0].checkpoint, checkpoint);
    assert_string_equal(results.members[0].scores[BE_LEFT], in_tree(MODEL "/enc_1/run_1/lh_val_corr.npy"));
    assert_null(results.members[0].scores[BE_RIGHT]);
    assert_null(results.members[0].indices);
    be_results_free(&results);
    assert_ok(be_results_beside("checkpoint.pth", &results, &error), &error);
    assert_null(results.members[0].scores[BE_LEFT]);
    be_results_free(&results);
}

static void test_numbers_of_subjects(void **state)
{
    (void)state;
    static const struct { const char *path; bool is; size_t number; } cases[] = {
        {"subj01", true, 1}, {"a/subj_08", true, 8}, {"/a/subj12//", true, 12}, {"subj1", true, 1}, {"subj01/roi_masks", false, 0},
        {"mysubj01", false, 0}, {"subj", false, 0}, {"subj_", false, 0}, {"subj01x", false, 0}, {"subj__1", false, 0},
        {"", false, 0},
        {"/", false, 0}, {"subj99999999999999999999999", false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t number = 0;
        if (be_subject_number(cases[i].path, &number) != cases[i].is || number != cases[i].number)
            fail_msg("'%s' was read as %zu", cases[i].path, number);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, begin_tree)
    const struct CMUnitTest tests[] = {
        TEST(test_runs_are_in_the_order_of_their_numbers), TEST(test_other_folders_and_files_are_left_alone),
        TEST(test_any_level_will_do), TEST(test_of_several_models_the_subject_s_is_taken),
        TEST(test_the_named_folder_is_taken_where_it_is_a_model), TEST(test_files_that_are_missing),
        TEST(test_the_same_run_twice), TEST(test_links), TEST(test_indices_are_found_where_they_are),
        TEST(test_what_lies_beside_a_checkpoint), TEST(test_numbers_of_subjects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
