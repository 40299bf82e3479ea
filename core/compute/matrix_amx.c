/* Products in bfloat16 by AMX: sums of 2 x 2 tiles, each tile 16 rows of 64 bytes; in float32 by AVX-512. The Makefile gives this
 * file alone flags of its own.
 */
#if defined(__x86_64__)
#define TILES be_tiles_amx
#define LANES 16
#include "core/compute/tiles_block.inc"

/* A strip's block, 24 KB, stays in the first-level cache while the rows' blocks, as large, go by. */
enum { GROUP_ROWS = 2 * BE_TILE_ROWS, STRIP_TILES = 2, INNER_TILES = 12, STEPS_AHEAD = 4 };

/* --- tiles -------------------------------------------------------------------------------------------------------- */

/* `tile` is a number from 0 to 7, written out; strides are bytes from a row to the next. */
#define tile_zero(tile) __asm__ volatile("tilezero %%tmm" #tile ::)
#define tile_load(tile, from, stride) \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile ::"r"((const void *)(from)), "r"((size_t)(stride)) : "memory")
#define tile_store(tile, to, stride) \
    __asm__ volatile("tilestored %%tmm" #tile ", (%0,%1,1)" ::"r"((void *)(to)), "r"((size_t)(stride)) : "memory")
#define tile_dot(sums, a, b) __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #sums ::)

static void begin_tiles(void)
{
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } tiles = {.palette = 1};
    for (int i = 0; i < 8; i++)
        tiles.row_bytes[i] = 64, tiles.rows[i] = BE_TILE_ROWS;
    __asm__ volatile("ldtilecfg %0" ::"m"(tiles));
}

static void end_tiles(void)
{
    __asm__ volatile("tilerelease" ::: "memory");
}

/* --- blocks ------------------------------------------------------------------------------------------------------- */

enum { TILE_STRIDE = BE_TILE_INNER * sizeof(uint16_t) };

ALWAYS_INLINE void begin_sums(const block *it, const bool two_rows, const bool two_columns)
{
    size_t stride = it->stride * sizeof(float);
    const float *below = it->sums + BE_TILE_ROWS * it->stride;
    if (!it->add) {
        tile_zero(0);
        tile_zero(1);
        tile_zero(2);
        tile_zero(3);
        return;
    }
    tile_load(0, it->sums, stride);
    if (two_columns)
        tile_load(1, it->sums + BE_TILE_ROWS, stride);
    if (two_rows)
        tile_load(2, below, stride);
    if (two_rows && two_columns)
        tile_load(3, below + BE_TILE_ROWS, stride);
}

ALWAYS_INLINE void end_sums(const block *it, const bool two_rows, const bool two_columns)
{
    size_t stride = it->stride * sizeof(float);
    float *below = it->sums + BE_TILE_ROWS * it->stride;
    tile_store(0, it->sums, stride);
    if (two_columns)
        tile_store(1, it->sums + BE_TILE_ROWS, stride);
    if (two_rows)
        tile_store(2, below, stride);
    if (two_rows && two_columns)
        tile_store(3, below + BE_TILE_ROWS, stride);
}

/* Asks for what is read soon: the rows' tiles a few steps ahead, of the next block where this one ends; and this block's share
 * of the weight's next. */
ALWAYS_INLINE void fetch_ahead(const block *it, size_t part, size_t place, const bool two_rows, const bool two_columns)
{
    size_t end = it->inner_tiles * BE_TILE_SIZE, ahead = place + STEPS_AHEAD * BE_TILE_SIZE;
    const uint16_t *a = ahead < end ? it->a[part] : it->next_a[part];
    for (size_t row = 0; row < BE_TILE_ROWS; row++) {
        size_t line = (ahead < end ? ahead : ahead - end) + row * BE_TILE_INNER;
        fetch(a, line, true);
        if (two_rows)
            fetch(a, it->a_step + line, true);
    }
    for (size_t row = it->next_from; row < it->next_to; row++) {
        size_t line = place + row * BE_TILE_INNER;
        fetch(it->next_b[part], line, false);
        if (two_columns)
            fetch(it->next_b[part], it->b_step + line, false);
    }
}

ALWAYS_INLINE void multiply_sizes(const block *it, const bool two_rows, const bool two_columns)
{
    begin_sums(it, two_rows, two_columns);
    for (size_t part = 0; part < it->parts; part++) {
        const uint16_t *a = it->a[part], *b = it->b[part];
        for (size_t place = 0; place < it->inner_tiles * BE_TILE_SIZE; place += BE_TILE_SIZE) {
            tile_load(6, b + place, TILE_STRIDE);
            tile_load(4, a + place, TILE_STRIDE);
            tile_dot(0, 4, 6);
            if (two_columns) {
                tile_load(7, b + it->b_step + place, TILE_STRIDE);
                tile_dot(1, 4, 7);
            }
            if (two_rows) {
                tile_load(5, a + it->a_step + place, TILE_STRIDE);
                tile_dot(2, 5, 6);
            }
            if (two_rows && two_columns)
                tile_dot(3, 5, 7);
            fetch_ahead(it, part, place, two_rows, two_columns);
            finish_some(it->waiting, it->share);
        }
    }
    end_sums(it, two_rows, two_columns);
}

static void multiply_block(const block *it)
{
    bool two_rows = it->row_tiles == 2, two_columns = it->column_tiles == 2;
    if (two_rows && two_columns)
        multiply_sizes(it, true, true);
    else if (two_rows)
        multiply_sizes(it, true, false);
    else if (two_columns)
        multiply_sizes(it, false, true);
    else
        multiply_sizes(it, false, false);
}

#include "core/compute/tiles.inc"
#else
typedef int be_no_such_processor; /* an empty file is not C */
#endif
