/* Cross-attention of queries to an image's tokens, layer after layer, by panels of queries; for the files of this folder only.
 * There is no attention among queries, so that each panel goes through all layers by itself. Formulas: MODEL section 4.
 */
#ifndef BRAINENC_ENCODER_DECODER_H
#define BRAINENC_ENCODER_DECODER_H

#include "core/encoder/kind.h"
#include "core/encoder/load.h"
#include "core/encoder/position.h"

#define BE_ENCODER_NORM_EPSILON 1e-5f

/* Weights are [out][in]; D is the width, F the feed-forward width. NULL where a layer has none. */
typedef struct decoder_layer {
    be_matrix query;                    /* [D][D]; the first layer has none: decoder.first_query */
    be_matrix keys, values, out;        /* [D][D] */
    float *query_bias, *keys_bias, *out_bias; /* [D] */
    float *values_bias;                 /* [D]; NULL: the values are the memory itself */
    float *norm1_gain, *norm1_bias, *norm2_gain, *norm2_bias, *norm3_gain, *norm3_bias; /* [D]; norm2 without pre_norm alone */
    be_matrix widen, narrow;            /* [F][D], [D][F] */
    float *hidden_bias, *narrow_bias;   /* [F], [D] */
} decoder_layer;

typedef struct decoder {
    size_t width, heads, hidden, n_layers;
    bool pre_norm;
    be_precision precision;      /* of its products, but for the first layer's queries */
    float *start;                /* [D]: the state before the first attention, or NULL for zero */
    float *query;                /* [Q][D]: the first layer's projected queries, the same for every image */
    float *first_query;          /* [D][D]: what projects them, to be freed with free(); NULL once it is used up */
    float *embedding;            /* [Q][D]: query embeddings; NULL with one layer, which needs them no more */
    float *norm_gain, *norm_bias; /* [D]: of the output tokens; NULL: none */
    decoder_layer *layers;       /* [n_layers] */
} decoder;

/* The tensors of a layer's last part, stem + "norm3.", "linear1." and "linear2.", which both kinds of decoder name alike. */
void decoder_visit_feed_forward(be_weight_walk *walk, const char *stem, const decoder *self, decoder_layer *to);

/* Turns the embeddings of `count` queries, which stand at self->query, into the first layer's queries, once at load:
 * (LN1(0) + e) Wq' + bq, where LN1 of the zero state is its bias, or e Wq' + bq without such a norm. Frees what projects them. */
be_status decoder_project_queries(decoder *self, size_t count, be_error *error);

/* Floats of keys and values of all layers and heads for T tokens, and of what stands between them and the memory. */
size_t decoder_memory_floats(const decoder *self, size_t tokens);
/* Fills them: k = (m + p) Wk' + bk, v = m Wv' + bv (or m), for each layer, packed head by head. `memory` [T][D]; `projected` has
 * decoder_memory_floats. */
void decoder_project_memory(const decoder *self, const be_team *team, const float *memory, const be_positions *positions,
                            float *projected);
/* The keys (columns T, inner D / heads) and values (columns D / heads, inner T) of one head of a layer in there. */
void decoder_take_head(const decoder *self, float *projected, size_t tokens, size_t layer, size_t head, be_matrix *keys,
                       be_matrix *values);
/* For wishes of at most `queries` queries. */
size_t decoder_scratch_bytes(const decoder *self, size_t queries, size_t tokens);

/* Runs the wish. `projected` is what decoder_project_memory made. */
void decoder_run(const decoder *self, const be_team *team, float *projected, size_t tokens, const be_encoder_wish *wish);

/* The products of decoder_project_memory, and of decoder_run for the output tokens of all queries. */
void decoder_list_products(const decoder *self, size_t queries, size_t tokens, const be_product_list *list);

#endif
