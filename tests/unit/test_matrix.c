/* Products in every precision on every instruction set: within the error of their roundings of a product in float64, whatever
 * the shape, the strides and what follows; and the same bits however the rows are cut. */
#include "tests/unit/support.h"

#include <math.h>

#include "core/base/memory.h"
#include "core/compute/matrix.h"
#include "tests/unit/matrix_support.h"

static be_isa isas[BE_ISA_MAX];
static size_t n_isas;

static const be_precision precisions[] = {BE_PRECISION_F32, BE_PRECISION_BF16, BE_PRECISION_BF16X3};
enum { N_PRECISIONS = 3, GAP = 3, CANARY = 0x7fc12345 };

static void *allocate(size_t count, size_t size)
{
    void *memory = malloc(count * size + 1);
    assert_non_null(memory);
    return memory;
}

static float *make_canaries(size_t count)
{
    float *values = allocate(count, sizeof *values);
    const uint32_t bits = CANARY;
    for (size_t i = 0; i < count; i++)
        memcpy(&values[i], &bits, sizeof bits);
    return values;
}

static bool is_canary(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits == CANARY;
}

/* --- a product and what it should be ------------------------------------------------------------------------------ */

typedef struct shape {
    size_t rows, columns, inner;
} shape;

typedef struct fixture {
    const be_isa *isa;
    be_precision precision;
    shape size;
    size_t in_stride;
    float *in, *weight, *bias, *scale, *row_scale, *before; /* before: what a residual is added to, [rows][columns] */
    double *expected, *sizes;                               /* y and the sum of the absolute products, [rows][columns] */
    be_matrix matrix;
    void *memory;
} fixture;

/* The numbers the product is of: in BF16 each is rounded, else it is what was given. */
static double *make_operand(const fixture *it, const float *values, size_t count)
{
    double *operand = allocate(count, sizeof *operand);
    for (size_t i = 0; i < count; i++)
        operand[i] = it->precision == BE_PRECISION_BF16 ? nearest_bf16(values[i]) : values[i];
    return operand;
}

static void expect(fixture *it)
{
    double *in = make_operand(it, it->in, it->size.rows * it->in_stride);
    double *weight = make_operand(it, it->weight, it->size.columns * it->size.inner);
    for (size_t element = 0; element < it->size.rows * it->size.columns; element++) {
        const double *a = in + element / it->size.columns * it->in_stride;
        const double *b = weight + element % it->size.columns * it->size.inner;
        double sum = 0, size = 0;
        for (size_t i = 0; i < it->size.inner; i++)
            sum += a[i] * b[i], size += fabs(a[i] * b[i]);
        it->expected[element] = sum, it->sizes[element] = size;
    }
    free(in), free(weight);
}

static fixture make_fixture(const be_isa *isa, be_precision precision, const shape *size)
{
    be_error error;
    size_t bytes, count = size->rows * size->columns;
    fixture it = {.isa = isa, .precision = precision, .size = *size, .in_stride = size->inner + GAP};
    it.in = make_values(size->rows * it.in_stride, 1), it.weight = make_values(size->columns * size->inner, 2);
    it.bias = make_values(size->columns, 3), it.scale = make_values(size->columns, 4);
    it.row_scale = make_values(size->rows, 5), it.before = make_values(count, 6);
    it.expected = allocate(count, sizeof(double)), it.sizes = allocate(count, sizeof(double));
    expect(&it);
    assert_true(be_matrix_bytes(precision, size->columns, size->inner, &bytes));
    assert_ok(be_allocate_aligned(&it.memory, bytes, 1, "a test", &error), &error);
    be_matrix_pack(&it.matrix, isa, precision, it.weight, size->columns, size->inner, it.memory);
    return it;
}

static void free_fixture(fixture *it)
{
    free(it->in), free(it->weight), free(it->bias), free(it->scale), free(it->row_scale), free(it->before);
    free(it->expected), free(it->sizes), free(it->memory);
}

/* How far y may be from the expected: roundings of the sum, and in BF16X3 what three parts leave out. */
static double tolerance(const fixture *it, size_t element)
{
    double steps = (double)it->size.inner * (it->precision == BE_PRECISION_BF16X3 ? 3 : 1) + 2;
    double left_out = it->precision == BE_PRECISION_BF16X3 ? 3 * 0x1p-18 : 0;
    return (steps * 0x1p-24 + left_out) * it->sizes[element];
}

static double logistic(double x)
{
    return 1 / (1 + exp(-x));
}

static double finished(const fixture *it, be_epilogue epilogue, bool scaled, size_t r, size_t c)
{
    double y = it->expected[r * it->size.columns + c], biased = y + it->bias[c];
    switch (epilogue) {
    case BE_EPILOGUE_NONE: return y;
    case BE_EPILOGUE_BIAS: return biased;
    case BE_EPILOGUE_GELU: return biased / 2 * (1 + erf(biased / sqrt(2)));
    case BE_EPILOGUE_QUICK_GELU: return biased * logistic(1.702 * biased);
    case BE_EPILOGUE_RELU: return biased > 0 ? biased : 0;
    case BE_EPILOGUE_ADD: return it->before[r * it->size.columns + c] + y;
    case BE_EPILOGUE_ADD_RELU: return fmax(0, it->before[r * it->size.columns + c] + biased);
    case BE_EPILOGUE_RESIDUAL: return it->before[r * it->size.columns + c] + biased * (scaled ? it->scale[c] : 1);
    default: return y * it->row_scale[r];
    }
}

/* The same with what the last step adds: scales are below 2, GELU's slope below 1.2. */
static void check_element(const fixture *it, be_epilogue epilogue, bool scaled, size_t r, size_t c, float actual, double coarse)
{
    double wanted = finished(it, epilogue, scaled, r, c);
    double allowed = 2 * tolerance(it, r * it->size.columns + c) + 3e-7 * (4 + fabs(wanted)) + coarse * fabs(wanted);
    if (!(fabs(actual - wanted) <= allowed))
        fail_msg("%s %s, %zu x %zu x %zu, epilogue %d, element %zu, %zu: %.9g, expected %.9g, tolerance %.3g", it->isa->name,
                 be_precision_name(it->precision), it->size.rows, it->size.columns, it->size.inner, (int)epilogue, r, c,
                 (double)actual, wanted, allowed);
}

/* An arena of exactly what the headers say that a product takes. */
static be_arena make_arena(const fixture *it, bool packed)
{
    be_arena arena;
    be_error error;
    size_t floats = be_activations_floats(it->precision, it->size.rows, it->size.inner) +
                    be_matrix_scratch(it->size.rows);
    if (packed)
        floats += be_activations_floats(it->precision, it->size.rows, it->size.columns);
    assert_ok(be_arena_create(&arena, (floats + 48) * sizeof(float), "a test", &error), &error);
    return arena;
}

static be_matrix_product make_product(const fixture *it, const be_activations *in, be_epilogue epilogue, bool scaled)
{
    const float *columns = scaled ? it->scale : NULL;
    return (be_matrix_product){
        .in = in, .weight = &it->matrix, .epilogue = epilogue, .bias = it->bias,
        .scale = epilogue == BE_EPILOGUE_SCALE_ROWS ? it->row_scale : columns,
    };
}

/* --- into float32 ------------------------------------------------------------------------------------------------- */

static bool adds(be_epilogue epilogue)
{
    return epilogue == BE_EPILOGUE_ADD || epilogue == BE_EPILOGUE_ADD_RELU || epilogue == BE_EPILOGUE_RESIDUAL;
}

static void check_out(const fixture *it, be_epilogue epilogue, bool scaled)
{
    size_t rows = it->size.rows, columns = it->size.columns, stride = columns + GAP;
    float *out = make_canaries((rows + 1) * stride);
    for (size_t r = 0; r < rows && adds(epilogue); r++)
        memcpy(out + r * stride, it->before + r * columns, columns * sizeof *out);
    be_arena arena = make_arena(it, false);
    be_activations in;
    be_activations_round(&in, it->isa, it->precision, it->in, it->in_stride, rows, it->size.inner, 1, &arena);
    be_matrix_product product = make_product(it, &in, epilogue, scaled);
    product.out = out, product.out_stride = stride;
    size_t used = arena.used;
    be_matrix_multiply(it->isa, &product, &arena);
    assert_false(arena.overflowed);
    assert_int_equal(arena.used, used);
    for (size_t i = 0; i < (rows + 1) * stride; i++) {
        if (i / stride < rows && i % stride < columns)
            check_element(it, epilogue, scaled, i / stride, i % stride, out[i], 0);
        else
            assert_true(is_canary(out[i]));
    }
    be_arena_destroy(&arena);
    free(out);
}

/* With room for whole tiles of 16. */
static void check_whole_tiles(const fixture *it)
{
    size_t rows = it->size.rows, columns = it->size.columns, stride = (columns + 15) / 16 * 16 + 16;
    size_t count = (rows + 15) / 16 * 16 * stride;
    float *out = make_canaries(count);
    be_arena arena = make_arena(it, false);
    be_activations in;
    be_activations_round(&in, it->isa, it->precision, it->in, it->in_stride, rows, it->size.inner, 1, &arena);
    be_matrix_product product = make_product(it, &in, BE_EPILOGUE_NONE, false);
    product.out = out, product.out_stride = stride, product.whole_tiles = true;
    be_matrix_multiply(it->isa, &product, &arena);
    for (size_t r = 0; r < rows; r++) {
        for (size_t c = 0; c < columns; c++)
            check_element(it, BE_EPILOGUE_NONE, false, r, c, out[r * stride + c], 0);
        for (size_t c = (columns + 15) / 16 * 16; c < stride; c++)
            assert_true(is_canary(out[r * stride + c]));
    }
    be_arena_destroy(&arena);
    free(out);
}

/* Every number of rows, also none, and columns and inner beside the sizes of tiles and blocks. */
static void test_shapes(void **state)
{
    (void)state;
    static const shape others[] = {{0, 1, 1}, {0, 15, 31}, {0, 16, 32}, {0, 17, 33}, {0, 49, 64}, {0, 65, 95}};
    static const shape large[] = {{40, 50, 770}, {70, 33, 1100}, {5, 200, 2050}, {257, 16, 40}};
    n_isas = all_isas(isas);
    for (size_t t = 0; t < n_isas; t++) {
        for (size_t p = 0; p < N_PRECISIONS; p++) {
            for (size_t s = 0; s < sizeof others / sizeof *others + sizeof large / sizeof *large; s++) {
                bool small = s < sizeof others / sizeof *others;
                shape size = small ? others[s] : large[s - sizeof others / sizeof *others];
                for (size_t rows = small ? 0 : size.rows; rows <= (small ? 33 : size.rows); rows++) {
                    size.rows = rows;
                    fixture it = make_fixture(&isas[t], precisions[p], &size);
                    check_out(&it, BE_EPILOGUE_NONE, false);
                    check_whole_tiles(&it);
                    free_fixture(&it);
                }
            }
        }
    }
}

/* --- what follows ------------------------------------------------------------------------------------------------- */

static float packed_value(const be_activations *a, size_t r, size_t c)
{
    size_t tiles = (a->inner + 31) / 32, place = (r / 16 * tiles + c / 32) * 512 + r % 16 * 32 + c % 32;
    uint32_t high, low;
    float upper, lower = 0;
    if (a->precision == BE_PRECISION_F32)
        return a->values[r * a->stride + c];
    high = (uint32_t)a->high[place] << 16;
    memcpy(&upper, &high, sizeof high);
    if (a->low) {
        low = (uint32_t)a->low[place] << 16;
        memcpy(&lower, &low, sizeof low);
    }
    return upper + lower;
}

/* The output as the next product's input: rounded, and zeros up to whole tiles. */
static void check_packed(const fixture *it, be_epilogue epilogue)
{
    static const double coarse[] = {0, 0x1p-8, 0x1p-17}; /* of each precision */
    size_t rows = it->size.rows, columns = it->size.columns;
    be_arena arena = make_arena(it, true);
    memset(arena.base, 0xff, arena.size);
    be_activations in, out;
    be_activations_round(&in, it->isa, it->precision, it->in, it->in_stride, rows, it->size.inner, 1, &arena);
    be_activations_make(&out, it->precision, rows, columns, &arena);
    be_matrix_product product = make_product(it, &in, epilogue, false);
    product.packed = &out;
    be_matrix_multiply(it->isa, &product, &arena);
    assert_false(arena.overflowed);
    bool tiles = it->precision != BE_PRECISION_F32;
    for (size_t r = 0; r < (tiles ? (rows + 15) / 16 * 16 : rows); r++) {
        for (size_t c = 0; c < (tiles ? (columns + 31) / 32 * 32 : columns); c++) {
            if (r < rows && c < columns)
                check_element(it, epilogue, false, r, c, packed_value(&out, r, c), coarse[it->precision]);
            else
                assert_true(packed_value(&out, r, c) == 0);
        }
    }
    be_arena_destroy(&arena);
}

static void test_epilogues(void **state)
{
    (void)state;
    static const shape shapes[] = {{1, 7, 5}, {17, 33, 40}, {33, 100, 64}, {40, 97, 1060}};
    n_isas = all_isas(isas);
    for (size_t t = 0; t < n_isas; t++) {
        for (size_t p = 0; p < N_PRECISIONS; p++) {
            for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
                fixture it = make_fixture(&isas[t], precisions[p], &shapes[s]);
                for (int epilogue = BE_EPILOGUE_NONE; epilogue <= BE_EPILOGUE_SCALE_ROWS; epilogue++) {
                    check_out(&it, (be_epilogue)epilogue, false);
                    if (epilogue == BE_EPILOGUE_RESIDUAL)
                        check_out(&it, (be_epilogue)epilogue, true);
                    if (!adds((be_epilogue)epilogue))
                        check_packed(&it, (be_epilogue)epilogue);
                }
                free_fixture(&it);
            }
        }
    }
}

/* --- accuracy, bits, special values ------------------------------------------------------------------------------- */

/* Of many summands, three parts lose less than 4e-6 of the sum of their sizes. */
static void test_three_parts_are_nearly_float32(void **state)
{
    (void)state;
    n_isas = all_isas(isas);
    for (size_t t = 0; t < n_isas; t++) {
        fixture it = make_fixture(&isas[t], BE_PRECISION_BF16X3, &(shape){33, 65, 768});
        be_arena arena = make_arena(&it, false);
        be_activations in;
        float out[33 * 65];
        be_activations_round(&in, it.isa, it.precision, it.in, it.in_stride, 33, 768, 1, &arena);
        be_matrix_product product = make_product(&it, &in, BE_EPILOGUE_NONE, false);
        product.out = out, product.out_stride = 65;
        be_matrix_multiply(it.isa, &product, &arena);
        for (size_t i = 0; i < 33 * 65; i++)
            assert_true(fabs(out[i] - it.expected[i]) <= 4e-6 * it.sizes[i]);
        be_arena_destroy(&arena);
        free_fixture(&it);
    }
}

/* Rows `first` to `first` + `rows` - 1 of the product. */
static void multiply_rows(const fixture *it, size_t first, size_t rows, float *out)
{
    be_arena arena = make_arena(it, false);
    be_activations in;
    be_activations_round(&in, it->isa, it->precision, it->in + first * it->in_stride, it->in_stride, rows, it->size.inner, 1,
                         &arena);
    be_matrix_product product = make_product(it, &in, BE_EPILOGUE_GELU, false);
    product.out = out + first * it->size.columns, product.out_stride = it->size.columns;
    be_matrix_multiply(it->isa, &product, &arena);
    be_arena_destroy(&arena);
}

static void test_same_bits_however_rows_are_cut(void **state)
{
    (void)state;
    static const shape size = {150, 83, 1300};
    static const size_t cuts[][6] = {{0, 150}, {0, 1, 2, 50, 149, 150}, {0, 16, 47, 80, 97, 150}, {0, 128, 150}};
    size_t count = size.rows * size.columns;
    n_isas = all_isas(isas);
    for (size_t t = 0; t < n_isas; t++) {
        for (size_t p = 0; p < N_PRECISIONS; p++) {
            fixture it = make_fixture(&isas[t], precisions[p], &size);
            float *whole = make_canaries(count), *out = make_canaries(count);
            multiply_rows(&it, 0, size.rows, whole);
            for (size_t c = 0; c < sizeof cuts / sizeof *cuts; c++) {
                memset(out, 0, count * sizeof *out);
                for (size_t i = 0; cuts[c][i] < size.rows; i++)
                    multiply_rows(&it, cuts[c][i], cuts[c][i + 1] - cuts[c][i], out);
                assert_memory_equal(out, whole, count * sizeof *out);
            }
            free(whole), free(out);
            free_fixture(&it);
        }
    }
}

/* What is not a number in one row or column stays there and stays so. */
static void test_not_a_number(void **state)
{
    (void)state;
    static const be_epilogue kinds[] = {BE_EPILOGUE_BIAS, BE_EPILOGUE_GELU, BE_EPILOGUE_QUICK_GELU, BE_EPILOGUE_RELU};
    n_isas = all_isas(isas);
    for (size_t t = 0; t < n_isas; t++) {
        for (size_t p = 0; p < N_PRECISIONS * 4; p++) {
            float in[20 * 40], weight[20 * 40], bias[20] = {0}, out[20 * 20];
            for (size_t i = 0; i < 20 * 40; i++)
                in[i] = 1, weight[i] = 1;
            in[3 * 40 + 39] = NAN, weight[17 * 40 + 1] = NAN;
            fixture it = {.isa = &isas[t], .precision = precisions[p / 4], .size = {20, 20, 40}};
            be_error error;
            be_activations made;
            size_t bytes;
            assert_true(be_matrix_bytes(it.precision, 20, 40, &bytes));
            assert_ok(be_allocate_aligned(&it.memory, bytes, 1, "a test", &error), &error);
            be_matrix_pack(&it.matrix, it.isa, it.precision, weight, 20, 40, it.memory);
            be_arena arena = make_arena(&it, false);
            be_activations_round(&made, it.isa, it.precision, in, 40, 20, 40, 1, &arena);
            be_matrix_product product = {&made, &it.matrix, kinds[p % 4], bias, NULL, out, 20, false, NULL};
            be_matrix_multiply(it.isa, &product, &arena);
            for (size_t i = 0; i < 20 * 20; i++)
                assert_true(i / 20 == 3 || i % 20 == 17 ? isnan(out[i]) : fabsf(out[i] - 40) < 1e-3f);
            be_arena_destroy(&arena);
            free(it.memory);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes), cmocka_unit_test(test_epilogues),
        cmocka_unit_test(test_three_parts_are_nearly_float32), cmocka_unit_test(test_same_bits_however_rows_are_cut),
        cmocka_unit_test(test_not_a_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
