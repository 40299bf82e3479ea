/* The answers users get, in the JSON of API.md: the same whether the daemon or the command line computed them. */
#ifndef BRAINENC_ANSWER_ANSWER_H
#define BRAINENC_ANSWER_ANSWER_H

#include "core/answer/surface.h"
#include "core/answer/text.h"
#include "core/brainenc.h"

enum { BE_ID_SIZE = 33 }; /* 32 hexadecimal digits and the ending 0 */

/* One image of a request as the answer tells of it. */
typedef struct be_answer_image {
    const char *name;           /* what the caller calls it (a file's name), or NULL: left out */
    char hash[BE_HASH_SIZE];    /* SHA-256 of its bytes as they came */
    size_t width, height;       /* pixels as decoded */
    be_fit fit;
    size_t rows, columns;       /* the token grid */
} be_answer_image;

/* What of a prediction is wanted. */
typedef struct be_answer_options {
    bool vertices, rois;                /* the vertex arrays, the means of the ROIs */
    be_space space;                     /* of the vertex arrays; only another than the challenge's is named in the answer */
    const be_roi_selection *only;       /* NULL, or the ROIs whose vertices alone are given, with their indices */
    const be_roi_selection *attention;  /* NULL, or the ROIs whose maps are added */
} be_answer_options;

/* The id of a prediction: a prefix of the SHA-256 over the image's bytes, the fit, the weights' hashes and the precision. */
be_status be_answer_id(const be_model *model, size_t subject, const be_answer_image *image, char id[BE_ID_SIZE],
                       be_error *error);

/* Milliseconds, by stage. */
typedef struct be_answer_timing {
    double decode, queue, backbone, encoder, total;
} be_answer_timing;

/* One prediction as a JSON object on one line; `output` holds the vertices, and the attention when maps are wanted. `timing`
 * may be NULL. *text is to be freed with free(). */
be_status be_answer_prediction(const be_model *model, size_t subject, const be_answer_image *image, const be_output *output,
                               const be_answer_options *options, const be_answer_timing *timing, char **text,
                               be_error *error);

/* Which hemispheres' maps, and whether each head's. */
typedef struct be_answer_maps {
    bool hemispheres[BE_HEMISPHERES];
    bool heads;                       /* output->attention_heads is set, and each map becomes one a head */
} be_answer_maps;

/* The maps of the selected groups as a JSON object on one line: {"id", "subject", "grid", "maps"}. *text is to be freed with
 * free(). */
be_status be_answer_attention(const be_model *model, size_t subject, const be_answer_image *image, const be_output *output,
                              const be_roi_selection *selection, const be_answer_maps *maps, char **text, be_error *error);

/* The same maps as an .npy file: float32 [groups][hemispheres][rows][columns], with maps->heads
 * [groups][hemispheres][heads][rows][columns]. *bytes is to be freed with free(). */
be_status be_answer_attention_npy(const be_subject_info *info, const be_answer_image *image, const be_output *output,
                                  const be_roi_selection *selection, const be_answer_maps *maps, unsigned char **bytes,
                                  size_t *size, be_error *error);

/* One group's map over the picture `input` (fitted) as a PNG file; of both hemispheres side by side when both are wanted.
 * BE_ERROR_ARGUMENT for more than one group or single heads. *bytes is to be freed with free(). */
be_status be_answer_attention_png(const be_subject_info *info, size_t patch, const be_answer_image *image,
                                  const be_image *input, const be_output *output, const be_roi_selection *selection,
                                  const be_answer_maps *maps, unsigned char **bytes, size_t *size, be_error *error);

/* The vertices of the selected ROIs in one hemisphere, ascending, each once; all of them when `selection` is NULL.
 * *indices is to be freed. */
be_status be_answer_vertices(const be_subject_info *info, const be_roi_selection *selection, be_hemisphere hemisphere,
                             uint32_t **indices, size_t *count, be_error *error);

#endif
