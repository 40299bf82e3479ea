/* What the tests of the tile instructions share: each of them as a function, configurations, and tiles in memory. */
#ifndef BRAINENC_TESTS_TILE_SUPPORT_H
#define BRAINENC_TESTS_TILE_SUPPORT_H

#include "tests/unit/matrix_support.h"
#include "tests/unit/support.h"
#include "tests/unit/tile_instructions.h"

typedef enum tiles_here { NO_TILES, EMULATED, IN_HARDWARE } tiles_here;

/* To be called first in every test. */
static inline tiles_here find_tiles(void)
{
    be_isa isas[BE_ISA_MAX];
    size_t count = all_isas(isas);
    if (strcmp(isas[0].name, "amx") == 0)
        return IN_HARDWARE;
    return strcmp(isas[count - 1].name, "amx") == 0 ? EMULATED : NO_TILES;
}

typedef struct configuration {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[8], no_bytes[8];
    uint8_t rows[8], no_rows[8];
} configuration;
_Static_assert(sizeof(configuration) == 64, "as LDTILECFG reads it");

/* Tile 0 is the product, 2 x 3, of tiles 1, 2 x 8, and 2, 8 x 3; tile 4's rows are no whole words, tile 5 is large. */
static const configuration small = {
    .palette = 1, .row_bytes = {12, 16, 12, 0, 6, 64, 0, 0}, .rows = {2, 2, 4, 0, 3, 16, 0, 0},
};

static inline void configure(const configuration *it)
{
    __asm__ volatile("ldtilecfg %0" ::"m"(*it));
}

static inline void release(void)
{
    __asm__ volatile("tilerelease" ::: "memory");
}

/* A function of one instruction, or of code the assembler would not write; `place` is in %rax, 64 is in %rcx. */
#define CODE(name, text) \
    static inline void name(void *place) \
    { \
        __asm__ volatile(text ::"a"(place), "c"((size_t)64) : "memory"); \
    }

CODE(load_0, "tileloadd (%%rax,%%rcx,1), %%tmm0")
CODE(load_5_once, "tileloaddt1 (%%rax,%%rcx,1), %%tmm5")
CODE(store_0, "tilestored %%tmm0, (%%rax,%%rcx,1)")
CODE(multiply, "tdpbf16ps %%tmm2, %%tmm1, %%tmm0")

/* Rows 64 bytes apart, as many as the largest tile has. */
typedef struct area {
    uint8_t bytes[16][64];
} area;

static inline area make_area(unsigned first)
{
    area it;
    for (size_t i = 0; i < sizeof it; i++)
        it.bytes[i / 64][i % 64] = (uint8_t)(first + 7 * i + i / 64);
    return it;
}

/* `found` holds the first `width` bytes of rows `from` to `to` - 1 of `wanted`, and else what `before` does. */
static inline void assert_rows(const area *found, const area *wanted, size_t from, size_t to, size_t width, const area *before)
{
    for (size_t row = 0; row < 16; row++) {
        bool inside = row >= from && row < to;
        assert_memory_equal(found->bytes[row], (inside ? wanted : before)->bytes[row], width);
        assert_memory_equal(found->bytes[row] + width, before->bytes[row] + width, 64 - width);
    }
}

#endif
