/* A subject: a trained brain encoder with all that is needed to read its answers, in one self-contained file.
 *
 * The file is safetensors. Its __metadata__ has one key, "brainenc", a JSON object (subject_format.h); its tensors are
 *   members.<m>.<authors' name>     the encoder and readout of member m
 *   masks.lh, masks.rh              uint8 [ROIs][vertices], 0 or 1, the ROIs in query order without "rest"
 *   fsaverage.lh, fsaverage.rh      int32 [vertices], a vertex's number on the fsaverage surface
 *   validation.lh, validation.rh    float32 [members][vertices], correlation on the validation images; where it is known
 *   ncsnr.lh, ncsnr.rh              float32 [vertices], the noise ceiling's signal-to-noise ratio; where it is known
 * An ensemble has several members, each trained on a layer of the backbone with a random start (run) of its own; all else is
 * theirs in common.
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

enum { BE_DATE_SIZE = 11 }; /* "2025-03-01" and the ending 0 */
enum { BE_SUBJECT_NAME_SIZE = 64, BE_READOUT_NAME_SIZE = 32, BE_DEFAULT_IMAGE_SIZE = 425, BE_MOST_MEMBERS = 1000 };

/* One trained model of a subject. */
typedef struct be_member_info {
    be_tap tap;          /* what it is read from */
    size_t run;          /* which random start */
    size_t run_place;    /* which of the subject's different runs that is, from 0 in the order in which they first come */
    char date[BE_DATE_SIZE]; /* when its checkpoint was last changed (UTC); "": unknown */
    bool has_validation;
    double validation;   /* mean correlation on the validation images, as training recorded it */
} be_member_info;

typedef struct be_subject_info {
    char name[BE_SUBJECT_NAME_SIZE];
    bool demo;                            /* made of random numbers by `brainenc demo` */
    char weights_hash[BE_HASH_SIZE];      /* SHA-256 of the file */
    size_t channels;                      /* the backbone must have as many */
    const char *encoder;                  /* "transformer", ... */
    char readout[BE_READOUT_NAME_SIZE];   /* "rois_all", ... */
    size_t queries;                       /* of each member's encoder */
    size_t maps;                          /* attention maps: one a ROI (with rest) and hemisphere; 0: there are none */
    size_t heads;                         /* of each map; 0: there are none */
    bool dynamic;                         /* the maps depend on the image */
    bool by_vertex;                       /* each vertex has a map of its own, which be_session_maps gives; maps is 0 then */
    size_t members, runs;                 /* members 1: no ensemble; runs: how many different ones there are, over all layers */
    be_member_info *member;               /* [members]; owned */
    size_t image_size;                    /* pixels a side the training images had: the checkpoint's image_size, or 425 */
    size_t n_vertices[BE_HEMISPHERES];
    size_t n_fsaverage[BE_HEMISPHERES];   /* vertices of the fsaverage surface; 0: the file has no index */
    be_roi_set rois;
    const char *storage;                  /* of the weights' matrices in the file: "f32", "bf16" */
    char *training_set;                   /* what is known of the images it was trained on, as text; "": nothing */
    char date[BE_DATE_SIZE];              /* the latest of its members' */
    char *units;                          /* of the activations, as text */
    char *unverified;                     /* "" or what no golden case covers, as text */
} be_subject_info;

typedef struct be_subject be_subject;

/* Opens a subject file, whose transformers' products will be in `precision`. BE_ERROR_UNSUPPORTED when it is another kind of
 * file or a newer version's, BE_ERROR_FORMAT naming the field or tensor at fault. */
be_status be_subject_open(const char *path, be_precision precision, be_subject **subject, be_error *error);
/* The same, and the same checks, for a subject that is not to be computed with: its members are loaded one after the other and let
 * go again, so that a large ensemble takes the memory of one. It has no encoders and readouts. */
be_status be_subject_inspect(const char *path, be_subject **subject, be_error *error);
void be_subject_close(be_subject *subject);
/* Calls it by another name than its file's, cut to BE_SUBJECT_NAME_SIZE - 1 bytes; before it is shared. */
void be_subject_rename(be_subject *subject, const char *name);
const be_subject_info *be_subject_get_info(const be_subject *subject);
/* [n_vertices] of a hemisphere: each vertex's number on the fsaverage surface; NULL when the file has none. */
const int32_t *be_subject_fsaverage(const be_subject *subject, be_hemisphere hemisphere);

/* Of member m; NULL when the subject was only inspected. */
const be_encoder *be_subject_encoder(const be_subject *subject, size_t member);
const be_readout *be_subject_readout(const be_subject *subject, size_t member);
/* [V_lh + V_rh]: what member m counts in an ensemble's prediction of each vertex (MODEL section 6: softmax over layers of 40 x the
 * mean validation correlation over the layer's runs, divided by their number); NULL with a single member. */
const float *be_subject_member_weights(const be_subject *subject, size_t member);
/* [info.maps]: the query each map is of, the left hemisphere's first; NULL by vertex, or when there are no maps. */
const uint32_t *be_subject_map_queries(const be_subject *subject);
/* [members][n_vertices] correlations on the validation images, [n_vertices] ncsnr; NULL when the file has none. */
const float *be_subject_validation(const be_subject *subject, be_hemisphere hemisphere);
const float *be_subject_ncsnr(const be_subject *subject, be_hemisphere hemisphere);

/* One checkpoint to import, and what training saved beside it. */
typedef struct be_import_member {
    const char *checkpoint;
    const char *scores[BE_HEMISPHERES]; /* .npy, the validation correlation of each vertex; NULL: none */
    const char *indices;                /* .npy, how the images were shuffled before the first 90 % became the training set; NULL:
                                           not known. Only its length is used; one that cannot be read is as good as none */
    bool placed;                        /* layer and run are what its folders are called: its arguments must agree */
    size_t layer, run;
} be_import_member;

typedef struct be_import_options {
    const char *checkpoint;          /* a single model's; NULL: `members` */
    const be_import_member *members; /* [n_members]: an ensemble's */
    size_t n_members;
    const char *data;                /* the subject's Algonauts folder */
    const char *name;                /* NULL: from the checkpoint's arguments */
    /* .npy, NSD's ncsnr of each vertex of the subject or of its whole fsaverage surface; NULL: none. NaN means that it is unknown
     * (as outside the scanned volume) and is kept; 0 that there is nothing to explain. */
    const char *ncsnr[BE_HEMISPHERES];
    /* A parcellation of the lab's own: .npy of whole numbers, of either length; NULL: none. Its parcels, in the order of labels,
     * are the ROIs of a readout with queries for any (rois_all), in the place of the folder's; of a readout without queries for
     * ROIs (voxels, hemis, linear) they come after the folder's. Labels up to 0 are no parcel. */
    const char *parcellation[BE_HEMISPHERES];
    const char *parcellation_names;  /* JSON {"1": "V1"}, a pickled dict (.npy), or a name a line */
    const char *parcellation_family; /* NULL: "parcellation" */
    const char *streams_order;       /* "rest-last", "rest-first"; NULL: not said (streams_inc then is refused) */
    const char *storage;             /* "f32", "bf16": of the weights' matrices; NULL: f32 */
    const char *class_token;         /* "first-patch", "class-token"; NULL: not said (dinov2_cls then is refused) */
    const char *output;              /* the subject file to write */
} be_import_options;

/* Writes a subject file from checkpoints of the authors' program and the folder of the data they were trained on; what the model
 * does not use (self_attn of the decoder, memory_proj, ...) and paths and user names of the arguments are left out. Of the weights
 * one tensor is in memory at a time, and one member while it is checked. The new file is inspected as a check; on any error
 * `output` is as it was. */
be_status be_subject_import(const be_import_options *options, be_error *error);

#endif
