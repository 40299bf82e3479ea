/* Matrix products and attention at the shapes of a ViT-B/14: GFLOP/s of one thread, as parts of the peak measured register to
 * register and as multiples of float32 (cblas_sgemm) at the same shape in the same run. Best of several rounds, in turn.
 *
 *   products [ISA] [ROWS ...]       default: the best instruction set, 128 256 481 rows
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/compute/attention.h"
#include "core/compute/matrix.h"
#include "core/compute/product.h"

enum { ROUNDS = 15, MOST_ROWS = 4096, MOST_WIDTH = 3072, PEAK_STEPS = 20000, PEAK_SUMS = 24 };

static void stop(const char *sentence)
{
    fprintf(stderr, "%s\n", sentence);
    exit(1);
}

/* --- peaks -------------------------------------------------------------------------------------------------------- */

#if defined(__x86_64__)
/* Each returns the floating-point operations it did. */
__attribute__((target("avx512f,avx512bf16"), noinline)) static double run_pairs(void)
{
    __m512 sums[PEAK_SUMS];
    __m512i ones = _mm512_set1_epi32(0x3f803f80);
    for (int i = 0; i < PEAK_SUMS; i++)
        sums[i] = _mm512_setzero_ps();
    for (int step = 0; step < PEAK_STEPS; step++) {
#pragma GCC unroll 24
        for (int i = 0; i < PEAK_SUMS; i++)
            sums[i] = _mm512_dpbf16_ps(sums[i], (__m512bh)ones, (__m512bh)ones);
        __asm__ volatile("" : "+v"(ones));
    }
    for (int i = 1; i < PEAK_SUMS; i++)
        sums[0] = _mm512_add_ps(sums[0], sums[i]);
    __asm__ volatile("" ::"v"(sums[0]));
    return 64.0 * PEAK_SUMS * PEAK_STEPS;
}

static double run_amx(void)
{
    unsigned char tiles[64] __attribute__((aligned(64))) = {1};
    for (int i = 0; i < 8; i++)
        tiles[16 + 2 * i] = 64, tiles[48 + i] = 16;
    __asm__ volatile("ldtilecfg %0" ::"m"(tiles));
    for (int step = 0; step < PEAK_STEPS; step++) {
        __asm__ volatile("tdpbf16ps %tmm6, %tmm4, %tmm0\n\t"
                         "tdpbf16ps %tmm7, %tmm4, %tmm1\n\t"
                         "tdpbf16ps %tmm6, %tmm5, %tmm2\n\t"
                         "tdpbf16ps %tmm7, %tmm5, %tmm3");
    }
    __asm__ volatile("tilerelease");
    return 4.0 * 2 * 16 * 16 * 32 * PEAK_STEPS;
}
#endif

/* GFLOP/s, 0 where there is no instruction for it. */
static double measure_peak(const be_isa *isa)
{
    double best = 0;
#if defined(__x86_64__)
    double (*run)(void) = strcmp(isa->name, "amx") == 0 ? run_amx : strcmp(isa->name, "avx512bf16") == 0 ? run_pairs : NULL;
    for (int round = 0; run && round < ROUNDS; round++) {
        double start = be_clock(), rate = run() / (be_clock() - start) * 1e-9;
        best = rate > best ? rate : best;
    }
#else
    (void)isa;
#endif
    return best;
}

/* --- products ----------------------------------------------------------------------------------------------------- */

typedef struct bench {
    const be_isa *isa;
    be_arena scratch, packed;
    float *in, *weight, *bias, *out, *wide_out;
    double peak;
} bench;

static float *make_values(size_t count)
{
    void *memory;
    be_error error;
    if (be_allocate_aligned(&memory, count, sizeof(float), "values", &error) != BE_OK)
        stop(error.message);
    float *values = memory;
    uint32_t state = 1;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        values[i] = (float)(state >> 8) / 8388608.0f - 1.0f;
    }
    return values;
}

typedef struct shape {
    size_t columns, inner;
    be_epilogue epilogue;
    bool packed;
    const char *name;
} shape;

static const shape shapes[] = {
    {2304, 768, BE_EPILOGUE_BIAS, false, "qkv + bias"},
    {768, 768, BE_EPILOGUE_RESIDUAL, false, "out + residual"},
    {3072, 768, BE_EPILOGUE_NONE, false, "widen"},
    {3072, 768, BE_EPILOGUE_GELU, true, "widen + gelu, packed"},
    {768, 3072, BE_EPILOGUE_RESIDUAL, false, "narrow + residual"},
};

static double time_sgemm(const bench *it, const shape *of, size_t rows)
{
    double start = be_clock();
    be_product_transposed(it->wide_out, of->columns, it->in, of->inner, it->weight, of->inner, rows, of->columns, of->inner,
                          1.0f, false);
    return be_clock() - start;
}

static double time_product(bench *it, const shape *of, const be_matrix *weight, size_t rows)
{
    be_activations in, out;
    be_arena_reset(&it->scratch);
    be_activations_round(&in, it->isa, weight->precision, it->in, of->inner, rows, of->inner, 1.0f, &it->scratch);
    be_activations_make(&out, weight->precision, rows, of->columns, &it->scratch);
    be_matrix_product product = {
        .in = &in, .weight = weight, .epilogue = of->epilogue, .bias = it->bias, .out = it->out,
        .out_stride = of->columns, .packed = of->packed ? &out : NULL,
    };
    double start = be_clock();
    be_matrix_multiply(it->isa, &product, &it->scratch);
    return be_clock() - start;
}

static void measure(bench *it, const shape *of, size_t rows, be_precision precision)
{
    be_matrix weight;
    be_matrix_pack(&weight, it->isa, precision, it->weight, of->columns, of->inner, it->packed.base);
    double product = 1e9, sgemm = 1e9, flops = 2e-9 * (double)rows * (double)of->columns * (double)of->inner;
    for (int round = 0; round < ROUNDS; round++) {
        double seconds = time_sgemm(it, of, rows);
        sgemm = seconds < sgemm ? seconds : sgemm;
        seconds = time_product(it, of, &weight, rows);
        product = seconds < product ? seconds : product;
    }
    printf("  %4zu x %4zu x %4zu %-22s %-7s %8.1f GFLOP/s", rows, of->columns, of->inner, of->name, be_precision_name(precision),
           flops / product);
    if (it->peak > 0)
        printf(" %5.1f %% of peak", (precision == BE_PRECISION_BF16X3 ? 3 : 1) * flops / product / it->peak * 100);
    printf(" %6.2f x sgemm (%.1f)\n", sgemm / product, flops / sgemm);
}

/* --- attention ---------------------------------------------------------------------------------------------------- */

enum { TOKENS = 962, HEADS = 12, HEAD_WIDTH = 64, WIDTH = HEADS * HEAD_WIDTH };

static double time_attention(bench *it, be_precision precision)
{
    be_team team = {.kernels = it->isa->kernels, .isa = it->isa, .scratch = &it->scratch};
    be_attention attention = {
        .q = it->in, .k = it->in + WIDTH, .v = it->in + 2 * WIDTH, .out = it->out, .q_stride = 3 * WIDTH, .k_stride = 3 * WIDTH,
        .v_stride = 3 * WIDTH, .out_stride = WIDTH, .queries = TOKENS, .tokens = TOKENS, .heads = HEADS,
        .head_width = HEAD_WIDTH, .scale = 0.125f, .precision = precision,
    };
    double start = be_clock();
    be_attention_run(&team, &attention);
    return be_clock() - start;
}

static void measure_attention(bench *it)
{
    double best[3] = {1e9, 1e9, 1e9}, flops = 4e-9 * TOKENS * TOKENS * WIDTH;
    for (int round = 0; round < ROUNDS; round++) {
        for (int precision = 0; precision < 3; precision++) {
            double seconds = time_attention(it, (be_precision)precision);
            best[precision] = seconds < best[precision] ? seconds : best[precision];
        }
    }
    for (int precision = 0; precision < 3; precision++)
        printf("  attention, %d tokens, %d heads of %d              %-7s %8.1f GFLOP/s %6.2f x f32, %.2f ms\n", TOKENS, HEADS,
               HEAD_WIDTH, be_precision_name((be_precision)precision), flops / best[precision], best[0] / best[precision],
               best[precision] * 1e3);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static void prepare(bench *it, const char *isa)
{
    be_error error;
    size_t widest = (size_t)MOST_WIDTH * 768, bytes, floats;
    if (be_isa_select(isa, &it->isa, &error) != BE_OK)
        stop(error.message);
    be_matrix_bytes(BE_PRECISION_BF16X3, MOST_WIDTH, 768, &bytes);
    floats = 2 * be_activations_floats(BE_PRECISION_BF16X3, MOST_ROWS, MOST_WIDTH) +
             be_matrix_scratch(MOST_ROWS);
    if (be_arena_create(&it->packed, bytes, "weights", &error) != BE_OK ||
        be_arena_create(&it->scratch, floats * sizeof(float), "scratch", &error) != BE_OK)
        stop(error.message);
    it->in = make_values((size_t)MOST_ROWS * MOST_WIDTH), it->out = make_values((size_t)MOST_ROWS * MOST_WIDTH);
    it->wide_out = make_values((size_t)MOST_ROWS * MOST_WIDTH);
    it->weight = make_values(widest), it->bias = make_values(MOST_WIDTH);
    be_product_use_one_thread();
    it->peak = measure_peak(it->isa);
}

int main(int count, char **arguments)
{
    static const size_t usual[] = {128, 256, 481};
    bench it = {0};
    prepare(&it, count > 1 ? arguments[1] : "auto");
    printf("%s, one thread", it.isa->name);
    if (it.peak > 0)
        printf(", peak of bfloat16 %.1f GFLOP/s", it.peak);
    puts("");
    for (int i = 0; i < (count > 2 ? count - 2 : 3); i++) {
        size_t rows = count > 2 ? (size_t)strtoul(arguments[i + 2], NULL, 10) : usual[i];
        if (rows < 1 || rows > MOST_ROWS)
            stop("ROWS: from 1 to 4096");
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            measure(&it, &shapes[s], rows, BE_PRECISION_BF16);
            measure(&it, &shapes[s], rows, BE_PRECISION_BF16X3);
        }
    }
    measure_attention(&it);
    free(it.in), free(it.out), free(it.wide_out), free(it.weight), free(it.bias);
    be_arena_destroy(&it.scratch), be_arena_destroy(&it.packed);
    return 0;
}
