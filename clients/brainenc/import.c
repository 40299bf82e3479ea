#include <stdio.h>
#include <string.h>

#include "clients/brainenc/tool.h"

static const char help[] =
    "usage: brainenc import CHECKPOINT --data FOLDER -o FILE.safetensors [--name NAME]\n\n"
    "Makes a self-contained subject file from a checkpoint of the authors' training program and the subject's Algonauts\n"
    "folder. No Python, and nothing in the checkpoint is executed. The file holds masks derived from that data: its terms\n"
    "of use apply to the file too (NSD's data may not be passed on).\n\n"
    "  --data FOLDER       the folder with roi_masks/ in it\n"
    "  -o FILE             the subject file to write\n"
    "  --name NAME         what the subject is called (default: from the checkpoint, subj01)\n"
    "  --streams-order HOW rest-last or rest-first: of readout streams_inc, which a checkpoint does not tell\n"
    "  --class-token WHICH first-patch or class-token: of backbone dinov2_cls, which a checkpoint does not tell\n\n"
    "example: brainenc import checkpoint.pth --data algonauts/subj01 -o subj01.safetensors\n";

static int parse(int argc, char **argv, be_import_options *options)
{
    enum { OPTION_DATA = 256, OPTION_NAME, OPTION_STREAMS, OPTION_CLASS };
    static const struct option all[] = {
        {"data", required_argument, NULL, OPTION_DATA}, {"name", required_argument, NULL, OPTION_NAME},
        {"streams-order", required_argument, NULL, OPTION_STREAMS}, {"class-token", required_argument, NULL, OPTION_CLASS},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "o:", all, NULL)) != -1) {
        switch (option) {
        case 'o': options->output = optarg; break;
        case OPTION_DATA: options->data = optarg; break;
        case OPTION_NAME: options->name = optarg; break;
        case OPTION_STREAMS: options->streams_order = optarg; break;
        case OPTION_CLASS: options->class_token = optarg; break;
        default: return EXIT_USAGE;
        }
    }
    if (optind + 1 != argc)
        return tool_usage("import: takes one checkpoint, %d are named", argc - optind);
    options->checkpoint = argv[optind];
    if (!options->data)
        return tool_usage("--data is missing: the subject's Algonauts folder, for the ROI masks");
    if (!options->output)
        return tool_usage("-o is missing: the subject file to write");
    if (options->name && !be_name_is_plain(options->name))
        return tool_usage("--name: 1 to %d printable bytes, no comma", BE_SUBJECT_NAME_SIZE - 1);
    return EXIT_DONE;
}

static int run_import(int argc, char **argv)
{
    be_import_options options = {0};
    be_error error;
    be_subject *subject;
    int code = parse(argc, argv, &options);
    if (code != EXIT_DONE)
        return code;
    if (be_subject_import(&options, &error) != BE_OK || be_subject_inspect(options.output, &subject, &error) != BE_OK)
        return tool_fail(&error);
    const be_subject_info *info = be_subject_get_info(subject);
    printf("%s: %s, %zu left and %zu right vertices, %zu ROIs, features %s layer %zu\n", options.output, info->name,
           info->n_vertices[BE_LEFT], info->n_vertices[BE_RIGHT], info->rois.count - 1, be_features_name(info->member[0].tap.features),
           info->member[0].tap.layer);
    if (*info->unverified)
        printf("unverified: %s\n", info->unverified);
    puts("It holds masks derived from the data it was trained on: that data's terms of use apply (NSD: not to be passed on).");
    be_subject_close(subject);
    return EXIT_DONE;
}

const command command_import = {"import", "the authors' checkpoint to a self-contained subject file", help, run_import};
