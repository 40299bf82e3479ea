#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clients/brainenc/bare.h"
#include "clients/brainenc/tool.h"
#include "core/base/memory.h"

static const char help[] =
    "usage: brainenc bench --demo FOLDER [OPTION]... | brainenc bench IMAGE --backbone FILE --subject FILE [OPTION]...\n\n"
    "Measures loading, memory, and a prediction stage by stage, against the bare time of its matrix products at their own\n"
    "shapes, in turn with it: one image on all threads, and a stream of images, one a thread. Medians of the rounds.\n\n"
    COMPUTE_HELP
    "  --demo FOLDER       what `brainenc demo --full -o FOLDER` wrote\n"
    "  --against FOLDER    another demo, or the same, in f32: one image of it, in turn with this one's, and the ratio\n"
    "  --rounds N          default 5\n"
    "  --json              one JSON object\n\n"
    "example: brainenc demo --full -o full && brainenc bench --demo full\n";

enum { MOST_ROUNDS = 100, PATH_SIZE = 4096 };

typedef struct samples {
    double values[MOST_ROUNDS];
    size_t count;
} samples;

/* Files of a demo. */
typedef struct demo_paths {
    char backbone[PATH_SIZE], subject[PATH_SIZE], picture[PATH_SIZE];
} demo_paths;

/* Another model that answers the same picture in turn. */
typedef struct rival {
    demo_paths paths;
    compute_options compute; /* no subjects: there is none */
    engine engine;
    be_output output;        /* vertices only */
    samples one;
} rival;

typedef struct job {
    compute_options compute;
    const char *image;
    demo_paths paths;         /* of a demo */
    size_t rounds;
    bool json;
    engine engine;
    picture picture;
    double load_seconds;
    long resident_kb;         /* the largest so far, before the bare products' operands exist */
    be_output *outputs;       /* [stream images]: vertices only */
    rival rival;
    be_image *stream;         /* [stream images]: the same picture */
    size_t n_stream;
    bare *bare;
    samples one, one_bare, many, many_bare, stages[BE_STAGES];
} job;

/* --- numbers -------------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

static double median(const samples *of)
{
    double sorted[MOST_ROUNDS];
    memcpy(sorted, of->values, of->count * sizeof *sorted);
    qsort(sorted, of->count, sizeof *sorted, by_size);
    return of->count % 2 ? sorted[of->count / 2] : (sorted[of->count / 2 - 1] + sorted[of->count / 2]) / 2;
}

static void take(samples *to, double value)
{
    to->values[to->count++] = value;
}

/* The largest resident size of this process so far, in kB. */
static long peak_resident(void)
{
    char line[256];
    long kilobytes = 0;
    FILE *stream = fopen("/proc/self/status", "r");
    while (stream && fgets(line, sizeof line, stream)) {
        if (sscanf(line, "VmHWM: %ld", &kilobytes) == 1)
            break;
    }
    if (stream)
        fclose(stream);
    return kilobytes;
}

/* Bytes of weights that the model holds, near enough: the backbone's and each member's of each subject. Vectors and tables are
 * float32 in any precision. */
static double weight_bytes(const be_model *model)
{
    size_t number = be_model_precision(model) == BE_PRECISION_BF16 ? sizeof(uint16_t) : sizeof(float); /* bf16x3 holds two halves */
    double bytes = (double)number * (double)be_model_backbone(model)->parameters;
    for (size_t s = 0; s < be_model_subjects(model); s++) {
        const be_subject *subject = be_model_subject(model, s);
        const be_subject_info *info = be_subject_get_info(subject);
        for (size_t m = 0; m < info->members; m++) {
            size_t width = info->channels, hidden = be_encoder_get_info(be_subject_encoder(subject, m))->hidden;
            size_t matrices = 3 * width * width + 2 * width * hidden, tables = info->queries * width;
            bytes += (double)(matrices * number + tables * sizeof(float) + be_readout_bytes(be_subject_readout(subject, m)));
        }
    }
    return bytes;
}

/* --- running -------------------------------------------------------------------------------------- */

static be_status load(job *self, be_error *error)
{
    be_status status = open_engine(&self->compute, &self->engine, error); /* once to warm the disk's cache */
    if (status != BE_OK)
        return status;
    close_engine(&self->engine);
    double start = be_clock();
    status = open_engine(&self->compute, &self->engine, error);
    self->load_seconds = be_clock() - start;
    if (status != BE_OK)
        return status;
    read_picture(self->image, &self->compute, self->engine.model, &self->picture);
    if (self->picture.status != BE_OK)
        return be_fail(error, self->picture.status, "%s", self->picture.error.message);
    return BE_OK;
}

static be_status make_buffers(job *self, be_error *error)
{
    size_t subjects = be_model_subjects(self->engine.model);
    void *memory;
    self->n_stream = 2 * be_session_threads(self->engine.session);
    be_status status = be_allocate(&memory, self->n_stream, sizeof(be_image), "pictures", error);
    if (status != BE_OK)
        return status;
    self->stream = memory;
    status = be_allocate(&memory, self->n_stream * subjects, sizeof(be_output), "answers", error);
    if (status != BE_OK)
        return status;
    self->outputs = memory;
    for (size_t i = 0; i < self->n_stream; i++)
        self->stream[i] = self->picture.input;
    for (size_t i = 0; i < self->n_stream * subjects; i++) {
        const be_subject_info *info = be_subject_get_info(be_model_subject(self->engine.model, i % subjects));
        status = be_allocate(&memory, info->n_vertices[BE_LEFT] + info->n_vertices[BE_RIGHT], sizeof(float), "answers", error);
        if (status != BE_OK)
            return status;
        self->outputs[i].vertices = memory;
    }
    return BE_OK;
}

static be_status open_rival(job *self, be_error *error)
{
    rival *it = &self->rival;
    void *memory;
    if (it->compute.n_subjects == 0)
        return BE_OK;
    be_status status = open_engine(&it->compute, &it->engine, error);
    if (status != BE_OK)
        return status;
    const be_subject_info *info = be_subject_get_info(be_model_subject(it->engine.model, 0));
    status = be_allocate(&memory, info->n_vertices[BE_LEFT] + info->n_vertices[BE_RIGHT], sizeof(float), "answers", error);
    if (status == BE_OK)
        it->output.vertices = memory;
    return status;
}

static be_status measure_rival(job *self, bool counted, be_error *error)
{
    rival *it = &self->rival;
    if (!it->engine.model)
        return BE_OK;
    double start = be_clock();
    be_status status = be_session_predict(it->engine.session, self->stream, 1, &it->output, NULL, error);
    if (counted)
        take(&it->one, be_clock() - start);
    return status;
}

static be_status measure_round(job *self, bool counted, be_error *error)
{
    be_timing timing;
    double start = be_clock();
    be_status status = be_session_predict(self->engine.session, self->stream, 1, self->outputs, &timing, error);
    double one = be_clock() - start;
    if (status != BE_OK)
        return status;
    status = measure_rival(self, counted, error);
    if (status != BE_OK)
        return status;
    double one_bare = self->bare ? bare_together(self->bare) : 0;
    start = be_clock();
    status = be_session_predict(self->engine.session, self->stream, self->n_stream, self->outputs, NULL, error);
    double many = (be_clock() - start) / (double)self->n_stream;
    if (status != BE_OK || !counted)
        return status;
    take(&self->one, one);
    take(&self->one_bare, one_bare);
    take(&self->many, many);
    take(&self->many_bare, bare_stream(self->bare, self->n_stream));
    for (int stage = 0; stage < BE_STAGES; stage++)
        take(&self->stages[stage], timing.stages[stage]);
    return BE_OK;
}

static be_status run(job *self, be_error *error)
{
    be_status status = load(self, error);
    if (status == BE_OK)
        status = make_buffers(self, error);
    if (status == BE_OK)
        status = measure_round(self, false, error); /* touches every buffer */
    self->resident_kb = peak_resident();
    if (status == BE_OK)
        status = open_rival(self, error);
    if (status == BE_OK)
        status = bare_create(self->engine.model, self->picture.about.rows, self->picture.about.columns,
                             be_session_threads(self->engine.session), &self->bare, error);
    if (status == BE_OK)
        status = measure_round(self, false, error);
    for (size_t round = 0; round < self->rounds && status == BE_OK; round++)
        status = measure_round(self, true, error);
    return status;
}

/* --- printing ------------------------------------------------------------------------------------- */

static void print_lines(const job *self)
{
    const be_backbone_info *backbone = be_model_backbone(self->engine.model);
    double operations = bare_operations(self->bare), bytes = weight_bytes(self->engine.model);
    printf("%s, %s, %zu x %zu tokens, %zu subject(s), %zu threads, %s kernels, medians of %zu rounds\n", backbone->name,
           be_precision_name(be_model_precision(self->engine.model)),
           self->picture.about.rows, self->picture.about.columns, be_model_subjects(self->engine.model),
           be_session_threads(self->engine.session), be_session_isa(self->engine.session), self->rounds);
    printf("load (warm disk)  %8.2f s\n", self->load_seconds);
    printf("resident, peak    %8.1f MB; the weights are %.1f MB\n", (double)self->resident_kb / 1024, bytes / (1 << 20));
    printf("decode and fit    %8.2f ms\n", self->picture.decode_ms);
    puts("one image on all threads");
    for (int stage = 0; stage < BE_STAGES; stage++)
        printf("  %-15s %8.2f ms\n", be_stage_name((be_stage)stage), 1e3 * median(&self->stages[stage]));
    printf("  whole           %8.2f ms\n", 1e3 * median(&self->one));
    printf("  bare products   %8.2f ms  (%.1f GFLOP, %.0f GFLOP/s)\n", 1e3 * median(&self->one_bare), 1e-9 * operations,
           1e-9 * operations / median(&self->one_bare));
    printf("  ratio           %8.3f\n", median(&self->one) / median(&self->one_bare));
    if (self->rival.one.count > 0)
        printf("  against         %8.2f ms\n  ratio to it     %8.3f\n", 1e3 * median(&self->rival.one),
               median(&self->one) / median(&self->rival.one));
    printf("stream of %zu images, one a thread\n", self->n_stream);
    printf("  an image        %8.2f ms\n", 1e3 * median(&self->many));
    printf("  bare products   %8.2f ms  (%.0f GFLOP/s)\n", 1e3 * median(&self->many_bare),
           1e-9 * operations / median(&self->many_bare));
    printf("  ratio           %8.3f\n", median(&self->many) / median(&self->many_bare));
}

static void print_json(const job *self)
{
    printf("{\"backbone\":\"%s\",\"precision\":\"%s\",\"grid\":[%zu,%zu],\"threads\":%zu,\"isa\":\"%s\",\"rounds\":%zu,\"load_s\":%.3f,"
           "\"resident_bytes\":%ld,\"weight_bytes\":%.0f,\"decode_ms\":%.3f,\"gflop\":%.3f,\"one\":{",
           be_model_backbone(self->engine.model)->name,
           be_precision_name(be_model_precision(self->engine.model)),
           self->picture.about.rows, self->picture.about.columns, be_session_threads(self->engine.session),
           be_session_isa(self->engine.session), self->rounds, self->load_seconds, self->resident_kb * 1024,
           weight_bytes(self->engine.model),
           self->picture.decode_ms, 1e-9 * bare_operations(self->bare));
    for (int stage = 0; stage < BE_STAGES; stage++)
        printf("\"%s_ms\":%.3f,", be_stage_name((be_stage)stage), 1e3 * median(&self->stages[stage]));
    if (self->rival.one.count > 0)
        printf("\"against_ms\":%.3f,\"against_ratio\":%.4f,", 1e3 * median(&self->rival.one),
               median(&self->one) / median(&self->rival.one));
    printf("\"whole_ms\":%.3f,\"bare_ms\":%.3f,\"ratio\":%.4f},", 1e3 * median(&self->one), 1e3 * median(&self->one_bare),
           median(&self->one) / median(&self->one_bare));
    printf("\"stream\":{\"images\":%zu,\"image_ms\":%.3f,\"bare_ms\":%.3f,\"ratio\":%.4f}}\n", self->n_stream,
           1e3 * median(&self->many), 1e3 * median(&self->many_bare), median(&self->many) / median(&self->many_bare));
}

/* --- the command line ----------------------------------------------------------------------------- */

/* The files of a demo: whichever of the two backbones is there. */
static int use_demo(const char *folder, demo_paths *paths, compute_options *compute)
{
    static const char *const backbones[] = {"dinov2_vitb14_pretrain.pth", "dinov2_demo_pretrain.pth"};
    if (compute->n_subjects > 0)
        return tool_usage("--demo: once, and without --subject");
    if (strlen(folder) > PATH_SIZE - 64)
        return tool_usage("--demo: the path is too long");
    for (size_t i = 0; i < 2; i++) {
        snprintf(paths->backbone, PATH_SIZE, "%s/%s", folder, backbones[i]);
        if (access(paths->backbone, F_OK) == 0)
            break;
    }
    snprintf(paths->subject, PATH_SIZE, "%s/subj01.safetensors", folder);
    snprintf(paths->picture, PATH_SIZE, "%s/picture.png", folder);
    compute->backbone = paths->backbone;
    compute->subjects[compute->n_subjects++] = paths->subject;
    return EXIT_DONE;
}

static int use_own_demo(job *self, const char *folder)
{
    if (self->image)
        return tool_usage("--demo: once, and without --subject");
    self->image = self->paths.picture;
    return use_demo(folder, &self->paths, &self->compute);
}

static int parse(int argc, char **argv, job *self)
{
    enum { OPTION_DEMO = 256, OPTION_AGAINST, OPTION_ROUNDS, OPTION_JSON };
    static const struct option own[] = {
        {"demo", required_argument, NULL, OPTION_DEMO}, {"against", required_argument, NULL, OPTION_AGAINST},
        {"rounds", required_argument, NULL, OPTION_ROUNDS},
        {"json", no_argument, NULL, OPTION_JSON}, {NULL, 0, NULL, 0},
    };
    struct option all[N_COMPUTE_OPTIONS + sizeof own / sizeof *own];
    int option, code = EXIT_DONE;
    memcpy(all, compute_long_options, sizeof compute_long_options);
    memcpy(all + N_COMPUTE_OPTIONS, own, sizeof own);
    while (code == EXIT_DONE && (option = getopt_long(argc, argv, "", all, NULL)) != -1) {
        if (compute_option(&self->compute, option, optarg, &code))
            continue;
        switch (option) {
        case OPTION_DEMO: code = use_own_demo(self, optarg); break;
        case OPTION_AGAINST: code = use_demo(optarg, &self->rival.paths, &self->rival.compute); break;
        case OPTION_ROUNDS: code = parse_count("rounds", optarg, MOST_ROUNDS, &self->rounds) ? EXIT_DONE : EXIT_USAGE; break;
        case OPTION_JSON: self->json = true; break;
        default: return EXIT_USAGE;
        }
    }
    if (code != EXIT_DONE)
        return code;
    if (optind + 1 == argc)
        self->image = argv[optind++];
    self->rival.compute.threads = self->compute.threads;
    self->rival.compute.isa = self->compute.isa;
    if (!self->image || optind != argc)
        return tool_usage("bench: takes --demo FOLDER, or one picture with --backbone and --subject");
    return EXIT_DONE;
}

static int run_bench(int argc, char **argv)
{
    be_error error;
    job self = {.rounds = 5};
    compute_options_default(&self.compute);
    compute_options_default(&self.rival.compute);
    int code = parse(argc, argv, &self);
    if (code != EXIT_DONE)
        return code;
    if (run(&self, &error) != BE_OK)
        code = tool_fail(&error);
    else if (self.json)
        print_json(&self);
    else
        print_lines(&self);
    bare_free(self.bare);
    for (size_t i = 0; self.outputs && i < self.n_stream * be_model_subjects(self.engine.model); i++)
        free(self.outputs[i].vertices);
    free(self.outputs);
    free(self.stream);
    free_picture(&self.picture);
    close_engine(&self.engine);
    free(self.rival.output.vertices);
    close_engine(&self.rival.engine);
    return code;
}

const command command_bench = {"bench", "speed and memory, against the bare time of the matrix products", help, run_bench};
