#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "clients/brainenc/members_text.h"
#include "clients/brainenc/tool.h"
#include "core/subject/results_tree.h"

static const char help[] =
    "usage: brainenc import CHECKPOINT --data FOLDER -o FILE.safetensors [OPTION]...\n"
    "       brainenc import --ensemble RESULTS --data FOLDER -o FILE.safetensors [OPTION]...\n\n"
    "Makes a self-contained subject file from a checkpoint of the authors' training program, or from all layers and runs of\n"
    "an ensemble as they lie in its results folder, and the subject's Algonauts folder. No Python, and nothing in the\n"
    "checkpoint is executed. lh_val_corr.npy and rh_val_corr.npy beside a checkpoint are taken in with it. The file holds\n"
    "masks derived from that data: its terms of use apply to the file too (NSD's data may not be passed on).\n\n"
    "  --data FOLDER       the folder with roi_masks/ in it; where results are of several subjects, its name tells which to\n"
    "                      take: subj03\n"
    "  -o FILE             the subject file to write\n"
    "  --ensemble RESULTS  the results folder, or any in it down to the one that holds enc_1/run_1/checkpoint.pth ...\n"
    "  --skip-incomplete   leave out runs that lack a file, and say which\n"
    "  --name NAME         what the subject is called (default: from the checkpoint, subj01)\n"
    "  --storage TYPE      f32 (default) or bf16: half the size, the weights rounded to three digits\n"
    "  --ncsnr LH.npy,RH.npy\n"
    "                      NSD's noise ceiling signal-to-noise ratio, a number for each vertex of the subject or of fsaverage\n"
    "                      (163842)\n"
    "  --parcellation LH.npy,RH.npy\n"
    "                      a parcellation of your own, a whole number for each vertex, as above; 0 and below is no parcel. It\n"
    "                      gives the ROIs of a rois_all checkpoint trained with it, or more ROIs to a model without queries\n"
    "                      for ROIs (voxels, hemis, linear)\n"
    "  --parcellation-names FILE\n"
    "                      JSON {\"1\": \"V1\", ...}, a pickled dict (.npy), or a name a line\n"
    "  --parcellation-family NAME\n"
    "                      what its ROIs are called together (default: parcellation)\n"
    "  --streams-order HOW rest-last or rest-first: of readout streams_inc, which a checkpoint does not tell\n"
    "  --class-token WHICH first-patch or class-token: of backbone dinov2_cls, which a checkpoint does not tell\n\n"
    "example: brainenc import checkpoint.pth --data algonauts/subj01 -o subj01.safetensors\n"
    "         brainenc import --ensemble results --data algonauts/subj01 -o subj01.safetensors\n";

/* What the command line says; the two strings of a pair are cut apart in place. */
typedef struct request {
    be_import_options options;
    const char *ensemble;
    bool skip_incomplete;
} request;

/* "LH,RH" */
static bool split_pair(const char *option, char *value, const char *pair[BE_HEMISPHERES])
{
    char *comma = strchr(value, ',');
    if (!comma || comma == value || !comma[1] || strchr(comma + 1, ',')) {
        tool_usage("--%s: two files with a comma between them, the left hemisphere's first", option);
        return false;
    }
    *comma = '\0';
    pair[BE_LEFT] = value;
    pair[BE_RIGHT] = comma + 1;
    return true;
}

static int check_request(const request *it, int argc)
{
    const be_import_options *options = &it->options;
    if (it->ensemble ? optind != argc : optind + 1 != argc)
        return tool_usage("import: takes one checkpoint or --ensemble FOLDER; %d checkpoints are named", argc - optind);
    if (it->skip_incomplete && !it->ensemble)
        return tool_usage("--skip-incomplete: goes with --ensemble");
    if (!options->data)
        return tool_usage("--data is missing: the subject's Algonauts folder, for the ROI masks");
    if (!options->output)
        return tool_usage("-o is missing: the subject file to write");
    if (!ends_with(options->output, ".safetensors"))
        return tool_usage("-o: the subject file's name ends with .safetensors");
    if (options->name && !be_name_is_plain(options->name))
        return tool_usage("--name: 1 to %d printable bytes, no comma", BE_SUBJECT_NAME_SIZE - 1);
    if (!options->parcellation[BE_LEFT] != !options->parcellation_names)
        return tool_usage("--parcellation and --parcellation-names go together");
    if (options->parcellation_family && !options->parcellation_names)
        return tool_usage("--parcellation-family: goes with --parcellation");
    return EXIT_DONE;
}

static int parse(int argc, char **argv, request *it)
{
    enum { DATA = 256, ENSEMBLE, SKIP, NAME, STORAGE, NCSNR, PARCELLATION, PARCEL_NAMES, FAMILY, STREAMS, CLASS };
    static const struct option all[] = {
        {"data", required_argument, NULL, DATA}, {"ensemble", required_argument, NULL, ENSEMBLE},
        {"skip-incomplete", no_argument, NULL, SKIP}, {"name", required_argument, NULL, NAME},
        {"storage", required_argument, NULL, STORAGE}, {"ncsnr", required_argument, NULL, NCSNR},
        {"parcellation", required_argument, NULL, PARCELLATION}, {"parcellation-names", required_argument, NULL, PARCEL_NAMES},
        {"parcellation-family", required_argument, NULL, FAMILY}, {"streams-order", required_argument, NULL, STREAMS},
        {"class-token", required_argument, NULL, CLASS}, {NULL, 0, NULL, 0},
    };
    be_import_options *options = &it->options;
    bool good = true;
    int option;
    while (good && (option = getopt_long(argc, argv, "o:", all, NULL)) != -1) {
        switch (option) {
        case 'o': options->output = optarg; break;
        case DATA: options->data = optarg; break;
        case ENSEMBLE: it->ensemble = optarg; break;
        case SKIP: it->skip_incomplete = true; break;
        case NAME: options->name = optarg; break;
        case STORAGE: options->storage = optarg; break;
        case NCSNR: good = split_pair("ncsnr", optarg, options->ncsnr); break;
        case PARCELLATION: good = split_pair("parcellation", optarg, options->parcellation); break;
        case PARCEL_NAMES: options->parcellation_names = optarg; break;
        case FAMILY: options->parcellation_family = optarg; break;
        case STREAMS: options->streams_order = optarg; break;
        case CLASS: options->class_token = optarg; break;
        default: return EXIT_USAGE;
        }
    }
    return good ? check_request(it, argc) : EXIT_USAGE;
}

static be_status find_members(const request *it, const char *checkpoint, be_results *results, be_error *error)
{
    const be_results_options options = {.folder = it->ensemble, .data = it->options.data, .skip_incomplete = it->skip_incomplete};
    return it->ensemble ? be_results_find(&options, results, error) : be_results_beside(checkpoint, results, error);
}

static bool is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static void tell_skipped(const char *missing)
{
    be_error note; /* in which names are safe to print */
    be_fail(&note, BE_ERROR_NOT_FOUND, "%s: is missing: its run is left out", missing);
    fprintf(stderr, "brainenc: %s\n", note.message);
}

static int print_summary(const char *path)
{
    be_error error;
    be_subject *subject;
    be_text layers = {0};
    if (be_subject_inspect(path, &subject, &error) != BE_OK)
        return tool_fail(&error);
    const be_subject_info *info = be_subject_get_info(subject);
    add_members(&layers, info);
    be_status status = be_text_finish(&layers, &error);
    if (status == BE_OK) {
        printf("%s: %s, %zu left and %zu right vertices, %zu ROIs, features %s%s\n", path, info->name, info->n_vertices[BE_LEFT],
               info->n_vertices[BE_RIGHT], info->rois.count - 1, layers.bytes,
               strcmp(info->storage, "f32") == 0 ? "" : ", stored as bf16");
        if (*info->unverified)
            printf("unverified: %s\n", info->unverified);
        puts("It holds masks derived from the data it was trained on: that data's terms of use apply (NSD: not to be passed on).");
    }
    free(layers.bytes);
    be_subject_close(subject);
    return status == BE_OK ? EXIT_DONE : tool_fail(&error);
}

static int run_import(int argc, char **argv)
{
    request it = {0};
    be_results results;
    be_error error;
    int code = parse(argc, argv, &it);
    if (code != EXIT_DONE)
        return code;
    if (!it.ensemble && is_folder(argv[optind])) {
        be_fail(&error, BE_ERROR_UNSUPPORTED, "%s: is a folder: --ensemble takes a folder of results", argv[optind]);
        return tool_fail(&error);
    }
    if (find_members(&it, argv[optind], &results, &error) != BE_OK)
        return tool_fail(&error);
    for (size_t i = 0; i < results.n_skipped; i++)
        tell_skipped(results.skipped[i]);
    it.options.members = results.members;
    it.options.n_members = results.n_members;
    be_status status = be_subject_import(&it.options, &error);
    be_results_free(&results);
    return status == BE_OK ? print_summary(it.options.output) : tool_fail(&error);
}

const command command_import = {"import", "the authors' checkpoints to a self-contained subject file", help, run_import};
