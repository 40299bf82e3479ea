/* The readout: each vertex the sum over its queries of token . W[v] + b[v], of weights in float32 or bfloat16. */
#include "tests/unit/support.h"

#include "core/encoder/encoder.h"
#include "tests/unit/random.h"

enum { WIDTH = 37, LEFT = 5, RIGHT = 4, VERTICES = LEFT + RIGHT, QUERIES = 3 };

static uint32_t random_state = 7;

/* Numbers that bfloat16 holds exactly, in both forms. */
typedef struct weights {
    float values[VERTICES][WIDTH], bias[VERTICES];
    uint16_t halves[VERTICES][WIDTH];
} weights;

static void draw(weights *to)
{
    for (size_t v = 0; v < VERTICES; v++) {
        to->bias[v] = next_uniform(&random_state);
        for (size_t i = 0; i < WIDTH; i++) {
            float value = next_uniform(&random_state);
            uint32_t bits;
            memcpy(&bits, &value, sizeof bits);
            bits &= 0xffff0000u;
            memcpy(&to->values[v][i], &bits, sizeof bits);
            to->halves[v][i] = (uint16_t)(bits >> 16);
        }
    }
}

static be_readout *load(const weights *from, bool halves, const be_readout_lists *lists)
{
    const char *path = scratch("readout.safetensors");
    be_dtype dtype = halves ? BE_DTYPE_BF16 : BE_DTYPE_F32;
    const void *left = halves ? (const void *)from->halves : (const void *)from->values;
    const void *right = halves ? (const void *)from->halves[LEFT] : (const void *)from->values[LEFT];
    const be_tensor_source tensors[] = {
        {.name = "m.lh_embed.0.weight", .dtype = dtype, .n_dims = 2, .shape = {LEFT, WIDTH}, .data = left},
        {.name = "m.rh_embed.0.weight", .dtype = dtype, .n_dims = 2, .shape = {RIGHT, WIDTH}, .data = right},
        {.name = "m.lh_embed.0.bias", .dtype = BE_DTYPE_F32, .n_dims = 1, .shape = {LEFT}, .data = from->bias},
        {.name = "m.rh_embed.0.bias", .dtype = BE_DTYPE_F32, .n_dims = 1, .shape = {RIGHT}, .data = from->bias + LEFT},
    };
    be_error error;
    be_tensor_file *file;
    be_readout *readout;
    assert_ok(be_safetensors_write(path, tensors, sizeof tensors / sizeof *tensors, NULL, 0, &error), &error);
    assert_ok(be_tensor_file_open(path, &file, &error), &error);
    assert_ok(be_readout_load(file, "m.", WIDTH, LEFT, RIGHT, lists, &readout, &error), &error);
    be_tensor_file_close(file);
    return readout;
}

static double expect(const weights *of, size_t v, const float *token)
{
    double sum = of->bias[v];
    for (size_t i = 0; i < WIDTH; i++)
        sum += (double)of->values[v][i] * (double)token[i];
    return sum;
}

/* Vertex 0 is read from all queries, vertex 1 from none, the others from one. */
static void check_lists(bool halves)
{
    size_t start[VERTICES + 1] = {0, 3, 3, 4, 5, 6, 7, 8, 9, 10};
    uint32_t queries[] = {0, 1, 2, 0, 1, 2, 0, 1, 2, 0};
    be_readout_lists lists = {start, queries};
    weights all;
    float tokens[QUERIES][WIDTH], out[VERTICES], expected[VERTICES];
    draw(&all);
    for (size_t i = 0; i < QUERIES * WIDTH; i++)
        tokens[i / WIDTH][i % WIDTH] = next_uniform(&random_state);
    be_readout *readout = load(&all, halves, &lists);
    const be_isa *isas[BE_ISA_MAX];
    size_t count = be_isa_available(isas);
    for (size_t k = 0; k < count; k++) {
        be_team team = {.isa = isas[k]};
        be_readout_run(readout, &team, &tokens[0][0], out);
        for (size_t v = 0; v < VERTICES; v++) {
            double sum = 0;
            for (size_t i = start[v]; i < start[v + 1]; i++)
                sum += expect(&all, v, tokens[queries[i]]);
            expected[v] = (float)sum;
        }
        assert_close(isas[k]->name, out, expected, VERTICES, 1e-5f);
    }
    be_readout_free(readout);
}

static void test_lists(void **state)
{
    (void)state;
    check_lists(false);
}

static void test_lists_of_bf16_weights(void **state)
{
    (void)state;
    check_lists(true);
}

static void check_rows(bool halves)
{
    weights all;
    float tokens[VERTICES][WIDTH], out[VERTICES], expected[VERTICES];
    const be_kernels *tables[BE_KERNELS_MAX];
    size_t n_tables = be_kernels_available(tables);
    draw(&all);
    for (size_t i = 0; i < VERTICES * WIDTH; i++)
        tokens[i / WIDTH][i % WIDTH] = next_uniform(&random_state);
    be_readout *readout = load(&all, halves, NULL);
    for (size_t v = 1; v < VERTICES - 1; v++)
        expected[v] = (float)expect(&all, v, tokens[v]);
    for (size_t t = 0; t < n_tables; t++) {
        out[0] = out[VERTICES - 1] = 1e9f;
        be_readout_rows(readout, tables[t], 1, VERTICES - 2, tokens[1], out);
        assert_close(tables[t]->name, out + 1, expected + 1, VERTICES - 2, 1e-5f);
        assert_true(out[0] == 1e9f && out[VERTICES - 1] == 1e9f);
    }
    be_readout_free(readout);
}

static void test_a_query_a_vertex(void **state)
{
    (void)state;
    check_rows(false);
    check_rows(true);
}

static void test_wrong_shapes(void **state)
{
    (void)state;
    static const struct { size_t width, left, right; const char *part; } cases[] = {
        {WIDTH, LEFT + 1, RIGHT, "'m.lh_embed.0.weight'"}, {WIDTH, LEFT, RIGHT - 1, "'m.rh_embed.0.weight'"},
        {WIDTH + 1, LEFT, RIGHT, "'m.lh_embed.0.weight' has the wrong shape, expected [5][38]"},
    };
    weights all;
    be_tensor_file *file;
    be_error error;
    draw(&all);
    be_readout_free(load(&all, false, NULL));
    assert_ok(be_tensor_file_open(scratch("readout.safetensors"), &file, &error), &error);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        be_readout *readout = NULL;
        assert_error(be_readout_load(file, "m.", cases[i].width, cases[i].left, cases[i].right, NULL, &readout, &error),
                     BE_ERROR_FORMAT, &error, cases[i].part);
        assert_null(readout);
    }
    be_tensor_file_close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists), cmocka_unit_test(test_lists_of_bf16_weights), cmocka_unit_test(test_a_query_a_vertex),
        cmocka_unit_test(test_wrong_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
