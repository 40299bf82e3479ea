/* Brain encoders: from a feature map to one output token for each query, and from tokens to vertices.
 *
 * An encoder and a readout are loaded from tensors of a subject file under a member's prefix. Both are immutable once
 * loaded; any number of threads may run them at once, each with an arena of its own. Formulas: MODEL sections 3 and 4.
 */
#ifndef BRAINENC_ENCODER_ENCODER_H
#define BRAINENC_ENCODER_ENCODER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"
#include "core/compute/team.h"
#include "core/files/tensor_file.h"

/* The settings of the authors' arguments that decide what is computed. */
typedef struct be_encoder_settings {
    size_t channels; /* of the feature map (C); the encoder's hidden size D is the same */
    size_t queries;  /* Q */
    size_t heads;    /* nheads; divides D */
} be_encoder_settings;

typedef struct be_transformer be_transformer;

/* Loads the published model (`transformer`, enc_layers 0, dec_layers 1, pre_norm 1, sine position) from the tensors
 * prefix + "transformer.decoder...." and prefix + "query_embed.weight", and computes what does not depend on the image:
 * the query projections. BE_ERROR_FORMAT naming the tensor that is missing or of the wrong shape. */
be_status be_transformer_load(be_tensor_file *file, const char *prefix, const be_encoder_settings *settings,
                              be_transformer **encoder, be_error *error);
void be_transformer_free(be_transformer *encoder);
/* The width of its feed-forward part. */
size_t be_transformer_hidden(const be_transformer *encoder);

/* What depends on the grid alone (the position code's part of the scores), [heads][queries][rows * columns]. */
size_t be_transformer_grid_floats(const be_transformer *encoder, size_t rows, size_t columns);
be_status be_transformer_prepare_grid(const be_transformer *encoder, size_t rows, size_t columns, float *constants,
                                      be_error *error);

/* Bytes of arena for an image of `tokens` grid cells, and of scratch for each worker. */
size_t be_transformer_arena_bytes(const be_transformer *encoder, size_t tokens);
size_t be_transformer_scratch_bytes(const be_transformer *encoder);

/* features [tokens][C] of one image on a grid whose constants are given. Writes tokens_out [Q][D] (the output tokens
 * after the decoder's norm) and, where not NULL, the attention maps: attention_mean [Q][tokens], averaged over heads,
 * each summing to 1, and attention_heads [heads][Q][tokens]. What the arena held is lost. */
be_status be_transformer_run(const be_transformer *encoder, const be_team *team, be_arena *arena, const float *features,
                             size_t tokens, const float *constants, float *tokens_out, float *attention_mean,
                             float *attention_heads, be_error *error);

/* The sine position code of MODEL section 3: out [rows * columns][channels]. channels is even. */
void be_position_sine(size_t rows, size_t columns, size_t channels, float *out);

/* Which output tokens a vertex is read from: vertex v's are queries[start[v]] .. queries[start[v + 1] - 1]. */
typedef struct be_readout_lists {
    size_t *start;     /* [vertices + 1] */
    uint16_t *queries; /* [start[vertices]] */
} be_readout_lists;

typedef struct be_readout be_readout;

/* Loads a masked readout (`rois_all`): prefix + "lh_embed.0.weight" [V_lh][D], ".bias" [V_lh], and rh_embed. Takes over the
 * lists (left vertices first, V_lh + V_rh of them) on success only. */
be_status be_readout_load(be_tensor_file *file, const char *prefix, size_t width, size_t left, size_t right,
                          be_readout_lists *lists, be_readout **readout, be_error *error);
void be_readout_free(be_readout *readout);

/* out[v] = sum over the queries r of vertex v of tokens[r] . W[v] + b[v]; tokens [Q][D], out [V_lh + V_rh], as trained. */
void be_readout_run(const be_readout *readout, const be_team *team, const float *tokens, float *out);

#endif
