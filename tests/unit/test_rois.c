/* How a user names regions of interest. */
#include "tests/unit/support.h"

#include <stdbool.h>
#include <stdio.h>
#include <time.h>

#include "core/subject/roi.h"

static be_roi rois[] = {
    {.name = "V1v", .family = "prf-visualrois"}, {.name = "hV4", .family = "prf-visualrois"},
    {.name = "EBA", .family = "floc-bodies"},    {.name = "FBA-1", .family = "floc-bodies"},
    {.name = "FBA-2", .family = "floc-bodies"},  {.name = "mTL-bodies", .family = "floc-bodies"},
    {.name = "FFA-1", .family = "floc-faces"},   {.name = "mTL-faces", .family = "floc-faces"},
    {.name = "FBA-12", .family = "odd"},         {.name = "FBA-x", .family = "odd"},
    {.name = "FBA-", .family = "odd"},           {.name = "rest", .family = ""},
};
enum { N_ROIS = sizeof rois / sizeof *rois };
static const be_roi_set set = {N_ROIS, rois};

/* Writes a selection as "FBA=FBA-1+FBA-2;EBA=EBA". */
static void describe(const be_roi_selection *selection, char *out, size_t size)
{
    size_t length = 0;
    out[0] = '\0';
    for (size_t g = 0; g < selection->count; g++) {
        length += (size_t)snprintf(out + length, size - length, "%s%s=", g ? ";" : "", selection->groups[g].name);
        for (size_t m = 0; m < selection->groups[g].n_members; m++)
            length += (size_t)snprintf(out + length, size - length, "%s%s", m ? "+" : "",
                                       rois[selection->groups[g].members[m]].name);
    }
}

static void test_names(void **state)
{
    (void)state;
    static const struct { const char *asked, *groups; } cases[] = {
        {"EBA", "EBA=EBA"},
        {"rest", "rest=rest"},
        {"FBA-2", "FBA-2=FBA-2"},
        {"FBA-", "FBA-=FBA-"}, /* an exact name, odd as it is */
        {"FBA", "FBA=FBA-1+FBA-2+FBA-12"}, /* neither FBA-x nor FBA- */
        {"FFA", "FFA=FFA-1"},
        {"floc-faces", "FFA-1=FFA-1;mTL-faces=mTL-faces"},
        {"PPA,EBA", NULL},
        {"hV4,FBA,V1v", "hV4=hV4;FBA=FBA-1+FBA-2+FBA-12;V1v=V1v"},
        {"EBA,EBA", "EBA=EBA"},
        {"FBA,FBA", "FBA=FBA-1+FBA-2+FBA-12"},
        {"FBA,FBA-1", "FBA=FBA-1+FBA-2+FBA-12;FBA-1=FBA-1"},
        {"mTL-faces,floc-faces,FFA-1", "mTL-faces=mTL-faces;FFA-1=FFA-1"},
        {"all", "V1v=V1v;hV4=hV4;EBA=EBA;FBA-1=FBA-1;FBA-2=FBA-2;mTL-bodies=mTL-bodies;FFA-1=FFA-1;mTL-faces=mTL-faces;"
                "FBA-12=FBA-12;FBA-x=FBA-x;FBA-=FBA-;rest=rest"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        be_roi_selection selection = {0};
        be_error error;
        char text[512];
        be_status status = be_roi_select(&set, cases[i].asked, &selection, &error);
        if (!cases[i].groups) {
            assert_error(status, BE_ERROR_NOT_FOUND, &error, "'PPA'");
            continue;
        }
        assert_ok(status, &error);
        describe(&selection, text, sizeof text);
        assert_string_equal(text, cases[i].groups);
        be_roi_selection_free(&selection);
        assert_int_equal(selection.count, 0);
    }
}

static void test_all_and_more_is_all(void **state)
{
    (void)state;
    be_roi_selection selection = {0};
    be_error error;
    assert_ok(be_roi_select(&set, "all,EBA,rest,floc-bodies", &selection, &error), &error);
    assert_int_equal(selection.count, N_ROIS);
    be_roi_selection_free(&selection);
}

/* As often as a URL has room for, of as many ROIs as there may be: who waits meanwhile waits for little. */
static void test_a_name_may_be_repeated(void **state)
{
    (void)state;
    enum { TIMES = 5000 };
    static const char *const names[] = {"all", "fam", "r-1", "r"};
    static be_roi many[BE_MOST_ROIS];
    static char asked[4 * TIMES];
    be_error error;
    for (size_t i = 0; i < BE_MOST_ROIS; i++) {
        snprintf(many[i].name, sizeof many[i].name, "r-%zu", i);
        snprintf(many[i].family, sizeof many[i].family, "fam");
    }
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        be_roi_selection selection;
        size_t length = 0;
        for (size_t i = 0; i < TIMES; i++)
            length += (size_t)sprintf(asked + length, "%s%s", i ? "," : "", names[n]);
        clock_t start = clock();
        assert_ok(be_roi_select(&(be_roi_set){BE_MOST_ROIS, many}, asked, &selection, &error), &error);
        assert_true(clock() - start < CLOCKS_PER_SEC);
        assert_int_equal(selection.count, n < 2 ? BE_MOST_ROIS : 1);
        be_roi_selection_free(&selection);
    }
}

static void test_unknown_names(void **state)
{
    (void)state;
    static const struct { const char *asked, *close; } cases[] = {
        {"mTL", "mTL-bodies, mTL-faces"}, /* no number follows: no stem */
        {"eba", "EBA"},                   /* names are exact, but the close one is told */
        {"V1d", "V1v"},
        {"FBA1", "FBA-1"},
        {"floc-face", "floc-faces"},
        {"streams", "'all'"},             /* nothing is close */
        {"odds", "close: odd"},           /* families are this subject's own */
        {"floc-place", "'all'"},
        {"EBA,zzzzzzzz", "'zzzzzzzz'"},
        {" EBA", "' EBA'"},
        {"FBA-1-2", "FBA-1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        be_roi_selection selection = {7, NULL};
        be_error error;
        assert_error(be_roi_select(&set, cases[i].asked, &selection, &error), BE_ERROR_NOT_FOUND, &error, cases[i].close);
        assert_int_equal(selection.count, 7);
    }
}

static void test_bad_requests(void **state)
{
    (void)state;
    static const char *const empty[] = {"", ",", "EBA,", ",EBA", "EBA,,hV4"};
    be_roi_selection selection;
    be_error error;
    char name[5000];
    for (size_t i = 0; i < sizeof empty / sizeof *empty; i++)
        assert_error(be_roi_select(&set, empty[i], &selection, &error), BE_ERROR_ARGUMENT, &error, "empty name");
    for (size_t length = 60; length < 70; length++) { /* around the longest name there can be */
        memset(name, 'F', length);
        name[length] = '\0';
        assert_error(be_roi_select(&set, name, &selection, &error), BE_ERROR_NOT_FOUND, &error, "FFFFFFFFFF");
    }
    memset(name, ',', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_error(be_roi_select(&set, name, &selection, &error), BE_ERROR_ARGUMENT, &error, "empty name");
    assert_error(be_roi_select(&set, "\x1b[31m%s%n", &selection, &error), BE_ERROR_NOT_FOUND, &error, "'?[31m%s%n'");
}

/* However many names are close, the sentence ends whole. */
static void test_many_close_names(void **state)
{
    (void)state;
    enum { MANY = 100 };
    static be_roi many[MANY];
    be_roi_selection selection;
    be_error error;
    for (size_t i = 0; i < MANY; i++)
        snprintf(many[i].name, sizeof many[i].name, "a-rather-long-region-name-of-fifty-letters-or-so-%zu", i);
    assert_error(be_roi_select(&(be_roi_set){MANY, many}, "long-region", &selection, &error), BE_ERROR_NOT_FOUND, &error,
                 "close: a-rather-long-region-name-of-fifty-letters-or-so-0, ");
    assert_true(strlen(error.message) < BE_ERROR_MESSAGE_SIZE - 1);
}

static void test_hemispheres(void **state)
{
    (void)state;
    assert_string_equal(be_hemisphere_name(BE_LEFT), "lh");
    assert_string_equal(be_hemisphere_name(BE_RIGHT), "rh");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),        cmocka_unit_test(test_all_and_more_is_all),
        cmocka_unit_test(test_a_name_may_be_repeated), cmocka_unit_test(test_unknown_names), cmocka_unit_test(test_bad_requests),
        cmocka_unit_test(test_many_close_names), cmocka_unit_test(test_hemispheres),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
