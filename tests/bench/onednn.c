/* oneDNN beside our products at the shapes of a ViT-B/14 on an image of 31 x 31 tokens: GFLOP/s of one thread in f32 and bf16, in
 * turn, the best of several rounds and their median, when both are seen to give the same numbers. Weights are in each one's own
 * packed form, activations in the precision already, and nothing follows the product.
 *
 *   onednn [ISA]       JSON to standard output
 */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dnnl.h>

#include "clients/brainenc/blas.h"
#include "core/base/clock.h"
#include "core/compute/matrix.h"
#include "core/compute/panels.h"
#include "tests/bench/operands.h"

enum { ROWS = 962, WIDEST = 3072 };

static const struct { const char *name; size_t columns, inner; } shapes[] = {
    {"qkv", 2304, 768}, {"out", 768, 768}, {"widen", 3072, 768}, {"narrow", 768, 3072},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static void check(dnnl_status_t status)
{
    if (status != dnnl_success)
        bench_stop("oneDNN refused a product");
}

/* --- oneDNN ------------------------------------------------------------------------------------------------------- */

typedef struct theirs {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_t product;
    dnnl_memory_t in, weight, out;
} theirs;

/* A matrix [rows][columns] in a type of its own, from float32 in the order of `tag`. */
static dnnl_memory_t take(const theirs *self, const dnnl_memory_desc_t *form, size_t rows, size_t columns, dnnl_format_tag_t tag,
                          float *values)
{
    dnnl_dims_t shape = {(dnnl_dim_t)rows, (dnnl_dim_t)columns};
    dnnl_memory_desc_t given;
    dnnl_memory_t from, to;
    dnnl_primitive_desc_t how;
    dnnl_primitive_t reorder;
    check(dnnl_memory_desc_init_by_tag(&given, 2, shape, dnnl_f32, tag));
    check(dnnl_memory_create(&from, &given, self->engine, values));
    check(dnnl_memory_create(&to, form, self->engine, DNNL_MEMORY_ALLOCATE));
    check(dnnl_reorder_primitive_desc_create(&how, &given, self->engine, form, self->engine, NULL));
    check(dnnl_primitive_create(&reorder, how));
    dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    check(dnnl_primitive_execute(reorder, self->stream, 2, arguments));
    check(dnnl_stream_wait(self->stream));
    dnnl_primitive_destroy(reorder), dnnl_primitive_desc_destroy(how), dnnl_memory_destroy(from);
    return to;
}

/* Makes the product in[ROWS][inner] weight[columns][inner]'. */
static void make_product(theirs *self, size_t columns, size_t inner, be_precision precision, float *in, float *weight)
{
    dnnl_data_type_t type = precision == BE_PRECISION_F32 ? dnnl_f32 : dnnl_bf16;
    dnnl_dims_t in_shape = {ROWS, (dnnl_dim_t)inner}, weight_shape = {(dnnl_dim_t)inner, (dnnl_dim_t)columns},
                out_shape = {ROWS, (dnnl_dim_t)columns};
    dnnl_memory_desc_t in_form, weight_form, out_form;
    dnnl_matmul_desc_t wanted;
    dnnl_primitive_desc_t how;
    check(dnnl_memory_desc_init_by_tag(&in_form, 2, in_shape, type, dnnl_ab));
    check(dnnl_memory_desc_init_by_tag(&weight_form, 2, weight_shape, type, dnnl_format_tag_any));
    check(dnnl_memory_desc_init_by_tag(&out_form, 2, out_shape, dnnl_f32, dnnl_ab));
    check(dnnl_matmul_desc_init(&wanted, &in_form, &weight_form, NULL, &out_form));
    check(dnnl_primitive_desc_create(&how, &wanted, NULL, self->engine, NULL));
    check(dnnl_primitive_create(&self->product, how));
    self->in = take(self, &in_form, ROWS, inner, dnnl_ab, in);
    self->weight = take(self, dnnl_primitive_desc_query_md(how, dnnl_query_weights_md, 0), inner, columns, dnnl_ba, weight);
    check(dnnl_memory_create(&self->out, &out_form, self->engine, DNNL_MEMORY_ALLOCATE));
    dnnl_primitive_desc_destroy(how);
}

static void free_product(theirs *self)
{
    dnnl_primitive_destroy(self->product);
    dnnl_memory_destroy(self->in), dnnl_memory_destroy(self->weight), dnnl_memory_destroy(self->out);
}

static double run_theirs(const theirs *self)
{
    dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, self->in}, {DNNL_ARG_WEIGHTS, self->weight}, {DNNL_ARG_DST, self->out}};
    double start = be_clock();
    check(dnnl_primitive_execute(self->product, self->stream, 3, arguments));
    check(dnnl_stream_wait(self->stream));
    return be_clock() - start;
}

/* --- ours --------------------------------------------------------------------------------------------------------- */

typedef struct ours {
    const be_isa *isa;
    be_matrix weight;
    be_activations panels[(ROWS + BE_PANEL_ROWS - 1) / BE_PANEL_ROWS];
    be_arena operands, scratch;
    float *out;
} ours;

static void prepare_ours(ours *self, size_t columns, size_t inner, be_precision precision, const float *in, const float *weight)
{
    be_error error;
    be_arena_reset(&self->operands);
    if (be_matrix_keep(&self->weight, precision, weight, columns, inner, &self->operands, &error) != BE_OK)
        bench_stop(error.message);
    for (size_t p = 0, panels = be_shared_panels(ROWS, 1); p < panels; p++) {
        size_t first = be_shared_panel_start(ROWS, panels, p), count = be_shared_panel_start(ROWS, panels, p + 1) - first;
        be_activations_round(&self->panels[p], self->isa, precision, in + first * inner, inner, count, inner, 1.0f,
                             &self->operands);
    }
}

static double run_ours(ours *self)
{
    double start = be_clock();
    for (size_t p = 0, panels = be_shared_panels(ROWS, 1); p < panels; p++) {
        be_matrix_product product = {.in = &self->panels[p], .weight = &self->weight, .epilogue = BE_EPILOGUE_NONE,
                                     .out = self->out + be_shared_panel_start(ROWS, panels, p) * self->weight.columns,
                                     .out_stride = self->weight.columns};
        be_matrix_multiply(self->isa, &product, &self->scratch);
    }
    return be_clock() - start;
}

/* ------------------------------------------------------------------------------------------------------------------ */

/* Sums of the same products in another order. */
static void compare(const ours *self, const theirs *other, size_t columns, size_t inner)
{
    void *memory;
    check(dnnl_memory_get_data_handle(other->out, &memory));
    const float *found = memory;
    for (size_t i = 0; i < ROWS * columns; i++) {
        if (fabsf(found[i] - self->out[i]) > 1e-4f * sqrtf((float)inner))
            bench_stop("ours and oneDNN's products differ");
    }
}

static double run_sgemm(const float *in, const float *weight, size_t columns, size_t inner, float *out)
{
    double start = be_clock();
    blas_product_transposed(out, in, weight, ROWS, columns, inner);
    return be_clock() - start;
}

static void measure(ours *self, theirs *other, size_t shape, be_precision precision, bool first)
{
    size_t columns = shapes[shape].columns, inner = shapes[shape].inner;
    float *in = bench_values(ROWS * inner, 1), *weight = bench_values(columns * inner, 2), *out = bench_values(ROWS * columns, 3);
    bench_times mine = {.count = 0}, rival = {.count = 0}, sgemm = {.count = 0};
    double flops = 2e-9 * (double)ROWS * (double)columns * (double)inner;
    prepare_ours(self, columns, inner, precision, in, weight);
    make_product(other, columns, inner, precision, in, weight);
    for (int round = 0; round < BENCH_ROUNDS; round++) {
        bench_take(&mine, run_ours(self));
        bench_take(&rival, run_theirs(other));
        bench_take(&sgemm, run_sgemm(in, weight, columns, inner, out));
    }
    compare(self, other, columns, inner);
    printf("%s{\"name\":\"%s\",\"rows\":%d,\"columns\":%zu,\"inner\":%zu,\"precision\":\"%s\",\"gflop_s\":%.2f,"
           "\"median_gflop_s\":%.2f,\"onednn_gflop_s\":%.2f,\"onednn_median_gflop_s\":%.2f,\"sgemm_gflop_s\":%.2f}",
           first ? "" : ",", shapes[shape].name, ROWS, columns, inner, be_precision_name(precision), flops / bench_best(&mine),
           flops / bench_median(&mine), flops / bench_best(&rival), flops / bench_median(&rival), flops / bench_best(&sgemm));
    free_product(other);
    free(in), free(weight), free(out);
}

static void prepare(ours *self, theirs *other, const char *isa)
{
    be_error error;
    size_t weight = (size_t)WIDEST * 768, in = (size_t)(ROWS + 8 * BE_PANEL_ROWS) * WIDEST;
    if (be_isa_select(isa, &self->isa, &error) != BE_OK ||
        be_arena_create(&self->operands, 2 * (weight + in) * sizeof(float), "operands", &error) != BE_OK ||
        be_arena_create(&self->scratch, be_matrix_scratch(ROWS) * sizeof(float), "scratch", &error) != BE_OK)
        bench_stop(error.message);
    self->out = bench_values((size_t)ROWS * WIDEST, 4);
    omp_set_num_threads(1);
    check(dnnl_engine_create(&other->engine, dnnl_cpu, 0));
    check(dnnl_stream_create(&other->stream, other->engine, dnnl_stream_default_flags));
}

int main(int count, char **arguments)
{
    static const be_precision precisions[] = {BE_PRECISION_F32, BE_PRECISION_BF16};
    ours self = {0};
    theirs other = {0};
    const dnnl_version_t *version = dnnl_version();
    blas_use_one_thread();
    prepare(&self, &other, count > 1 ? arguments[1] : "auto");
    printf("{\"isa\":\"%s\",\"threads\":1,\"rounds\":%d,\"onednn\":\"%d.%d.%d\",\"peak\":{\"f32\":%.2f,\"bf16\":%.2f},"
           "\"products\":[", self.isa->name, BENCH_ROUNDS, version->major, version->minor, version->patch,
           bench_peak(self.isa, BE_PRECISION_F32), bench_peak(self.isa, BE_PRECISION_BF16));
    for (size_t i = 0; i < 2 * SHAPES; i++)
        measure(&self, &other, i % SHAPES, precisions[i / SHAPES], i == 0);
    puts("]}");
    dnnl_stream_destroy(other.stream), dnnl_engine_destroy(other.engine);
    be_arena_destroy(&self.operands), be_arena_destroy(&self.scratch);
    free(self.out);
    return 0;
}
