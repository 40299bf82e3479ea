#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "clients/brainenc/demo_results.h"
#include "clients/brainenc/tool.h"
#include "core/base/memory.h"
#include "core/files/json.h"
#include "core/files/npy.h"
#include "core/files/tensor_file.h"

static const char help[] =
    "usage: brainenc demo -o FOLDER [--full] [--vertices N] [--readout NAME] [--layers LIST] [--runs N] [--seed N]\n\n"
    "Writes a model of seeded random numbers, to try everything without anybody's data: a backbone and a checkpoint in the\n"
    "authors' own file formats, a subject's Algonauts folder with all 24 ROIs, the subject file imported from them, a\n"
    "picture, and a configuration for the daemon. Its answers mean nothing, and say so.\n\n"
    "  -o FOLDER           made if need be\n"
    "  --full              the published size: ViT-B/14, 19,004 left and 20,544 right vertices (480 MB; for benchmarks)\n"
    "  --vertices N        so many in each hemisphere, 100 to 163842\n"
    "  --readout NAME      rois_all (default) or voxels: a query for each ROI and hemisphere, or one for each vertex\n"
    "  --layers LIST       a model for each of these layers of the backbone, such as 1,3 (default: 1)\n"
    "  --runs N            N models a layer (default: 1). More than one model in all is an ensemble: results/ in the place\n"
    "                      of checkpoint.pth\n"
    "  --seed N            another model\n\n"
    "example: brainenc demo -o demo && brainenc predict demo/picture.png --backbone demo/dinov2_demo_pretrain.pth \\\n"
    "             --subject demo/subj01.safetensors\n"
    "         brainenc demo --layers 1,3 --runs 2 -o ensemble && brainencd --config ensemble/brainencd.yaml\n";

enum { PATH_SIZE = 4096, PICTURE_SIZE = 425, FSAVERAGE = 163842, FEWEST_VERTICES = 100, ROIS = 24 };

static const demo_size small_size = {"dinov2_demo_pretrain.pth", 128, 4, 37, 16, 256, {1000, 1100}};
static const demo_size full_size = {"dinov2_vitb14_pretrain.pth", 768, 12, 37, 16, 1024, {19004, 20544}};

/* The layout of a real subject's folder: families, labels and names as Algonauts has them. */
static const struct { const char *name; const char *rois[9]; } families[] = {
    {"prf-visualrois", {"Unknown", "V1v", "V1d", "V2v", "V2d", "V3v", "V3d", "hV4"}},
    {"floc-bodies", {"Unknown", "EBA", "FBA-1", "FBA-2", "mTL-bodies"}},
    {"floc-faces", {"Unknown", "OFA", "FFA-1", "FFA-2", "mTL-faces", "aTL-faces"}},
    {"floc-places", {"Unknown", "OPA", "PPA", "RSC"}},
    {"floc-words", {"Unknown", "OWFA", "VWFA-1", "VWFA-2", "mfs-words", "mTL-words"}},
    {"streams", {"Unknown", "early", "midventral", "midlateral", "midparietal", "ventral", "lateral", "parietal"}},
};
enum { FAMILIES = sizeof families / sizeof *families };

typedef struct job {
    const char *folder;
    demo_size size;
    demo_model model;       /* of the single checkpoint */
    demo_ensemble ensemble; /* one layer and run: the single checkpoint */
    demo_random random;
    be_error *error;
} job;

static be_status make_path(const job *self, char path[PATH_SIZE], const char *name)
{
    if (snprintf(path, PATH_SIZE, "%s/%s", self->folder, name) >= PATH_SIZE)
        return be_fail(self->error, BE_ERROR_ARGUMENT, "%.200s...: the path is too long", self->folder);
    return BE_OK;
}

static be_status make_folder(const job *self, const char *name)
{
    char path[PATH_SIZE];
    be_status status = make_path(self, path, name);
    if (status == BE_OK && mkdir(path, 0777) != 0 && errno != EEXIST)
        status = be_fail(self->error, BE_ERROR_IO, "%s: the folder cannot be made: %s", path, strerror(errno));
    return status;
}

/* --- the subject's folder ------------------------------------------------------------------------- */

static size_t count_names(size_t family)
{
    size_t count = 0;
    while (count < 9 && families[family].rois[count])
        count++;
    return count;
}

static be_status write_mapping(const job *self, size_t family)
{
    static const int64_t labels[] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
    char name[128], path[PATH_SIZE];
    snprintf(name, sizeof name, "algonauts/subj01/roi_masks/mapping_%s.npy", families[family].name);
    be_status status = make_path(self, path, name);
    if (status == BE_OK)
        status = be_npy_write_mapping(path, labels, families[family].rois, count_names(family), self->error);
    return status;
}

/* One patch of neighbouring vertices a ROI, somewhere in its own stretch of the hemisphere; the families' patches overlap, as
 * real ones do. As in some real subjects, mTL-faces has no vertices in the right hemisphere. */
static void draw_labels(job *self, size_t family, be_hemisphere hemisphere, int32_t *labels, size_t vertices)
{
    size_t rois = count_names(family) - 1, stretch = vertices / rois;
    memset(labels, 0, vertices * sizeof *labels);
    for (size_t roi = 1; roi <= rois; roi++) {
        size_t length = (size_t)((0.1 + 0.4 * demo_uniform(&self->random)) * (double)stretch);
        size_t first = (roi - 1) * stretch + (size_t)(demo_uniform(&self->random) * (double)(stretch - length));
        if (hemisphere == BE_RIGHT && strcmp(families[family].rois[roi], "mTL-faces") == 0)
            continue;
        for (size_t v = first; v < first + length; v++)
            labels[v] = (int32_t)roi;
    }
}

static be_status write_labels(job *self, size_t family, be_hemisphere hemisphere)
{
    char name[128], path[PATH_SIZE];
    size_t vertices = self->size.vertices[hemisphere];
    void *labels;
    snprintf(name, sizeof name, "algonauts/subj01/roi_masks/%s.%s_challenge_space.npy", be_hemisphere_name(hemisphere),
             families[family].name);
    be_status status = make_path(self, path, name);
    if (status == BE_OK)
        status = be_allocate(&labels, vertices, sizeof(int32_t), "labels", self->error);
    if (status != BE_OK)
        return status;
    draw_labels(self, family, hemisphere, labels, vertices);
    status = be_npy_write(path, BE_DTYPE_I32, 1, &vertices, labels, self->error);
    free(labels);
    return status;
}

/* Marks as many vertices of the surface as the hemisphere has, at random. */
static be_status write_surface(job *self, be_hemisphere hemisphere)
{
    char name[128], path[PATH_SIZE];
    size_t surface = FSAVERAGE, wanted = self->size.vertices[hemisphere];
    void *marks;
    snprintf(name, sizeof name, "algonauts/subj01/roi_masks/%s.all-vertices_fsaverage_space.npy",
             be_hemisphere_name(hemisphere));
    be_status status = make_path(self, path, name);
    if (status == BE_OK)
        status = be_allocate(&marks, surface, 1, "a surface", self->error);
    if (status != BE_OK)
        return status;
    for (size_t i = 0; i < surface; i++) { /* each with the chance that leaves the right number at the end */
        bool chosen = demo_uniform(&self->random) * (double)(surface - i) < (double)wanted;
        ((unsigned char *)marks)[i] = chosen;
        wanted -= chosen;
    }
    status = be_npy_write(path, BE_DTYPE_U8, 1, &surface, marks, self->error);
    free(marks);
    return status;
}

static be_status write_subject_folder(job *self)
{
    be_status status = make_folder(self, "algonauts");
    if (status == BE_OK)
        status = make_folder(self, "algonauts/subj01");
    if (status == BE_OK)
        status = make_folder(self, "algonauts/subj01/roi_masks");
    for (size_t family = 0; family < FAMILIES && status == BE_OK; family++) {
        status = write_mapping(self, family);
        for (int h = BE_LEFT; h < BE_HEMISPHERES && status == BE_OK; h++)
            status = write_labels(self, family, (be_hemisphere)h);
    }
    for (int h = BE_LEFT; h < BE_HEMISPHERES && status == BE_OK; h++)
        status = write_surface(self, (be_hemisphere)h);
    return status;
}

/* --- the picture ---------------------------------------------------------------------------------- */

static uint8_t to_byte(double value)
{
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value + 0.5);
}

/* A sky, a meadow and a sun with a face: something to look at. */
static void paint(double x, double y, uint8_t rgb[3])
{
    double horizon = 0.62 + 0.03 * sin(9 * x), dx = x - 0.62, dy = y - 0.34, r = sqrt(dx * dx + dy * dy);
    double colour[3] = {110 + 100 * y, 160 + 60 * y, 235 - 30 * y};
    if (y > horizon) {
        double stripe = 18 * sin(140 * y * (1.4 - y) + 6 * sin(20 * x));
        colour[0] = 70 + stripe, colour[1] = 140 + stripe - 60 * (y - horizon), colour[2] = 50;
    }
    if (r < 0.2) {
        double shade = 1 - 1.2 * r;
        bool eyes = hypot(fabs(dx) - 0.07, dy + 0.05) < 0.025;
        bool mouth = fabs(hypot(dx, dy - 0.01) - 0.1) < 0.012 && dy > 0.04;
        colour[0] = 250 * shade, colour[1] = 210 * shade, colour[2] = 90 * shade;
        if (eyes || mouth)
            colour[0] = 60, colour[1] = 30, colour[2] = 20;
    }
    for (int c = 0; c < 3; c++)
        rgb[c] = to_byte(colour[c]);
}

static be_status write_picture(const job *self)
{
    char path[PATH_SIZE];
    be_image image = {.width = PICTURE_SIZE, .height = PICTURE_SIZE};
    unsigned char *bytes;
    size_t size;
    void *pixels;
    be_status status = make_path(self, path, "picture.png");
    if (status == BE_OK)
        status = be_allocate(&pixels, PICTURE_SIZE * PICTURE_SIZE, 3, "a picture", self->error);
    if (status != BE_OK)
        return status;
    image.rgb = pixels;
    for (size_t y = 0; y < PICTURE_SIZE; y++) {
        for (size_t x = 0; x < PICTURE_SIZE; x++)
            paint((double)x / PICTURE_SIZE, (double)y / PICTURE_SIZE, image.rgb + (y * PICTURE_SIZE + x) * 3);
    }
    status = be_image_encode_png(&image, &bytes, &size, self->error);
    be_image_free(&image);
    if (status != BE_OK)
        return status;
    status = write_output(path, bytes, size, self->error);
    free(bytes);
    return status;
}

/* --- the daemon's configuration ------------------------------------------------------------------- */

static be_status write_config(const job *self)
{
    char path[PATH_SIZE];
    be_text text = {0};
    be_status status = make_path(self, path, "brainencd.yaml");
    if (status != BE_OK)
        return status;
    be_text_add(&text, "# Serves the demo: brainencd --config THIS FILE. All keys: config/brainencd.yaml.\n"
                       "listen: 127.0.0.1:8080\n");
    be_text_add_format(&text, "backbones: {demo: {weights: %s, kind: dinov2}}\n", self->size.backbone_file);
    be_text_add(&text, "subjects:\n  - {name: subj01, weights: subj01.safetensors, backbone: demo}\n");
    status = be_text_finish(&text, self->error);
    if (status == BE_OK)
        status = write_output(path, text.bytes, text.length, self->error);
    free(text.bytes);
    return status;
}

/* --- what is there already ------------------------------------------------------------------------ */

/* True when the folder's subject file says that it is a demo's, in whatever format. */
static bool holds_demo(const job *self)
{
    char path[PATH_SIZE];
    be_tensor_file *file;
    be_error ignored;
    const char *text;
    cJSON *root = NULL;
    if (make_path(self, path, "subj01.safetensors") != BE_OK || be_tensor_file_open(path, &file, &ignored) != BE_OK)
        return false;
    if (be_value_text(be_value_get(be_tensor_file_root(file), "brainenc"), &text))
        be_json_parse(text, strlen(text), path, &root, &ignored);
    bool demo = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(root, "demo"));
    cJSON_Delete(root);
    be_tensor_file_close(file);
    return demo;
}

/* The names a demo has are those that real data has: what is not a demo's is not written over. */
static be_status check_folder(const job *self)
{
    const char *const names[] = {"subj01.safetensors", self->size.backbone_file, "checkpoint.pth", "results", "algonauts",
                                 "picture.png", "brainencd.yaml"};
    char path[PATH_SIZE];
    struct stat info;
    be_status status = BE_OK;
    if (holds_demo(self))
        return BE_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names && status == BE_OK; i++) {
        status = make_path(self, path, names[i]);
        if (status == BE_OK && lstat(path, &info) == 0)
            status = be_fail(self->error, BE_ERROR_ARGUMENT, "%s: is there already, and not from a demo: name another folder",
                             path);
    }
    return status;
}

/* --- all of it ------------------------------------------------------------------------------------ */

static bool is_ensemble(const job *self)
{
    return self->ensemble.n_layers * self->ensemble.runs > 1;
}

/* The checkpoint, or those of an ensemble. */
static be_status write_models(job *self, const char *checkpoint, be_import_member **members)
{
    if (is_ensemble(self))
        return demo_write_results(self->folder, &self->size, &self->ensemble, &self->model, &self->random, members, self->error);
    return demo_write_checkpoint(checkpoint, &self->size, &self->model, &self->random, self->error);
}

static be_status import_models(job *self, const char *checkpoint, const be_import_member *members)
{
    char data[PATH_SIZE], subject[PATH_SIZE];
    be_status status = make_path(self, data, "algonauts/subj01");
    if (status == BE_OK)
        status = make_path(self, subject, "subj01.safetensors");
    if (status != BE_OK)
        return status;
    be_import_options options = {.data = data, .name = "subj01", .output = subject};
    if (is_ensemble(self)) {
        options.members = members;
        options.n_members = self->ensemble.n_layers * self->ensemble.runs;
    } else {
        options.checkpoint = checkpoint;
    }
    return be_subject_import(&options, self->error);
}

static be_status write_all(job *self)
{
    char backbone[PATH_SIZE], checkpoint[PATH_SIZE];
    be_import_member *members = NULL;
    be_status status = check_folder(self);
    if (status == BE_OK)
        status = make_folder(self, "");
    if (status == BE_OK)
        status = make_path(self, backbone, self->size.backbone_file);
    if (status == BE_OK)
        status = make_path(self, checkpoint, "checkpoint.pth");
    if (status == BE_OK)
        status = demo_write_backbone(backbone, &self->size, &self->random, self->error);
    if (status == BE_OK)
        status = write_models(self, checkpoint, &members);
    if (status == BE_OK)
        status = write_subject_folder(self);
    if (status == BE_OK)
        status = write_picture(self);
    if (status == BE_OK)
        status = write_config(self);
    if (status == BE_OK)
        status = import_models(self, checkpoint, members);
    demo_free_results(members, &self->ensemble);
    return status;
}

static be_status run(job *self)
{
    be_status status = write_all(self);
    if (status != BE_OK)
        return status;
    printf("%s/%s\n%s/%s\n%s/algonauts/subj01\n%s/subj01.safetensors\n%s/picture.png\n%s/brainencd.yaml\n"
           "Random weights: what this model predicts means nothing.\n", self->folder, self->size.backbone_file, self->folder,
           is_ensemble(self) ? "results" : "checkpoint.pth", self->folder, self->folder, self->folder, self->folder);
    return BE_OK;
}

/* Fills in what the options leave open. `in_each`: vertices of a hemisphere, or 0. */
static int settle(job *self, bool full, size_t in_each)
{
    self->size = full ? full_size : small_size;
    if (in_each > 0 && in_each < FEWEST_VERTICES) /* each ROI is a stretch of them */
        return tool_usage("--vertices: at least %d", FEWEST_VERTICES);
    for (int h = BE_LEFT; h < BE_HEMISPHERES && in_each > 0; h++)
        self->size.vertices[h] = in_each;
    size_t vertices = self->size.vertices[BE_LEFT] + self->size.vertices[BE_RIGHT];
    bool by_vertex = strcmp(self->model.readout, "voxels") == 0;
    if (!by_vertex && strcmp(self->model.readout, "rois_all") != 0)
        return tool_usage("--readout: one of rois_all, voxels");
    if (self->ensemble.layers[self->ensemble.n_layers - 1] > self->size.depth)
        return tool_usage("--layers: the demo's backbone has fewer blocks");
    self->model.queries = by_vertex ? vertices : 2 * (ROIS + 1);
    self->model.layer = self->ensemble.layers[0];
    self->model.run = 1;
    return EXIT_DONE;
}

static int run_demo(int argc, char **argv)
{
    enum { OPTION_FULL = 256, OPTION_SEED, OPTION_VERTICES, OPTION_READOUT, OPTION_LAYERS, OPTION_RUNS, MOST_RUNS = 100 };
    static const struct option all[] = {
        {"full", no_argument, NULL, OPTION_FULL}, {"seed", required_argument, NULL, OPTION_SEED},
        {"vertices", required_argument, NULL, OPTION_VERTICES},
        {"readout", required_argument, NULL, OPTION_READOUT}, {"layers", required_argument, NULL, OPTION_LAYERS},
        {"runs", required_argument, NULL, OPTION_RUNS}, {NULL, 0, NULL, 0},
    };
    be_error error;
    job self = {.model = {.readout = "rois_all"}, .ensemble = {{1}, 1, 1}, .error = &error};
    size_t seed = 1, vertices = 0;
    bool full = false;
    int option;
    while ((option = getopt_long(argc, argv, "o:", all, NULL)) != -1) {
        switch (option) {
        case 'o': self.folder = optarg; break;
        case OPTION_FULL: full = true; break;
        case OPTION_VERTICES:
            if (!parse_count("vertices", optarg, FSAVERAGE, &vertices))
                return EXIT_USAGE;
            break;
        case OPTION_READOUT: self.model.readout = optarg; break;
        case OPTION_LAYERS:
            if (!demo_parse_layers(optarg, &self.ensemble))
                return EXIT_USAGE;
            break;
        case OPTION_RUNS:
            if (!parse_count("runs", optarg, MOST_RUNS, &self.ensemble.runs))
                return EXIT_USAGE;
            break;
        case OPTION_SEED:
            if (!parse_count("seed", optarg, SIZE_MAX >> 1, &seed))
                return EXIT_USAGE;
            break;
        default: return EXIT_USAGE;
        }
    }
    if (!self.folder || optind != argc)
        return tool_usage("demo: takes -o FOLDER and no other name");
    self.random.state = seed;
    int code = settle(&self, full, vertices);
    if (code != EXIT_DONE)
        return code;
    return run(&self) == BE_OK ? EXIT_DONE : tool_fail(&error);
}

const command command_demo = {"demo", "a model of random numbers and a picture, to try everything", help, run_demo};
