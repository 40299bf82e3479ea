/* Weights and activations in the forms of core/compute/tiles.h: the rounding, the order, the zeros around them. */
#include "tests/unit/support.h"

#include <math.h>

#include "core/base/memory.h"
#include "core/compute/matrix.h"
#include "core/compute/reference.h"
#include "tests/unit/matrix_support.h"
#include "tests/unit/random.h"

static be_isa isas[BE_ISA_MAX];
static size_t n_isas;

static float as_float(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float widened(uint16_t half)
{
    return as_float((uint32_t)half << 16);
}

static void open_arena(be_arena *arena, size_t floats)
{
    be_error error;
    assert_ok(be_arena_create(arena, floats * sizeof(float), "a test", &error), &error);
    memset(arena->base, 0xff, arena->size); /* what is not written is NaN */
}

/* What a float32 becomes, by hand: a tie goes to the even neighbour. */
static const struct {
    uint32_t bits;
    uint16_t rounded;
} roundings[] = {
    {0x00000000, 0x0000}, {0x80000000, 0x8000}, {0x3f800000, 0x3f80}, {0x3f807fff, 0x3f80}, {0x3f808000, 0x3f80},
    {0x3f808001, 0x3f81}, {0x3f818000, 0x3f82}, {0x3f817fff, 0x3f81}, {0xbf818000, 0xbf82}, {0x3fffffff, 0x4000},
    {0x7f7fffff, 0x7f80}, {0x7f7f7fff, 0x7f7f}, {0x7f800000, 0x7f80}, {0xff800000, 0xff80}, {0x7fc00000, 0x7fc0},
    {0x7f800001, 0x7fc0}, {0xffffffff, 0xffff}, {0x00800000, 0x0080},
};
enum { N_ROUNDINGS = sizeof roundings / sizeof *roundings };

static void test_rounding(void **state)
{
    (void)state;
    n_isas = all_isas(isas);
    float values[N_ROUNDINGS];
    for (size_t i = 0; i < N_ROUNDINGS; i++)
        values[i] = as_float(roundings[i].bits);
    for (size_t t = 0; t < n_isas; t++) {
        be_arena arena;
        be_activations row;
        open_arena(&arena, be_activations_floats(BE_PRECISION_BF16, 1, N_ROUNDINGS));
        be_activations_round(&row, &isas[t], BE_PRECISION_BF16, values, N_ROUNDINGS, 1, N_ROUNDINGS, 1, &arena);
        assert_false(arena.overflowed);
        for (size_t i = 0; i < N_ROUNDINGS; i++) {
            if (row.high[i] != roundings[i].rounded)
                fail_msg("%08x becomes %04x (%s), not %04x", roundings[i].bits, row.high[i], isas[t].name, roundings[i].rounded);
        }
        be_arena_destroy(&arena);
    }
}

/* 1 + 2^-8 + 2^-12 + 2^-20 = (1 + 2^-7) + (-2^-8 + 2^-12) and a rest below the low part's last bit: the low part is rounded
 * too, to -2^-8 (1 - 2^-4 - 2^-12) -> -2^-8 (1 - 2^-4). */
static void test_low_parts(void **state)
{
    (void)state;
    n_isas = all_isas(isas);
    const float value = 1 + 0x1p-8f + 0x1p-12f + 0x1p-20f;
    for (size_t t = 0; t < n_isas; t++) {
        be_arena arena;
        be_activations row;
        open_arena(&arena, be_activations_floats(BE_PRECISION_BF16X3, 1, 1));
        be_activations_round(&row, &isas[t], BE_PRECISION_BF16X3, &value, 1, 1, 1, 1, &arena);
        assert_true(widened(row.high[0]) == 1 + 0x1p-7f);
        assert_true(widened(row.low[0]) == -0x1p-8f + 0x1p-12f);
        be_arena_destroy(&arena);
    }
}

/* --- order -------------------------------------------------------------------------------------------------------- */

typedef struct size {
    size_t rows, inner;
} size;

static const size sizes[] = {{1, 1}, {16, 32}, {17, 33}, {15, 31}, {33, 64}, {40, 100}, {3, 300}};
enum { N_SIZES = sizeof sizes / sizeof *sizes };

/* Different everywhere, and exact in bfloat16 up to 255 and beyond: 1, 2, ... with their high bits as an exponent. */
static float number(size_t row, size_t i)
{
    size_t count = 1 + row * 331 + i;
    return ldexpf((float)(count % 255 + 1), (int)(count / 255));
}

static float *make_numbers(const size *of, size_t stride, bool turned)
{
    size_t rows = turned ? of->inner : of->rows, width = turned ? of->rows : of->inner;
    float *values = malloc(((rows - 1) * stride + width) * sizeof *values); /* nothing after the last row's last number */
    assert_non_null(values);
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < width; i++)
            values[r * stride + i] = turned ? number(i, r) : number(r, i);
    }
    return values;
}

static size_t round_up(size_t count, size_t step)
{
    return (count + step - 1) / step * step;
}

static void check_order(const char *what, const char *isa, const size *of, const uint16_t *packed, bool weight)
{
    size_t tiles = round_up(of->inner, 32) / 32;
    for (size_t r = 0; r < round_up(of->rows, 16); r++) {
        for (size_t i = 0; i < tiles * 32; i++) {
            size_t tile = (r / 16 * tiles + i / 32) * 512, inside = i % 32;
            size_t place = weight ? inside / 2 * 32 + r % 16 * 2 + inside % 2 : r % 16 * 32 + inside;
            float wanted = r < of->rows && i < of->inner ? number(r, i) : 0;
            if (widened(packed[tile + place]) != wanted)
                fail_msg("%s %zu x %zu (%s): %g at %zu, %zu, not %g", what, of->rows, of->inner, isa,
                         (double)widened(packed[tile + place]), r, i, (double)wanted);
        }
    }
}

static void check_weight(const be_isa *isa, const size *of)
{
    be_error error;
    size_t bytes, half;
    void *memory;
    float *values = make_numbers(of, of->inner, false), *turned = make_numbers(of, of->rows + 5, true);
    assert_true(be_matrix_bytes(BE_PRECISION_BF16X3, of->rows, of->inner, &bytes));
    assert_true(be_matrix_bytes(BE_PRECISION_BF16, of->rows, of->inner, &half));
    assert_int_equal(bytes, 2 * half);
    assert_ok(be_allocate_aligned(&memory, bytes, 1, "a test", &error), &error);
    memset(memory, 0xff, bytes);
    be_matrix matrix;
    be_matrix_pack(&matrix, isa, BE_PRECISION_BF16X3, values, of->rows, of->inner, memory);
    check_order("weight", isa->name, of, matrix.high, true);
    for (size_t i = 0; i < half / sizeof(uint16_t); i++)
        assert_int_equal(matrix.low[i] & 0x7fff, 0); /* nothing was lost */
    memset(memory, 0xff, bytes);
    isa->tiles->pack_turned(&matrix, turned, of->rows + 5);
    check_order("turned weight", isa->name, of, matrix.high, true);
    free(memory), free(values), free(turned);
}

/* In float32: [rows / 16][inner][16], and nothing beyond the padded rows. */
static void check_float_order(const char *what, const be_isa *isa, const size *of, const float *packed)
{
    for (size_t r = 0; r < round_up(of->rows, 16); r++) {
        for (size_t i = 0; i < of->inner; i++) {
            float found = packed[(r / 16 * of->inner + i) * 16 + r % 16], wanted = r < of->rows ? number(r, i) : 0;
            if (found != wanted)
                fail_msg("%s %zu x %zu (%s): %g at %zu, %zu, not %g", what, of->rows, of->inner, isa->name, (double)found, r, i,
                         (double)wanted);
        }
    }
}

static void check_float_weight(const be_isa *isa, const size *of)
{
    size_t bytes;
    float *values = make_numbers(of, of->inner + 2, false), *turned = make_numbers(of, of->rows + 5, true);
    assert_true(be_matrix_bytes(BE_PRECISION_F32, of->rows, of->inner, &bytes));
    assert_int_equal(bytes, round_up(of->rows, 16) * of->inner * sizeof(float));
    float *memory = malloc(bytes);
    assert_non_null(memory);
    be_matrix matrix;
    be_matrix_make(&matrix, BE_PRECISION_F32, of->rows, of->inner, memory);
    memset(memory, 0xff, bytes);
    isa->tiles->pack(&matrix, values, of->inner + 2);
    check_float_order("weight", isa, of, memory);
    memset(memory, 0xff, bytes);
    isa->tiles->pack_turned(&matrix, turned, of->rows + 5);
    check_float_order("turned weight", isa, of, memory);
    free(memory), free(values), free(turned);
}

static void check_activations(const be_isa *isa, const size *of)
{
    be_arena arena;
    be_activations made;
    float *values = make_numbers(of, of->inner + 3, false);
    open_arena(&arena, be_activations_floats(BE_PRECISION_BF16, of->rows, of->inner));
    be_activations_round(&made, isa, BE_PRECISION_BF16, values, of->inner + 3, of->rows, of->inner, 1, &arena);
    assert_false(arena.overflowed);
    check_order("activations", isa->name, of, made.high, false);
    be_arena_destroy(&arena);
    free(values);
}

static void test_order(void **state)
{
    (void)state;
    n_isas = all_isas(isas);
    for (size_t t = 0; t < n_isas; t++) {
        for (size_t i = 0; i < N_SIZES; i++) {
            check_weight(&isas[t], &sizes[i]);
            check_float_weight(&isas[t], &sizes[i]);
            check_activations(&isas[t], &sizes[i]);
        }
    }
}

static void test_sizes(void **state)
{
    (void)state;
    size_t bytes;
    assert_true(be_matrix_bytes(BE_PRECISION_F32, 100, 100, &bytes));
    assert_int_equal(bytes, 112 * 100 * 4);
    assert_false(be_matrix_bytes(BE_PRECISION_F32, SIZE_MAX / 64, 64, &bytes));
    assert_true(be_matrix_bytes(BE_PRECISION_BF16, 17, 33, &bytes));
    assert_int_equal(bytes, 32 * 64 * 2);
    assert_false(be_matrix_bytes(BE_PRECISION_BF16, SIZE_MAX, 1, &bytes));
    assert_false(be_matrix_bytes(BE_PRECISION_BF16, 1, SIZE_MAX - 3, &bytes));
    assert_false(be_matrix_bytes(BE_PRECISION_BF16, SIZE_MAX / 64, 64, &bytes));
    assert_true(be_matrix_bytes(BE_PRECISION_BF16, SIZE_MAX / 4 / 32, 32, &bytes));
    assert_false(be_matrix_bytes(BE_PRECISION_BF16X3, SIZE_MAX / 4 / 32, 32, &bytes));
}

/* --- norms -------------------------------------------------------------------------------------------------------- */

static void check_layer_norm(const be_isa *isa, const size *of, be_precision precision)
{
    uint32_t seed = 5;
    size_t count = of->rows * of->inner;
    float *in = malloc(count * sizeof *in), *expected = malloc(count * sizeof *expected);
    float gain[300], bias[300];
    assert_non_null(in), assert_non_null(expected);
    for (size_t i = 0; i < count; i++)
        in[i] = next_uniform(&seed) * 3;
    for (size_t i = 0; i < of->inner; i++)
        gain[i] = next_uniform(&seed), bias[i] = next_uniform(&seed);
    be_reference_layer_norm(expected, in, gain, bias, of->rows, of->inner, 1e-2);
    be_arena arena;
    be_activations normal;
    open_arena(&arena, be_activations_floats(precision, of->rows, of->inner));
    be_activations_layer_norm(&normal, isa, precision, in, gain, bias, 1e-2f, of->rows, of->inner, &arena);
    assert_false(arena.overflowed);
    for (size_t i = 0; i < count; i++) {
        size_t r = i / of->inner, c = i % of->inner, tiles = round_up(of->inner, 32) / 32;
        size_t place = (r / 16 * tiles + c / 32) * 512 + r % 16 * 32 + c % 32;
        float actual = precision == BE_PRECISION_F32 ? normal.values[r * normal.stride + c] : widened(normal.high[place]);
        if (!(fabsf(actual - expected[i]) <= 2e-5f + (precision == BE_PRECISION_F32 ? 0 : 0x1p-8f * fabsf(expected[i]))))
            fail_msg("norm %zu x %zu (%s), element %zu: %g, expected %g", of->rows, of->inner, isa->name, i, (double)actual,
                     (double)expected[i]);
    }
    be_arena_destroy(&arena);
    free(in), free(expected);
}

static void test_layer_norm(void **state)
{
    (void)state;
    n_isas = all_isas(isas);
    for (size_t t = 0; t < n_isas; t++) {
        for (size_t i = 1; i < N_SIZES; i++) {
            check_layer_norm(&isas[t], &sizes[i], BE_PRECISION_F32);
            check_layer_norm(&isas[t], &sizes[i], BE_PRECISION_BF16);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rounding), cmocka_unit_test(test_low_parts),  cmocka_unit_test(test_order),
        cmocka_unit_test(test_sizes),    cmocka_unit_test(test_layer_norm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
