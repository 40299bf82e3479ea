#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clients/brainenc/bench.h"
#include "core/base/memory.h"
#include "core/compute/peak.h"

static const char help[] =
    "usage: brainenc bench --demo FOLDER [OPTION]... | brainenc bench IMAGE --backbone FILE --subject FILE [OPTION]...\n\n"
    "Measures loading, memory, and a prediction stage by stage: its time, its rate, and what part that is of this machine's\n"
    "own peak, which is measured first; and against the bare time of its matrix products by cblas_sgemm at their own shapes,\n"
    "in turn with it. One image on all threads, and a stream of images, one a thread. Medians over the rounds, the fastest\n"
    "and the slowest; a ratio is of what one round measured in turn.\n\n"
    COMPUTE_HELP
    "  --demo FOLDER       what `brainenc demo --full -o FOLDER` wrote\n"
    "  --against FOLDER    another demo, or the same: one image of it, in turn with this one's, and the ratio\n"
    "  --against-precision NAME  of the other: f32 (default), bf16, bf16x3 or auto\n"
    "  --rounds N          default 5\n"
    "  --json              one JSON object\n\n"
    "example: brainenc demo --full -o full && brainenc bench --demo full\n";

enum { PATH_SIZE = 4096 };

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
} rival;

typedef struct job {
    compute_options compute;
    const char *image;
    demo_paths paths;         /* of a demo */
    bool json;
    engine engine;
    picture picture;
    be_output *outputs;       /* [stream images]: vertices only */
    rival rival;
    be_image *stream;         /* [stream images]: the same picture */
    bare *bare;
    bench_results results;
} job;

/* --- running -------------------------------------------------------------------------------------- */

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

static be_status load(job *self, be_error *error)
{
    be_status status = open_engine(&self->compute, &self->engine, error); /* once to warm the disk's cache */
    if (status != BE_OK)
        return status;
    close_engine(&self->engine);
    double start = be_clock();
    status = open_engine(&self->compute, &self->engine, error);
    self->results.load_seconds = be_clock() - start;
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
    self->results.n_stream = 2 * be_session_threads(self->engine.session);
    be_status status = be_allocate(&memory, self->results.n_stream, sizeof(be_image), "pictures", error);
    if (status != BE_OK)
        return status;
    self->stream = memory;
    status = be_allocate(&memory, self->results.n_stream * subjects, sizeof(be_output), "answers", error);
    if (status != BE_OK)
        return status;
    self->outputs = memory;
    for (size_t i = 0; i < self->results.n_stream; i++)
        self->stream[i] = self->picture.input;
    for (size_t i = 0; i < self->results.n_stream * subjects; i++) {
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
        take(&self->results.against, be_clock() - start);
    return status;
}

/* From the file to pixels that fit, as it is done for every image. */
static double measure_decode(const job *self)
{
    picture again;
    double start = be_clock();
    read_picture(self->image, &self->compute, self->engine.model, &again);
    double seconds = be_clock() - start;
    free_picture(&again);
    return seconds;
}

/* The answers of all subjects for one image, as the daemon writes them. */
static be_status measure_answers(job *self, const be_timing *timing, double *seconds, be_error *error)
{
    be_answer_options options = {.vertices = true, .rois = true};
    be_answer_timing times = {.decode = self->picture.decode_ms, .backbone = 1e3 * timing->backbone,
                              .encoder = 1e3 * timing->encoder};
    double start = be_clock();
    self->results.answer_bytes = 0;
    for (size_t s = 0; s < be_model_subjects(self->engine.model); s++) {
        char *text;
        be_status status = be_answer_prediction(self->engine.model, s, &self->picture.about, &self->outputs[s], &options, &times,
                                                &text, error);
        if (status != BE_OK)
            return status;
        self->results.answer_bytes += strlen(text);
        free(text);
    }
    *seconds = be_clock() - start;
    return BE_OK;
}

static be_status measure_stream(job *self, bool counted, be_error *error)
{
    bench_results *to = &self->results;
    double start = be_clock();
    be_status status = be_session_predict(self->engine.session, self->stream, to->n_stream, self->outputs, NULL, error);
    if (status != BE_OK || !counted)
        return status;
    take(&to->many, (be_clock() - start) / (double)to->n_stream);
    take(&to->many_bare, bare_stream(self->bare, to->n_stream));
    return BE_OK;
}

static be_status measure_round(job *self, bool counted, be_error *error)
{
    bench_results *to = &self->results;
    be_timing timing;
    double decode = measure_decode(self), answer, start = be_clock();
    be_status status = be_session_predict(self->engine.session, self->stream, 1, self->outputs, &timing, error);
    double one = be_clock() - start;
    if (status == BE_OK)
        status = measure_answers(self, &timing, &answer, error);
    if (status == BE_OK)
        status = measure_rival(self, counted, error);
    if (status != BE_OK)
        return status;
    double one_bare = self->bare ? bare_together(self->bare) : 0;
    if (counted) {
        take(&to->decode, decode);
        take(&to->answer, answer);
        take(&to->one, one);
        take(&to->one_bare, one_bare);
        for (int stage = 0; stage < BE_STAGES; stage++)
            take(&to->stages[stage], timing.stages[stage]);
    }
    return measure_stream(self, counted, error);
}

static void keep_larger(double *to, double value)
{
    *to = value > *to ? value : *to;
}

/* On threads of their own, as many as the session's. The best of this call and those before. */
static be_status measure_peaks(const job *self, bench_peaks *peaks, be_error *error)
{
    be_precision precision = be_model_precision(self->engine.model);
    const be_isa *isa;
    be_pool *pool;
    double reading;
    be_status status = be_isa_select(be_session_isa(self->engine.session), &isa, error);
    if (status == BE_OK)
        status = be_pool_create(be_session_threads(self->engine.session), &pool, error);
    if (status != BE_OK)
        return status;
    peaks->float32_instructions = be_peak_instructions(isa, BE_PRECISION_F32);
    peaks->precise_instructions = be_peak_instructions(isa, precision);
    keep_larger(&peaks->float32, be_peak_operations(isa, BE_PRECISION_F32, pool));
    if (precision != BE_PRECISION_F32)
        keep_larger(&peaks->precise, be_peak_operations(isa, precision, pool));
    else
        peaks->precise = peaks->float32;
    status = be_peak_reading(pool, &reading, error);
    if (status == BE_OK)
        keep_larger(&peaks->reading, reading);
    be_pool_destroy(pool);
    return status;
}

static be_status run(job *self, be_error *error)
{
    be_status status = load(self, error);
    if (status == BE_OK)
        status = make_buffers(self, error);
    if (status == BE_OK)
        status = measure_round(self, false, error); /* touches every buffer */
    self->results.resident_kb = peak_resident();
    if (status == BE_OK)
        status = measure_peaks(self, &self->results.peaks, error);
    if (status == BE_OK)
        status = open_rival(self, error);
    if (status == BE_OK)
        status = bare_create(self->engine.model, &self->picture.input, be_session_threads(self->engine.session), &self->bare,
                             error);
    if (status == BE_OK)
        status = measure_round(self, false, error);
    for (size_t round = 0; round < self->results.rounds && status == BE_OK; round++) {
        status = measure_round(self, true, error);
        if (status == BE_OK) /* again, for something may have disturbed it before */
            status = measure_peaks(self, &self->results.peaks, error);
    }
    return status;
}

static void print(job *self)
{
    bench_results *it = &self->results;
    it->model = self->engine.model, it->session = self->engine.session, it->bare = self->bare, it->picture = &self->picture;
    if (self->json)
        bench_print_json(it);
    else
        bench_print_lines(it);
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
    enum { OPTION_DEMO = 256, OPTION_AGAINST, OPTION_AGAINST_PRECISION, OPTION_ROUNDS, OPTION_JSON };
    static const struct option own[] = {
        {"demo", required_argument, NULL, OPTION_DEMO}, {"against", required_argument, NULL, OPTION_AGAINST},
        {"against-precision", required_argument, NULL, OPTION_AGAINST_PRECISION},
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
        case OPTION_AGAINST_PRECISION: self->rival.compute.precision = optarg; break;
        case OPTION_ROUNDS:
            code = parse_count("rounds", optarg, MOST_ROUNDS, &self->results.rounds) ? EXIT_DONE : EXIT_USAGE;
            break;
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
    job self = {.results.rounds = 5};
    compute_options_default(&self.compute);
    compute_options_default(&self.rival.compute);
    int code = parse(argc, argv, &self);
    if (code != EXIT_DONE)
        return code;
    if (run(&self, &error) != BE_OK)
        code = tool_fail(&error);
    else
        print(&self);
    bare_free(self.bare);
    for (size_t i = 0; self.outputs && i < self.results.n_stream * be_model_subjects(self.engine.model); i++)
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
