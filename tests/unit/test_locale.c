/* In a process whose locale writes a decimal comma, numbers are read and written as everywhere else. */
#include "tests/unit/files_pickle.h"

#include <locale.h>
#include <stdio.h>
#include <sys/stat.h>

#include "core/answer/text.h"
#include "core/files/json.h"

/* Few machines have such a locale installed: localedef, which every glibc comes with, makes one of these. */
static const char definition[] = "LC_NUMERIC\ndecimal_point \",\"\nthousands_sep \".\"\ngrouping 3;3\nEND LC_NUMERIC\n";
static const char characters[] = "<code_set_name> ANSI_X3.4-1968\n<escape_char> /\nCHARMAP\n"
                                 "<comma> /x2c comma\n<period> /x2e period\nEND CHARMAP\n";

static int set_comma_locale(void **state)
{
    (void)state;
    char command[4096];
    const char *source = scratch("definition"), *map = scratch("characters"), *folder = scratch("comma");
    write_bytes(source, definition, sizeof definition - 1);
    write_bytes(map, characters, sizeof characters - 1);
    assert_int_equal(mkdir(folder, 0700), 0);
    snprintf(command, sizeof command, "localedef -c -i %s -f %s %s/ >%s/log 2>&1", source, map, folder, folder);
    (void)!system(command); /* it complains of the categories that are not defined */
    assert_int_equal(setenv("LOCPATH", scratch(""), 1), 0);
    if (!setlocale(LC_NUMERIC, "comma"))
        print_message("skipped: no locale with a decimal comma can be made here\n");
    return 0;
}

/* Skips the test where there is no such locale. */
static void demand_comma(void)
{
    char text[8];
    if (strcmp(localeconv()->decimal_point, ",") != 0)
        skip();
    snprintf(text, sizeof text, "%.1f", 1.5);
    assert_string_equal(text, "1,5");
}

static void test_floats_are_written_with_a_point(void **state)
{
    (void)state;
    static const struct { float value; const char *text; } cases[] = {
        {0.1f, "0.1"},           {-2.5f, "-2.5"},         {0.333333343f, "0.33333334"}, {1.5e-12f, "1.5e-12"},
        {-1.5e-12f, "-1.5e-12"}, {2.5e20f, "2.5e20"},     {3.40282347e38f, "3.4028235e38"}, {1e-45f, "1e-45"},
        {1.17549435e-38f, "1.1754944e-38"},
    };
    demand_comma();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[BE_FLOAT_TEXT_SIZE];
        assert_int_equal(be_float_text(cases[i].value, text), strlen(cases[i].text));
        assert_string_equal(text, cases[i].text);
    }
}

/* Python's protocol 0 writes repr(0.5) and a newline. */
static void test_floats_of_old_pickles_have_a_point(void **state)
{
    (void)state;
    demand_comma();
    be_tensor_file *file = open_good(PICKLE("F0.5\n."));
    assert_int_equal(be_tensor_file_root(file)->kind, BE_VALUE_FLOAT);
    assert_true(be_tensor_file_root(file)->as.number == 0.5);
    be_tensor_file_close(file);
    assert_refused(PICKLE("F0,5\n."), BE_ERROR_FORMAT, "a line that is no number");
}

static void test_json_has_points(void **state)
{
    (void)state;
    static const char given[] = "{\"half\":0.5,\"tiny\":1.5e-12}";
    be_error error;
    cJSON *root;
    char *text;
    demand_comma();
    assert_ok(be_json_parse(given, sizeof given - 1, "given", &root, &error), &error);
    assert_true(cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(root, "half")) == 0.5);
    assert_true(cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(root, "tiny")) == 1.5e-12);
    cJSON_Delete(root);
    be_json json = be_json_begin();
    be_json_number(&json, json.root, "half", 0.5);
    be_json_number(&json, json.root, "minus", -12345.25);
    assert_ok(be_json_print(&json, &text, &error), &error);
    assert_string_equal(text, "{\"half\":0.5,\"minus\":-12345.25}");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_floats_are_written_with_a_point),
        cmocka_unit_test(test_floats_of_old_pickles_have_a_point),
        cmocka_unit_test(test_json_has_points),
    };
    return cmocka_run_group_tests(tests, set_comma_locale, NULL);
}
