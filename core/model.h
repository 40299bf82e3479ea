/* What a session needs of a model beyond the public face; for the files of this folder only. */
#ifndef BRAINENC_MODEL_H
#define BRAINENC_MODEL_H

#include "core/brainenc.h"

/* Different feature maps that all subjects of a model together may be read from. */
enum { BE_MOST_TAPS = 64 };

/* What depends on the token grid alone, computed once for each grid and shared. */
typedef struct be_grid {
    size_t rows, columns;
    float *backbone;  /* be_backbone_grid_floats */
    float **subjects; /* [n_subjects]: of each member one after the other, be_encoder_grid_floats each */
    size_t users;     /* sessions computing with it, under the model's lock */
    size_t last_used; /* the model's count of uses when it was last taken */
} be_grid;

/* Takes the constants of a grid, computing them when they are not held. To be given back with be_model_release_grid. */
be_status be_model_take_grid(be_model *model, size_t rows, size_t columns, const be_grid **grid, be_error *error);
void be_model_release_grid(be_model *model, const be_grid *grid);

const be_backbone *be_model_get_backbone(const be_model *model);
/* Which of the model's feature maps one subject reads, in the order its members first come to them; and which of the subject's a
 * member reads. */
size_t be_model_layers(const be_model *model, size_t subject);
size_t be_model_layer_tap(const be_model *model, size_t subject, size_t layer);
size_t be_model_member_layer(const be_model *model, size_t subject, size_t member);

/* As be_model_open, without the backbone's hash: that takes as long as all else. */
be_status be_model_open_unnamed(const be_model_options *options, be_model **model, be_error *error);

/* Keeps what was measured of a subject. */
void be_model_note_precision_error(be_model *model, size_t subject, const be_precision_error *measured);

#endif
