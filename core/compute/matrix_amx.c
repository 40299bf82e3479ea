/* Products in bfloat16 by AMX: sums of 2 x 2 tiles, each tile 16 rows of 64 bytes; in float32 by AVX-512. The Makefile gives this
 * file alone flags of its own. With BE_TILES_EMULATED the tiles are plain C: so the tests see everything but the instructions
 * themselves on any processor.
 */
#if defined(__x86_64__) || defined(BE_TILES_EMULATED)
#ifdef BE_TILES_EMULATED
#define TILES be_tiles_emulated
#define LANES 4
#else
#define TILES be_tiles_amx
#define LANES 16
#endif
#include "core/compute/tiles_block.inc"

/* A strip's block, 24 KB, stays in the first-level cache while the rows' blocks, as large, go by. */
enum { GROUP_ROWS = 2 * BE_TILE_ROWS, STRIP_TILES = 2, INNER_TILES = 12, STEPS_AHEAD = 4 };

/* --- tiles -------------------------------------------------------------------------------------------------------- */

/* `tile` is a number from 0 to 7, written out; strides are bytes from a row to the next. */
#ifdef BE_TILES_EMULATED
static _Thread_local float emulated_tiles[8][BE_TILE_ROWS][BE_TILE_ROWS];

static void emulated_zero(int tile)
{
    memset(emulated_tiles[tile], 0, sizeof emulated_tiles[tile]);
}

static void emulated_load(int tile, const void *from, size_t stride)
{
    for (size_t row = 0; row < BE_TILE_ROWS; row++)
        memcpy(emulated_tiles[tile][row], (const char *)from + row * stride, sizeof emulated_tiles[tile][row]);
}

static void emulated_store(int tile, void *to, size_t stride)
{
    for (size_t row = 0; row < BE_TILE_ROWS; row++)
        memcpy((char *)to + row * stride, emulated_tiles[tile][row], sizeof emulated_tiles[tile][row]);
}

static float emulated_number(int tile, size_t row, size_t i)
{
    uint16_t half;
    memcpy(&half, (const char *)emulated_tiles[tile][row] + i * sizeof half, sizeof half);
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* As the processor's manual has it: the even and the odd places of `inner` have a sum each. */
static void emulated_dot(int sums, int a, int b)
{
    for (size_t row = 0; row < BE_TILE_ROWS; row++) {
        for (size_t column = 0; column < BE_TILE_ROWS; column++) {
            float even = 0, odd = 0;
            for (size_t pair = 0; pair < BE_TILE_ROWS; pair++) {
                even += emulated_number(a, row, 2 * pair) * emulated_number(b, pair, 2 * column);
                odd += emulated_number(a, row, 2 * pair + 1) * emulated_number(b, pair, 2 * column + 1);
            }
            emulated_tiles[sums][row][column] += even + odd;
        }
    }
}

#define tile_zero(tile) emulated_zero(tile)
#define tile_load(tile, from, stride) emulated_load(tile, from, stride)
#define tile_store(tile, to, stride) emulated_store(tile, to, stride)
#define tile_dot(sums, a, b) emulated_dot(sums, a, b)
#else
#define tile_zero(tile) __asm__ volatile("tilezero %%tmm" #tile ::)
#define tile_load(tile, from, stride) \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile ::"r"((const void *)(from)), "r"((size_t)(stride)) : "memory")
#define tile_store(tile, to, stride) \
    __asm__ volatile("tilestored %%tmm" #tile ", (%0,%1,1)" ::"r"((void *)(to)), "r"((size_t)(stride)) : "memory")
#define tile_dot(sums, a, b) __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #sums ::)
#endif

static void begin_tiles(void)
{
#ifndef BE_TILES_EMULATED
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } tiles = {.palette = 1};
    for (int i = 0; i < 8; i++)
        tiles.row_bytes[i] = 64, tiles.rows[i] = BE_TILE_ROWS;
    __asm__ volatile("ldtilecfg %0" ::"m"(tiles));
#endif
}

static void end_tiles(void)
{
#ifndef BE_TILES_EMULATED
    __asm__ volatile("tilerelease" ::: "memory");
#endif
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
