#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/brainenc/tool.h"
#include "core/base/memory.h"

static const char help[] =
    "usage: brainenc attention IMAGE --roi NAMES --backbone FILE --subject FILE [OPTION]...\n\n"
    "Where in the picture does a brain area look? The routing weights of its query, which sum to 1 over the picture.\n\n"
    COMPUTE_HELP
    "  --roi NAMES         FBA-1, FBA (its stem: the mean of their maps), floc-bodies (a family), all, rest; commas combine\n"
    "  --hemi WHICH        lh, rh or both (default)\n"
    "  --heads WHICH       mean (default), or all: each attention head's map\n"
    "  -o FILE             FILE.png: one ROI's map over the picture, both hemispheres side by side; FILE.npy: float32\n"
    "                      [ROIs][hemispheres][rows][columns], with --heads all [ROIs][hemispheres][heads][rows][columns];\n"
    "                      FILE.json; without -o the JSON goes to standard output\n\n"
    "example: brainenc attention a.png --roi FBA --backbone dinov2_vitb14_pretrain.pth --subject subj01.safetensors -o fba.png\n";

/* What is asked, and what was computed. */
typedef struct job {
    compute_options compute;
    const char *image, *roi, *output;
    be_answer_maps maps;
    engine engine;
    picture picture;
    be_roi_selection selection;
    be_output answer;
} job;

enum { OPTION_ROI = 256, OPTION_HEMI, OPTION_HEADS };

static int parse_hemisphere(job *self, const char *value)
{
    bool both = strcmp(value, "both") == 0;
    self->maps.hemispheres[BE_LEFT] = both || strcmp(value, "lh") == 0;
    self->maps.hemispheres[BE_RIGHT] = both || strcmp(value, "rh") == 0;
    if (self->maps.hemispheres[BE_LEFT] || self->maps.hemispheres[BE_RIGHT])
        return EXIT_DONE;
    return tool_usage("--hemi: '%s' is none of lh, rh, both", value);
}

static int parse_heads(job *self, const char *value)
{
    self->maps.heads = strcmp(value, "all") == 0;
    return self->maps.heads || strcmp(value, "mean") == 0 ? EXIT_DONE
                                                          : tool_usage("--heads: '%s' is neither mean nor all", value);
}

static int parse(int argc, char **argv, job *self)
{
    static const struct option own[] = {
        {"roi", required_argument, NULL, OPTION_ROI}, {"hemi", required_argument, NULL, OPTION_HEMI},
        {"heads", required_argument, NULL, OPTION_HEADS}, {NULL, 0, NULL, 0},
    };
    struct option all[N_COMPUTE_OPTIONS + sizeof own / sizeof *own];
    int option, code = EXIT_DONE;
    memcpy(all, compute_long_options, sizeof compute_long_options);
    memcpy(all + N_COMPUTE_OPTIONS, own, sizeof own);
    while ((option = getopt_long(argc, argv, "o:", all, NULL)) != -1 && code == EXIT_DONE) {
        if (compute_option(&self->compute, option, optarg, &code))
            continue;
        switch (option) {
        case 'o': self->output = optarg; break;
        case OPTION_ROI: self->roi = optarg; break;
        case OPTION_HEMI: code = parse_hemisphere(self, optarg); break;
        case OPTION_HEADS: code = parse_heads(self, optarg); break;
        default: return EXIT_USAGE;
        }
    }
    if (code != EXIT_DONE)
        return code;
    if (optind + 1 != argc)
        return tool_usage("attention: takes one picture, %d are named", argc - optind);
    self->image = argv[optind];
    if (!self->roi)
        return tool_usage("--roi is missing: whose map?");
    if (self->compute.n_subjects > 1)
        return tool_usage("attention: takes one --subject");
    if (self->output && !ends_with(self->output, ".png") && !ends_with(self->output, ".npy") && !ends_with(self->output, ".json"))
        return tool_usage("-o: '%s' ends with none of .png, .npy, .json", self->output);
    return EXIT_DONE;
}

static const be_subject_info *subject_info(const job *self)
{
    return be_subject_get_info(be_model_subject(self->engine.model, 0));
}

static size_t count_cells(const job *self)
{
    return self->picture.about.rows * self->picture.about.columns;
}

static be_status compute(job *self, be_error *error)
{
    const be_subject_info *info = subject_info(self);
    size_t heads = self->maps.heads ? info->heads : 1;
    void *memory;
    be_status status = check_maps(info, error);
    if (status != BE_OK)
        return status;
    read_picture(self->image, &self->compute, self->engine.model, &self->picture);
    if (self->picture.status != BE_OK)
        return be_fail(error, self->picture.status, "%s", self->picture.error.message);
    status = be_allocate(&memory, heads * info->maps * count_cells(self), sizeof(float), "attention maps", error);
    if (status != BE_OK)
        return status;
    if (self->maps.heads)
        self->answer.attention_heads = memory;
    else
        self->answer.attention = memory;
    return be_session_predict(self->engine.session, &self->picture.input, 1, &self->answer, NULL, error);
}

/* --- writing -------------------------------------------------------------------------------------- */

static be_status write_json(const job *self, be_error *error)
{
    char *text;
    be_status status = be_answer_attention(self->engine.model, 0, &self->picture.about, &self->answer, &self->selection,
                                           &self->maps, &text, error);
    if (status != BE_OK)
        return status;
    status = write_output(self->output, text, strlen(text), error);
    free(text);
    return status;
}

static be_status write_file(const job *self, bool png, be_error *error)
{
    unsigned char *bytes;
    size_t size;
    be_status status = png ? be_answer_attention_png(subject_info(self), be_model_backbone(self->engine.model)->patch,
                                                     &self->picture.about, &self->picture.input, &self->answer,
                                                     &self->selection, &self->maps, &bytes, &size, error)
                           : be_answer_attention_npy(subject_info(self), &self->picture.about, &self->answer, &self->selection,
                                                     &self->maps, &bytes, &size, error);
    if (status != BE_OK)
        return status;
    status = write_output(self->output, bytes, size, error);
    free(bytes);
    return status;
}

static be_status check_selection(const job *self, be_error *error)
{
    if (!self->output || !ends_with(self->output, ".png"))
        return BE_OK;
    if (self->selection.count != 1)
        return be_fail(error, BE_ERROR_ARGUMENT, "--roi: a .png shows exactly one ROI, '%s' is %zu", self->roi,
                       self->selection.count);
    if (self->maps.heads)
        return be_fail(error, BE_ERROR_ARGUMENT, "--heads: a .png shows the mean over heads; use .npy or .json");
    return BE_OK;
}

static be_status run(job *self, be_error *error)
{
    be_status status = open_engine(&self->compute, &self->engine, error);
    if (status == BE_OK)
        status = be_roi_select(&subject_info(self)->rois, self->roi, &self->selection, error);
    if (status == BE_OK)
        status = check_selection(self, error);
    if (status == BE_OK)
        status = compute(self, error);
    if (status != BE_OK)
        return status;
    if (self->output && ends_with(self->output, ".png"))
        return write_file(self, true, error);
    return self->output && ends_with(self->output, ".npy") ? write_file(self, false, error) : write_json(self, error);
}

static int run_attention(int argc, char **argv)
{
    job self = {.maps = {.hemispheres = {true, true}}};
    be_error error;
    compute_options_default(&self.compute);
    int code = parse(argc, argv, &self);
    if (code == EXIT_DONE && run(&self, &error) != BE_OK)
        code = tool_fail(&error);
    be_roi_selection_free(&self.selection);
    free(self.answer.attention);
    free(self.answer.attention_heads);
    free_picture(&self.picture);
    close_engine(&self.engine);
    return code;
}

const command command_attention = {"attention", "where in the picture a brain area looks: numbers or a picture", help,
                                   run_attention};
