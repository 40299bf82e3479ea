/* The answers users get, in the JSON of API.md: the same whether the daemon or the command line computed them. */
#ifndef BRAINENC_ANSWER_ANSWER_H
#define BRAINENC_ANSWER_ANSWER_H

#include "core/answer/map_selection.h"
#include "core/answer/surface.h"
#include "core/answer/text.h"
#include "core/brainenc.h"
#include "core/files/json.h"
#include "core/subject/quality.h"

enum { BE_ID_SIZE = 33 }; /* 32 hexadecimal digits and the ending 0 */

/* One image of a request as the answer tells of it. */
typedef struct be_answer_image {
    const char *name;           /* what the caller calls it (a file's name), or NULL: left out */
    char hash[BE_HASH_SIZE];    /* SHA-256 of its bytes as they came, or be_answer_hash_pixels */
    size_t width, height;       /* pixels as decoded */
    be_fit fit;
    size_t rows, columns;       /* the token grid */
} be_answer_image;

/* Maps as they were asked for. */
typedef struct be_answer_maps {
    const be_map_selection *asked;
    const float *values;           /* as be_maps_compute gives them */
} be_answer_maps;

/* What of a prediction is wanted. */
typedef struct be_answer_options {
    bool vertices, rois;          /* the vertex arrays, the means of the ROIs */
    bool quality;                 /* how well they are predicted, and what is known of the training */
    be_space space;               /* of the vertex arrays; only another than the challenge's is named in the answer */
    const be_roi_selection *only; /* NULL, or the ROIs whose vertices alone are given, with their indices */
    const be_answer_maps *maps;   /* NULL, or the maps that are added */
} be_answer_options;

/* The hash of a picture that came as bare pixels, in an array: of them and of their shape. */
be_status be_answer_hash_pixels(const be_image *image, char hash[BE_HASH_SIZE], be_error *error);

/* The id of a prediction: a prefix of the SHA-256 over the image's bytes, the fit, the weights' hashes and what else decides the
 * numbers: the backbone's heads and activation, and the precision. */
be_status be_answer_id(const be_model *model, size_t subject, const be_answer_image *image, char id[BE_ID_SIZE],
                       be_error *error);

/* Adds what computes a subject: be_provenance_add, "precision_error" (where it was measured), "features", "layer" (the first
 * member's; of an ensemble all "layers" too), "encoder", "readout", "members", "runs", "storage", the subject's "weights" and
 * "units". */
void be_answer_add_model(be_json *json, cJSON *to, const be_model *model, size_t subject);
/* "training_set" and "checkpoint_date", each null when it is not known. */
void be_answer_add_training(be_json *json, cJSON *to, const be_subject_info *info);
/* "quality": {"lh": {"validation", "noise_ceiling", "accuracy"}, "rh": {...}}: the means of core/subject/quality.h, each null
 * where it is not known; of all vertices or of a ROI's. */
void be_answer_add_quality(be_json *json, cJSON *to, const be_quality quality[BE_HEMISPHERES]);
void be_answer_add_roi_quality(be_json *json, cJSON *to, const be_subject *subject, const be_roi *roi);
/* A ROI's object in a list: "name" and "family", null for "rest". */
cJSON *be_answer_add_roi(be_json *json, cJSON *list, const be_roi *roi);
/* A list of vertices' numbers. */
void be_answer_add_numbers(be_json *json, cJSON *to, const char *key, const uint32_t *numbers, size_t count);

/* Milliseconds, by stage. */
typedef struct be_answer_timing {
    double decode, queue, backbone, encoder, total;
} be_answer_timing;

/* BE_OK when a subject's predictions have a spread over runs; BE_ERROR_UNSUPPORTED for one of a single run, whose spread is not
 * zero but unknown. */
be_status be_answer_check_spread(const be_subject_info *info, be_error *error);

/* One prediction as a JSON object on one line; `output` holds the vertices and, when it is wanted, their spread. `timing` may be
 * NULL. *text is to be freed with free(). */
be_status be_answer_prediction(const be_model *model, size_t subject, const be_answer_image *image, const be_output *output,
                               const be_answer_options *options, const be_answer_timing *timing, char **text,
                               be_error *error);

/* Maps as a JSON object on one line: {"id", "subject", "grid", "maps"}; the weights of a map that is none are null. *text is
 * to be freed with free(). */
be_status be_answer_attention(const be_model *model, size_t subject, const be_answer_image *image, const be_answer_maps *maps,
                              char **text, be_error *error);

/* The same maps as an .npy file: float32 [groups][hemispheres][rows][columns], of vertices [vertices][rows][columns]; with single
 * heads [heads] comes before the rows. A map that is none is NaN. *bytes is to be freed with free(). */
be_status be_answer_attention_npy(const be_subject_info *info, const be_answer_image *image, const be_answer_maps *maps,
                                  unsigned char **bytes, size_t *size, be_error *error);

/* The map over the picture `input` (fitted) as a PNG file; of both hemispheres side by side when both are wanted. Errors as
 * be_map_check_picture. *bytes is to be freed with free(). */
be_status be_answer_attention_png(const be_subject_info *info, size_t patch, const be_answer_image *image, const be_image *input,
                                  const be_answer_maps *maps, unsigned char **bytes, size_t *size, be_error *error);

/* The vertices of the selected ROIs in one hemisphere, ascending, each once; all of them when `selection` is NULL.
 * *indices is to be freed. */
be_status be_answer_vertices(const be_subject_info *info, const be_roi_selection *selection, be_hemisphere hemisphere,
                             uint32_t **indices, size_t *count, be_error *error);

#endif
