#include "tests/unit/tile_instructions.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

/* --- tiles -------------------------------------------------------------------------------------------------------- */

/* Palette 1, the only one. */
enum { TILES = 8, MOST_ROWS = 16, MOST_BYTES = 64, WORD_BYTES = 4, MOST_WORDS = MOST_BYTES / WORD_BYTES };

typedef struct tile {
    size_t rows, row_bytes; /* 0 and 0: it is not configured */
    uint32_t words[MOST_ROWS][MOST_WORDS]; /* what is beyond its rows and bytes no instruction shows */
} tile;

/* A thread's own, as the processor's: all zeros when it begins. */
static _Thread_local struct {
    bool configured;
    size_t start_row;
    tile tiles[TILES];
} state;

/* --- instructions ------------------------------------------------------------------------------------------------- */

typedef struct instruction {
    unsigned reg, rm, vvvv; /* the registers that ModRM's two fields and VEX's vvvv name, 0 to 15 */
    bool sib;
    uintptr_t base, index;  /* of an operand in memory: base + displacement, index << scale (0 without one) */
    size_t length;          /* bytes of code */
} instruction;

/* NULL, or the sentence for which the processor would raise an exception; then nothing was done. */
typedef const char *operation(const instruction *it);

static const char *check_tile(unsigned number)
{
    if (!state.configured)
        return "no tiles are configured";
    if (number >= TILES)
        return "the tiles are 0 to 7";
    if (state.tiles[number].rows == 0)
        return "a tile has no size in the configuration";
    return NULL;
}

static const char *check_words(unsigned number)
{
    const char *refused = check_tile(number);
    if (!refused && state.tiles[number].row_bytes % WORD_BYTES != 0)
        return "a tile's row is no whole number of 4 bytes";
    return refused;
}

static const char *check_moved(const instruction *it)
{
    const char *refused = check_words(it->reg);
    if (refused)
        return refused;
    if (!it->sib)
        return "the address of a tile in memory has no SIB byte";
    if (state.start_row >= state.tiles[it->reg].rows)
        return "start_row is not one of the tile's rows";
    return NULL;
}

static const char *check_product(const instruction *it)
{
    const unsigned numbers[] = {it->reg, it->rm, it->vvvv};
    if (it->reg == it->rm || it->reg == it->vvvv || it->rm == it->vvvv)
        return "two of a product's three tiles are one";
    for (int i = 0; i < 3; i++) {
        const char *refused = check_words(numbers[i]);
        if (refused)
            return refused;
    }
    const tile *sums = &state.tiles[it->reg], *a = &state.tiles[it->rm], *b = &state.tiles[it->vvvv];
    if (sums->rows != a->rows)
        return "the sums have not the rows of the first factor";
    if (sums->row_bytes != b->row_bytes)
        return "the sums have not the columns of the second factor";
    if (a->row_bytes / WORD_BYTES != b->rows)
        return "the second factor has not a row for each pair of the first";
    return NULL;
}

static const char *release_tiles(const instruction *it)
{
    (void)it;
    memset(&state, 0, sizeof state);
    return NULL;
}

static bool any_set(const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (bytes[i])
            return true;
    }
    return false;
}

/* Bytes 0 palette, 1 start_row, 16 to 31 bytes a row of each tile, 48 to 55 rows of each. */
static const char *load_configuration(const instruction *it)
{
    uint8_t bytes[64];
    uint16_t row_bytes[TILES];
    memcpy(bytes, (const void *)(it->base + it->index), sizeof bytes);
    memcpy(row_bytes, bytes + 16, sizeof row_bytes);
    if (bytes[0] == 0)
        return release_tiles(it);
    if (bytes[0] != 1)
        return "the palettes are 0 and 1";
    if (any_set(bytes + 2, 14) || any_set(bytes + 32, 16) || any_set(bytes + 56, 8))
        return "a reserved byte of the configuration is not 0";
    for (int i = 0; i < TILES; i++) {
        if (row_bytes[i] > MOST_BYTES)
            return "a tile's row has more than 64 bytes";
        if (bytes[48 + i] > MOST_ROWS)
            return "a tile has more than 16 rows";
        if ((row_bytes[i] == 0) != (bytes[48 + i] == 0))
            return "a tile has rows without bytes or bytes without rows";
    }
    memset(&state, 0, sizeof state);
    state.configured = true, state.start_row = bytes[1];
    for (int i = 0; i < TILES; i++)
        state.tiles[i].rows = bytes[48 + i], state.tiles[i].row_bytes = row_bytes[i];
    return NULL;
}

static const char *zero_tile(const instruction *it)
{
    const char *refused = check_tile(it->reg);
    if (refused)
        return refused;
    memset(state.tiles[it->reg].words, 0, sizeof state.tiles[it->reg].words);
    state.start_row = 0;
    return NULL;
}

static const char *load_tile(const instruction *it)
{
    const char *refused = check_moved(it);
    if (refused)
        return refused;
    tile *to = &state.tiles[it->reg];
    for (size_t row = state.start_row; row < to->rows; row++)
        memcpy(to->words[row], (const void *)(it->base + row * it->index), to->row_bytes);
    state.start_row = 0;
    return NULL;
}

static const char *store_tile(const instruction *it)
{
    const char *refused = check_moved(it);
    if (refused)
        return refused;
    const tile *from = &state.tiles[it->reg];
    for (size_t row = state.start_row; row < from->rows; row++)
        memcpy((void *)(it->base + row * it->index), from->words[row], from->row_bytes);
    state.start_row = 0;
    return NULL;
}

__attribute__((target("avx512f"))) static inline __m512 floats_of(__m512i bits)
{
    return _mm512_castsi512_ps(bits);
}

/* A row of the sums: those of the even and of the odd places have a register each, and their sum is added at the end. */
__attribute__((target("avx512f"), noinline)) static void add_row(uint32_t *sums, const uint32_t *a, const tile *b)
{
    __m512 even = _mm512_setzero_ps(), odd = _mm512_setzero_ps();
    const __m512i upper = _mm512_set1_epi32((int)0xffff0000);
    for (size_t pair = 0; pair < b->rows; pair++) {
        __m512i left = _mm512_set1_epi32((int)a[pair]), right = _mm512_loadu_si512(b->words[pair]);
        even = _mm512_fmadd_ps(floats_of(_mm512_slli_epi32(left, 16)), floats_of(_mm512_slli_epi32(right, 16)), even);
        odd = _mm512_fmadd_ps(floats_of(_mm512_and_si512(left, upper)), floats_of(_mm512_and_si512(right, upper)), odd);
    }
    _mm512_storeu_ps(sums, _mm512_add_ps(_mm512_loadu_ps(sums), _mm512_add_ps(even, odd)));
}

static const char *add_product(const instruction *it)
{
    /* Whatever the program has set, which holds again when the handler returns: rounded to nearest, denormal numbers taken and
     * given as 0, no exception. */
    enum { ARITHMETIC = _MM_MASK_MASK | _MM_FLUSH_ZERO_ON | _MM_DENORMALS_ZERO_ON };
    const char *refused = check_product(it);
    if (refused)
        return refused;
    tile *sums = &state.tiles[it->reg];
    const tile *a = &state.tiles[it->rm], *b = &state.tiles[it->vvvv];
    _mm_setcsr(ARITHMETIC);
    for (size_t row = 0; row < sums->rows; row++)
        add_row(sums->words[row], a->words[row], b);
    state.start_row = 0;
    return NULL;
}

/* --- decoding ----------------------------------------------------------------------------------------------------- */

enum { PREFIX_NONE, PREFIX_66, PREFIX_F3, PREFIX_F2 };

/* Of the opcodes VEX.128.0F38.W0. */
static const struct {
    uint8_t opcode, prefix;
    bool in_memory;
    uint8_t zeros; /* bits of ModRM that belong to the opcode */
    const char *name;
    operation *run;
} operations[] = {
    {0x49, PREFIX_NONE, true, 0x38, "ldtilecfg", load_configuration},
    {0x49, PREFIX_NONE, false, 0x3f, "tilerelease", release_tiles},
    {0x49, PREFIX_F2, false, 0x07, "tilezero", zero_tile},
    {0x4b, PREFIX_F2, true, 0, "tileloadd", load_tile},
    {0x4b, PREFIX_66, true, 0, "tileloaddt1", load_tile},
    {0x4b, PREFIX_F3, true, 0, "tilestored", store_tile},
    {0x5c, PREFIX_F3, false, 0, "tdpbf16ps", add_product},
};
enum { OPERATIONS = sizeof operations / sizeof *operations };

static uintptr_t value_of(const greg_t *registers, unsigned number)
{
    static const int places[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                 REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    return (uintptr_t)registers[places[number]];
}

static uintptr_t signed_bytes(const uint8_t *code, size_t count)
{
    int8_t byte;
    int32_t word;
    if (count == 0)
        return 0;
    if (count == 1)
        return memcpy(&byte, code, sizeof byte), (uintptr_t)(intptr_t)byte;
    return memcpy(&word, code, sizeof word), (uintptr_t)(intptr_t)word;
}

/* `at` is where ModRM is; X and B are 8 or 0, what VEX adds to a register's number. */
static void decode_memory(instruction *it, const uint8_t *code, size_t at, unsigned x, unsigned b, const greg_t *registers)
{
    static const size_t displacements[] = {0, 1, 4};
    unsigned mode = code[at] >> 6, base = code[at] & 7;
    size_t displacement = displacements[mode];
    at++;
    it->sib = base == 4;
    if (it->sib) {
        unsigned sib = code[at++], index = (sib >> 3 & 7) | x;
        base = sib & 7;
        it->index = index == 4 ? 0 : value_of(registers, index) << (sib >> 6);
    }
    bool none = mode == 0 && base == 5; /* whatever VEX adds; without a SIB byte: from the next instruction on */
    if (none)
        displacement = 4;
    it->length = at + displacement;
    it->base = !none ? value_of(registers, base | b) : it->sib ? 0 : (uintptr_t)registers[REG_RIP] + it->length;
    it->base += signed_bytes(code + at, displacement);
}

/* The place in `operations` of the instruction that `registers` stand at, or OPERATIONS. */
static size_t decode(instruction *it, const greg_t *registers)
{
    const uint8_t *code = (const uint8_t *)registers[REG_RIP];
    enum { THREE_BYTE_VEX = 0xc4, MAP_0F38 = 2, WIDE = 0x80, LONG = 4, MODRM = 4 };
    if (code[0] != THREE_BYTE_VEX || (code[1] & 0x1f) != MAP_0F38 || (code[2] & (WIDE | LONG)))
        return OPERATIONS;
    unsigned r = code[1] & 0x80 ? 0 : 8, x = code[1] & 0x40 ? 0 : 8, b = code[1] & 0x20 ? 0 : 8;
    bool in_memory = code[MODRM] < 0xc0;
    *it = (instruction){.reg = (code[MODRM] >> 3 & 7) | r, .rm = (code[MODRM] & 7) | b, .vvvv = ~code[2] >> 3 & 15};
    it->length = MODRM + 1;
    for (size_t i = 0; i < OPERATIONS; i++) {
        if (operations[i].opcode != code[3] || operations[i].prefix != (code[2] & 3) || operations[i].in_memory != in_memory ||
            (operations[i].zeros & code[MODRM]))
            continue;
        if (in_memory)
            decode_memory(it, code, MODRM, x, b, registers);
        return i;
    }
    return OPERATIONS;
}

/* --- the signal --------------------------------------------------------------------------------------------------- */

static _Thread_local bool skips;
static _Thread_local const char *first_refused;

static void print(const char *text)
{
    if (write(STDERR_FILENO, text, strlen(text)) < 0)
        return; /* the program ends anyway */
}

static const char *execute(size_t number, const instruction *it)
{
    if (it->vvvv != 0 && operations[number].run != add_product)
        return "VEX.vvvv names an operand where there is none";
    return operations[number].run(it);
}

/* The instruction is met again when the handler returns: without one, it ends the program. */
static void refuse(int signal_number, const char *name, const char *sentence)
{
    if (name)
        print(name), print(": "), print(sentence), print("\n");
    signal(signal_number, SIG_DFL);
}

static void meet_instruction(int signal_number, siginfo_t *information, void *context)
{
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    instruction it;
    size_t number = decode(&it, registers);
    (void)information;
    const char *refused = number < OPERATIONS ? execute(number, &it) : NULL;
    if (number == OPERATIONS || (refused && !skips)) {
        refuse(signal_number, refused ? operations[number].name : NULL, refused);
        return;
    }
    if (!first_refused)
        first_refused = refused;
    registers[REG_RIP] += (greg_t)it.length;
}

void emulate_tile_instructions(void)
{
    struct sigaction action = {.sa_sigaction = meet_instruction, .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    sigaction(SIGILL, &action, NULL);
}

const char *refused_tile_instruction(void (*run)(void *context), void *context)
{
    skips = true, first_refused = NULL;
    run(context);
    skips = false;
    return first_refused;
}
#else
typedef int no_tile_instructions; /* an empty file is not C */
#endif
