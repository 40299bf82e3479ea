#include "clients/brainenc/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/brainenc/blas.h"

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

/* The fastest round and the slowest, or both of the one that there is. */
typedef struct extremes {
    double least, most;
} extremes;

static extremes find_extremes(const samples *of)
{
    extremes found = {of->values[0], of->values[0]};
    for (size_t i = 1; i < of->count; i++) {
        found.least = of->values[i] < found.least ? of->values[i] : found.least;
        found.most = of->values[i] > found.most ? of->values[i] : found.most;
    }
    return found;
}

/* Of each round: what was measured in turn there. */
static samples divide(const samples *of, const samples *by)
{
    samples ratios = {.count = of->count};
    for (size_t i = 0; i < of->count; i++)
        ratios.values[i] = of->values[i] / by->values[i];
    return ratios;
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
    const samples *of; /* NULL: measured once */
    double seconds;    /* median */
    double operations; /* floating-point, of its products */
    double bytes;      /* read from memory; of the answer: written */
    double least;      /* seconds that they take at the machine's peak */
} row;

enum { ROW_LOAD, ROW_DECODE, ROW_STAGES, ROW_ANSWER = ROW_STAGES + BE_STAGES, ROW_WHOLE, ROW_STREAM, ROWS };

static row row_of(const char *name, const samples *of)
{
    return (row){.name = name, .of = of, .seconds = bench_median(of)};
}

/* Some products are in f32 whatever the model's precision; in bf16x3 a product is three. */
static row stage_row(const bench_results *it, be_stage stage)
{
    be_precision precision = be_model_precision(it->model);
    double precise = precision == BE_PRECISION_F32 ? 0 : bare_stage_operations(it->bare, stage, precision);
    double float32 = bare_stage_operations(it->bare, stage, BE_PRECISION_F32);
    row line = row_of(be_stage_name(stage), &it->stages[stage]);
    line.operations = float32 + precise;
    line.bytes = stage == BE_STAGE_READ_OUT ? readout_bytes(it->model) : 0;
    line.least = float32 / it->peaks.float32 + (precision == BE_PRECISION_BF16X3 ? 3 : 1) * precise / it->peaks.precise +
                 line.bytes / it->peaks.reading;
    return line;
}

static void make_rows(const bench_results *it, row rows[ROWS])
{
    double weights = weight_bytes(it->model);
    rows[ROW_LOAD] = (row){.name = "load", .seconds = it->load_seconds, .bytes = weights, .least = weights / it->peaks.reading};
    rows[ROW_DECODE] = row_of("decode", &it->decode);
    rows[ROW_ANSWER] = row_of("answer", &it->answer);
    rows[ROW_ANSWER].bytes = (double)it->answer_bytes;
    rows[ROW_WHOLE] = row_of("whole", &it->one);
    rows[ROW_STREAM] = row_of("stream", &it->many);
    for (int stage = 0; stage < BE_STAGES; stage++) {
        row *line = &rows[ROW_STAGES + stage];
        *line = stage_row(it, (be_stage)stage);
        rows[ROW_WHOLE].operations += line->operations;
        rows[ROW_WHOLE].least += line->least;
    }
    rows[ROW_STREAM].operations = rows[ROW_WHOLE].operations;
    rows[ROW_STREAM].least = rows[ROW_WHOLE].least;
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
    print_cell("%*.2f", line->of ? 1e3 * find_extremes(line->of).least : 0, 10);
    print_cell("%*.2f", line->of ? 1e3 * find_extremes(line->of).most : 0, 10);
    print_cell("%*.1f", 1e-9 * line->operations, 9);
    print_cell("%*.0f", rate(line->operations, line), 9);
    print_cell("%*.2f", rate(line->bytes, line), 8);
    print_cell("%*.1f", share(line), 8);
    putchar('\n');
}

static void print_heading(const bench_results *it)
{
    const bench_peaks *peaks = &it->peaks;
    const be_subject_info *subject = be_subject_get_info(be_model_subject(it->model, 0));
    const be_answer_image *image = &it->picture->about;
    const char *precision = be_precision_name(be_model_precision(it->model));
    printf("%s, %s, %zu x %zu tokens of a picture of %zu x %zu, %zu subject(s), the first of %zu + %zu vertices, %zu member(s)\n",
           be_model_backbone(it->model)->name, precision, image->rows, image->columns, image->width, image->height,
           be_model_subjects(it->model), subject->n_vertices[BE_LEFT], subject->n_vertices[BE_RIGHT], subject->members);
    printf("%zu threads, %s kernels (cblas_sgemm: %s); medians, fastest and slowest of %zu rounds\n",
           be_session_threads(it->session), be_session_isa(it->session), blas_kernels(), it->rounds);
    printf("peak of %zu threads, the best of all rounds: f32 %.0f GFLOP/s (%s), %s %.0f GFLOP/s (%s), reading memory %.1f GB/s\n",
           be_session_threads(it->session), 1e-9 * peaks->float32, peaks->float32_instructions, precision, 1e-9 * peaks->precise,
           peaks->precise_instructions, 1e-9 * peaks->reading);
    printf("resident at most %.1f MiB; the weights are %.1f MiB\n", (double)it->resident_kb / 1024,
           weight_bytes(it->model) / (1 << 20));
}

static void print_ratio(const char *name, const samples *whole, const samples *other)
{
    const samples ratios = divide(whole, other);
    const extremes found = find_extremes(&ratios);
    printf("%-28s%10.3f%10.3f%10.3f\n", name, bench_median(&ratios), found.least, found.most);
}

static void print_bare(const bench_results *it, const samples *whole, const samples *products)
{
    row line = row_of("", products);
    line.operations = bare_operations(it->bare);
    print_row("  bare products, cblas_sgemm", &line);
    print_ratio("  ratio to them", whole, products);
}

static void print_against(const bench_results *it)
{
    if (it->against.count == 0)
        return;
    const row line = row_of("", &it->against);
    print_row("  against", &line);
    print_ratio("  ratio to it", &it->one, &it->against);
}

void bench_print_lines(const bench_results *it)
{
    row rows[ROWS];
    char name[64];
    make_rows(it, rows);
    print_heading(it);
    printf("%-28s%10s%10s%10s%9s%9s%8s%8s\n", "", "ms", "fastest", "slowest", "GFLOP", "GFLOP/s", "GB/s", "% peak");
    print_row("load once (warm disk)", &rows[ROW_LOAD]);
    print_row("decode and fit", &rows[ROW_DECODE]);
    puts("one image on all threads");
    for (int stage = 0; stage < BE_STAGES; stage++) {
        snprintf(name, sizeof name, "  %s", be_stage_name((be_stage)stage));
        print_row(name, &rows[ROW_STAGES + stage]);
    }
    print_row("  whole", &rows[ROW_WHOLE]);
    print_bare(it, &it->one, &it->one_bare);
    print_against(it);
    print_row("answer as JSON", &rows[ROW_ANSWER]);
    printf("stream of %zu images, one a thread\n", it->n_stream);
    print_row("  an image", &rows[ROW_STREAM]);
    print_bare(it, &it->many, &it->many_bare);
}

/* --- JSON ----------------------------------------------------------------------------------------- */

/* Of times in `scale` of a second, or of ratios. */
static void print_json_extremes(const char *name, const samples *of, double scale)
{
    const extremes found = find_extremes(of);
    printf(",\"%s_least\":%.4f,\"%s_most\":%.4f", name, scale * found.least, name, scale * found.most);
}

/* The other's time, and the ratio to it of what was measured in turn with it. */
static void print_json_ratio(const char *time, const char *ratio, const samples *whole, const samples *other)
{
    const samples ratios = divide(whole, other);
    printf(",\"%s\":%.3f", time, milliseconds(other));
    print_json_extremes(time, other, 1e3);
    printf(",\"%s\":%.4f", ratio, bench_median(&ratios));
    print_json_extremes(ratio, &ratios, 1);
}

static void print_json_rows(const bench_results *it)
{
    row rows[ROWS];
    make_rows(it, rows);
    printf("\"rows\":[");
    for (int i = 0; i < ROWS; i++) {
        const row *line = &rows[i];
        printf("%s{\"name\":\"%s\",\"ms\":%.4f", i ? "," : "", line->name, 1e3 * line->seconds);
        if (line->of)
            print_json_extremes("ms", line->of, 1e3);
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
    const be_subject_info *subject = be_subject_get_info(be_model_subject(it->model, 0));
    const be_answer_image *image = &it->picture->about;
    printf("\"backbone\":\"%s\",\"precision\":\"%s\",\"picture\":[%zu,%zu],\"grid\":[%zu,%zu],\"subjects\":%zu,",
           be_model_backbone(it->model)->name, be_precision_name(be_model_precision(it->model)), image->width, image->height,
           image->rows, image->columns, be_model_subjects(it->model));
    printf("\"vertices\":[%zu,%zu],\"members\":%zu,\"threads\":%zu,\"isa\":\"%s\",\"sgemm\":\"%s\",\"rounds\":%zu,",
           subject->n_vertices[BE_LEFT], subject->n_vertices[BE_RIGHT], subject->members, be_session_threads(it->session),
           be_session_isa(it->session), blas_kernels(), it->rounds);
    printf("\"load_s\":%.3f,\"resident_bytes\":%ld,\"weight_bytes\":%.0f,\"decode_ms\":%.3f,\"answer_ms\":%.3f,\"gflop\":%.3f,",
           it->load_seconds, it->resident_kb * 1024, weight_bytes(it->model), milliseconds(&it->decode), milliseconds(&it->answer),
           1e-9 * bare_operations(it->bare));
    printf("\"peak\":{\"f32\":{\"gflop_s\":%.2f,\"instructions\":\"%s\"},\"precision\":{\"gflop_s\":%.2f,\"instructions\":\"%s\"},"
           "\"reading_gb_s\":%.3f},", 1e-9 * peaks->float32, peaks->float32_instructions, 1e-9 * peaks->precise,
           peaks->precise_instructions, 1e-9 * peaks->reading);
}

static void print_json_one(const bench_results *it)
{
    printf("\"one\":{");
    for (int stage = 0; stage < BE_STAGES; stage++)
        printf("\"%s_ms\":%.3f,", be_stage_name((be_stage)stage), milliseconds(&it->stages[stage]));
    printf("\"whole_ms\":%.3f", milliseconds(&it->one));
    print_json_extremes("whole_ms", &it->one, 1e3);
    if (it->against.count > 0)
        print_json_ratio("against_ms", "against_ratio", &it->one, &it->against);
    print_json_ratio("bare_ms", "ratio", &it->one, &it->one_bare);
    printf("}");
}

void bench_print_json(const bench_results *it)
{
    putchar('{');
    print_json_heading(it);
    print_json_rows(it);
    print_json_one(it);
    printf(",\"stream\":{\"images\":%zu,\"image_ms\":%.3f", it->n_stream, milliseconds(&it->many));
    print_json_extremes("image_ms", &it->many, 1e3);
    print_json_ratio("bare_ms", "ratio", &it->many, &it->many_bare);
    puts("}}");
}
