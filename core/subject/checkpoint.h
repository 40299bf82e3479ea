/* A checkpoint of the authors' training program: its arguments and the tensors of its model. */
#ifndef BRAINENC_SUBJECT_CHECKPOINT_H
#define BRAINENC_SUBJECT_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/error.h"
#include "core/encoder/encoder.h"
#include "core/files/tensor_file.h"
#include "core/subject/readout_plan.h"
#include "core/subject/roi.h"

enum { BE_CHECKPOINT_TEXT_SIZE = 64 };
/* What stands before every tensor of the model in a checkpoint. */
#define BE_CHECKPOINT_PREFIX "model."
/* args.dataset of what `brainenc demo` writes. */
#define BE_CHECKPOINT_DEMO "random numbers"

/* Which token `dinov2_cls` means: the published program takes the first patch's. */
typedef enum be_class_token { BE_CLASS_TOKEN_UNKNOWN, BE_CLASS_TOKEN_FIRST_PATCH, BE_CLASS_TOKEN_CLASS } be_class_token;
/* "first-patch", "class-token"; BE_ERROR_ARGUMENT naming them otherwise. */
be_status be_class_token_parse(const char *text, be_class_token *token, be_error *error);

/* The arguments that decide what is computed, in the authors' names. */
typedef struct be_checkpoint {
    char backbone_arch[BE_CHECKPOINT_TEXT_SIZE], encoder_arch[BE_CHECKPOINT_TEXT_SIZE];
    char readout_res[BE_CHECKPOINT_TEXT_SIZE], position_embedding[BE_CHECKPOINT_TEXT_SIZE];
    char subject[BE_CHECKPOINT_TEXT_SIZE];  /* "subj01", from args.subj; "" when it is not there */
    size_t enc_output_layer, enc_layers, dec_layers, hidden_dim, nheads, run;
    size_t dim_feedforward;                 /* 0: not said */
    size_t image_size;                      /* 0: none was set, images went in as they were */
    bool pre_norm, dilation, return_interm;
    bool demo;                              /* args.dataset is BE_CHECKPOINT_DEMO */
    size_t channels;                        /* of the feature map, from the tensors that read it */
    bool input_projection;                  /* a 1x1 convolution from them to hidden_dim */
    size_t queries;                         /* rows of query_embed or spatial_embed; 1 for linear */
    size_t n_vertices[BE_HEMISPHERES];      /* rows of {lh,rh}_embed.0.weight */
    bool has_validation;
    double validation;                      /* args.val_perf: mean of the hemispheres' mean correlations */
} be_checkpoint;

/* True when the file looks like a checkpoint of the authors' program: a dict with "model" and "args". */
bool be_checkpoint_recognise(const be_tensor_file *file);

/* Reads the arguments and shapes. BE_ERROR_FORMAT names the argument or tensor that is missing or of the wrong kind. */
be_status be_checkpoint_read(const be_tensor_file *file, be_checkpoint *checkpoint, be_error *error);

/* BE_OK when this version computes such a model; BE_ERROR_UNSUPPORTED names the setting at fault otherwise, BE_ERROR_FORMAT
 * settings that contradict each other, BE_ERROR_ARGUMENT what only its owner can say. `path` begins the sentence. */
be_status be_checkpoint_supported(const be_checkpoint *checkpoint, be_class_token token, be_streams_order order, const char *path,
                                  be_error *error);

/* The name of its features (be_features_parse), once be_checkpoint_supported said BE_OK. */
void be_checkpoint_features(const be_checkpoint *checkpoint, be_class_token token, char name[BE_CHECKPOINT_TEXT_SIZE]);
/* The settings of its encoder. */
be_encoder_settings be_checkpoint_settings(const be_checkpoint *checkpoint);

/* Loads the encoder and readout of a supported checkpoint as they stand in it, so that what is missing is named as it is called
 * there: BE_ERROR_FORMAT. `lists` as be_readout_load takes them. Both are to be freed, after a failure too: begin with NULL. */
be_status be_checkpoint_load(be_tensor_file *file, const be_checkpoint *checkpoint, const be_readout_lists *lists,
                             be_encoder **encoder, be_readout **readout, be_error *error);

#endif
