/* A subject: a trained brain encoder with all that is needed to read its answers, in one self-contained file.
 *
 * The file is safetensors. Its __metadata__ has one key, "brainenc", a JSON object (subject_format.h); its tensors are
 *   members.<m>.<authors' name>   float32, the encoder and readout of member m
 *   masks.lh, masks.rh            uint8 [ROIs][vertices], 0 or 1, the ROIs in query order without "rest"
 *   fsaverage.lh, fsaverage.rh    int32 [vertices], a vertex's number on the fsaverage surface
 * It holds masks derived from the data it was trained on, so that data's terms of use apply to it (for NSD: no passing on).
 *
 * A subject is immutable once opened; any number of threads may use it at once.
 */
#ifndef BRAINENC_SUBJECT_SUBJECT_H
#define BRAINENC_SUBJECT_SUBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/backbone/backbone.h"
#include "core/base/error.h"
#include "core/encoder/encoder.h"
#include "core/files/hash.h"
#include "core/subject/roi.h"

enum { BE_SUBJECT_NAME_SIZE = 64, BE_DEFAULT_IMAGE_SIZE = 425 };

typedef struct be_subject_info {
    char name[BE_SUBJECT_NAME_SIZE];
    bool demo;                            /* made of random numbers by `brainenc demo` */
    char weights_hash[BE_HASH_SIZE];      /* SHA-256 of the file */
    be_tap tap;                           /* what it is read from */
    size_t channels;                      /* the backbone must have as many */
    const char *encoder, *readout;        /* "transformer", "rois_all" */
    size_t queries, heads;                /* of the decoder's cross-attention */
    size_t members;                       /* 1: no ensemble */
    size_t image_size;                    /* pixels a side the training images had: the checkpoint's image_size, or 425 */
    size_t n_vertices[BE_HEMISPHERES];
    size_t n_fsaverage[BE_HEMISPHERES];   /* vertices of the fsaverage surface; 0: the file has no index */
    be_roi_set rois;
    char *units;                          /* of the activations, as text */
    char *unverified;                     /* "" or what no golden case covers, as text */
    bool has_validation;
    double validation;                    /* mean correlation on the validation images, as training recorded it */
} be_subject_info;

typedef struct be_subject be_subject;

/* Opens a subject file. BE_ERROR_UNSUPPORTED when it is another kind of file or a newer version's, BE_ERROR_FORMAT naming
 * the field or tensor at fault. */
be_status be_subject_open(const char *path, be_subject **subject, be_error *error);
void be_subject_close(be_subject *subject);
/* Calls it by another name than its file's, cut to BE_SUBJECT_NAME_SIZE - 1 bytes; before it is shared. */
void be_subject_rename(be_subject *subject, const char *name);
const be_subject_info *be_subject_get_info(const be_subject *subject);
/* [n_vertices] of a hemisphere: each vertex's number on the fsaverage surface; NULL when the file has none. */
const int32_t *be_subject_fsaverage(const be_subject *subject, be_hemisphere hemisphere);

const be_transformer *be_subject_encoder(const be_subject *subject);
const be_readout *be_subject_readout(const be_subject *subject);

typedef struct be_import_options {
    const char *checkpoint;  /* the authors' checkpoint.pth */
    const char *data;        /* the subject's Algonauts folder */
    const char *name;        /* NULL: from the checkpoint's arguments */
    bool demo;
    const char *output;      /* the subject file to write */
} be_import_options;

/* Writes a subject file from a checkpoint and the folder of the data it was trained on; what the model does not use
 * (self_attn, norm2, memory_proj) and paths and user names of the arguments are left out. The new file is opened once as
 * a check; on any error `output` is as it was. */
be_status be_subject_import(const be_import_options *options, be_error *error);

#endif
