/* The emulation of AMX's tile instructions, on small tiles worked out here. Where AMX itself runs, the same is expected of it. */
#if defined(__x86_64__)

#include <immintrin.h>

#include "tests/unit/tile_support.h"

CODE(load_1, "tileloadd (%%rax,%%rcx,1), %%tmm1")
CODE(load_2, "tileloadd (%%rax,%%rcx,1), %%tmm2")
CODE(load_5, "tileloadd (%%rax,%%rcx,1), %%tmm5")
CODE(load_5_repeated, "tileloadd (%%rax), %%tmm5")
CODE(store_5, "tilestored %%tmm5, (%%rax,%%rcx,1)")
CODE(zero_5, "tilezero %%tmm5")

/* --- moving ------------------------------------------------------------------------------------------------------- */

static void test_rows_and_bytes_of_the_configuration(void **state)
{
    (void)state;
    if (find_tiles() == NO_TILES)
        skip();
    area from = make_area(1), before = make_area(77), to = before;
    configure(&small);
    load_0(&from), store_0(&to);
    assert_rows(&to, &from, 0, 2, 12, &before);
    to = before;
    load_5_once(&from), store_5(&to);
    assert_rows(&to, &from, 0, 16, 64, &before);
    release();
}

/* A tile is zeros after TILEZERO, after LDTILECFG, and after TILERELEASE and LDTILECFG. */
static void test_zeros(void **state)
{
    (void)state;
    if (find_tiles() == NO_TILES)
        skip();
    area from = make_area(1), zeros = {0};
    for (int how = 0; how < 3; how++) {
        area to = from;
        configure(&small);
        load_0(&from), load_5(&from);
        if (how == 0)
            zero_5(NULL);
        if (how == 2)
            release();
        if (how > 0)
            configure(&small);
        store_5(&to);
        assert_memory_equal(&to, &zeros, sizeof to);
        store_0(&to);
        assert_rows(&to, how == 0 ? &from : &zeros, 0, 2, 12, &zeros);
    }
    release();
}

/* Rows before start_row stay as they are; then it is 0. */
static void test_start_row(void **state)
{
    (void)state;
    if (find_tiles() == NO_TILES)
        skip();
    area from = make_area(1), zeros = {0}, to = from;
    configuration late = small;
    late.start_row = 14;
    configure(&late);
    load_5(&from), store_5(&to);
    assert_rows(&to, &from, 14, 16, 64, &zeros);
    load_5(&from), store_5(&to);
    assert_memory_equal(&to, &from, sizeof to);
    configure(&late);
    to = from;
    store_5(&to);
    assert_rows(&to, &zeros, 14, 16, 64, &from);
    release();
}

/* --- addresses ---------------------------------------------------------------------------------------------------- */

/* TILELOADD of tile 5 with the address written so: base + offset is the first row, index * scale the stride. */
#define FORM(name, base_name, index_name, text, offset, scale) \
    static void name(const area *place, size_t stride) \
    { \
        register uintptr_t base __asm__(base_name) = (uintptr_t)place - (uintptr_t)(intptr_t)(offset); \
        register size_t index __asm__(index_name) = stride / (scale); \
        __asm__ volatile("tileloadd " text ", %%tmm5" ::"r"(base), "r"(index) : "memory"); \
    }

FORM(form_plain, "rdx", "rax", "(%%rdx,%%rax,1)", 0, 1)
FORM(form_short, "rsi", "rdi", "-16(%%rsi,%%rdi,2)", -16, 2)
FORM(form_long, "rcx", "rbx", "4096(%%rcx,%%rbx,4)", 4096, 4)
FORM(form_long_back, "r8", "r9", "-70000(%%r8,%%r9,8)", -70000, 8)
FORM(form_high, "r10", "r11", "127(%%r10,%%r11,1)", 127, 1)
FORM(form_index_r12, "r13", "r12", "(%%r13,%%r12,2)", 0, 2)
FORM(form_base_r12, "r12", "r13", "(%%r12,%%r13,1)", 0, 1)
FORM(form_last, "r15", "r14", "(%%r15,%%r14,1)", 0, 1)
FORM(form_mixed, "rax", "r15", "(%%rax,%%r15,1)", 0, 1)
FORM(form_mixed_other, "r9", "rdx", "8(%%r9,%%rdx,1)", 8, 1)

static void test_addresses_of_tiles(void **state)
{
    (void)state;
    static void (*const forms[])(const area *, size_t) = {
        form_plain, form_short, form_long, form_long_back, form_high, form_index_r12, form_base_r12, form_last, form_mixed,
        form_mixed_other,
    };
    if (find_tiles() == NO_TILES)
        skip();
    area from[2] = {make_area(1), make_area(50)}, to;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        configure(&small);
        forms[i](from, 128);
        store_5(&to);
        for (size_t row = 0; row < 16; row++)
            assert_memory_equal(to.bytes[row], from[row / 8].bytes[2 * row % 16], 64);
        forms[i](from, 0);
        store_5(&to);
        for (size_t row = 0; row < 16; row++)
            assert_memory_equal(to.bytes[row], from->bytes[0], 64);
    }
    configure(&small);
    load_5_repeated(from), store_5(&to);
    for (size_t row = 0; row < 16; row++)
        assert_memory_equal(to.bytes[row], from->bytes[0], 64);
    release();
}

/* Other than a tile's, a configuration's address is its index's too. */
static void configure_by_form(const configuration *it, int form)
{
    uintptr_t place = (uintptr_t)it;
    switch (form) {
    case 0: __asm__ volatile("ldtilecfg (%0)" ::"r"(place) : "memory"); break;
    case 1: __asm__ volatile("ldtilecfg 64(%0)" ::"r"(place - 64) : "memory"); break;
    case 2: __asm__ volatile("ldtilecfg -1000(%0,%1,4)" ::"r"(place + 1000 - 400), "r"((size_t)100) : "memory"); break;
    case 3: __asm__ volatile("ldtilecfg (,%0,8)" ::"r"(place / 8) : "memory"); break;
    case 4: __asm__ volatile("sub %%rsp, %0\n\tldtilecfg (%%rsp,%0,1)" : "+r"(place)::"memory"); break;
    case 5: __asm__ volatile("mov %0, %%r13\n\tldtilecfg (%%r13)" ::"r"(place) : "r13", "memory"); break;
    case 6: __asm__ volatile("mov %0, %%r12\n\tldtilecfg (%%r12)" ::"r"(place) : "r12", "memory"); break;
    case 7: /* ldtilecfg (,%rax,8), and VEX adds 8 to the base that is not there */
        __asm__ volatile(".byte 0xc4, 0xc2, 0x78, 0x49, 0x04, 0xc5, 0, 0, 0, 0" ::"a"(place / 8) : "memory");
        break;
    default:
        __asm__ volatile("ldtilecfg 1f(%%rip)\n\tjmp 2f\n\t.balign 64\n1:\t.byte 1\n\t.zero 15\n\t"
                         ".word 12, 0, 0, 0, 0, 64, 0, 0\n\t.zero 16\n\t.byte 2, 0, 0, 0, 0, 16, 0, 0\n\t.zero 8\n2:" ::: "memory");
        break;
    }
}

static void test_addresses_of_a_configuration(void **state)
{
    (void)state;
    if (find_tiles() == NO_TILES)
        skip();
    static _Alignas(64) configuration placed;
    placed = small;
    for (int form = 0; form < 9; form++) {
        area from = make_area(3), before = make_area(40), to = before;
        configure_by_form(&placed, form);
        load_5(&from), store_5(&to);
        assert_memory_equal(&to, &from, sizeof to);
        to = before;
        load_0(&from), store_0(&to);
        assert_rows(&to, &from, 0, 2, 12, &before);
        release();
    }
}

/* --- products ----------------------------------------------------------------------------------------------------- */

static void put_half(area *to, size_t row, size_t place, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    assert_int_equal(bits & 0xffff, 0); /* it is one of bfloat16 */
    uint16_t half = (uint16_t)(bits >> 16);
    memcpy(to->bytes[row] + 2 * place, &half, sizeof half);
}

static void put_float(area *to, size_t row, size_t column, float value)
{
    memcpy(to->bytes[row] + sizeof value * column, &value, sizeof value);
}

static float get_float(const area *from, size_t row, size_t column)
{
    float value;
    memcpy(&value, from->bytes[row] + sizeof value * column, sizeof value);
    return value;
}

/* sums += a b of rows x inner by inner x columns whole numbers, which are exact in every order. Row `pair` of the second factor
 * holds places 2 * pair and 2 * pair + 1 of each column side by side. */
static void check_product(size_t rows, size_t columns, size_t inner)
{
    area sums = make_area(9), a = make_area(10), b = make_area(11), before;
    double expected[16][16];
    configuration sizes = {.palette = 1};
    sizes.rows[0] = sizes.rows[1] = (uint8_t)rows, sizes.rows[2] = (uint8_t)(inner / 2);
    sizes.row_bytes[0] = sizes.row_bytes[2] = (uint16_t)(4 * columns), sizes.row_bytes[1] = (uint16_t)(2 * inner);
    for (size_t i = 0; i < inner; i++) {
        for (size_t r = 0; r < rows; r++)
            put_half(&a, r, i, (float)(r * 5 + i * 3 % 11) - 6);
        for (size_t c = 0; c < columns; c++)
            put_half(&b, i / 2, 2 * c + i % 2, (float)(c * 7 % 13 + i * 2) - 9);
    }
    for (size_t r = 0; r < rows; r++) {
        for (size_t c = 0; c < columns; c++) {
            expected[r][c] = (double)(100 * r) - (double)c;
            put_float(&sums, r, c, (float)expected[r][c]);
            for (size_t i = 0; i < inner; i++)
                expected[r][c] += ((double)(r * 5 + i * 3 % 11) - 6) * ((double)(c * 7 % 13 + i * 2) - 9);
        }
    }
    before = sums;
    configure(&sizes);
    load_0(&sums), load_1(&a), load_2(&b), multiply(NULL), store_0(&sums);
    release();
    assert_rows(&sums, &sums, 0, rows, 4 * columns, &before);
    for (size_t r = 0; r < rows; r++) {
        for (size_t c = 0; c < columns; c++)
            assert_true(get_float(&sums, r, c) == expected[r][c]);
    }
}

static void test_products(void **state)
{
    (void)state;
    if (find_tiles() == NO_TILES)
        skip();
    check_product(1, 1, 2);
    check_product(2, 3, 8);
    check_product(16, 16, 32);
    check_product(5, 16, 2);
    check_product(16, 1, 32);
}

/* 1 x 1: `sum` and what the products of 8 places add to it. */
static float multiply_one(float sum, const float a[8], const float b[8])
{
    area sums = {0}, left = {0}, right = {0};
    const configuration sizes = {.palette = 1, .row_bytes = {4, 16, 4}, .rows = {1, 1, 4}};
    put_float(&sums, 0, 0, sum);
    for (size_t i = 0; i < 8; i++)
        put_half(&left, 0, i, a[i]), put_half(&right, i / 2, i % 2, b[i]);
    configure(&sizes);
    load_0(&sums), load_1(&left), load_2(&right), multiply(NULL), store_0(&sums);
    release();
    return get_float(&sums, 0, 0);
}

/* A denormal factor is 0, also times something large; so is a denormal sum, before and after. */
static void test_denormal_numbers(void **state)
{
    (void)state;
    if (find_tiles() == NO_TILES)
        skip();
    assert_true(multiply_one(0, (float[8]){0x1p-130f}, (float[8]){0x1p100f}) == 0);
    assert_true(multiply_one(0, (float[8]){0, 0x1p100f}, (float[8]){0, 0x1p-130f}) == 0);
    assert_true(multiply_one(0x1p-127f, (float[8]){0}, (float[8]){0}) == 0);
    assert_true(multiply_one(0x1p-126f, (float[8]){0}, (float[8]){0}) == 0x1p-126f);
    assert_true(multiply_one(0, (float[8]){0x1p-70f}, (float[8]){0x1p-70f}) == 0);
    assert_true(multiply_one(0x1.8p-126f, (float[8]){-0x1p-63f}, (float[8]){0x1p-63f}) == 0);
    assert_true(multiply_one(0, (float[8]){0x1p-63f}, (float[8]){0x1p-63f}) == 0x1p-126f);
}

/* Whatever the program has set, and without a trace in it. */
static void test_rounding(void **state)
{
    (void)state;
    if (find_tiles() == NO_TILES)
        skip();
    const float one[8] = {1}, small_number[8] = {0x1p-25f}, half_unit[8] = {0x1p-24f}, other_half[8] = {0x1.8p-23f};
    unsigned before = _mm_getcsr();
    for (unsigned mode = 0; mode < 4; mode++) {
        unsigned set = (before & ~0x603fu) | mode << 13;
        _mm_setcsr(set);
        float below = multiply_one(1, one, small_number), tie = multiply_one(1, one, half_unit);
        float tie_up = multiply_one(1, one, other_half);
        unsigned after = _mm_getcsr();
        _mm_setcsr(before);
        assert_true(below == 1 && tie == 1 && tie_up == 1 + 0x1p-22f);
        assert_int_equal(after, set);
    }
}

/* As the manual has it: each sum from zero, even and odd places apart, then both together, then what was there. In any order of one
 * sum the last bits of these are lost, or others kept. */
static void test_order_of_sums(void **state)
{
    (void)state;
    if (find_tiles() != EMULATED)
        skip();
    const float ones[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    assert_true(multiply_one(0, (float[8]){0x1p24f, 1, 0, 1}, ones) == 0x1p24f + 2);
    assert_true(multiply_one(0, (float[8]){0x1p24f, 0, 1, 0, 1, 0}, ones) == 0x1p24f);
    assert_true(multiply_one(0x1p24f, (float[8]){1, 0, 1}, ones) == 0x1p24f + 2);
    assert_true(multiply_one(0x1p24f, (float[8]){1, 0}, ones) == 0x1p24f);
    assert_true(multiply_one(-0x1p24f, (float[8]){0x1p24f, 1, 1, 1}, ones) == 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_and_bytes_of_the_configuration), cmocka_unit_test(test_zeros),
        cmocka_unit_test(test_start_row), cmocka_unit_test(test_addresses_of_tiles),
        cmocka_unit_test(test_addresses_of_a_configuration), cmocka_unit_test(test_products),
        cmocka_unit_test(test_denormal_numbers), cmocka_unit_test(test_rounding), cmocka_unit_test(test_order_of_sums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
#include "tests/unit/support.h"

int main(void)
{
    print_message("test_tile_instructions is left out: this is no x86-64\n");
    return 0;
}
#endif
