/* Sizes, allocations and error sentences. */
#include "tests/unit/support.h"

#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/base/utf8.h"

static void test_multiply(void **state)
{
    (void)state;
    static const struct { size_t a, b, product; bool fits; } cases[] = {
        {0, SIZE_MAX, 0, true},           {1, SIZE_MAX, SIZE_MAX, true},       {3, SIZE_MAX / 3, SIZE_MAX, true},
        {2, SIZE_MAX / 2, SIZE_MAX - 1, true}, {2, SIZE_MAX / 2 + 1, 7, false}, {SIZE_MAX, SIZE_MAX, 7, false},
        {(size_t)1 << 32, (size_t)1 << 32, 7, false}, {12, 34, 408, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t product = 7;
        assert_int_equal(be_size_multiply(cases[i].a, cases[i].b, &product), cases[i].fits);
        assert_int_equal(product, cases[i].product);
        product = 7;
        assert_int_equal(be_size_multiply(cases[i].b, cases[i].a, &product), cases[i].fits);
        assert_int_equal(product, cases[i].product);
    }
}

static void test_add(void **state)
{
    (void)state;
    size_t sum = 7;
    assert_true(be_size_add(SIZE_MAX - 5, 5, &sum));
    assert_int_equal(sum, SIZE_MAX);
    sum = 7;
    assert_false(be_size_add(SIZE_MAX - 5, 6, &sum));
    assert_false(be_size_add(SIZE_MAX, SIZE_MAX, &sum));
    assert_int_equal(sum, 7);
    assert_true(be_size_add(12, 34, &sum));
    assert_int_equal(sum, 46);
}

static void test_allocate(void **state)
{
    (void)state;
    void *memory = NULL;
    be_error error;
    assert_ok(be_allocate(&memory, 1000, 7, "numbers", &error), &error);
    for (size_t i = 0; i < 7000; i++)
        assert_int_equal(((unsigned char *)memory)[i], 0);
    free(memory);
    assert_ok(be_allocate(&memory, 0, 7, "nothing", &error), &error);
    assert_non_null(memory);
    free(memory);
    void *untouched = &error;
    memory = untouched;
    assert_error(be_allocate(&memory, SIZE_MAX / 2, 3, "the moon", &error), BE_ERROR_MEMORY, &error, "the moon");
    assert_int_equal(be_allocate(&memory, SIZE_MAX, 2, "the moon", NULL), BE_ERROR_MEMORY);
    assert_ptr_equal(memory, untouched);
}

static void test_allocate_aligned(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 64, 65, 4097, ((size_t)2 << 20) - 64, (size_t)2 << 20, ((size_t)2 << 20) + 1};
    void *memory = NULL;
    be_error error;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        assert_ok(be_allocate_aligned(&memory, sizes[i], 1, "numbers", &error), &error);
        assert_int_equal((uintptr_t)memory % BE_ALIGNMENT, 0);
        memset(memory, 1, sizes[i]);
        free(memory);
    }
    void *untouched = &error;
    memory = untouched;
    assert_error(be_allocate_aligned(&memory, SIZE_MAX / 4 + 1, 4, "the moon", &error), BE_ERROR_MEMORY, &error, "the moon");
    assert_error(be_allocate_aligned(&memory, SIZE_MAX - 8, 1, "the moon", &error), BE_ERROR_MEMORY, &error, "the moon");
    assert_ptr_equal(memory, untouched);
}

static void test_grow(void **state)
{
    (void)state;
    void *array = NULL;
    size_t capacity = 0, moves = 0;
    be_error error;
    for (uint32_t i = 0; i < 10000; i++) {
        size_t before = capacity;
        assert_ok(be_grow(&array, &capacity, i + 1, sizeof i, "a list", &error), &error);
        assert_true(capacity > i && (capacity == before || capacity >= 2 * before));
        moves += capacity != before;
        ((uint32_t *)array)[i] = i;
    }
    assert_true(moves < 20); /* appending is linear */
    for (uint32_t i = 0; i < 10000; i++)
        assert_int_equal(((uint32_t *)array)[i], i);
    void *before = array;
    size_t old = capacity;
    assert_ok(be_grow(&array, &capacity, 5, sizeof(uint32_t), "a list", &error), &error);
    be_status status = be_grow(&array, &capacity, SIZE_MAX / 2, sizeof(uint32_t), "a list", &error);
    assert_error(status, BE_ERROR_MEMORY, &error, "a list");
    assert_ptr_equal(array, before);
    assert_int_equal(capacity, old);
    free(array);
}

static void test_copy_text(void **state)
{
    (void)state;
    char *copy = NULL;
    be_error error;
    assert_ok(be_copy_text(&copy, "m\xc3\xa9moire", &error), &error);
    assert_string_equal(copy, "m\xc3\xa9moire");
    free(copy);
    assert_ok(be_copy_text(&copy, "", &error), &error);
    assert_string_equal(copy, "");
    free(copy);
}

static void test_sentence(void **state)
{
    (void)state;
    be_error error;
    be_status status = be_fail(&error, BE_ERROR_FORMAT, "%s: tensor '%s' is %d", "a.pth", "b\nc\x1b[2J\x7f\t", 3);
    assert_true(status == BE_ERROR_FORMAT && error.status == status);
    assert_string_equal(error.message, "a.pth: tensor 'b?c?[2J?" "?' is 3");
    be_fail(&error, BE_ERROR_IO, "r\xc3\xa9sum\xc3\xa9"); /* letters of other languages are no control bytes */
    assert_string_equal(error.message, "r\xc3\xa9sum\xc3\xa9");
    assert_int_equal(be_fail(NULL, BE_ERROR_LIMIT, "%s", "nobody listens"), BE_ERROR_LIMIT);
}

static void test_printable(void **state)
{
    (void)state;
    static const struct { const char *text, *printable; } cases[] = {
        {"", ""},
        {"Zo\xc3\xab, \xe6\x97\xa5\xe6\x9c\xac, \xf0\x9f\xa7\xa0", "Zo\xc3\xab, \xe6\x97\xa5\xe6\x9c\xac, \xf0\x9f\xa7\xa0"},
        {"\x1b[2J\r\n\t\x7f", "?[2J???" "?"},
        {"a\xc2\x9b" "31mb\xc2\x80", "a?31mb?"},     /* U+009B is CSI, as ESC [ is */
        {"\xc2\xa0", "\xc2\xa0"},                   /* a space that does not break */
        {"\xe2\x80\xa8x\xe2\x80\xa9", "?x?"},       /* line and paragraph separators */
        {"gnp\xe2\x80\xae.txt", "gnp?.txt"},         /* reads from right to left */
        {"\xe2\x81\xa6\xef\xbb\xbf\xf3\xa0\x81\x81", "???"},
        {"\xef\xbf\xbe\xf0\x9f\xbf\xbf", "??"},     /* U+FFFE, U+1FFFF: no characters */
        {"\x9b" "31m\xff", "?31m?"},                 /* not UTF-8: an 8-bit terminal's CSI */
        {"\xe6\x97", "??"},                          /* cut off */
        {"\xed\xa0\x80\xc0\xaf", "???" "??"},       /* a surrogate, an over-long form */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[64];
        strcpy(text, cases[i].text);
        assert_int_equal(be_make_printable(text), strlen(cases[i].printable));
        assert_string_equal(text, cases[i].printable);
    }
    be_error error;
    be_fail(&error, BE_ERROR_IO, "%s: cannot be read", "a\xc2\x9b" "2J\xff.png");
    assert_string_equal(error.message, "a?2J?.png: cannot be read");
}

static void test_long_sentence_is_cut(void **state)
{
    (void)state;
    struct { be_error error; char behind[16]; } it;
    char text[2000];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    memset(it.behind, 'y', sizeof it.behind);
    be_fail(&it.error, BE_ERROR_FORMAT, "%s", text);
    assert_int_equal(strlen(it.error.message), BE_ERROR_MESSAGE_SIZE - 1);
    for (size_t i = 0; i < sizeof it.behind; i++)
        assert_int_equal(it.behind[i], 'y');
    memcpy(text + BE_ERROR_MESSAGE_SIZE - 2, "\xc3\xab", 2); /* the cut goes through a letter */
    be_fail(&it.error, BE_ERROR_FORMAT, "%s", text);
    assert_string_equal(it.error.message + BE_ERROR_MESSAGE_SIZE - 3, "x?");
}

static void test_memory_sentence(void **state)
{
    (void)state;
    be_error error;
    assert_error(be_fail_memory(&error, 12345, "a picture"), BE_ERROR_MEMORY, &error, "12345 bytes for a picture");
}

static void test_status_names(void **state)
{
    (void)state;
    static const char *const names[] = {"ok", "argument", "not_found", "io", "format", "unsupported", "limit", "memory"};
    for (int i = BE_OK; i <= BE_ERROR_MEMORY; i++)
        assert_string_equal(be_status_name((be_status)i), names[i]);
    assert_non_null(be_status_name((be_status)99));
}

static void test_clock(void **state)
{
    (void)state;
    double before = be_clock(), now = before;
    for (int i = 0; i < 1000; i++) {
        double next = be_clock();
        assert_true(next >= now);
        now = next;
    }
    while (be_clock() == before) /* it moves */
        ;
    assert_true(now - before < 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_multiply),      cmocka_unit_test(test_add),
        cmocka_unit_test(test_allocate),      cmocka_unit_test(test_allocate_aligned),
        cmocka_unit_test(test_grow),          cmocka_unit_test(test_copy_text),
        cmocka_unit_test(test_sentence),      cmocka_unit_test(test_printable),
        cmocka_unit_test(test_long_sentence_is_cut),
        cmocka_unit_test(test_memory_sentence), cmocka_unit_test(test_status_names),
        cmocka_unit_test(test_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
