#include "core/compute/matrix.h"

#include <string.h>

#include "core/base/memory.h"
#include "core/compute/tiles.h"

static size_t round_up(size_t size, size_t step)
{
    return (size + step - 1) / step * step;
}

/* --- weights ------------------------------------------------------------------------------------------------------ */

/* The numbers in one packed form of [columns][inner]; false when they overflow. */
static bool packed_size(be_precision precision, size_t columns, size_t inner, size_t *count)
{
    size_t padded, padded_inner, step = precision == BE_PRECISION_F32 ? 1 : BE_TILE_INNER;
    return be_size_add(columns, BE_TILE_ROWS - 1, &padded) && be_size_add(inner, step - 1, &padded_inner) &&
           be_size_multiply(be_whole_tiles(columns), round_up(inner, step), count);
}

static size_t number_bytes(be_precision precision)
{
    return precision == BE_PRECISION_BF16 ? sizeof(uint16_t) : sizeof(float); /* bf16x3 holds two halves */
}

bool be_matrix_bytes(be_precision precision, size_t columns, size_t inner, size_t *bytes)
{
    size_t count;
    return packed_size(precision, columns, inner, &count) && be_size_multiply(count, number_bytes(precision), bytes);
}

void be_matrix_make(be_matrix *matrix, be_precision precision, size_t columns, size_t inner, void *memory)
{
    *matrix = (be_matrix){.precision = precision, .columns = columns, .inner = inner};
    if (precision == BE_PRECISION_F32)
        matrix->values = memory;
    else
        matrix->high = memory;
    if (precision == BE_PRECISION_BF16X3 && memory)
        matrix->low = matrix->high + be_whole_tiles(columns) * round_up(inner, BE_TILE_INNER);
}

void be_matrix_pack(be_matrix *matrix, const be_isa *isa, be_precision precision, const float *weight, size_t columns,
                    size_t inner, void *memory)
{
    be_matrix_make(matrix, precision, columns, inner, memory);
    isa->tiles->pack(matrix, weight, inner);
}

be_status be_matrix_keep(be_matrix *matrix, be_precision precision, const float *weight, size_t columns, size_t inner,
                         be_arena *arena, be_error *error)
{
    const be_isa *isa;
    size_t bytes;
    if (!be_matrix_bytes(precision, columns, inner, &bytes))
        return be_fail_memory(error, SIZE_MAX, "a packed weight");
    float *memory = be_arena_floats(arena, bytes / sizeof(float));
    if (!weight || !memory) {
        be_matrix_make(matrix, precision, columns, inner, memory);
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
    return be_whole_tiles(rows) * round_up(inner, BE_TILE_INNER) / 2;
}

/* The numbers past the last row and column, which products read, are zeros. */
static void clear_edges(uint16_t *values, size_t rows, size_t inner)
{
    size_t tiles = round_up(inner, BE_TILE_INNER) / BE_TILE_INNER, row_tiles = be_whole_tiles(rows) / BE_TILE_ROWS;
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
    *to = (be_activations){.precision = precision, .rows = rows, .inner = inner};
    if (precision == BE_PRECISION_F32) {
        to->stride = be_whole_tiles(inner) + BE_TILE_ROWS; /* rows a power of two apart would share the cache's places */
        to->values = to->room = be_arena_floats(arena, rows * to->stride);
    } else {
        to->high = take_part(rows, inner, arena);
    }
    if (precision == BE_PRECISION_BF16X3)
        to->low = take_part(rows, inner, arena);
}

static void view(be_activations *to, const float *in, size_t stride, size_t rows, size_t inner)
{
    *to = (be_activations){.precision = BE_PRECISION_F32, .rows = rows, .inner = inner, .values = in, .stride = stride};
}

void be_activations_make_over(be_activations *to, be_precision precision, float *values, size_t stride, size_t rows,
                              size_t inner, be_arena *arena)
{
    if (precision != BE_PRECISION_F32) {
        be_activations_make(to, precision, rows, inner, arena);
        return;
    }
    view(to, values, stride, rows, inner);
    to->room = values;
}

void be_activations_round(be_activations *to, const be_isa *isa, be_precision precision, const float *in, size_t stride,
                          size_t rows, size_t inner, float factor, be_arena *arena)
{
    if (precision == BE_PRECISION_F32 && factor == 1.0f) {
        view(to, in, stride, rows, inner);
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
    size_t used = arena->used;
    float *normal = precision == BE_PRECISION_F32 ? NULL : be_arena_floats(arena, inner);
    for (size_t row = 0; row < rows; row++) {
        float *out = normal ? normal : to->room + row * to->stride;
        isa->kernels->layer_norm(out, in + row * inner, gain, bias, 1, inner, epsilon);
        if (normal)
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

void be_matrix_multiply(const be_isa *isa, const be_matrix_product *product, be_arena *scratch)
{
    size_t used = scratch->used;
    if (product->in->rows == 0)
        return;
    float *sums = product->whole_tiles ? NULL : be_arena_floats(scratch, be_matrix_scratch(product->in->rows));
    isa->tiles->multiply(product, sums);
    scratch->used = used;
}

void be_matrix_linear(const be_isa *isa, const be_matrix *weight, const float *bias, const float *in, size_t rows, float *out,
                      size_t out_stride, be_arena *scratch)
{
    size_t used = scratch->used, inner = weight->inner;
    be_activations rounded;
    be_activations_round(&rounded, isa, weight->precision, in, inner, rows, inner, 1.0f, scratch);
    be_matrix_multiply(isa, &(be_matrix_product){.in = &rounded, .weight = weight, .epilogue = BE_EPILOGUE_BIAS, .bias = bias,
                                                 .out = out, .out_stride = out_stride}, scratch);
    scratch->used = used;
}

size_t be_matrix_scratch(size_t rows)
{
    return 2 * be_whole_tiles(rows) * BE_TILES_WIDEST;
}
