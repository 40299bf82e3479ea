#include "clients/brainenc/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- numbers -------------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

double bench_median(const samples *of)
{
    double sorted[MOST_ROUNDS];
    memcpy(sorted, of->values, of->count * sizeof *sorted);
    qsort(sorted, of->count, sizeof *sorted, by_size);
    return of->count % 2 ? sorted[of->count / 2] : (sorted[of->count / 2 - 1] + sorted[of->count / 2]) / 2;
}

static double milliseconds(const samples *of)
{
    return 1e3 * bench_median(of);
}

/* Bytes of weights that the model holds: the backbone's, near enough, for vectors and tables are float32 in any precision, and each
 * member's of each subject. */
static double weight_bytes(const be_model *model)
{
    const be_backbone_info *backbone = be_model_backbone(model);
    size_t number = backbone->precision == BE_PRECISION_BF16 ? sizeof(uint16_t) : sizeof(float); /* bf16x3 holds two halves */
    double bytes = (double)number * (double)backbone->parameters;
    for (size_t s = 0; s < be_model_subjects(model); s++) {
        const be_subject *subject = be_model_subject(model, s);
        const be_subject_info *info = be_subject_get_info(subject);
        for (size_t m = 0; m < info->members; m++) {
            size_t encoder = be_encoder_get_info(be_subject_encoder(subject, m))->weight_bytes;
            bytes += (double)(encoder + be_readout_bytes(be_subject_readout(subject, m)));
        }
    }
    return bytes;
}

/* Bytes of weights that the stage of readouts reads; by vertex they are read while it encodes. */
static double readout_bytes(const be_model *model)
{
    double bytes = 0;
    for (size_t s = 0; s < be_model_subjects(model); s++) {
        const be_subject *subject = be_model_subject(model, s);
        const be_subject_info *info = be_subject_get_info(subject);
        for (size_t m = 0; m < info->members && !info->by_vertex; m++)
            bytes += (double)be_readout_bytes(be_subject_readout(subject, m));
    }
    return bytes;
}

/* --- rows ----------------------------------------------------------------------------------------- */

/* A line of the table. What does not bound it is 0. */
typedef struct row {
    const char *name;
    double seconds;
    double operations; /* floating-point, of its products */
    double bytes;      /* read from memory; of the answer: written */
    double least;      /* seconds that they take at the machine's peak */
} row;

enum { ROW_LOAD, ROW_DECODE, ROW_STAGES, ROW_ANSWER = ROW_STAGES + BE_STAGES, ROW_WHOLE, ROW_STREAM, ROWS };

/* Some products are in f32 whatever the model's precision; in bf16x3 a product is three. */
static row stage_row(const bench_results *it, be_stage stage)
{
    be_precision precision = be_model_precision(it->model);
    double precise = precision == BE_PRECISION_F32 ? 0 : bare_stage_operations(it->bare, stage, precision);
    double float32 = bare_stage_operations(it->bare, stage, BE_PRECISION_F32);
    row line = {.name = be_stage_name(stage), .seconds = bench_median(&it->stages[stage]), .operations = float32 + precise,
                .bytes = stage == BE_STAGE_READ_OUT ? readout_bytes(it->model) : 0};
    line.least = float32 / it->peaks.float32 + (precision == BE_PRECISION_BF16X3 ? 3 : 1) * precise / it->peaks.precise +
                 line.bytes / it->peaks.reading;
    return line;
}

static void make_rows(const bench_results *it, row rows[ROWS])
{
    double weights = weight_bytes(it->model);
    rows[ROW_LOAD] = (row){.name = "load", .seconds = it->load_seconds, .bytes = weights, .least = weights / it->peaks.reading};
    rows[ROW_DECODE] = (row){.name = "decode", .seconds = bench_median(&it->decode)};
    rows[ROW_ANSWER] = (row){.name = "answer", .seconds = bench_median(&it->answer), .bytes = (double)it->answer_bytes};
    rows[ROW_WHOLE] = (row){.name = "whole", .seconds = bench_median(&it->one)};
    for (int stage = 0; stage < BE_STAGES; stage++) {
        row *line = &rows[ROW_STAGES + stage];
        *line = stage_row(it, (be_stage)stage);
        rows[ROW_WHOLE].operations += line->operations;
        rows[ROW_WHOLE].least += line->least;
    }
    rows[ROW_STREAM] = rows[ROW_WHOLE];
    rows[ROW_STREAM].name = "stream";
    rows[ROW_STREAM].seconds = bench_median(&it->many);
}

/* Per cent of the peak; 0: there is none to compare with, or no time. */
static double share(const row *line)
{
    return line->seconds > 0 ? 100 * line->least / line->seconds : 0;
}

static double rate(double amount, const row *line)
{
    return line->seconds > 0 ? 1e-9 * amount / line->seconds : 0;
}

/* --- text ----------------------------------------------------------------------------------------- */

/* A number in its column, or nothing for 0. */
static void print_cell(const char *format, double value, int width)
{
    if (value > 0)
        printf(format, width, value);
    else
        printf("%*s", width, "");
}

static void print_row(const char *name, const row *line)
{
    printf("%-28s", name);
    print_cell("%*.2f", 1e3 * line->seconds, 10);
    print_cell("%*.1f", 1e-9 * line->operations, 9);
    print_cell("%*.0f", rate(line->operations, line), 9);
    print_cell("%*.2f", rate(line->bytes, line), 8);
    print_cell("%*.1f", share(line), 8);
    putchar('\n');
}

static void print_heading(const bench_results *it)
{
    const bench_peaks *peaks = &it->peaks;
    printf("%s, %s, %zu x %zu tokens, %zu subject(s), %zu threads, %s kernels, medians of %zu rounds\n",
           be_model_backbone(it->model)->name, be_precision_name(be_model_precision(it->model)), it->picture->about.rows,
           it->picture->about.columns, be_model_subjects(it->model), be_session_threads(it->session), be_session_isa(it->session),
           it->rounds);
    printf("peak of %zu threads: f32 %.0f GFLOP/s (%s), %s %.0f GFLOP/s (%s), reading memory %.1f GB/s\n",
           be_session_threads(it->session), 1e-9 * peaks->float32, peaks->float32_instructions,
           be_precision_name(be_model_precision(it->model)), 1e-9 * peaks->precise, peaks->precise_instructions, 1e-9 * peaks->reading);
    printf("resident at most %.1f MB; the weights are %.1f MB\n", (double)it->resident_kb / 1024, weight_bytes(it->model) / (1 << 20));
}

static void print_bare(const bench_results *it, const samples *whole, const samples *products)
{
    row line = {.seconds = bench_median(products), .operations = bare_operations(it->bare)};
    print_row("  bare products, cblas_sgemm", &line);
    printf("%-28s%10.3f\n", "  ratio to them", bench_median(whole) / bench_median(products));
}

void bench_print_lines(const bench_results *it)
{
    row rows[ROWS];
    char name[64];
    make_rows(it, rows);
    print_heading(it);
    printf("%-28s%10s%9s%9s%8s%8s\n", "", "ms", "GFLOP", "GFLOP/s", "GB/s", "% peak");
    print_row("load (warm disk)", &rows[ROW_LOAD]);
    print_row("decode and fit", &rows[ROW_DECODE]);
    puts("one image on all threads");
    for (int stage = 0; stage < BE_STAGES; stage++) {
        snprintf(name, sizeof name, "  %s", be_stage_name((be_stage)stage));
        print_row(name, &rows[ROW_STAGES + stage]);
    }
    print_row("  whole", &rows[ROW_WHOLE]);
    print_bare(it, &it->one, &it->one_bare);
    if (it->against.count > 0)
        printf("%-28s%10.2f\n%-28s%10.3f\n", "  against", milliseconds(&it->against), "  ratio to it",
               bench_median(&it->one) / bench_median(&it->against));
    print_row("answer as JSON", &rows[ROW_ANSWER]);
    printf("stream of %zu images, one a thread\n", it->n_stream);
    print_row("  an image", &rows[ROW_STREAM]);
    print_bare(it, &it->many, &it->many_bare);
}

/* --- JSON ----------------------------------------------------------------------------------------- */

static void print_json_rows(const bench_results *it)
{
    row rows[ROWS];
    make_rows(it, rows);
    printf("\"rows\":[");
    for (int i = 0; i < ROWS; i++) {
        const row *line = &rows[i];
        printf("%s{\"name\":\"%s\",\"ms\":%.4f", i ? "," : "", line->name, 1e3 * line->seconds);
        if (line->operations > 0)
            printf(",\"gflop\":%.4f,\"gflop_s\":%.2f", 1e-9 * line->operations, rate(line->operations, line));
        if (line->bytes > 0)
            printf(",\"bytes\":%.0f,\"gb_s\":%.3f", line->bytes, rate(line->bytes, line));
        if (line->least > 0)
            printf(",\"peak_percent\":%.2f", share(line));
        putchar('}');
    }
    printf("],");
}

static void print_json_heading(const bench_results *it)
{
    const bench_peaks *peaks = &it->peaks;
    printf("\"backbone\":\"%s\",\"precision\":\"%s\",\"grid\":[%zu,%zu],\"subjects\":%zu,\"threads\":%zu,\"isa\":\"%s\",\"rounds\":%zu,",
           be_model_backbone(it->model)->name, be_precision_name(be_model_precision(it->model)), it->picture->about.rows,
           it->picture->about.columns, be_model_subjects(it->model), be_session_threads(it->session), be_session_isa(it->session),
           it->rounds);
    printf("\"load_s\":%.3f,\"resident_bytes\":%ld,\"weight_bytes\":%.0f,\"decode_ms\":%.3f,\"answer_ms\":%.3f,\"gflop\":%.3f,",
           it->load_seconds, it->resident_kb * 1024, weight_bytes(it->model), milliseconds(&it->decode), milliseconds(&it->answer),
           1e-9 * bare_operations(it->bare));
    printf("\"peak\":{\"f32\":{\"gflop_s\":%.2f,\"instructions\":\"%s\"},\"precision\":{\"gflop_s\":%.2f,\"instructions\":\"%s\"},"
           "\"reading_gb_s\":%.3f},", 1e-9 * peaks->float32, peaks->float32_instructions, 1e-9 * peaks->precise,
           peaks->precise_instructions, 1e-9 * peaks->reading);
}

void bench_print_json(const bench_results *it)
{
    putchar('{');
    print_json_heading(it);
    print_json_rows(it);
    printf("\"one\":{");
    for (int stage = 0; stage < BE_STAGES; stage++)
        printf("\"%s_ms\":%.3f,", be_stage_name((be_stage)stage), milliseconds(&it->stages[stage]));
    if (it->against.count > 0)
        printf("\"against_ms\":%.3f,\"against_ratio\":%.4f,", milliseconds(&it->against),
               bench_median(&it->one) / bench_median(&it->against));
    printf("\"whole_ms\":%.3f,\"bare_ms\":%.3f,\"ratio\":%.4f},", milliseconds(&it->one), milliseconds(&it->one_bare),
           bench_median(&it->one) / bench_median(&it->one_bare));
    printf("\"stream\":{\"images\":%zu,\"image_ms\":%.3f,\"bare_ms\":%.3f,\"ratio\":%.4f}}\n", it->n_stream, milliseconds(&it->many),
           milliseconds(&it->many_bare), bench_median(&it->many) / bench_median(&it->many_bare));
}
