#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/brainenc/predict.h"
#include "core/base/memory.h"
#include "core/files/hash.h"
#include "core/files/npy.h"

static const char help[] =
    "usage: brainenc predict IMAGE... --backbone FILE --subject FILE [OPTION]...\n\n"
    "Predicts the response of every vertex to each picture (PNG or JPEG; a folder stands for the pictures in it).\n"
    "Without -o a table of the ROIs' means is printed.\n\n"
    COMPUTE_HELP
    "  -o FILE             FILE.npy: float32 [images][V_lh + V_rh], left vertices first, and FILE.npy.json that names rows\n"
    "                      and columns; FILE.json: {\"predictions\": [...]}, images outermost, then subjects\n"
    "  --json              the JSON on standard output\n"
    "  --rois NAMES        only the vertices of these ROIs: FBA-1, FBA (its stem), floc-bodies (a family), all; commas\n"
    "  --output WHAT       in JSON: vertices, rois or both (default)\n"
    "  --attention NAMES   in JSON: adds these ROIs' attention maps\n"
    "  --list FILE         more pictures, one path a line (- : standard input)\n"
    "  --on-error HOW      stop (default) at a picture that cannot be read, or nan: leave its row empty, go on, exit 5\n"
    "  --restart           throw away what an interrupted run with the same -o left; otherwise the run goes on from there\n\n"
    "example: brainenc predict a.png b.jpg --backbone dinov2_vitb14_pretrain.pth --subject subj01.safetensors -o pred.npy\n";

/* --- the command line ----------------------------------------------------------------------------- */

enum { OPTION_JSON = 256, OPTION_ROIS, OPTION_WHAT, OPTION_ATTENTION, OPTION_LIST, OPTION_ON_ERROR, OPTION_RESTART };

static int parse(int argc, char **argv, predict_request *ask)
{
    static const struct option own[] = {
        {"json", no_argument, NULL, OPTION_JSON}, {"rois", required_argument, NULL, OPTION_ROIS},
        {"output", required_argument, NULL, OPTION_WHAT}, {"attention", required_argument, NULL, OPTION_ATTENTION},
        {"list", required_argument, NULL, OPTION_LIST}, {"on-error", required_argument, NULL, OPTION_ON_ERROR},
        {"restart", no_argument, NULL, OPTION_RESTART}, {NULL, 0, NULL, 0},
    };
    struct option all[N_COMPUTE_OPTIONS + sizeof own / sizeof *own];
    be_error error;
    int option, code;
    memcpy(all, compute_long_options, sizeof compute_long_options);
    memcpy(all + N_COMPUTE_OPTIONS, own, sizeof own);
    while ((option = getopt_long(argc, argv, "o:", all, NULL)) != -1) {
        if (compute_option(&ask->compute, option, optarg, &code)) {
            if (code != EXIT_DONE)
                return code;
            continue;
        }
        switch (option) {
        case 'o': ask->output = optarg; break;
        case OPTION_JSON: ask->json = true; break;
        case OPTION_ROIS: ask->rois = optarg; break;
        case OPTION_WHAT: ask->what = optarg; break;
        case OPTION_ATTENTION: ask->attention = optarg; break;
        case OPTION_LIST:
            if (file_list_add_lines(&ask->images, optarg, &error) != BE_OK)
                return tool_fail(&error);
            break;
        case OPTION_ON_ERROR:
            if (strcmp(optarg, "nan") != 0 && strcmp(optarg, "stop") != 0)
                return tool_usage("--on-error: '%s' is neither stop nor nan", optarg);
            ask->skip_broken = strcmp(optarg, "nan") == 0;
            break;
        case OPTION_RESTART: ask->restart = true; break;
        default: return EXIT_USAGE;
        }
    }
    for (; optind < argc; optind++) {
        if (file_list_add(&ask->images, argv[optind], &error) != BE_OK)
            return tool_fail(&error);
    }
    return EXIT_DONE;
}

static int check(predict_request *ask)
{
    if (ask->images.count == 0)
        return tool_usage("predict: no picture is named");
    if (strcmp(ask->what, "both") != 0 && strcmp(ask->what, "vertices") != 0 && strcmp(ask->what, "rois") != 0)
        return tool_usage("--output: '%s' is none of vertices, rois, both", ask->what);
    if (ask->output && ask->json)
        return tool_usage("-o and --json: one or the other (-o FILE.json writes JSON)");
    ask->kind = ask->json ? KIND_JSON : KIND_TABLE;
    if (ask->output) {
        if (!ends_with(ask->output, ".npy") && !ends_with(ask->output, ".json"))
            return tool_usage("-o: '%s' ends with neither .npy nor .json", ask->output);
        ask->kind = ends_with(ask->output, ".npy") ? KIND_NPY : KIND_JSON;
    }
    if (ask->kind == KIND_NPY && ask->compute.n_subjects > 1)
        return tool_usage("-o FILE.npy takes one --subject");
    if (ask->kind != KIND_JSON && strcmp(ask->what, "both") != 0)
        return tool_usage("--output says what goes into JSON (-o FILE.json or --json)");
    if (ask->kind != KIND_JSON && ask->attention)
        return tool_usage("--attention goes into JSON (-o FILE.json or --json); `brainenc attention` writes .npy and .png");
    return EXIT_DONE;
}

/* --- setting up ----------------------------------------------------------------------------------- */

static be_status make_output(const predict_job *self, size_t subject, be_output *output, be_error *error)
{
    const be_subject_info *info = predict_subject(self, subject);
    size_t tokens = self->ask->compute.tokens ? self->ask->compute.tokens : BE_DEFAULT_TOKENS;
    void *memory;
    be_status status = be_allocate(&memory, info->n_vertices[BE_LEFT] + info->n_vertices[BE_RIGHT], sizeof(float), "answers",
                                   error);
    if (status != BE_OK)
        return status;
    output->vertices = memory;
    if (!self->ask->attention)
        return BE_OK;
    status = be_allocate(&memory, info->queries * tokens, sizeof(float), "attention maps", error);
    if (status == BE_OK)
        output->attention = memory;
    return status;
}

static be_status make_buffers(predict_job *self, be_error *error)
{
    void *memory;
    size_t total = self->batch * self->n_subjects;
    be_status status = be_allocate(&memory, self->batch, sizeof(picture), "pictures", error);
    if (status != BE_OK)
        return status;
    self->pictures = memory;
    status = be_allocate(&memory, self->batch, sizeof(be_image), "pictures", error);
    if (status != BE_OK)
        return status;
    self->inputs = memory;
    status = be_allocate(&memory, self->batch, sizeof(be_timing), "timings", error);
    if (status != BE_OK)
        return status;
    self->timings = memory;
    status = be_allocate(&memory, total, sizeof(be_output), "answers", error);
    if (status != BE_OK)
        return status;
    self->outputs = memory;
    for (size_t i = 0; i < total && status == BE_OK; i++)
        status = make_output(self, i % self->n_subjects, &self->outputs[i], error);
    return status;
}

static be_status select_rois(predict_job *self, be_error *error)
{
    be_status status = BE_OK;
    for (size_t s = 0; s < self->n_subjects && status == BE_OK; s++) {
        const be_roi_set *rois = &predict_subject(self, s)->rois;
        if (self->ask->rois)
            status = be_roi_select(rois, self->ask->rois, &self->only[s], error);
        if (status == BE_OK && self->ask->attention)
            status = be_roi_select(rois, self->ask->attention, &self->attention[s], error);
    }
    for (int h = BE_LEFT; h < BE_HEMISPHERES && status == BE_OK; h++)
        status = be_answer_vertices(predict_subject(self, 0), self->ask->rois ? &self->only[0] : NULL, (be_hemisphere)h,
                                    &self->columns[h], &self->n_columns[h], error);
    return status;
}

/* A hash over all that decides the results but the pictures' content: their names, weights and options. What becomes of a
 * broken picture is not in it, so that a run which one has stopped can go on past it with --on-error=nan. */
static be_status hash_run(const predict_job *self, char hash[BE_HASH_SIZE], be_error *error)
{
    const predict_request *ask = self->ask;
    be_text text = {0};
    const be_backbone_info *backbone = be_model_backbone(self->engine.model);
    be_text_add_format(&text, "brainenc " BRAINENC_VERSION " %s %zu %s %zu\n", be_model_backbone_hash(self->engine.model),
                       backbone->heads, be_activation_name(backbone->activation), ask->images.count);
    for (size_t s = 0; s < self->n_subjects; s++)
        be_text_add_format(&text, "%s\n", predict_subject(self, s)->weights_hash);
    be_text_add_format(&text, "%s %s %s %zu %zu\n", be_fit_name(ask->compute.fit), ask->what,
                       be_session_isa(self->engine.session), ask->compute.tokens, ask->compute.pixels);
    be_text_add(&text, ask->rois ? ask->rois : "");
    be_text_add(&text, "\n");
    be_text_add(&text, ask->attention ? ask->attention : "");
    for (size_t i = 0; i < ask->images.count; i++) {
        be_text_add(&text, "\n");
        be_text_add(&text, ask->images.paths[i]);
    }
    be_status status = be_text_finish(&text, error);
    if (status == BE_OK)
        status = be_hash_bytes(text.bytes, text.length, hash, error);
    free(text.bytes);
    return status;
}

static be_status open_results(predict_job *self, be_error *error)
{
    static const char json_head[] = "{\"predictions\":[\n";
    const predict_request *ask = self->ask;
    size_t length = sizeof json_head - 1, shape[] = {ask->images.count, self->n_columns[BE_LEFT] + self->n_columns[BE_RIGHT]};
    be_status status = BE_OK;
    if (!ask->output) {
        if (ask->kind == KIND_JSON)
            fputs(json_head, stdout);
        return BE_OK;
    }
    memcpy(self->head, json_head, length);
    if (ask->kind == KIND_NPY)
        status = be_npy_header(self->head, &length, BE_DTYPE_F32, 2, shape, error);
    if (status == BE_OK)
        status = hash_run(self, self->run, error);
    if (status != BE_OK)
        return status;
    self->plan = (stream_plan){.path = ask->output, .run = self->run, .images = ask->images.paths,
                               .n_images = ask->images.count, .restart = ask->restart, .head = self->head,
                               .head_size = length, .failures = &self->failures};
    status = stream_open(&self->plan, &self->stream, &self->first, error);
    if (status != BE_OK)
        return status;
    self->written = (self->first - self->failures.count) * self->n_subjects;
    if (self->first > 0)
        fprintf(stderr, "brainenc: goes on after %zu of %zu images of an interrupted run\n", self->first, ask->images.count);
    return BE_OK;
}

static be_status set_up(predict_job *self, be_error *error)
{
    be_status status = open_engine(&self->ask->compute, &self->engine, error);
    if (status != BE_OK)
        return status;
    self->n_subjects = be_model_subjects(self->engine.model);
    self->batch = 4 * be_session_threads(self->engine.session);
    if (self->batch > self->ask->images.count)
        self->batch = self->ask->images.count;
    status = select_rois(self, error);
    if (status == BE_OK)
        status = make_buffers(self, error);
    return status == BE_OK ? open_results(self, error) : status;
}

static void clean_up(predict_job *self)
{
    failure_list_free(&self->failures);
    for (size_t i = 0; self->outputs && i < self->batch * self->n_subjects; i++) {
        free(self->outputs[i].vertices);
        free(self->outputs[i].attention);
    }
    free(self->outputs);
    free(self->pictures);
    free(self->inputs);
    free(self->timings);
    free(self->columns[BE_LEFT]);
    free(self->columns[BE_RIGHT]);
    for (size_t s = 0; s < MOST_SUBJECTS; s++) {
        be_roi_selection_free(&self->only[s]);
        be_roi_selection_free(&self->attention[s]);
    }
    close_engine(&self->engine);
}

/* --- running -------------------------------------------------------------------------------------- */

static void read_one(void *context, size_t index, size_t worker)
{
    predict_job *self = context;
    (void)worker;
    read_picture(self->ask->images.paths[self->first + index], &self->ask->compute, self->engine.model,
                 &self->pictures[index]);
}

/* Writes the first `size` bytes of `text`, the results of `count` pictures. */
static be_status write_results(predict_job *self, const be_text *text, size_t size, size_t count, be_error *error)
{
    const char *bytes = text->bytes ? text->bytes : "";
    be_status status = be_text_finish(text, error);
    if (status == BE_OK)
        status = self->stream ? stream_append(self->stream, bytes, size, self->first + count, error)
                              : write_output(NULL, bytes, size, error);
    if (status == BE_OK)
        self->first += count;
    return status;
}

/* Reads, predicts and writes `count` pictures; when one cannot be read and that ends the run, what came before it is still
 * written. */
static be_status run_batch(predict_job *self, size_t count, be_error *error)
{
    be_text text = {0};
    size_t good = 0, done = 0, size = 0; /* `size`: of the text that belongs to the `done` pictures */
    be_session_run(self->engine.session, count, read_one, self);
    for (size_t i = 0; i < count; i++) {
        if (self->pictures[i].status == BE_OK)
            self->inputs[good++] = self->pictures[i].input;
    }
    be_status status = be_session_predict(self->engine.session, self->inputs, good, self->outputs, self->timings, error);
    for (size_t i = 0, next = 0; i < count && status == BE_OK; i++) {
        if (self->pictures[i].status != BE_OK) {
            status = predict_note_failure(self, &text, &self->pictures[i], error);
        } else {
            status = predict_add_picture(self, &text, &self->pictures[i], &self->outputs[next * self->n_subjects],
                                 &self->timings[next], error);
            next++;
        }
        if (status == BE_OK) {
            done++;
            size = text.length;
        }
    }
    be_status written = write_results(self, &text, size, done, status == BE_OK ? error : NULL);
    free(text.bytes);
    for (size_t i = 0; i < count; i++)
        free_picture(&self->pictures[i]);
    return status == BE_OK ? written : status;
}

static be_status finish(predict_job *self, be_error *error)
{
    be_text tail = {0};
    be_status status = BE_OK;
    if (self->ask->kind == KIND_NPY)
        status = predict_write_description(self, error);
    if (self->ask->kind == KIND_JSON)
        status = predict_make_tail(self, &tail, error);
    const char *bytes = tail.bytes ? tail.bytes : "";
    if (status == BE_OK && self->stream) {
        stream *ending = self->stream;
        self->stream = NULL;
        status = stream_finish(ending, bytes, tail.length, error);
    } else if (status == BE_OK) {
        status = write_output(NULL, bytes, tail.length, error);
    }
    free(tail.bytes);
    return status;
}

static be_status run(predict_job *self, be_error *error)
{
    size_t total = self->ask->images.count;
    be_status status = set_up(self, error);
    if (status != BE_OK)
        return status;
    progress_start(&self->bar, total, self->first);
    while (self->first < total && status == BE_OK) {
        size_t left = total - self->first;
        status = run_batch(self, left < self->batch ? left : self->batch, error);
        if (status == BE_OK)
            progress_show(&self->bar, self->first);
    }
    progress_break(&self->bar);
    if (status == BE_OK)
        status = finish(self, error);
    size_t kept = stream_close(self->stream);
    if (kept > 0)
        fprintf(stderr, "brainenc: the results of %zu of %zu images are kept; the same command goes on from there\n", kept,
                total);
    return status;
}

static int run_predict(int argc, char **argv)
{
    predict_request ask = {.what = "both"};
    be_error error;
    compute_options_default(&ask.compute);
    int code = parse(argc, argv, &ask);
    if (code == EXIT_DONE)
        code = check(&ask);
    if (code == EXIT_DONE) {
        predict_job self = {.ask = &ask};
        if (run(&self, &error) != BE_OK)
            code = tool_fail(&error);
        else if (self.failures.count > 0)
            code = EXIT_PARTIAL;
        clean_up(&self);
    }
    file_list_free(&ask.images);
    return code;
}

const command command_predict = {"predict", "pictures in, the response of every vertex out", help, run_predict};
