/* The backbone's position table on other grids, against the golden one and against the formula in double precision. */
#include "tests/unit/support.h"

#include <math.h>

#include "core/backbone/vit.h"

enum { WIDTH = 96, TABLE = 37, TABLE_ROWS = 1 + TABLE * TABLE };

typedef struct fixture {
    be_backbone *backbone;
    const vit *model;
    float *table;       /* [TABLE_ROWS][WIDTH]: as the file has it, the class row first */
    float *class_token; /* [WIDTH] */
} fixture;

static float *read_tensor(be_tensor_file *file, const char *name, size_t count)
{
    const be_tensor *tensor = be_tensor_file_find(file, name);
    be_error error;
    assert_non_null(tensor);
    assert_int_equal(tensor->count, count);
    float *values = malloc(count * sizeof *values);
    assert_non_null(values);
    assert_ok(be_tensor_file_read_f32(file, tensor, values, &error), &error);
    return values;
}

static int open_fixture(void **state)
{
    static fixture it;
    const char *path = golden("dinov2_q_rois/dinov2_small_pretrain.pth");
    const be_tap tap = {.features = BE_FEATURES_DINOV2_Q, .layer = 1};
    be_tensor_file *file;
    be_error error;
    assert_ok(be_backbone_open(path, &(be_backbone_options){.heads = 12}, &tap, 1, &it.backbone, &error), &error);
    it.model = (const vit *)it.backbone;
    assert_ok(be_tensor_file_open(path, &file, &error), &error);
    it.table = read_tensor(file, "pos_embed", TABLE_ROWS * WIDTH);
    it.class_token = read_tensor(file, "cls_token", WIDTH);
    be_tensor_file_close(file);
    *state = &it;
    return 0;
}

static int close_fixture(void **state)
{
    fixture *it = *state;
    be_backbone_close(it->backbone);
    free(it->table);
    free(it->class_token);
    return 0;
}

static float *resample(const vit *model, size_t rows, size_t columns)
{
    float *out = malloc(rows * columns * WIDTH * sizeof *out);
    assert_non_null(out);
    vit_resample_positions(model, rows, columns, out);
    return out;
}

static void test_golden(void **state)
{
    enum { SIDE = 31, STEP = 7, ROWS = (SIDE * SIDE + STEP) / STEP };
    const fixture *it = *state;
    float *expected = golden_f32("dinov2_q_rois/expected/pos_embed_31x31.npy", ROWS * WIDTH);
    float *table = resample(it->model, SIDE, SIDE), class_row[WIDTH];
    for (size_t c = 0; c < WIDTH; c++)
        class_row[c] = it->class_token[c] + expected[c];
    assert_close("class token", it->model->class_token, class_row, WIDTH, 1e-6f);
    for (size_t r = 1; r < ROWS; r++)
        assert_close("position table", table + (r * STEP - 1) * WIDTH, expected + r * WIDTH, WIDTH, 2e-6f);
    free(expected), free(table);
}

static void test_own_grid_is_the_table(void **state)
{
    const fixture *it = *state;
    float *table = resample(it->model, TABLE, TABLE);
    assert_memory_equal(table, it->table + WIDTH, TABLE * TABLE * WIDTH * sizeof *table);
    free(table);
}

/* Keys's kernel with a = -0.75. */
static double cubic(double x)
{
    x = fabs(x);
    return x < 1 ? 1.25 * x * x * x - 2.25 * x * x + 1 : x < 2 ? -0.75 * (x * x * x - 5 * x * x + 8 * x - 4) : 0;
}

/* One number of the table for cell (row, column) of a rows x columns grid: every cell of the table weighted by the kernel,
 * those beyond an edge being the edge's. */
static double resampled(const fixture *it, size_t row, size_t column, size_t rows, size_t columns, size_t channel)
{
    double y = ((double)row + 0.5) * TABLE / ((double)rows + 0.1) - 0.5;
    double x = ((double)column + 0.5) * TABLE / ((double)columns + 0.1) - 0.5, sum = 0;
    for (int i = -3; i < TABLE + 3; i++) {
        for (int j = -3; j < TABLE + 3 && cubic(y - i) != 0; j++) {
            int r = i < 0 ? 0 : i >= TABLE ? TABLE - 1 : i, c = j < 0 ? 0 : j >= TABLE ? TABLE - 1 : j;
            sum += cubic(y - i) * cubic(x - j) * (double)it->table[(1 + r * TABLE + c) * WIDTH + (int)channel];
        }
    }
    return sum;
}

static void test_formula(void **state)
{
    static const size_t grids[][2] = {{1, 1}, {2, 5}, {24, 36}, {37, 36}, {50, 3}};
    const fixture *it = *state;
    for (size_t g = 0; g < sizeof grids / sizeof *grids; g++) {
        size_t rows = grids[g][0], columns = grids[g][1];
        float *table = resample(it->model, rows, columns);
        for (size_t cell = 0; cell < rows * columns; cell += 1 + rows * columns / 60) {
            for (size_t channel = 0; channel < WIDTH; channel += 19) {
                float expected = (float)resampled(it, cell / columns, cell % columns, rows, columns, channel);
                assert_close("position table", &table[cell * WIDTH + channel], &expected, 1, 2e-5f);
            }
        }
        free(table);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_golden), cmocka_unit_test(test_own_grid_is_the_table),
                                       cmocka_unit_test(test_formula)};
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
