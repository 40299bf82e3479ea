/* Convolutions and pooling: exactly what seven plain loops give, and the same bits whoever computes them. */
#include "tests/unit/support.h"

#include <math.h>
#include <stdio.h>

#include "core/compute/convolution.h"
#include "tests/unit/random.h"

/* --- a team ------------------------------------------------------------------------------------------------------- */

enum { MOST_THREADS = 4 };

typedef struct crew {
    be_team team;
    be_arena scratch[MOST_THREADS];
} crew;

/* `threads` workers; 0: one worker alone, the second of several. */
static void make_crew(crew *it, size_t threads, size_t scratch_bytes)
{
    be_error error;
    *it = (crew){.team = {.worker = threads ? 0 : 1}};
    it->team.scratch = it->scratch;
    assert_ok(be_isa_select(NULL, &it->team.isa, &error), &error);
    if (threads)
        assert_ok(be_pool_create(threads, &it->team.pool, &error), &error);
    for (size_t i = 0; i < MOST_THREADS; i++)
        assert_ok(be_arena_create(&it->scratch[i], scratch_bytes, "scratch", &error), &error);
}

static void free_crew(crew *it)
{
    be_pool_destroy(it->team.pool);
    for (size_t i = 0; i < MOST_THREADS; i++)
        be_arena_destroy(&it->scratch[i]);
}

/* --- the plain way ------------------------------------------------------------------------------------------------ */

typedef struct problem {
    be_convolution convolution;
    size_t rows, columns, out_rows, out_columns;
    float *in, *weight, *before; /* [rows][columns][in], [out][in][kernel][kernel], [out_rows][out_columns][out] */
    double *scale;
} problem;

/* PyTorch's formula, and 0 where it would complain. */
static size_t plain_size(const be_convolution *it, size_t size)
{
    long room = (long)size + 2 * (long)it->padding - (long)it->dilation * ((long)it->kernel - 1) - 1;
    return room < 0 ? 0 : (size_t)room / it->stride + 1;
}

static double plain_result(const problem *it, size_t row, size_t column, size_t o)
{
    const be_convolution *c = &it->convolution;
    double sum = 0;
    for (size_t i = 0; i < c->in; i++) {
        for (size_t ky = 0; ky < c->kernel; ky++) {
            for (size_t kx = 0; kx < c->kernel; kx++) {
                long y = (long)(row * c->stride + ky * c->dilation) - (long)c->padding;
                long x = (long)(column * c->stride + kx * c->dilation) - (long)c->padding;
                if (y < 0 || x < 0 || y >= (long)it->rows || x >= (long)it->columns)
                    continue;
                sum += it->scale[o] * (double)it->weight[((o * c->in + i) * c->kernel + ky) * c->kernel + kx] *
                       (double)it->in[((size_t)y * it->columns + (size_t)x) * c->in + i];
            }
        }
    }
    return sum;
}

static double finish_plainly(double result, double bias, double before, be_convolution_finish finish)
{
    double value = result + bias + (finish == BE_CONVOLUTION_ADD_RELU ? before : 0);
    return finish != BE_CONVOLUTION_BIAS && value < 0 ? 0 : value;
}

/* --- problems ----------------------------------------------------------------------------------------------------- */

static uint32_t random_state = 5;

/* Whole numbers from -limit to limit times `step`; any number in that range when step is 0. */
static float *make_values(size_t count, float limit, float step)
{
    float *values = malloc((count + 1) * sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < count; i++) {
        float value = next_uniform(&random_state) * limit;
        values[i] = step > 0 ? roundf(value) * step : value;
    }
    return values;
}

/* With `exact`, all numbers are so few bits long that no order of the sums and no transform rounds anything. */
static problem make_problem(const be_convolution *shape, size_t rows, size_t columns, bool exact)
{
    problem it = {.convolution = *shape, .rows = rows, .columns = columns};
    be_convolution *c = &it.convolution;
    it.out_rows = plain_size(shape, rows), it.out_columns = plain_size(shape, columns);
    it.in = make_values(rows * columns * c->in, 8, exact ? 1 : 0);
    it.weight = make_values(c->out * c->in * c->kernel * c->kernel, 8, exact ? 4 : 0);
    it.before = make_values(it.out_rows * it.out_columns * c->out, 100, exact ? 1 : 0);
    it.scale = malloc((c->out + 1) * sizeof *it.scale);
    assert_non_null(it.scale);
    for (size_t o = 0; o < c->out; o++)
        it.scale[o] = o % 3 == 0 ? 0.5 : o % 3 == 1 ? -1 : 2;
    c->bias = make_values(c->out, 50, exact ? 1 : 0);
    c->weight = make_values(be_convolution_weights(c), 1, 0);
    be_convolution_arrange(c, it.weight, it.scale);
    return it;
}

static void free_problem(problem *it)
{
    free(it->in), free(it->weight), free(it->before), free(it->scale);
    free(it->convolution.weight), free(it->convolution.bias);
}

static float *run(const problem *it, const be_team *team, be_convolution_finish finish)
{
    size_t count = it->out_rows * it->out_columns * it->convolution.out;
    float *out = make_values(count, 1, 0);
    memcpy(out, it->before, count * sizeof *out);
    be_convolution_run(team, BE_STAGE_EMBED, &it->convolution, it->in, it->rows, it->columns, out, finish);
    return out;
}

static void check(const problem *it, const float *out, be_convolution_finish finish, double tolerance)
{
    const be_convolution *c = &it->convolution;
    for (size_t i = 0; i < it->out_rows * it->out_columns * c->out; i++) {
        size_t o = i % c->out, column = i / c->out % it->out_columns, row = i / c->out / it->out_columns;
        double expected = finish_plainly(plain_result(it, row, column, o), (double)c->bias[o], (double)it->before[i], finish);
        if (!(fabs((double)out[i] - expected) <= tolerance))
            fail_msg("%zu -> %zu channels, kernel %zu, stride %zu, padding %zu, dilation %zu, %zu x %zu, finish %d: at row "
                     "%zu, column %zu, channel %zu is %.9g, expected %.9g", c->in, c->out, c->kernel, c->stride, c->padding,
                     c->dilation, it->rows, it->columns, (int)finish, row, column, o, (double)out[i], expected);
    }
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

static void check_exactly(crew *it, const be_convolution *shape, size_t rows, size_t columns)
{
    assert_int_equal(be_convolution_size(shape, rows), plain_size(shape, rows));
    assert_int_equal(be_convolution_size(shape, columns), plain_size(shape, columns));
    if (plain_size(shape, rows) == 0 || plain_size(shape, columns) == 0)
        return;
    problem given = make_problem(shape, rows, columns, true);
    for (be_convolution_finish finish = BE_CONVOLUTION_BIAS; finish <= BE_CONVOLUTION_ADD_RELU; finish++) {
        for (size_t i = 0; i < MOST_THREADS; i++)
            it->scratch[i].size = be_convolution_scratch(shape); /* and not all there is */
        float *out = run(&given, &it->team, finish);
        check(&given, out, finish, 0);
        free(out);
    }
    free_problem(&given);
}

/* Every kernel, stride, padding and dilation, on maps down to one pixel. */
static void test_small_maps(void **state)
{
    (void)state;
    static const size_t kernels[] = {1, 2, 3, 7}, paddings[] = {0, 1, 2, 3}, maps[][2] = {{1, 1}, {1, 6}, {5, 2}, {7, 9}};
    crew it;
    make_crew(&it, 2, 1 << 20);
    for (size_t i = 0; i < 4 * 3 * 4 * 3 * 4; i++) {
        be_convolution shape = {.in = 1 + i % 5, .out = 1 + i % 6, .kernel = kernels[i % 4], .stride = 1 + i / 4 % 3,
                                .padding = paddings[i / 12 % 4], .dilation = 1 + i / 48 % 3};
        assert_true(be_convolution_scratch(&shape) <= 1 << 20);
        check_exactly(&it, &shape, maps[i / 144][0], maps[i / 144][1]);
    }
    free_crew(&it);
}

/* Several panels of pixels or tiles, several pieces of channels, borders that cut tiles; on every instruction set. */
static void test_large_maps(void **state)
{
    (void)state;
    static const struct { be_convolution shape; size_t rows, columns; } cases[] = {
        {{.in = 7, .out = 70, .kernel = 1, .stride = 1, .dilation = 1}, 19, 31},
        {{.in = 3, .out = 9, .kernel = 1, .stride = 2, .dilation = 1}, 40, 61},
        {{.in = 2, .out = 131, .kernel = 3, .stride = 2, .padding = 1, .dilation = 1}, 9, 14},
        {{.in = 3, .out = 5, .kernel = 7, .stride = 2, .padding = 3, .dilation = 1}, 45, 52},
        {{.in = 3, .out = 200, .kernel = 3, .stride = 1, .padding = 1, .dilation = 1}, 7, 7},
        {{.in = 6, .out = 3, .kernel = 3, .stride = 1, .padding = 1, .dilation = 1}, 37, 44},
        {{.in = 2, .out = 129, .kernel = 3, .stride = 1, .padding = 2, .dilation = 2}, 14, 13},
        {{.in = 2, .out = 4, .kernel = 3, .stride = 1, .padding = 2, .dilation = 2}, 51, 33},
        {{.in = 1, .out = 2, .kernel = 3, .stride = 1, .padding = 3, .dilation = 3}, 29, 64},
        {{.in = 2, .out = 3, .kernel = 3, .stride = 1, .padding = 1, .dilation = 2}, 20, 25},
    };
    enum { N_CASES = sizeof cases / sizeof *cases };
    const be_isa *isas[BE_ISA_MAX];
    size_t n_isas = be_isa_available(isas);
    crew it;
    make_crew(&it, 2, 8 << 20);
    for (size_t i = 0; i < n_isas * N_CASES; i++) {
        const be_convolution *shape = &cases[i % N_CASES].shape;
        it.team.isa = isas[i / N_CASES];
        assert_true(be_convolution_scratch(shape) <= 8 << 20);
        check_exactly(&it, shape, cases[i % N_CASES].rows, cases[i % N_CASES].columns);
    }
    free_crew(&it);
}

/* Any numbers: close to float64, and the same bits for every team, in no more scratch than is said. */
static void test_rounding_and_teams(void **state)
{
    (void)state;
    static const size_t crews[] = {1, 2, MOST_THREADS, 0};
    static const be_convolution shapes[] = {
        {.in = 33, .out = 130, .kernel = 1, .stride = 1, .dilation = 1},
        {.in = 17, .out = 66, .kernel = 3, .stride = 2, .padding = 1, .dilation = 1},
        {.in = 24, .out = 136, .kernel = 3, .stride = 1, .padding = 1, .dilation = 1},
        {.in = 20, .out = 13, .kernel = 3, .stride = 1, .padding = 2, .dilation = 2},
    };
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        problem given = make_problem(&shapes[s], 23, 29, false);
        size_t count = given.out_rows * given.out_columns * shapes[s].out;
        float *first = NULL;
        for (size_t c = 0; c < sizeof crews / sizeof *crews; c++) {
            crew it;
            make_crew(&it, crews[c], be_convolution_scratch(&shapes[s]));
            float *out = run(&given, &it.team, BE_CONVOLUTION_ADD_RELU);
            free_crew(&it);
            if (c == 0) { /* products are of numbers up to 8 * 16, of which up to in * 9 are added */
                check(&given, out, BE_CONVOLUTION_ADD_RELU, 128 * 2e-7 * (double)(shapes[s].in * 9));
                first = out;
                continue;
            }
            assert_memory_equal(out, first, count * sizeof *out);
            free(out);
        }
        free(first);
        free_problem(&given);
    }
}

static float plain_largest(const float *in, size_t rows, size_t columns, size_t channels, size_t row, size_t column, size_t c)
{
    float best = -INFINITY;
    for (long y = 2 * (long)row - 1; y <= 2 * (long)row + 1; y++) {
        for (long x = 2 * (long)column - 1; x <= 2 * (long)column + 1; x++) {
            if (y >= 0 && x >= 0 && y < (long)rows && x < (long)columns)
                best = fmaxf(best, in[((size_t)y * columns + (size_t)x) * channels + c]);
        }
    }
    return best;
}

static void test_pooling(void **state)
{
    (void)state;
    crew it;
    make_crew(&it, 2, 64);
    for (size_t i = 0; i < 12 * 12 + 1; i++) {
        size_t rows = i < 144 ? 1 + i % 12 : 61, columns = i < 144 ? 1 + i / 12 : 40, channels = 1 + i % 7;
        const be_convolution window = {.kernel = 3, .stride = 2, .padding = 1, .dilation = 1};
        size_t out_rows = plain_size(&window, rows), out_columns = plain_size(&window, columns);
        float *in = make_values(rows * columns * channels, 9, 0), *out = make_values(out_rows * out_columns * channels, 1, 0);
        for (size_t v = 0; v < rows * columns * channels; v++)
            in[v] -= 20; /* below the 0 of a wrong padding */
        be_max_pool(&it.team, BE_STAGE_EMBED, in, rows, columns, channels, out);
        for (size_t v = 0; v < out_rows * out_columns * channels; v++) {
            float expected = plain_largest(in, rows, columns, channels, v / channels / out_columns,
                                           v / channels % out_columns, v % channels);
            assert_true(out[v] >= expected && out[v] <= expected);
        }
        free(in), free(out);
    }
    free_crew(&it);
}

/* NaN is never lost on the way: wherever it stands in a window, and through the 0 of the ReLU. */
static void test_not_a_number(void **state)
{
    (void)state;
    crew it;
    make_crew(&it, 1, 1 << 20);
    for (size_t at = 0; at < 9; at++) {
        float in[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, out[4];
        in[(1 + at / 3) * 4 + 1 + at % 3] = NAN;
        be_max_pool(&it.team, BE_STAGE_EMBED, in, 4, 4, 1, out);
        assert_true(isnan(out[3]));
        assert_true(isnan(out[0]) == (at == 0));
    }
    const be_convolution shape = {.in = 5, .out = 5, .kernel = 3, .stride = 1, .padding = 1, .dilation = 1};
    problem given = make_problem(&shape, 5, 5, true);
    given.in[(2 * 5 + 2) * 5 + 3] = NAN; /* in the middle: it reaches the nine pixels around it */
    float *out = run(&given, &it.team, BE_CONVOLUTION_RELU);
    for (size_t y = 1; y <= 3; y++) {
        for (size_t x = 1; x <= 3; x++)
            assert_true(isnan(out[(y * 5 + x) * 5 + 4]));
    }
    free(out);
    free_problem(&given);
    free_crew(&it);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_maps), cmocka_unit_test(test_large_maps), cmocka_unit_test(test_rounding_and_teams),
        cmocka_unit_test(test_pooling),    cmocka_unit_test(test_not_a_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
