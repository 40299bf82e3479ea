#include "core/compute/matrix.h"

#include <string.h>

#include "core/base/memory.h"
#include "core/compute/product.h"
#include "core/compute/tiles.h"

enum { PANEL_STEP = 32 }; /* the most rows that any be_tiles works on at a time */

static size_t round_up(size_t size, size_t step)
{
    return (size + step - 1) / step * step;
}

/* --- weights ------------------------------------------------------------------------------------------------------ */

/* The numbers in one packed form of [rows][inner]; false when they overflow. */
static bool packed_size(size_t rows, size_t inner, size_t *count)
{
    size_t padded_rows, padded_inner;
    return be_size_add(rows, BE_TILE_ROWS - 1, &padded_rows) && be_size_add(inner, BE_TILE_INNER - 1, &padded_inner) &&
           be_size_multiply(round_up(rows, BE_TILE_ROWS), round_up(inner, BE_TILE_INNER), count);
}

static size_t parts_of(be_precision precision)
{
    return precision == BE_PRECISION_F32 ? 0 : precision == BE_PRECISION_BF16 ? 1 : 2;
}

bool be_matrix_bytes(be_precision precision, size_t columns, size_t inner, size_t *bytes)
{
    size_t count;
    return packed_size(columns, inner, &count) && be_size_multiply(count, parts_of(precision) * sizeof(uint16_t), bytes);
}

void be_matrix_make(be_matrix *matrix, be_precision precision, size_t columns, size_t inner, void *memory)
{
    *matrix = (be_matrix){.precision = precision, .columns = columns, .inner = inner};
    if (precision != BE_PRECISION_F32)
        matrix->high = memory;
    if (precision == BE_PRECISION_BF16X3 && memory)
        matrix->low = matrix->high + round_up(columns, BE_TILE_ROWS) * round_up(inner, BE_TILE_INNER);
}

void be_matrix_pack(be_matrix *matrix, const be_isa *isa, be_precision precision, const float *weight, size_t columns,
                    size_t inner, void *memory)
{
    be_matrix_make(matrix, precision, columns, inner, memory);
    if (precision == BE_PRECISION_F32)
        matrix->values = weight;
    else
        isa->tiles->pack(matrix, weight, inner);
}

be_status be_matrix_keep(be_matrix *matrix, be_precision precision, const float *weight, size_t columns, size_t inner,
                         be_arena *arena, be_error *error)
{
    const be_isa *isa;
    size_t bytes = columns * inner * sizeof(float); /* of an array there is */
    *matrix = (be_matrix){.precision = precision, .columns = columns, .inner = inner};
    if (precision != BE_PRECISION_F32 && !be_matrix_bytes(precision, columns, inner, &bytes))
        return be_fail_memory(error, SIZE_MAX, "a packed weight");
    float *memory = be_arena_floats(arena, (bytes + sizeof(float) - 1) / sizeof(float));
    if (!weight || !memory)
        return BE_OK;
    if (precision == BE_PRECISION_F32) {
        memcpy(memory, weight, bytes);
        matrix->values = memory;
        return BE_OK;
    }
    be_status status = be_isa_select(NULL, &isa, error); /* each packs alike */
    if (status == BE_OK)
        be_matrix_pack(matrix, isa, precision, weight, columns, inner, memory);
    return status;
}

/* --- activations -------------------------------------------------------------------------------------------------- */

static size_t packed_floats(size_t rows, size_t inner)
{
    return round_up(rows, BE_TILE_ROWS) * round_up(inner, BE_TILE_INNER) / 2;
}

/* The numbers past the last row and column, which products read, are zeros. */
static void clear_edges(uint16_t *values, size_t rows, size_t inner)
{
    size_t tiles = round_up(inner, BE_TILE_INNER) / BE_TILE_INNER, row_tiles = round_up(rows, BE_TILE_ROWS) / BE_TILE_ROWS;
    for (size_t row = 0; row < row_tiles && inner % BE_TILE_INNER; row++)
        memset(values + ((row + 1) * tiles - 1) * BE_TILE_SIZE, 0, BE_TILE_SIZE * sizeof *values);
    for (size_t tile = 0; tile < tiles && rows % BE_TILE_ROWS; tile++) {
        uint16_t *last = values + ((row_tiles - 1) * tiles + tile) * BE_TILE_SIZE;
        size_t used = rows % BE_TILE_ROWS * BE_TILE_INNER;
        memset(last + used, 0, (BE_TILE_SIZE - used) * sizeof *last);
    }
}

static uint16_t *take_part(size_t rows, size_t inner, be_arena *arena)
{
    uint16_t *values = (uint16_t *)(void *)be_arena_floats(arena, packed_floats(rows, inner));
    if (values)
        clear_edges(values, rows, inner);
    return values;
}

void be_activations_make(be_activations *to, be_precision precision, size_t rows, size_t inner, be_arena *arena)
{
    *to = (be_activations){.precision = precision, .rows = rows, .inner = inner, .stride = inner};
    if (precision == BE_PRECISION_F32)
        to->values = to->room = be_arena_floats(arena, rows * inner);
    else
        to->high = take_part(rows, inner, arena);
    if (precision == BE_PRECISION_BF16X3)
        to->low = take_part(rows, inner, arena);
}

void be_activations_round(be_activations *to, const be_isa *isa, be_precision precision, const float *in, size_t stride,
                          size_t rows, size_t inner, float factor, be_arena *arena)
{
    if (precision == BE_PRECISION_F32) {
        *to = (be_activations){.precision = precision, .rows = rows, .inner = inner, .values = in, .stride = stride};
        return;
    }
    be_activations_make(to, precision, rows, inner, arena);
    isa->tiles->round_rows(to, 0, in, stride, rows, factor);
}

void be_activations_layer_norm(be_activations *to, const be_isa *isa, be_precision precision, const float *in,
                               const float *gain, const float *bias, float epsilon, size_t rows, size_t inner,
                               be_arena *arena)
{
    be_activations_make(to, precision, rows, inner, arena);
    if (precision == BE_PRECISION_F32) {
        isa->kernels->layer_norm(to->room, in, gain, bias, rows, inner, epsilon);
        return;
    }
    size_t used = arena->used;
    float *normal = be_arena_floats(arena, inner);
    for (size_t row = 0; row < rows; row++) {
        isa->kernels->layer_norm(normal, in + row * inner, gain, bias, 1, inner, epsilon);
        isa->tiles->round_rows(to, row, normal, inner, 1, 1.0f);
    }
    arena->used = used;
}

size_t be_activations_floats(be_precision precision, size_t rows, size_t inner)
{
    be_arena counting = {0};
    be_activations made;
    be_activations_make(&made, precision, rows, inner, &counting);
    be_arena_floats(&counting, precision == BE_PRECISION_F32 ? 0 : inner);
    return counting.used / sizeof(float);
}

/* --- products ----------------------------------------------------------------------------------------------------- */

/* One row of a product in float32: y is where the product was written. */
static void finish_row(const be_kernels *kernels, const be_matrix_product *product, float *out, float *y, size_t row)
{
    size_t columns = product->weight->columns;
    switch (product->epilogue) {
    case BE_EPILOGUE_NONE: break;
    case BE_EPILOGUE_BIAS: kernels->bias_add(y, product->bias, 1, columns, columns); break;
    case BE_EPILOGUE_GELU: kernels->bias_gelu(y, product->bias, 1, columns); break;
    case BE_EPILOGUE_QUICK_GELU: kernels->bias_quick_gelu(y, product->bias, 1, columns); break;
    case BE_EPILOGUE_RELU: kernels->bias_relu(y, product->bias, 1, columns); break;
    case BE_EPILOGUE_RESIDUAL: kernels->residual_add(out, y, product->bias, product->scale, 1, columns); break;
    case BE_EPILOGUE_SCALE_ROWS:
        for (size_t i = 0; i < columns; i++)
            y[i] *= product->scale[row];
        break;
    }
}

static void multiply_f32(const be_kernels *kernels, const be_matrix_product *product, be_arena *scratch)
{
    const be_activations *in = product->in;
    size_t columns = product->weight->columns, inner = product->weight->inner;
    size_t stride = product->packed ? columns : product->out_stride, y_stride = stride;
    float *out = product->packed ? product->packed->room : product->out, *y = out;
    if (product->epilogue == BE_EPILOGUE_RESIDUAL)
        y = be_arena_floats(scratch, in->rows * columns), y_stride = columns;
    be_product_transposed(y, y_stride, in->values, in->stride, product->weight->values, inner, in->rows, columns, inner, 1.0f,
                          false);
    for (size_t row = 0; row < in->rows; row++)
        finish_row(kernels, product, out + row * stride, y + row * y_stride, row);
}

void be_matrix_multiply(const be_isa *isa, const be_matrix_product *product, be_arena *scratch)
{
    size_t used = scratch->used;
    if (product->weight->precision == BE_PRECISION_F32) {
        multiply_f32(isa->kernels, product, scratch);
    } else {
        float *sums = product->whole_tiles ? NULL : be_arena_floats(scratch, be_tiles_sums(product->in->rows));
        isa->tiles->multiply(product, sums);
    }
    scratch->used = used;
}

size_t be_tiles_sums(size_t rows)
{
    return 2 * round_up(rows, BE_TILE_ROWS) * BE_TILES_WIDEST;
}

size_t be_matrix_scratch(be_precision precision, size_t rows, size_t columns)
{
    return precision == BE_PRECISION_F32 ? rows * columns : be_tiles_sums(rows);
}

size_t be_matrix_panel_start(size_t rows, size_t panel)
{
    size_t start = be_panel_start(round_up(rows, PANEL_STEP) / PANEL_STEP, be_panels(rows), panel) * PANEL_STEP;
    return start < rows ? start : rows;
}
