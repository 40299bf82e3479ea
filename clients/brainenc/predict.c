#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/brainenc/predict.h"
#include "core/answer/gifti.h"
#include "core/base/memory.h"
#include "core/files/hash.h"
#include "core/files/npy.h"

static const char help[] =
    "usage: brainenc predict IMAGE... --backbone FILE --subject FILE [--subject FILE]... [OPTION]...\n"
    "       brainenc predict IMAGE... --server URL [--subject NAME] [OPTION]...\n\n"
    "Predicts the response of every vertex to each picture (PNG or JPEG; a folder stands for the pictures in it, an HDF5 file,\n"
    "FILE.hdf5 or FILE.h5, for those it holds as uint8 [pictures][height][width][3]).\n"
    "Without -o a table of the ROIs' means is printed.\n\n"
    COMPUTE_HELP
    "  -o FILE             FILE.npy: float32 [images][V_lh + V_rh], left vertices first, and FILE.npy.json that names rows\n"
    "                      and columns; FILE.json: {\"predictions\": [...]}, images outermost, then subjects; FILE.func.gii:\n"
    "                      GIFTI, FILE.lh.func.gii and FILE.rh.func.gii with an array a picture (1000 at most)\n"
    "  --json              the JSON on standard output\n"
    "  --rois NAMES        only the vertices of these ROIs: FBA-1, FBA (its stem), floc-bodies (a family), rest; commas\n"
    "  --space SPACE       challenge (default), or fsaverage: the whole surface, 163842 vertices a hemisphere, NaN (null) where\n"
    "                      the subject has none\n"
    "  --output WHAT       in JSON: vertices, rois or both (default)\n"
    "  --attention NAMES   in JSON: adds these ROIs' attention maps\n"
    "  --spread            in JSON, of an ensemble: the standard deviation over its runs, of each vertex and (its mean) ROI\n"
    "  --quality           in JSON: how well vertices and ROIs are predicted, as far as the subject's file tells\n"
    "  --list FILE         more pictures, one path a line (- : standard input)\n"
    "  --dataset NAME      of HDF5 files: the dataset (default: imgBrick, or else the only one that holds pictures)\n"
    "  --images NUMBERS    of HDF5 files: these pictures, from 0, in this order: 0-999,5000 (default: all)\n"
    "  --on-error HOW      stop (default) at a picture that cannot be read, or nan: leave its row empty, go on, exit 5\n"
    "  --server URL        let a brainencd compute: http://HOST:PORT, https://... or unix:/PATH; --subject then names its\n"
    "                      subjects: a name, names with commas, or all (default: its first); the other options from\n"
    "                      --backbone to --isa, but for --fit, are then its configuration's\n"
    "  --key-file FILE     the API key for the server: the file's first line\n"
    "  --timeout SECONDS   for the server's answer to a picture, with the waiting while it is busy (default 300)\n"
    "  --restart           throw away what an interrupted run with the same -o left; otherwise the run goes on from there\n\n"
    "example: brainenc predict a.png b.jpg --backbone dinov2_vitb14_pretrain.pth --subject subj01.safetensors -o pred.npy\n"
    "         brainenc predict photos/ --server http://labserver:8080 -o pred.npy\n";

/* --- the command line ----------------------------------------------------------------------------- */

enum { STANDARD_SECONDS = 300, MOST_SECONDS = 86400 };
enum { OPTION_JSON = 256, OPTION_ROIS, OPTION_WHAT, OPTION_ATTENTION, OPTION_SPREAD, OPTION_QUALITY, OPTION_LIST, OPTION_ON_ERROR,
       OPTION_RESTART, OPTION_SERVER, OPTION_KEY_FILE, OPTION_TIMEOUT, OPTION_SPACE, OPTION_DATASET, OPTION_IMAGES };

static const struct option own_options[] = {
    {"json", no_argument, NULL, OPTION_JSON}, {"rois", required_argument, NULL, OPTION_ROIS},
    {"output", required_argument, NULL, OPTION_WHAT}, {"attention", required_argument, NULL, OPTION_ATTENTION},
    {"spread", no_argument, NULL, OPTION_SPREAD}, {"quality", no_argument, NULL, OPTION_QUALITY},
    {"list", required_argument, NULL, OPTION_LIST}, {"on-error", required_argument, NULL, OPTION_ON_ERROR},
    {"restart", no_argument, NULL, OPTION_RESTART}, {"server", required_argument, NULL, OPTION_SERVER},
    {"key-file", required_argument, NULL, OPTION_KEY_FILE}, {"timeout", required_argument, NULL, OPTION_TIMEOUT},
    {"space", required_argument, NULL, OPTION_SPACE},
    {"dataset", required_argument, NULL, OPTION_DATASET}, {"images", required_argument, NULL, OPTION_IMAGES},
    {NULL, 0, NULL, 0},
};

static int take_option(predict_request *ask, int option, const char *value)
{
    be_error error;
    switch (option) {
    case 'o': ask->output = value; break;
    case OPTION_JSON: ask->json = true; break;
    case OPTION_ROIS: ask->rois = value; break;
    case OPTION_WHAT: ask->what = value; break;
    case OPTION_ATTENTION: ask->attention = value; break;
    case OPTION_SPREAD: ask->spread = true; break;
    case OPTION_QUALITY: ask->quality = true; break;
    case OPTION_LIST: return file_list_add_lines(&ask->files, value, &error) == BE_OK ? EXIT_DONE : tool_fail(&error);
    case OPTION_ON_ERROR:
        if (strcmp(value, "nan") != 0 && strcmp(value, "stop") != 0)
            return tool_usage("--on-error: '%s' is neither stop nor nan", value);
        ask->skip_broken = strcmp(value, "nan") == 0;
        break;
    case OPTION_SPACE:
        if (be_space_parse(value, &ask->space, &error) != BE_OK)
            return tool_usage("--%s", error.message);
        break;
    case OPTION_DATASET: ask->dataset = value; break;
    case OPTION_IMAGES: ask->images = value; break;
    case OPTION_RESTART: ask->restart = true; break;
    case OPTION_SERVER: ask->server = value; break;
    case OPTION_KEY_FILE: ask->key_file = value; break;
    case OPTION_TIMEOUT: return parse_count("timeout", value, MOST_SECONDS, &ask->seconds) ? EXIT_DONE : EXIT_USAGE;
    default: return EXIT_USAGE;
    }
    return EXIT_DONE;
}

static int parse(int argc, char **argv, predict_request *ask)
{
    struct option all[N_COMPUTE_OPTIONS + sizeof own_options / sizeof *own_options];
    be_error error;
    int option, place = 0, code = EXIT_DONE;
    memcpy(all, compute_long_options, sizeof compute_long_options);
    memcpy(all + N_COMPUTE_OPTIONS, own_options, sizeof own_options);
    while (code == EXIT_DONE && (option = getopt_long(argc, argv, "o:", all, &place)) != -1) {
        if (!compute_option(&ask->compute, option, optarg, &code))
            code = take_option(ask, option, optarg);
        else if (strcmp(all[place].name, "subject") != 0 && strcmp(all[place].name, "fit") != 0)
            ask->local_option = all[place].name;
    }
    for (; code == EXIT_DONE && optind < argc; optind++) {
        if (file_list_add(&ask->files, argv[optind], &error) != BE_OK)
            code = tool_fail(&error);
    }
    return code;
}

static int check_server(predict_request *ask)
{
    if (!ask->server && (ask->key_file || ask->seconds))
        return tool_usage("%s goes with --server", ask->key_file ? "--key-file" : "--timeout");
    if (ask->server && ask->local_option)
        return tool_usage("--%s makes no sense with --server: its own configuration says it", ask->local_option);
    if (!ask->seconds)
        ask->seconds = STANDARD_SECONDS;
    return EXIT_DONE;
}

/* False when the output's name is of no kind. */
static bool choose_kind(predict_request *ask)
{
    static const struct { const char *suffix; predict_kind kind; } kinds[] = {
        {".npy", KIND_NPY}, {".json", KIND_JSON}, {".func.gii", KIND_GIFTI},
    };
    ask->kind = ask->json ? KIND_JSON : KIND_TABLE;
    for (size_t i = 0; ask->output && i < sizeof kinds / sizeof *kinds; i++) {
        ask->kind = kinds[i].kind;
        if (ends_with(ask->output, kinds[i].suffix))
            return true;
    }
    return !ask->output;
}

static int check(predict_request *ask)
{
    if (ask->files.count == 0)
        return tool_usage("predict: no picture is named");
    if (strcmp(ask->what, "both") != 0 && strcmp(ask->what, "vertices") != 0 && strcmp(ask->what, "rois") != 0)
        return tool_usage("--output: '%s' is none of vertices, rois, both", ask->what);
    if (ask->output && ask->json)
        return tool_usage("-o and --json: one or the other (-o FILE.json writes JSON)");
    if (!choose_kind(ask))
        return tool_usage("-o: '%s' ends with none of .npy, .json and .func.gii", ask->output);
    if ((ask->kind == KIND_NPY || ask->kind == KIND_GIFTI) && ask->compute.n_subjects > 1)
        return tool_usage("-o FILE.%s takes one --subject", ask->kind == KIND_NPY ? "npy" : "func.gii");
    if (ask->kind == KIND_TABLE && ask->space != BE_SPACE_CHALLENGE)
        return tool_usage("--space says where the vertices of a file or JSON are (-o FILE or --json)");
    if (ask->kind != KIND_JSON && strcmp(ask->what, "both") != 0)
        return tool_usage("--output says what goes into JSON (-o FILE.json or --json)");
    if (ask->kind != KIND_JSON && ask->attention)
        return tool_usage("--attention goes into JSON (-o FILE.json or --json); `brainenc attention` writes .npy and .png");
    if (ask->kind != KIND_JSON && (ask->spread || ask->quality))
        return tool_usage("%s goes into JSON (-o FILE.json or --json)", ask->spread ? "--spread" : "--quality");
    ask->compute.measured = ask->kind == KIND_JSON; /* which tells it */
    return EXIT_DONE;
}

static int open_pictures(predict_request *ask)
{
    const picture_choice choice = {.dataset = ask->dataset, .images = ask->images, .max_pixels = ask->compute.pixels};
    be_error error;
    if (picture_list_open(&ask->files, &choice, &ask->pictures, &error) != BE_OK)
        return tool_fail(&error);
    size_t count = picture_list_count(ask->pictures);
    if (ask->kind == KIND_GIFTI && count > BE_GIFTI_MOST_IMAGES)
        return tool_usage("-o FILE.func.gii takes %d pictures at most, these are %zu: -o FILE.npy takes any number",
                          BE_GIFTI_MOST_IMAGES, count);
    return EXIT_DONE;
}

/* --- setting up ----------------------------------------------------------------------------------- */

be_surface predict_surface(const predict_subject *subject)
{
    return (be_surface){subject->info, {subject->fsaverage[BE_LEFT], subject->fsaverage[BE_RIGHT]}};
}

/* Of a server's subject the names alone can be checked. */
static be_status select_maps(predict_job *self, size_t subject, be_error *error)
{
    const be_subject_info *info = self->subjects[subject].info;
    be_map_selection *to = &self->maps[subject];
    *to = (be_map_selection){.hemispheres = {true, true}};
    return self->ask->server ? be_roi_select(&info->rois, self->ask->attention, &to->rois, error)
                             : be_map_select_rois(info, self->ask->attention, to, error);
}

static be_status select_rois(predict_job *self, be_error *error)
{
    be_status status = BE_OK;
    for (size_t s = 0; s < self->n_subjects && status == BE_OK; s++) {
        const be_subject_info *info = self->subjects[s].info;
        const be_surface surface = predict_surface(&self->subjects[s]);
        if (self->ask->rois)
            status = be_roi_select(&info->rois, self->ask->rois, &self->only[s], error);
        if (status == BE_OK && self->ask->attention)
            status = select_maps(self, s, error);
        if (status == BE_OK && self->ask->spread && !self->ask->server)
            status = be_answer_check_spread(info, error);
        for (int h = BE_LEFT; h < BE_HEMISPHERES && status == BE_OK; h++)
            status = be_columns_make(&surface, self->ask->space, self->ask->rois ? &self->only[s] : NULL, (be_hemisphere)h,
                                     &self->columns[s][h], error);
    }
    return status;
}

/* A hash over all that decides the results but the pictures' content: their names, weights and options. What becomes of a
 * broken picture is not in it, so that a run which one has stopped can go on past it with --on-error=nan. */
static be_status hash_run(const predict_job *self, char hash[BE_HASH_SIZE], be_error *error)
{
    const predict_request *ask = self->ask;
    be_text text = {0};
    be_text_add_format(&text, "%s %zu\n", ask->server ? "server" : "here", picture_list_count(ask->pictures));
    for (size_t s = 0; s < self->n_subjects; s++) {
        const predict_subject *subject = &self->subjects[s];
        be_text_add_format(&text, "%s %s %zu ", subject->info->weights_hash, subject->by.backbone_hash, subject->by.backbone_heads);
        be_text_add(&text, subject->by.backbone_activation);
        be_text_add(&text, " ");
        be_text_add(&text, subject->isa);
        be_text_add(&text, " ");
        be_text_add(&text, subject->by.precision);
        be_text_add(&text, " ");
        be_text_add(&text, subject->by.version);
        be_text_add(&text, "\n");
    }
    be_text_add_format(&text, "%s %s %s %zu %zu\n", be_fit_name(ask->compute.fit), ask->what, be_space_name(ask->space),
                       ask->compute.tokens, ask->compute.pixels);
    be_text_add(&text, ask->rois ? ask->rois : "");
    be_text_add(&text, "\n");
    be_text_add(&text, ask->attention ? ask->attention : "");
    be_text_add(&text, ask->spread ? "\nspread" : "");
    be_text_add(&text, ask->quality ? "\nquality" : "");
    for (size_t i = 0; i < picture_list_count(ask->pictures); i++) {
        const run_picture *it = picture_list_at(ask->pictures, i);
        be_text_add(&text, "\n");
        be_text_add(&text, it->name);
        be_text_add(&text, it->dataset ? it->dataset : "");
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
    size_t length = sizeof json_head - 1, columns = self->columns[0][BE_LEFT].length + self->columns[0][BE_RIGHT].length;
    const size_t shape[] = {picture_list_count(ask->pictures), columns};
    be_status status = BE_OK;
    if (!ask->output) {
        if (ask->kind == KIND_JSON)
            fputs(json_head, stdout);
        return BE_OK;
    }
    if (ask->kind == KIND_GIFTI)
        return predict_gifti_open(self, error);
    memcpy(self->head, json_head, length);
    if (ask->kind == KIND_NPY)
        status = be_npy_header(self->head, &length, BE_DTYPE_F32, 2, shape, error);
    if (status == BE_OK)
        status = hash_run(self, self->run, error);
    if (status != BE_OK)
        return status;
    self->plan = (stream_plan){.path = ask->output, .run = self->run, .pictures = ask->pictures, .restart = ask->restart,
                               .head = self->head, .head_size = length, .failures = &self->failures};
    status = stream_open(&self->plan, &self->stream, &self->first, error);
    if (status != BE_OK)
        return status;
    self->written = (self->first - self->failures.count) * self->n_subjects;
    if (self->first > 0)
        fprintf(stderr, "brainenc: goes on after %zu of %zu images of an interrupted run\n", self->first, shape[0]);
    return BE_OK;
}

static be_status set_up(predict_job *self, be_error *error)
{
    be_status status = self->ask->server ? predict_remote_open(self, error) : predict_local_open(self, error);
    if (status == BE_OK)
        status = select_rois(self, error);
    return status == BE_OK ? open_results(self, error) : status;
}

static void clean_up(predict_job *self)
{
    failure_list_free(&self->failures);
    free(self->kept.bytes);
    for (size_t s = 0; s < MOST_SUBJECTS; s++) {
        be_columns_free(&self->columns[s][BE_LEFT]);
        be_columns_free(&self->columns[s][BE_RIGHT]);
        be_roi_selection_free(&self->only[s]);
        be_map_selection_free(&self->maps[s]);
    }
    predict_local_close(self->local);
    predict_remote_close(self->remote);
}

/* --- running -------------------------------------------------------------------------------------- */

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

be_status predict_write(predict_job *self, const predict_answer *answers, size_t count, be_error *error)
{
    be_text text = {0};
    size_t done = 0, size = 0; /* `size`: of the text that belongs to the `done` pictures */
    be_status status = BE_OK;
    for (size_t i = 0; i < count && status == BE_OK; i++) {
        if (answers[i].picture->status != BE_OK)
            status = predict_note_failure(self, &text, answers[i].picture, error);
        else
            status = predict_add_picture(self, &text, &answers[i], error);
        if (status == BE_OK) {
            done++;
            size = text.length;
        }
    }
    be_status written = write_results(self, &text, size, done, status == BE_OK ? error : NULL);
    free(text.bytes);
    return status == BE_OK ? written : status;
}

static be_status finish(predict_job *self, be_error *error)
{
    be_text tail = {0};
    be_status status = BE_OK;
    if (self->ask->kind == KIND_GIFTI)
        return predict_gifti_write(self, error);
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
    size_t total = picture_list_count(self->ask->pictures);
    be_status status = set_up(self, error);
    if (status != BE_OK)
        return status;
    progress_start(&self->bar, total, self->first);
    while (self->first < total && status == BE_OK) {
        status = self->remote ? predict_remote_step(self, error) : predict_local_step(self, error);
        if (status == BE_OK)
            progress_show(&self->bar, self->first);
    }
    progress_break(&self->bar);
    if (status == BE_OK)
        status = finish(self, error);
    size_t kept = stream_close(self->stream);
    if (kept > 0)
        fprintf(stderr, "brainenc: the results of %zu of %zu images are kept; the same command goes on from there%s\n", kept,
                total, self->stopped ? " once the picture is mended, or at once with --on-error=nan" : "");
    return status;
}

static int run_predict(int argc, char **argv)
{
    predict_request ask = {.what = "both"};
    be_error error;
    compute_options_default(&ask.compute);
    int code = parse(argc, argv, &ask);
    if (code == EXIT_DONE)
        code = check_server(&ask);
    if (code == EXIT_DONE)
        code = check(&ask);
    if (code == EXIT_DONE)
        code = open_pictures(&ask);
    if (code == EXIT_DONE) {
        predict_job self = {.ask = &ask};
        if (run(&self, &error) != BE_OK)
            code = tool_fail(&error);
        else if (self.failures.count > 0)
            code = EXIT_PARTIAL;
        clean_up(&self);
    }
    picture_list_close(ask.pictures);
    file_list_free(&ask.files);
    return code;
}

const command command_predict = {"predict", "pictures in, the response of every vertex out", help, run_predict};
