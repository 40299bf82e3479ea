/* A growing text: what is put into it, and the escapes of JSON. */
#include "tests/unit/support.h"

#include <stdio.h>

#include <math.h>
#include <stdbool.h>



#include "core/answer/text.h"
#include "core/files/json.h"

static void test_growing(void **state)
{
    (void)state;
    be_text text = {0};
    be_error error;
    assert_ok(be_text_finish(&text, &error), &error); /* an empty one is whole */
    be_text_add(&text, "");
    assert_int_equal(text.length, 0);
    for (size_t i = 0; i < 5000; i++) {
        be_text_add(&text, "ab");
        be_text_add_bytes(&text, "cdef", 2);
        be_text_add_format(&text, "%d", (int)(i % 10));
        assert_int_equal(text.length, 5 * (i + 1));
        assert_true(text.capacity > text.length && text.bytes[text.length] == '\0');
    }
    for (size_t i = 0; i < 5000; i++) {
        assert_memory_equal(text.bytes + 5 * i, "abcd", 4);
        assert_int_equal(text.bytes[5 * i + 4], '0' + i % 10);
    }
    assert_ok(be_text_finish(&text, &error), &error);
    free(text.bytes);
}

static void test_numbers(void **state)
{
    (void)state;
    const float values[] = {1, -0.5f, NAN, 0.1f, INFINITY};
    be_text text = {0};
    be_text_add_floats(&text, values, 5);
    be_text_add_float(&text, 3);
    be_text_add_floats(&text, values, 0);
    assert_string_equal(text.bytes, "[1,-0.5,null,0.1,null]3[]");
    assert_int_equal(text.length, strlen(text.bytes));
    free(text.bytes);
}

/* What be_json_text makes of a text: {"t":...}. */
static char *written(const char *value)
{
    char *text;
    be_error error;
    be_json json = be_json_begin();
    be_json_text(&json, json.root, "t", value);
    assert_ok(be_json_print(&json, &text, &error), &error);
    return text;
}

static void check_string(const char *value, const char *expected)
{
    char object[200], *text = written(value);
    snprintf(object, sizeof object, "{\"t\":%s}", expected);
    assert_string_equal(text, object);
    free(text);
}

static void test_strings(void **state)
{
    (void)state;
    check_string("", "\"\"");
    check_string("a/b c", "\"a/b c\"");
    check_string("\"\\", "\"\\\"\\\\\"");
    check_string("\n\t\x1f\x01", "\"\\n\\t\\u001f\\u0001\"");
    check_string("m\xc3\xa9 \xe6\x97\xa5 \xf0\x9f\xa7\xa0", "\"m\xc3\xa9 \xe6\x97\xa5 \xf0\x9f\xa7\xa0\"");
    /* no UTF-8: a lone byte, a cut letter, an over-long form, a surrogate */
    check_string("a\xff" "b", "\"a\xef\xbf\xbd" "b\"");
    check_string("\xc3", "\"\xef\xbf\xbd\"");
    check_string("\xc0\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\"");
    check_string("\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
}

/* Every letter of one byte comes back as it was. */
static void test_strings_read_back(void **state)
{
    (void)state;
    char all[128];
    for (int i = 1; i < 128; i++)
        all[i - 1] = (char)i;
    all[127] = '\0';
    char *text = written(all);
    cJSON *read = cJSON_Parse(text);
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(read, "t")), all);
    cJSON_Delete(read);
    free(text);
}

/* Only short lines are formatted; one that is cut must not pass for whole. */
static void test_line_that_does_not_fit(void **state)
{
    (void)state;
    char line[600];
    be_text text = {0};
    be_error error;
    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = '\0';
    be_text_add(&text, "before");
    be_text_add_format(&text, "%s", line);
    be_text_add(&text, "after");
    be_text_add_float(&text, 1);
    assert_string_equal(text.bytes, "before");
    assert_error(be_text_finish(&text, &error), BE_ERROR_MEMORY, &error, "an answer");
    free(text.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_growing),           cmocka_unit_test(test_numbers), cmocka_unit_test(test_strings),
        cmocka_unit_test(test_strings_read_back), cmocka_unit_test(test_line_that_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
