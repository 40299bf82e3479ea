/* Products in bfloat16 by AVX512-BF16's dot products of pairs, in float32 by AVX-512: the Makefile gives this file alone the flags
 * for it. */
#if defined(__x86_64__)
#define TILES be_tiles_avx512bf16
#define LANES 16
#include "core/compute/tiles_block.inc"

/* 24 sums in registers, 3 of a weight, and the pair of a row; a block of a weight, 96 KB, stays in the second-level cache. */
enum { GROUP_ROWS = 8, STRIP_TILES = 3, INNER_TILES = 32 };

/* One tile of inner. */
ALWAYS_INLINE void multiply_tile(__m512 sums[GROUP_ROWS][STRIP_TILES], const uint16_t *a, const uint16_t *b, size_t b_step,
                                 const size_t columns)
{
    for (size_t pair = 0; pair < BE_TILE_ROWS; pair++, a += 2, b += 2 * BE_TILE_ROWS) {
        __m512i weights[STRIP_TILES];
#pragma GCC unroll 3
        for (size_t column = 0; column < columns; column++)
            weights[column] = _mm512_loadu_si512(b + column * b_step);
#pragma GCC unroll 8
        for (size_t row = 0; row < GROUP_ROWS; row++) {
            int32_t bits;
            memcpy(&bits, a + row * BE_TILE_INNER, sizeof bits);
            __m512i both = _mm512_set1_epi32(bits);
#pragma GCC unroll 3
            for (size_t column = 0; column < columns; column++)
                sums[row][column] = _mm512_dpbf16_ps(sums[row][column], (__m512bh)both, (__m512bh)weights[column]);
        }
    }
}

/* Asks for this block's share of what the next ones read of the weight. */
ALWAYS_INLINE void fetch_weight(const block *it, size_t part, size_t place, const size_t columns)
{
    for (size_t row = it->next_from; row < it->next_to; row++) {
#pragma GCC unroll 3
        for (size_t column = 0; column < columns; column++)
            fetch(it->next_b[part], column * it->b_step + place + row * BE_TILE_INNER, false);
    }
}

/* The loops run at least once: knowing it, the compiler leaves the sums in their registers. */
ALWAYS_INLINE void multiply_columns(const block *it, const size_t columns)
{
    __m512 sums[GROUP_ROWS][STRIP_TILES];
    float *before = it->sums;
    const size_t stride = it->stride, parts = it->parts, end = it->inner_tiles * BE_TILE_SIZE;
    if (it->add) {
#pragma GCC unroll 8
        for (size_t row = 0; row < GROUP_ROWS; row++) {
#pragma GCC unroll 3
            for (size_t column = 0; column < columns; column++)
                sums[row][column] = _mm512_loadu_ps(before + row * stride + column * BE_TILE_ROWS);
        }
    } else {
#pragma GCC unroll 8
        for (size_t row = 0; row < GROUP_ROWS; row++) {
#pragma GCC unroll 3
            for (size_t column = 0; column < columns; column++)
                sums[row][column] = _mm512_setzero_ps();
        }
    }
    size_t part = 0;
    do {
        size_t place = 0;
        do {
            multiply_tile(sums, it->a[part] + place, it->b[part] + place, it->b_step, columns);
            fetch_weight(it, part, place, columns);
        } while ((place += BE_TILE_SIZE) < end);
    } while (++part < parts);
#pragma GCC unroll 8
    for (size_t row = 0; row < GROUP_ROWS; row++) {
#pragma GCC unroll 3
        for (size_t column = 0; column < columns; column++)
            _mm512_storeu_ps(before + row * stride + column * BE_TILE_ROWS, sums[row][column]);
    }
}

static void multiply_block(const block *it)
{
    switch (it->column_tiles) {
    case 1: multiply_columns(it, 1); break;
    case 2: multiply_columns(it, 2); break;
    default: multiply_columns(it, 3); break;
    }
    finish_some(it->waiting, it->share * it->inner_tiles * it->parts); /* a few at a time: their stores need not be waited for */
}

static void begin_tiles(void)
{
}

static void end_tiles(void)
{
}

#include "core/compute/tiles.inc"
#else
typedef int be_no_such_processor; /* an empty file is not C */
#endif
