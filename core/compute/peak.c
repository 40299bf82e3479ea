#include "core/compute/peak.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "core/base/clock.h"
#include "core/base/memory.h"

/* Many short rounds: one of them finds every thread undisturbed. */
enum { ROUNDS = 60, READING_ROUNDS = 10, STEPS = 4000 };
#define ROUND_SECONDS 0.004

/* --- instructions ------------------------------------------------------------------------------------------------- */

/* Each returns the floating-point operations it did. Independent sums are as many as the registers hold, so that no
 * instruction waits for another. */
typedef double run_steps(void);

typedef float four_floats __attribute__((vector_size(16)));

/* No fewer registers than these are there on any processor with vectors. */
static double run_generic(void)
{
    enum { SUMS = 12, FLOATS = 4 };
    four_floats sums[SUMS], factor = {0.5f, 0.5f, 0.5f, 0.5f}, addend = {1, 1, 1, 1};
    memset(sums, 0, sizeof sums);
    for (int step = 0; step < STEPS; step++) {
#pragma GCC unroll 12
        for (int i = 0; i < SUMS; i++)
            sums[i] = sums[i] * factor + addend;
    }
    for (int i = 1; i < SUMS; i++)
        sums[0] += sums[i];
    volatile float used = sums[0][0];
    (void)used;
    return 2.0 * FLOATS * SUMS * STEPS;
}

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) static double run_avx2(void)
{
    enum { SUMS = 12, FLOATS = 8 };
    __m256 sums[SUMS], factor = _mm256_set1_ps(0.5f), addend = _mm256_set1_ps(1);
    for (int i = 0; i < SUMS; i++)
        sums[i] = _mm256_setzero_ps();
    for (int step = 0; step < STEPS; step++) {
#pragma GCC unroll 12
        for (int i = 0; i < SUMS; i++)
            sums[i] = _mm256_fmadd_ps(sums[i], factor, addend);
    }
    for (int i = 1; i < SUMS; i++)
        sums[0] = _mm256_add_ps(sums[0], sums[i]);
    __asm__ volatile("" ::"x"(sums[0]));
    return 2.0 * FLOATS * SUMS * STEPS;
}

enum { WIDE_SUMS = 24, WIDE_FLOATS = 16 };

__attribute__((target("avx512f"))) static double run_avx512(void)
{
    __m512 sums[WIDE_SUMS], factor = _mm512_set1_ps(0.5f), addend = _mm512_set1_ps(1);
    for (int i = 0; i < WIDE_SUMS; i++)
        sums[i] = _mm512_setzero_ps();
    for (int step = 0; step < STEPS; step++) {
#pragma GCC unroll 24
        for (int i = 0; i < WIDE_SUMS; i++)
            sums[i] = _mm512_fmadd_ps(sums[i], factor, addend);
    }
    for (int i = 1; i < WIDE_SUMS; i++)
        sums[0] = _mm512_add_ps(sums[0], sums[i]);
    __asm__ volatile("" ::"v"(sums[0]));
    return 2.0 * WIDE_FLOATS * WIDE_SUMS * STEPS;
}

/* Two products a float of the register. */
__attribute__((target("avx512f,avx512bf16"))) static double run_avx512bf16(void)
{
    __m512 sums[WIDE_SUMS];
    __m512i ones = _mm512_set1_epi32(0x3f803f80);
    for (int i = 0; i < WIDE_SUMS; i++)
        sums[i] = _mm512_setzero_ps();
    for (int step = 0; step < STEPS; step++) {
#pragma GCC unroll 24
        for (int i = 0; i < WIDE_SUMS; i++)
            sums[i] = _mm512_dpbf16_ps(sums[i], (__m512bh)ones, (__m512bh)ones);
        __asm__ volatile("" : "+v"(ones));
    }
    for (int i = 1; i < WIDE_SUMS; i++)
        sums[0] = _mm512_add_ps(sums[0], sums[i]);
    __asm__ volatile("" ::"v"(sums[0]));
    return 4.0 * WIDE_FLOATS * WIDE_SUMS * STEPS;
}

/* Four sums of 16 x 16, from two tiles of 16 x 32 and two of 32 x 16, as a product of blocks has them. Each takes 16 cycles: fewer
 * steps last as long as the others' do, and a round, which ends with its last thread, is cut no coarser. */
static double run_amx(void)
{
    enum { TILE_STEPS = STEPS / 4 };
    unsigned char tiles[64] __attribute__((aligned(64))) = {1};
    for (int i = 0; i < 8; i++)
        tiles[16 + 2 * i] = 64, tiles[48 + i] = 16;
    __asm__ volatile("ldtilecfg %0" ::"m"(tiles));
    for (int step = 0; step < TILE_STEPS; step++) {
        __asm__ volatile("tdpbf16ps %tmm6, %tmm4, %tmm0\n\t"
                         "tdpbf16ps %tmm7, %tmm4, %tmm1\n\t"
                         "tdpbf16ps %tmm6, %tmm5, %tmm2\n\t"
                         "tdpbf16ps %tmm7, %tmm5, %tmm3");
    }
    __asm__ volatile("tilerelease");
    return 4.0 * 2 * 16 * 16 * 32 * TILE_STEPS;
}
#endif

/* --- operations --------------------------------------------------------------------------------------------------- */

typedef struct instructions {
    const char *name;
    run_steps *run;
} instructions;

static instructions choose(const be_isa *isa, be_precision precision)
{
#if defined(__x86_64__)
    if (precision != BE_PRECISION_F32 && isa->tiles == &be_tiles_amx)
        return (instructions){"amx", run_amx};
    if (precision != BE_PRECISION_F32 && isa->tiles == &be_tiles_avx512bf16)
        return (instructions){"avx512bf16", run_avx512bf16};
    if (isa->kernels == &be_kernels_avx512)
        return (instructions){"avx512", run_avx512};
    if (isa->kernels == &be_kernels_avx2)
        return (instructions){"avx2", run_avx2};
#else
    (void)isa, (void)precision;
#endif
    return (instructions){"generic", run_generic};
}

const char *be_peak_instructions(const be_isa *isa, be_precision precision)
{
    return choose(isa, precision).name;
}

/* A round: every thread does what it can until the same moment. A thread that comes to its task late does so much less. */
typedef struct counting {
    run_steps *run;
    double end;
    double *operations; /* [tasks] */
} counting;

static void count_operations(void *context, size_t task, size_t worker)
{
    const counting *self = context;
    (void)worker;
    self->operations[task] = 0;
    while (be_clock() < self->end)
        self->operations[task] += self->run();
}

/* Operations a second. */
static double run_round(counting *self, be_pool *pool)
{
    size_t threads = be_pool_threads(pool);
    double start = be_clock(), operations = 0;
    self->end = start + ROUND_SECONDS;
    be_pool_run(pool, threads, count_operations, self);
    double seconds = be_clock() - start;
    for (size_t i = 0; i < threads; i++)
        operations += self->operations[i];
    return operations / seconds;
}

double be_peak_operations(const be_isa *isa, be_precision precision, be_pool *pool)
{
    double operations[BE_MOST_THREADS], best = 0;
    counting self = {.run = choose(isa, precision).run, .operations = operations};
    for (int round = 0; round < ROUNDS; round++) {
        double rate = run_round(&self, pool);
        best = rate > best ? rate : best;
    }
    return best;
}

/* --- memory ------------------------------------------------------------------------------------------------------- */

enum { SLICE_BYTES = 1 << 20, SLICE_WORDS = SLICE_BYTES / sizeof(uint64_t) };

typedef struct reading {
    uint64_t *words;
    uint64_t *sums; /* [slices] */
} reading;

static void fill_slice(void *context, size_t slice, size_t worker)
{
    const reading *self = context;
    (void)worker;
    for (size_t i = 0; i < SLICE_WORDS; i++)
        self->words[slice * SLICE_WORDS + i] = slice + i;
}

static void read_slice(void *context, size_t slice, size_t worker)
{
    const reading *self = context;
    const uint64_t *words = self->words + slice * SLICE_WORDS;
    uint64_t sums[8] = {0};
    (void)worker;
    for (size_t i = 0; i < SLICE_WORDS; i += 8) {
        for (size_t j = 0; j < 8; j++)
            sums[j] += words[i + j];
    }
    for (size_t j = 1; j < 8; j++)
        sums[0] += sums[j];
    self->sums[slice] = sums[0];
}

/* Four times the last cache, within what a machine can spare. */
static size_t count_slices(void)
{
    enum { LEAST = 128, MOST = 1024 };
    long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
    size_t slices = cache > 0 ? 4 * (size_t)cache / SLICE_BYTES : LEAST;
    return slices < LEAST ? LEAST : slices > MOST ? MOST : slices;
}

static double read_all(reading *self, size_t slices, be_pool *pool)
{
    double best = 0;
    be_pool_run(pool, slices, fill_slice, self); /* pages never written to are all one page of zeros */
    for (int round = 0; round < READING_ROUNDS; round++) {
        double start = be_clock();
        be_pool_run(pool, slices, read_slice, self);
        double rate = (double)slices * SLICE_BYTES / (be_clock() - start);
        best = rate > best ? rate : best;
    }
    return best;
}

be_status be_peak_reading(be_pool *pool, double *rate, be_error *error)
{
    size_t slices = count_slices();
    reading self = {0};
    void *memory;
    be_status status = be_allocate_aligned(&memory, slices, SLICE_BYTES, "memory to be read", error);
    if (status != BE_OK)
        return status;
    self.words = memory;
    status = be_allocate(&memory, slices, sizeof(uint64_t), "sums", error);
    if (status == BE_OK) {
        self.sums = memory;
        *rate = read_all(&self, slices, pool);
    }
    free(self.sums);
    free(self.words);
    return status;
}
