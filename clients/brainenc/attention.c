#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/brainenc/tool.h"
#include "core/base/memory.h"

static const char help[] =
    "usage: brainenc attention IMAGE --roi NAMES --backbone FILE --subject FILE [OPTION]...\n"
    "       brainenc attention IMAGE --vertex NAMES --backbone FILE --subject FILE [OPTION]...\n\n"
    "Where in the picture does a brain area look? The routing weights of its query, which sum to 1 over the picture; where a\n"
    "subject has a query a vertex (readout voxels), the mean over the area's vertices.\n\n"
    COMPUTE_HELP
    "  --roi NAMES         FBA-1, FBA (its stem: the mean of their maps), floc-bodies (a family), all, rest; commas combine\n"
    "  --vertex NAMES      single vertices of such a subject, by the hemisphere's own number: lh:1234,rh:7\n"
    "  --hemi WHICH        of ROIs: lh, rh or both (default)\n"
    "  --heads WHICH       mean (default), or all: each attention head's map\n"
    "  -o FILE             FILE.png: one map over the picture, both hemispheres side by side; FILE.npy: float32\n"
    "                      [ROIs][hemispheres][rows][columns], with --heads all [ROIs][hemispheres][heads][rows][columns],\n"
    "                      of vertices without [hemispheres]; FILE.json; without -o the JSON goes to standard output\n\n"
    "example: brainenc attention a.png --roi FBA --backbone dinov2_vitb14_pretrain.pth --subject subj01.safetensors -o fba.png\n"
    "         brainenc attention a.png --vertex lh:1234 --backbone dinov2_vitb14_pretrain.pth --subject voxels.safetensors\n";

/* What is asked, and what was computed. */
typedef struct job {
    compute_options compute;
    const char *image, *roi, *vertex, *hemisphere, *output;
    be_map_selection asked;
    engine engine;
    picture picture;
    be_output answer;
    float *values; /* of the maps that are asked for */
} job;

enum { OPTION_ROI = 256, OPTION_VERTEX, OPTION_HEMI, OPTION_HEADS };

static int parse_hemisphere(job *self, const char *value)
{
    bool both = strcmp(value, "both") == 0;
    self->hemisphere = value;
    self->asked.hemispheres[BE_LEFT] = both || strcmp(value, "lh") == 0;
    self->asked.hemispheres[BE_RIGHT] = both || strcmp(value, "rh") == 0;
    if (self->asked.hemispheres[BE_LEFT] || self->asked.hemispheres[BE_RIGHT])
        return EXIT_DONE;
    return tool_usage("--hemi: '%s' is none of lh, rh, both", value);
}

static int parse_heads(job *self, const char *value)
{
    self->asked.heads = strcmp(value, "all") == 0;
    return self->asked.heads || strcmp(value, "mean") == 0 ? EXIT_DONE
                                                           : tool_usage("--heads: '%s' is neither mean nor all", value);
}

static int check(const job *self)
{
    if (!self->roi && !self->vertex)
        return tool_usage("--roi (or --vertex) is missing: whose map?");
    if (self->roi && self->vertex)
        return tool_usage("--roi and --vertex: one or the other");
    if (self->vertex && self->hemisphere)
        return tool_usage("--hemi goes with --roi: a vertex's name says its hemisphere");
    if (self->compute.n_subjects > 1)
        return tool_usage("attention: takes one --subject");
    if (self->output && !ends_with(self->output, ".png") && !ends_with(self->output, ".npy") && !ends_with(self->output, ".json"))
        return tool_usage("-o: '%s' ends with none of .png, .npy, .json", self->output);
    return EXIT_DONE;
}

static int parse(int argc, char **argv, job *self)
{
    static const struct option own[] = {
        {"roi", required_argument, NULL, OPTION_ROI}, {"vertex", required_argument, NULL, OPTION_VERTEX},
        {"hemi", required_argument, NULL, OPTION_HEMI}, {"heads", required_argument, NULL, OPTION_HEADS}, {NULL, 0, NULL, 0},
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
        case OPTION_VERTEX: self->vertex = optarg; break;
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
    return check(self);
}

static const be_subject_info *subject_info(const job *self)
{
    return be_subject_get_info(be_model_subject(self->engine.model, 0));
}

/* --- computing ------------------------------------------------------------------------------------ */

static be_status select_maps(job *self, be_error *error)
{
    const be_subject_info *info = subject_info(self);
    be_status status = self->roi ? be_map_select_rois(info, self->roi, &self->asked, error)
                                 : be_map_select_vertices(info, self->vertex, &self->asked, error);
    if (status == BE_OK && self->output && ends_with(self->output, ".png"))
        status = be_map_check_picture(info, &self->asked, error);
    return status;
}

/* Room for what the maps are made from, and for them. */
static be_status make_room(job *self, be_error *error)
{
    const be_subject_info *info = subject_info(self);
    size_t cells = self->picture.about.rows * self->picture.about.columns, sheets = be_map_selection_sheets(info, &self->asked);
    be_output *answer = &self->answer;
    const char *what = "attention maps";
    be_status status = be_allocate_floats(&self->values, be_map_selection_count(&self->asked) * sheets * cells, what, error);
    if (status != BE_OK)
        return status;
    size_t layers = be_session_layers(self->engine.session, 0);
    if (info->by_vertex)
        return be_allocate_floats(&answer->features, layers * cells * be_model_backbone(self->engine.model)->channels, what, error);
    return be_allocate_floats(self->asked.heads ? &answer->attention_heads : &answer->attention, sheets * info->maps * cells, what,
                              error);
}

static be_status compute(job *self, be_error *error)
{
    const be_answer_image *about = &self->picture.about;
    read_picture(self->image, &self->compute, self->engine.model, &self->picture);
    if (self->picture.status != BE_OK)
        return be_fail(error, self->picture.status, "%s", self->picture.error.message);
    be_status status = make_room(self, error);
    if (status == BE_OK)
        status = be_session_predict(self->engine.session, &self->picture.input, 1, &self->answer, NULL, error);
    if (status != BE_OK)
        return status;
    const be_map_source source = {.info = subject_info(self), .output = &self->answer, .rows = about->rows,
                                  .columns = about->columns, .session = self->engine.session};
    return be_maps_compute(&source, &self->asked, self->values, error);
}

/* --- writing -------------------------------------------------------------------------------------- */

static be_status make_file(const job *self, unsigned char **bytes, size_t *size, be_error *error)
{
    const be_answer_maps maps = {&self->asked, self->values};
    const be_answer_image *about = &self->picture.about;
    const be_model *model = self->engine.model;
    char *text;
    if (self->output && ends_with(self->output, ".png"))
        return be_answer_attention_png(subject_info(self), be_model_backbone(model)->patch, about, &self->picture.input, &maps,
                                       bytes, size, error);
    if (self->output && ends_with(self->output, ".npy"))
        return be_answer_attention_npy(subject_info(self), about, &maps, bytes, size, error);
    be_status status = be_answer_attention(model, 0, about, &maps, &text, error);
    if (status != BE_OK)
        return status;
    *bytes = (unsigned char *)text;
    *size = strlen(text);
    return BE_OK;
}

static be_status write_maps(const job *self, be_error *error)
{
    unsigned char *bytes;
    size_t size;
    be_status status = make_file(self, &bytes, &size, error);
    if (status != BE_OK)
        return status;
    status = write_output(self->output, bytes, size, error);
    free(bytes);
    return status;
}

static be_status run(job *self, be_error *error)
{
    be_status status = open_engine(&self->compute, &self->engine, error);
    if (status == BE_OK)
        status = select_maps(self, error);
    if (status == BE_OK)
        status = compute(self, error);
    return status == BE_OK ? write_maps(self, error) : status;
}

static int run_attention(int argc, char **argv)
{
    job self = {.asked = {.hemispheres = {true, true}}};
    be_error error;
    compute_options_default(&self.compute);
    int code = parse(argc, argv, &self);
    if (code == EXIT_DONE && run(&self, &error) != BE_OK)
        code = tool_fail(&error);
    be_map_selection_free(&self.asked);
    free(self.values);
    free(self.answer.attention);
    free(self.answer.attention_heads);
    free(self.answer.features);
    free_picture(&self.picture);
    close_engine(&self.engine);
    return code;
}

const command command_attention = {"attention", "where in the picture a brain area looks: numbers or a picture", help,
                                   run_attention};
