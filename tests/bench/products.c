/* Matrix products and attention at the shapes of a ViT-B/14: GFLOP/s of one thread, as parts of the peak measured register to
 * register and as multiples of float32 (cblas_sgemm) at the same shape in the same run. In turn, the best of several rounds and
 * their median.
 *
 *   products [--json] [ISA] [ROWS ...]       default: the best instruction set, 128 256 481 rows
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/brainenc/blas.h"
#include "core/base/clock.h"
#include "core/compute/attention.h"
#include "core/compute/matrix.h"
#include "core/compute/peak.h"
#include "tests/bench/operands.h"

enum { MOST_ROWS = 4096, MOST_WIDTH = 3072 };

/* --- products ----------------------------------------------------------------------------------------------------- */

typedef struct bench {
    const be_isa *isa;
    be_arena scratch, packed;
    float *in, *weight, *bias, *out, *wide_out;
    double peak[3]; /* [precision], GFLOP/s */
    bool json, begun;
} bench;

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
    blas_product_transposed(it->wide_out, it->in, it->weight, rows, of->columns, of->inner);
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

/* In bf16x3 three products count as one. */
static double peak_percent(const bench *it, be_precision precision, double gflop_s)
{
    return 100 * (precision == BE_PRECISION_BF16X3 ? 3 : 1) * gflop_s / it->peak[precision];
}

static void measure(bench *it, const shape *of, size_t rows, be_precision precision)
{
    be_matrix weight;
    be_matrix_pack(&weight, it->isa, precision, it->weight, of->columns, of->inner, it->packed.base);
    bench_times product = {.count = 0}, sgemm = {.count = 0};
    double flops = 2e-9 * (double)rows * (double)of->columns * (double)of->inner;
    for (int round = 0; round < BENCH_ROUNDS; round++) {
        bench_take(&sgemm, time_sgemm(it, of, rows));
        bench_take(&product, time_product(it, of, &weight, rows));
    }
    double best = flops / bench_best(&product), part = peak_percent(it, precision, best);
    if (it->json)
        printf("%s{\"name\":\"%s\",\"rows\":%zu,\"columns\":%zu,\"inner\":%zu,\"precision\":\"%s\",\"gflop_s\":%.2f,"
               "\"median_gflop_s\":%.2f,\"peak_percent\":%.2f,\"sgemm_gflop_s\":%.2f,\"sgemm_median_gflop_s\":%.2f}",
               it->begun ? "," : "", of->name, rows, of->columns, of->inner, be_precision_name(precision), best,
               flops / bench_median(&product), part, flops / bench_best(&sgemm), flops / bench_median(&sgemm));
    else
        printf("  %4zu x %4zu x %4zu %-22s %-7s %8.1f GFLOP/s (median %.1f) %5.1f %% of peak %6.2f x sgemm (%.1f)\n", rows,
               of->columns, of->inner, of->name, be_precision_name(precision), best, flops / bench_median(&product), part,
               bench_best(&sgemm) / bench_best(&product), flops / bench_best(&sgemm));
    it->begun = true;
}

/* --- attention ---------------------------------------------------------------------------------------------------- */

enum { TOKENS = 962, HEADS = 12, HEAD_WIDTH = 64, WIDTH = HEADS * HEAD_WIDTH };

static double time_attention(bench *it, be_precision precision)
{
    be_team team = {.isa = it->isa, .scratch = &it->scratch};
    be_attention attention = {
        .q = it->in, .k = it->in + WIDTH, .v = it->in + 2 * WIDTH, .out = it->out, .q_stride = 3 * WIDTH, .k_stride = 3 * WIDTH,
        .v_stride = 3 * WIDTH, .out_stride = WIDTH, .queries = TOKENS, .tokens = TOKENS, .heads = HEADS,
        .head_width = HEAD_WIDTH, .scale = 0.125f, .precision = precision,
    };
    double start = be_clock();
    be_attention_run(&team, BE_STAGE_ATTEND, &attention);
    return be_clock() - start;
}

static void measure_attention(bench *it)
{
    bench_times times[3] = {{.count = 0}};
    double flops = 4e-9 * TOKENS * TOKENS * WIDTH;
    for (int round = 0; round < BENCH_ROUNDS; round++) {
        for (int precision = 0; precision < 3; precision++)
            bench_take(&times[precision], time_attention(it, (be_precision)precision));
    }
    for (int precision = 0; precision < 3; precision++) {
        const char *name = be_precision_name((be_precision)precision);
        double seconds = bench_best(&times[precision]), best = flops / seconds, middle = flops / bench_median(&times[precision]);
        if (it->json)
            printf(",{\"name\":\"attention\",\"tokens\":%d,\"heads\":%d,\"head_width\":%d,\"precision\":\"%s\",\"gflop_s\":%.2f,"
                   "\"median_gflop_s\":%.2f,\"peak_percent\":%.2f}", TOKENS, HEADS, HEAD_WIDTH, name, best, middle,
                   peak_percent(it, (be_precision)precision, best));
        else
            printf("  attention, %d tokens, %d heads of %d              %-7s %8.1f GFLOP/s (median %.1f) %6.2f x f32, %.2f ms\n",
                   TOKENS, HEADS, HEAD_WIDTH, name, best, middle, bench_best(&times[0]) / seconds, seconds * 1e3);
    }
}

/* ------------------------------------------------------------------------------------------------------------------ */

static void prepare(bench *it, const char *isa)
{
    be_error error;
    size_t widest = (size_t)MOST_WIDTH * 768, bytes, floats;
    if (be_isa_select(isa, &it->isa, &error) != BE_OK)
        bench_stop(error.message);
    be_matrix_bytes(BE_PRECISION_BF16X3, MOST_WIDTH, 768, &bytes);
    floats = 2 * be_activations_floats(BE_PRECISION_BF16X3, MOST_ROWS, MOST_WIDTH) +
             be_matrix_scratch(MOST_ROWS);
    if (be_arena_create(&it->packed, bytes, "weights", &error) != BE_OK ||
        be_arena_create(&it->scratch, floats * sizeof(float), "scratch", &error) != BE_OK)
        bench_stop(error.message);
    it->in = bench_values((size_t)MOST_ROWS * MOST_WIDTH, 1), it->out = bench_values((size_t)MOST_ROWS * MOST_WIDTH, 1);
    it->wide_out = bench_values((size_t)MOST_ROWS * MOST_WIDTH, 1);
    it->weight = bench_values(widest, 1), it->bias = bench_values(MOST_WIDTH, 1);
    for (int precision = 0; precision < 3; precision++)
        it->peak[precision] = bench_peak(it->isa, (be_precision)precision);
}

static void measure_rows(bench *it, size_t rows)
{
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        for (int precision = 0; precision < 3; precision++)
            measure(it, &shapes[s], rows, (be_precision)precision);
    }
}

static void print_heading(const bench *it)
{
    const char *f32 = be_peak_instructions(it->isa, BE_PRECISION_F32), *bf16 = be_peak_instructions(it->isa, BE_PRECISION_BF16);
    if (it->json)
        printf("{\"isa\":\"%s\",\"threads\":1,\"rounds\":%d,\"peak\":{\"f32\":{\"gflop_s\":%.2f,\"instructions\":\"%s\"},"
               "\"bf16\":{\"gflop_s\":%.2f,\"instructions\":\"%s\"}},\"products\":[", it->isa->name, BENCH_ROUNDS,
               it->peak[BE_PRECISION_F32], f32, it->peak[BE_PRECISION_BF16], bf16);
    else
        printf("%s, one thread, peak of f32 %.1f GFLOP/s (%s), of bf16 %.1f GFLOP/s (%s)\n", it->isa->name,
               it->peak[BE_PRECISION_F32], f32, it->peak[BE_PRECISION_BF16], bf16);
}

int main(int count, char **arguments)
{
    static const size_t usual[] = {128, 256, 481};
    bench it = {0};
    blas_use_one_thread();
    if (count > 1 && strcmp(arguments[1], "--json") == 0)
        it.json = true, count--, arguments++;
    prepare(&it, count > 1 ? arguments[1] : "auto");
    print_heading(&it);
    for (int i = 0; i < (count > 2 ? count - 2 : 3); i++) {
        size_t rows = count > 2 ? (size_t)strtoul(arguments[i + 2], NULL, 10) : usual[i];
        if (rows < 1 || rows > MOST_ROWS)
            bench_stop("ROWS: from 1 to 4096");
        measure_rows(&it, rows);
    }
    measure_attention(&it);
    if (it.json)
        puts("]}");
    free(it.in), free(it.out), free(it.wide_out), free(it.weight), free(it.bias);
    be_arena_destroy(&it.scratch), be_arena_destroy(&it.packed);
    return 0;
}
