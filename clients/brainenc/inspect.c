#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hdf5.h>

#include "clients/brainenc/members_text.h"
#include "clients/brainenc/tool.h"
#include "core/base/utf8.h"
#include "core/files/json.h"
#include "core/files/mapped_file.h"
#include "core/files/npy.h"
#include "core/files/tensor_file.h"
#include "core/image/hdf5_images.h"
#include "core/subject/checkpoint.h"
#include "core/subject/quality.h"

static const char help[] =
    "usage: brainenc inspect FILE... [--json] [--tensors] [--backbone-heads N]\n\n"
    "Says what a file is, what it predicts and what is missing: a checkpoint of the authors' program, a backbone, a subject\n"
    "file, any other .pth or .safetensors, an .npy array, a picture, pictures in HDF5. Nothing is executed. A subject is\n"
    "checked as for a prediction and a checkpoint as for an import, so that what is said of it holds; of a backbone no\n"
    "weights are read.\n\n"
    "  --json              one JSON object a file, one a line\n"
    "  --tensors           names, types and shapes of all tensors too\n"
    "  --backbone-heads N  a backbone's attention heads, where its file does not tell\n\n"
    "example: brainenc inspect checkpoint.pth\n";

/* Facts about a file, in order, as lines for people and as one JSON object. */
typedef struct report {
    be_text lines;
    be_json json;
    cJSON *section; /* the object of `json` that facts go into */
} report;

/* Names of files and out of them must not command the terminal. */
static void add_printable(be_text *text, const char *value)
{
    size_t start = text->length;
    be_text_add(text, value);
    if (text->length > start)
        text->length = start + be_make_printable(text->bytes + start);
}

static void begin(report *to, const char *path, const char *kind)
{
    add_printable(&to->lines, path);
    be_text_add(&to->lines, ": ");
    be_text_add(&to->lines, kind);
    be_text_add(&to->lines, "\n");
    to->section = to->json.root;
    be_json_text(&to->json, to->section, "file", path);
    be_json_text(&to->json, to->section, "kind", kind);
}

/* The facts that follow are about parts with names of their own, which may be any. */
static void begin_section(report *to, const char *key)
{
    to->section = be_json_object(&to->json, to->json.root, key);
}

static void tell(report *to, const char *key, const char *value)
{
    enum { KEY_WIDTH = 14 };
    be_text_add(&to->lines, "  ");
    add_printable(&to->lines, key);
    for (size_t length = strlen(key); length < KEY_WIDTH; length++)
        be_text_add(&to->lines, " ");
    be_text_add(&to->lines, " ");
    add_printable(&to->lines, value);
    be_text_add(&to->lines, "\n");
    be_json_text(&to->json, to->section, key, value);
}

static void tell_format(report *to, const char *key, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void tell_format(report *to, const char *key, const char *format, ...)
{
    char value[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(value, sizeof value, format, arguments);
    va_end(arguments);
    tell(to, key, value);
}

/* --- each kind of file ---------------------------------------------------------------------------- */

static void describe_tensors(const be_tensor_file *file, bool all, report *to)
{
    size_t count = be_tensor_file_count(file);
    tell_format(to, "tensors", "%zu", count);
    if (all)
        begin_section(to, "tensor_shapes");
    for (size_t i = 0; i < count && all; i++) {
        const be_tensor *tensor = be_tensor_file_at(file, i);
        char shape[160] = "";
        for (size_t d = 0; d < tensor->n_dims; d++) {
            size_t length = strlen(shape);
            snprintf(shape + length, sizeof shape - length, "[%zu]", tensor->shape[d]);
        }
        tell_format(to, tensor->name, "%s %s", be_dtype_name(tensor->dtype), shape);
    }
}

/* As an import checks it that is told nothing: BE_OK, or what is missing or must be asked. */
static be_status check_checkpoint(be_tensor_file *file, const be_checkpoint *it, be_error *reason)
{
    be_encoder *encoder = NULL;
    be_readout *readout = NULL;
    be_status status = be_checkpoint_supported(it, BE_CLASS_TOKEN_UNKNOWN, BE_STREAMS_UNKNOWN, be_tensor_file_path(file), reason);
    if (status == BE_OK)
        status = be_checkpoint_load(file, it, NULL, &encoder, &readout, reason);
    be_readout_free(readout);
    be_encoder_free(encoder);
    return status;
}

/* Those of the training arguments that such a model makes use of. */
static void tell_settings(const be_checkpoint *it, report *to)
{
    char name[BE_CHECKPOINT_TEXT_SIZE];
    be_features features;
    bool transformer = strstr(it->encoder_arch, "transformer") != NULL;
    be_checkpoint_features(it, BE_CLASS_TOKEN_UNKNOWN, name);
    bool layers = be_features_parse(name, &features, NULL) != BE_OK || be_features_have_layers(features);
    if (layers || (transformer && it->enc_layers > 0))
        tell_format(to, "features", "%s, enc_output_layer %zu", it->backbone_arch, it->enc_output_layer);
    else
        tell_format(to, "features", "%s%s", it->backbone_arch, it->dilation ? ", dilated" : "");
    if (transformer)
        tell_format(to, "encoder", "%s, %zu encoder and %zu decoder layers, %zu heads, width %zu, %s position", it->encoder_arch,
                    it->enc_layers, it->dec_layers, it->nheads, it->hidden_dim, it->position_embedding);
    else
        tell(to, "encoder", it->encoder_arch);
}

static be_status describe_checkpoint(be_tensor_file *file, report *to, be_error *error)
{
    be_checkpoint it;
    be_error reason;
    const char *path = be_tensor_file_path(file);
    be_status status = be_checkpoint_read(file, &it, error);
    if (status != BE_OK)
        return status;
    begin(to, path, "a checkpoint of the authors' training program");
    tell(to, "format", be_tensor_format_name(be_tensor_file_format(file)));
    tell_settings(&it, to);
    tell_format(to, "readout", "%s, %zu queries", it.readout_res, it.queries);
    if (it.n_vertices[BE_LEFT])
        tell_format(to, "predicts", "%zu left and %zu right vertices%s%s", it.n_vertices[BE_LEFT], it.n_vertices[BE_RIGHT],
                    *it.subject ? " of " : "", it.subject);
    if (it.image_size)
        tell_format(to, "images", "resized to %zu x %zu pixels", it.image_size, it.image_size);
    else
        tell_format(to, "images", "as they are (425 x 425 pixels for NSD)");
    if (it.has_validation)
        tell_format(to, "validation", "%.4f mean correlation, as training recorded it", it.validation);
    bool supported = check_checkpoint(file, &it, &reason) == BE_OK;
    tell(to, "supported", supported ? "yes" : reason.message);
    if (supported)
        tell_format(to, "missing", "the backbone's weights (%zu channels); the ROI masks and fsaverage index, which `brainenc "
                    "import --data` takes from the subject's Algonauts folder", it.channels);
    return BE_OK;
}

/* What can be read from a backbone, in the words of `backbone_arch`. */
static const char *features_of(const be_backbone_info *info)
{
    if (strcmp(info->kind, "dinov2") == 0)
        return "dinov2_q, dinov2, dinov2_q_cls, dinov2_cls/first-patch, dinov2_cls/class-token, at any layer";
    return strcmp(info->kind, "clip") == 0 ? "clip, clip_cls" : "layer4's output";
}

/* What a vision transformer has and a convolutional network has not. */
static void tell_transformer(report *to, const be_backbone_info *info)
{
    char registers[40] = "";
    if (info->registers)
        snprintf(registers, sizeof registers, ", %zu register tokens", info->registers);
    tell_format(to, "shape", "width %zu, %zu blocks, %zu heads, feed-forward %zu (%s), patches of %zu pixels%s", info->width,
                info->depth, info->heads, info->hidden, be_activation_name(info->activation), info->patch, registers);
    if (info->image_size)
        tell_format(to, "positions", "%zu x %zu, for pictures of %zu x %zu pixels alone", info->position_grid,
                    info->position_grid, info->image_size, info->image_size);
    else
        tell_format(to, "positions", "%zu x %zu, resampled for other grids", info->position_grid, info->position_grid);
}

static be_status describe_backbone(const char *path, size_t heads, report *to, be_error *error)
{
    be_backbone_info info;
    be_status status = be_backbone_inspect(path, &(be_backbone_options){.heads = heads}, &info, error);
    if (status != BE_OK)
        return status;
    begin(to, path, "a vision backbone");
    tell_format(to, "backbone", "%s (%s) in %s's names", info.name, info.kind, info.naming);
    if (info.width)
        tell_transformer(to, &info);
    else
        tell_format(to, "shape", "%zu channels, %zu blocks, one token for %zu x %zu pixels", info.channels, info.depth,
                    info.patch, info.patch);
    tell_format(to, "parameters", "%zu", info.parameters);
    tell_format(to, "features", "%s; %zu channels", features_of(&info), info.channels);
    if (*info.unverified)
        tell(to, "unverified", info.unverified);
    return BE_OK;
}

/* Layers and runs. */
static be_status tell_members(report *to, const be_subject_info *info, be_error *error)
{
    be_text text = {0};
    add_members(&text, info);
    be_status status = be_text_finish(&text, error);
    if (status == BE_OK)
        tell_format(to, "features", "%s, %zu channels", text.bytes, info->channels);
    free(text.bytes);
    return status;
}

/* What is known of how good it is: correlations a vertex, the noise ceiling, and what training itself recorded. */
static void tell_quality(report *to, const be_subject *subject)
{
    static const char *const keys[] = {"lh quality", "rh quality"};
    const be_subject_info *info = be_subject_get_info(subject);
    if (info->members == 1 && info->member[0].has_validation)
        tell_format(to, "validation", "%.4f mean correlation, as training recorded it", info->member[0].validation);
    for (int h = BE_LEFT; h < BE_HEMISPHERES; h++) {
        be_quality quality;
        char ceiling[80] = "";
        be_quality_of(subject, (be_hemisphere)h, NULL, 0, &quality);
        if (quality.explainable > 0)
            snprintf(ceiling, sizeof ceiling, "; noise ceiling %.4f, encoding accuracy %.4f", quality.ceiling, quality.accuracy);
        if (be_subject_validation(subject, (be_hemisphere)h))
            tell_format(to, keys[h], "%.4f mean validation correlation%s%s", quality.correlation,
                        info->members > 1 ? " (estimated from the members')" : "", ceiling);
        else if (!isnan(quality.ceiling))
            tell_format(to, keys[h], "noise ceiling %.4f", quality.ceiling);
    }
}

static be_status describe_subject(const char *path, report *to, be_error *error)
{
    be_subject *subject;
    be_status status = be_subject_inspect(path, &subject, error);
    if (status != BE_OK)
        return status;
    const be_subject_info *info = be_subject_get_info(subject);
    begin(to, path, info->demo ? "a subject (demo: random weights)" : "a subject");
    tell(to, "subject", info->name);
    status = tell_members(to, info, error);
    if (strstr(info->encoder, "transformer"))
        tell_format(to, "encoder", "%s, %zu heads; %s, %zu queries", info->encoder, info->heads, info->readout, info->queries);
    else
        tell_format(to, "encoder", "%s; %s, %zu %s", info->encoder, info->readout, info->queries,
                    info->queries == 1 ? "query" : "queries");
    tell_format(to, "predicts", "%zu left and %zu right vertices, %s", info->n_vertices[BE_LEFT], info->n_vertices[BE_RIGHT],
                info->units);
    tell_format(to, "images", "%zu x %zu pixels", info->image_size, info->image_size);
    if (*info->training_set)
        tell(to, "trained on", info->training_set);
    if (*info->date)
        tell_format(to, "checkpoint", "of %s", info->date);
    tell_quality(to, subject);
    tell(to, "storage", info->storage);
    tell(to, "weights", info->weights_hash);
    if (*info->unverified)
        tell(to, "unverified", info->unverified);
    begin_section(to, "rois");
    for (size_t r = 0; r < info->rois.count; r++)
        tell_format(to, info->rois.rois[r].name, "%zu left, %zu right%s%s", info->rois.rois[r].n_vertices[BE_LEFT],
                    info->rois.rois[r].n_vertices[BE_RIGHT], *info->rois.rois[r].family ? ", " : "", info->rois.rois[r].family);
    to->section = to->json.root;
    be_subject_close(subject);
    return status;
}

static be_status describe_npy(const be_mapped_file *file, const char *path, report *to, be_error *error)
{
    be_npy npy;
    char shape[160] = "";
    be_status status = be_npy_parse(file->bytes, file->size, path, &npy, error);
    if (status != BE_OK)
        return status;
    for (size_t d = 0; d < npy.n_dims; d++) {
        size_t length = strlen(shape);
        snprintf(shape + length, sizeof shape - length, "[%zu]", npy.shape[d]);
    }
    begin(to, path, "an array");
    tell_format(to, "array", "%s %s", be_dtype_name(npy.dtype), shape);
    be_npy_free(&npy);
    return BE_OK;
}

static be_status describe_picture(const be_mapped_file *file, const char *path, report *to, be_error *error)
{
    be_image image;
    be_status status = be_image_decode(file->bytes, file->size, path, BE_DEFAULT_PIXELS, &image, error);
    if (status != BE_OK)
        return status;
    begin(to, path, be_image_sniff(file->bytes, file->size) == BE_IMAGE_PNG ? "a PNG picture" : "a JPEG picture");
    tell_format(to, "pixels", "%zu x %zu", image.width, image.height);
    be_image_free(&image);
    return BE_OK;
}

/* What `predict` would read from it. */
static be_status describe_hdf5(const char *path, report *to, be_error *error)
{
    be_hdf5_images *images = NULL;
    size_t width, height;
    be_error reason;
    H5dont_atexit(); /* as for a prediction */
    be_status status = be_hdf5_images_open(path, NULL, BE_DEFAULT_PIXELS, &images, &reason);
    if (status == BE_ERROR_NOT_FOUND || status == BE_ERROR_UNSUPPORTED || status == BE_ERROR_LIMIT) {
        begin(to, path, "an HDF5 file");
        tell(to, "supported", reason.message);
        return BE_OK;
    }
    if (status != BE_OK)
        return be_fail(error, status, "%s", reason.message);
    begin(to, path, "pictures in an HDF5 file, which `brainenc predict` reads");
    be_hdf5_images_size(images, &width, &height);
    tell(to, "dataset", be_hdf5_images_dataset(images));
    tell_format(to, "pictures", "%zu of %zu x %zu pixels", be_hdf5_images_count(images), width, height);
    be_hdf5_images_close(images);
    return BE_OK;
}

/* A .pth or .safetensors: which of ours is it? */
static be_status describe_weights(const char *path, size_t heads, bool all, report *to, be_error *error)
{
    be_tensor_file *file;
    const char *text;
    be_error reason;
    be_status status = be_tensor_file_open(path, &file, error);
    if (status != BE_OK)
        return status;
    if (be_checkpoint_recognise(file)) {
        status = describe_checkpoint(file, to, error);
    } else if (be_value_text(be_value_get(be_tensor_file_root(file), "brainenc"), &text)) {
        status = describe_subject(path, to, error);
    } else {
        status = describe_backbone(path, heads, to, &reason);
        if (status == BE_ERROR_UNSUPPORTED) {
            begin(to, path, "tensors of no model known here");
            tell(to, "format", be_tensor_format_name(be_tensor_file_format(file)));
            tell(to, "supported", reason.message);
            status = BE_OK;
        } else if (status != BE_OK) {
            be_fail(error, status, "%s", reason.message);
        }
    }
    if (status == BE_OK)
        describe_tensors(file, all, to);
    be_tensor_file_close(file);
    return status;
}

static be_status describe(const char *path, size_t heads, bool all, report *to, be_error *error)
{
    be_mapped_file file;
    be_status status = be_mapped_file_open(path, &file, error);
    if (status != BE_OK)
        return status;
    if (be_image_sniff(file.bytes, file.size) != BE_IMAGE_UNKNOWN)
        status = describe_picture(&file, path, to, error);
    else if (file.size >= 6 && memcmp(file.bytes, "\x93NUMPY", 6) == 0)
        status = describe_npy(&file, path, to, error);
    else if (file.size >= 8 && memcmp(file.bytes, "\x89HDF\r\n\x1a\n", 8) == 0)
        status = describe_hdf5(path, to, error);
    else
        status = describe_weights(path, heads, all, to, error);
    be_mapped_file_close(&file);
    return status;
}

static be_status inspect_file(const char *path, size_t heads, bool tensors, bool json, be_error *error)
{
    report to = {.json = be_json_begin()};
    char *text = NULL;
    be_status status = describe(path, heads, tensors, &to, error);
    if (status == BE_OK && json && (status = be_json_print(&to.json, &text, error)) == BE_OK) {
        to.lines.length = 0;
        be_text_add(&to.lines, text);
        be_text_add(&to.lines, "\n");
    }
    if (status == BE_OK)
        status = be_text_finish(&to.lines, error);
    if (status == BE_OK)
        status = write_output(NULL, to.lines.bytes, to.lines.length, error);
    be_json_discard(&to.json);
    free(text);
    free(to.lines.bytes);
    return status;
}

static int run_inspect(int argc, char **argv)
{
    enum { OPTION_JSON = 256, OPTION_TENSORS, OPTION_HEADS };
    static const struct option all[] = {
        {"json", no_argument, NULL, OPTION_JSON}, {"tensors", no_argument, NULL, OPTION_TENSORS},
        {"backbone-heads", required_argument, NULL, OPTION_HEADS}, {NULL, 0, NULL, 0},
    };
    bool json = false, tensors = false;
    size_t heads = 0;
    int option, code = EXIT_DONE;
    while ((option = getopt_long(argc, argv, "", all, NULL)) != -1) {
        switch (option) {
        case OPTION_JSON: json = true; break;
        case OPTION_TENSORS: tensors = true; break;
        case OPTION_HEADS:
            if (!parse_count("backbone-heads", optarg, 1024, &heads))
                return EXIT_USAGE;
            break;
        default: return EXIT_USAGE;
        }
    }
    if (optind == argc)
        return tool_usage("inspect: no file is named");
    for (; optind < argc; optind++) {
        be_error error;
        if (inspect_file(argv[optind], heads, tensors, json, &error) != BE_OK)
            code = tool_fail(&error);
    }
    return code;
}

const command command_inspect = {"inspect", "what a file is, what it predicts, what is missing", help, run_inspect};
