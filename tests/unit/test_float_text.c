/* Numbers as text: they read back as they were, and are no longer than they must be. */
#include "tests/unit/support.h"

#include <ctype.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>

#include "core/answer/text.h"
#include "tests/unit/random.h"

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Steps over digits; false when there are none. */
static bool pass_digits(const char **at)
{
    const char *first = *at;
    while (isdigit((unsigned char)**at))
        ++*at;
    return *at > first;
}

/* RFC 8259: -? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)? */
static bool is_json_number(const char *text)
{
    const char *at = text + (*text == '-');
    if (*at == '0')
        at++;
    else if (!pass_digits(&at))
        return false;
    if (*at == '.') {
        at++;
        if (!pass_digits(&at))
            return false;
    }
    if (*at == 'e' || *at == 'E') {
        at++;
        at += *at == '+' || *at == '-';
        if (!pass_digits(&at))
            return false;
    }
    return *at == '\0';
}

/* Digits between the first and the last that are not 0. */
static int significant_digits(const char *text)
{
    int digits = 0, zeros = 0;
    for (; *text && *text != 'e'; text++) {
        if (!isdigit((unsigned char)*text) || (*text == '0' && digits == 0))
            continue;
        zeros = *text == '0' ? zeros + 1 : 0;
        digits++;
    }
    return digits - zeros;
}

/* Half-way between two floats: a reader might round it either way, so such a number may have a digit more. */
static bool is_half_way(double number)
{
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    return (bits & 0x1fffffff) == 0x10000000;
}

static void check(float value)
{
    char text[BE_FLOAT_TEXT_SIZE], shorter[320];
    memset(text, 'x', sizeof text);
    size_t length = be_float_text(value, text);
    assert_true(length < sizeof text && text[length] == '\0' && strlen(text) == length);
    if (!is_json_number(text))
        fail_msg("\"%s\" is no JSON number", text);
    /* a reader may go straight to float32, or round once by the way */
    if (bits_of(strtof(text, NULL)) != bits_of(value) || bits_of((float)strtod(text, NULL)) != bits_of(value))
        fail_msg("%.9g was written as %s", (double)value, text);
    int digits = significant_digits(text);
    assert_true(digits <= 9);
    if (digits < 2)
        return;
    snprintf(shorter, sizeof shorter, "%.*g", digits - 1, (double)value);
    if (bits_of(strtof(shorter, NULL)) == bits_of(value) && !is_half_way(strtod(shorter, NULL)))
        fail_msg("%s would do, %s was written", shorter, text);
}

static void test_any_bits(void **state)
{
    (void)state;
    uint32_t random = 1;
    for (size_t i = 0; i < 300000; i++) {
        float value = float_of(next_random(&random) ^ next_random(&random) >> 16);
        if (isfinite(value))
            check(value);
    }
}

/* The sizes that answers are made of. */
static void test_usual_sizes(void **state)
{
    (void)state;
    uint32_t random = 2;
    for (size_t i = 0; i < 200000; i++)
        check(next_uniform(&random) * (i % 2 ? 3.0f : 0.01f));
}

/* Powers of ten and of two and what lies beside them, whole numbers and short fractions. */
static void test_borders(void **state)
{
    (void)state;
    for (int e = -45; e <= 38; e++) {
        float power = (float)pow(10, e);
        check(power), check(-power), check(nextafterf(power, INFINITY)), check(nextafterf(power, 0));
    }
    for (int e = -149; e <= 127; e++) {
        float power = ldexpf(1, e);
        check(power), check(nextafterf(power, INFINITY)), check(nextafterf(power, 0));
    }
    for (int i = 1; i < 2000; i++)
        check((float)i), check((float)i / 1000), check((float)i * 1e6f), check(16777216.0f + 2.0f * (float)i);
}

static void test_texts(void **state)
{
    (void)state;
    static const struct { float value; const char *text; } cases[] = {
        {0.0f, "0"},       {-0.0f, "-0"},         {1.0f, "1"},           {0.1f, "0.1"},           {-2.5f, "-2.5"},
        {100.0f, "100"},   {0.001f, "0.001"},     {16777216.0f, "16777216"}, {123456792.0f, "123456790"},
        {NAN, "null"},     {INFINITY, "null"},    {-INFINITY, "null"},   {0.333333343f, "0.33333334"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[BE_FLOAT_TEXT_SIZE];
        assert_int_equal(be_float_text(cases[i].value, text), strlen(cases[i].text));
        assert_string_equal(text, cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_any_bits), cmocka_unit_test(test_usual_sizes),
                                       cmocka_unit_test(test_borders), cmocka_unit_test(test_texts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
