/* Brain encoders: from a feature map to one output token for each query, and from tokens to vertices.
 *
 * Encoders and readouts are loaded from tensors under a member's prefix. Both are immutable once loaded; any number of
 * threads may run them at once, each with an arena of its own. Adding an encoder takes a new file with a be_encoder_kind in
 * it (kind.h), a row in the table of encoder.c and a test. Formulas: MODEL sections 3 and 4.
 */
#ifndef BRAINENC_ENCODER_ENCODER_H
#define BRAINENC_ENCODER_ENCODER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"
#include "core/compute/products.h"
#include "core/compute/team.h"
#include "core/files/tensor_file.h"

/* The settings of the authors' arguments that decide what is computed. */
typedef struct be_encoder_settings {
    const char *kind;        /* `encoder_arch`: "transformer", "custom_transformer", "spatial_feature", "linear" */
    size_t channels;         /* C, of the feature map */
    size_t width;            /* D, `hidden_dim`; C without an input projection */
    size_t queries;          /* Q; of "linear" 1 */
    size_t heads;            /* `nheads`; divides D */
    size_t enc_layers, dec_layers;
    size_t hidden;           /* `dim_feedforward`; 0: as wide as the tensors are */
    size_t memory_layer;     /* which encoder layer's output is the memory, from 0: `enc_output_layer` again */
    bool pre_norm;
    bool learned_position;   /* `position_embedding` "learned", else "sine" */
    bool class_token;        /* the feature map is one token without a grid */
    bool input_projection;   /* a 1x1 convolution from C to D comes first (ResNet) */
    be_precision precision;  /* of a transformer's products; those of other kinds are in f32 */
    size_t stride;           /* of "linear"'s convolution: 3 for DINOv2, 2 for CLIP, 1 for ResNet */
} be_encoder_settings;

typedef struct be_encoder be_encoder;

/* Begins the names of learned position tables in a checkpoint, behind the prefix: they are kept inside the backbone there. */
#define BE_ENCODER_TABLES_INSIDE "backbone_model.1."

/* BE_OK when such an encoder can be computed; BE_ERROR_UNSUPPORTED or BE_ERROR_FORMAT naming the setting at fault otherwise.
 * `path` begins the sentence. */
be_status be_encoder_check(const be_encoder_settings *settings, const char *path, be_error *error);
/* Loads the tensors prefix + "...", after be_encoder_check. BE_ERROR_FORMAT names the tensor that is missing or of the wrong
 * shape, that is of no layer the settings know, or that the settings leave unread. */
be_status be_encoder_load(be_tensor_file *file, const char *prefix, const be_encoder_settings *settings, be_encoder **encoder,
                          be_error *error);
void be_encoder_free(be_encoder *encoder);

/* What an encoder is, from its settings and shapes. */
typedef struct be_encoder_info {
    size_t queries;
    size_t width;      /* of an output token */
    size_t heads;      /* of its attention maps: 1 for spatial_feature, 0 for linear, which has no maps */
    size_t hidden;     /* of the feed-forward part; 0: there is none */
    size_t encoder_hidden; /* the same of the layers before the decoder; 0: there are none */
    size_t weight_bytes; /* of memory; without a readout's */
    bool dynamic;      /* the maps depend on the image */
    size_t side;       /* the grid it is bound to is side x side; 0: it takes others */
    char unverified[96];  /* "" or what no golden case covers */
} be_encoder_info;
const be_encoder_info *be_encoder_get_info(const be_encoder *encoder);
/* Its `encoder_arch`. */
const char *be_encoder_name(const be_encoder *encoder);

/* What depends on the grid alone: position tables. be_encoder_grid_floats floats. */
size_t be_encoder_grid_floats(const be_encoder *encoder, size_t rows, size_t columns);
void be_encoder_prepare_grid(const be_encoder *encoder, size_t rows, size_t columns, float *constants);

/* BE_OK when the encoder takes such a grid; BE_ERROR_ARGUMENT with a sentence otherwise. */
be_status be_encoder_check_grid(const be_encoder *encoder, size_t rows, size_t columns, be_error *error);

/* Bytes of arena for an image of `tokens` grid cells, and of scratch for each worker. */
size_t be_encoder_arena_bytes(const be_encoder *encoder, size_t tokens);
size_t be_encoder_scratch_bytes(const be_encoder *encoder, size_t tokens);

/* An image under way: what all its queries share. */
typedef struct be_encoding {
    const be_encoder *encoder;
    const be_team *team;
    const float *features; /* [T][C] */
    size_t rows, columns, tokens; /* tokens = T; 1 for a class token */
    float *memory;         /* the kind's own, in the arena */
} be_encoding;

/* Computes what all queries share. `features` [T][C] and the arena's content must stay until the last be_encode_queries. The
 * grid was checked. BE_ERROR_LIMIT when the arena was made for fewer tokens. */
be_status be_encode_begin(const be_encoder *encoder, const be_team *team, be_arena *arena, const float *features, size_t rows,
                          size_t columns, const float *constants, be_encoding *encoding, be_error *error);

/* Takes output tokens [count][width] of the wish's queries first .. first + count - 1; from any thread, each query once. */
typedef void be_take_tokens(void *context, const be_team *team, size_t first, size_t count, const float *tokens);

/* Which queries are wanted, and where what they give goes. */
typedef struct be_encoder_wish {
    const uint32_t *queries; /* [count], or NULL: 0 .. count - 1 */
    size_t count;
    be_take_tokens *take;    /* or NULL */
    void *context;
    float *attention;        /* [count][T]: where each query looked, mean over heads, sum 1; or NULL */
    float *attention_heads;  /* [heads][count][T], or NULL */
} be_encoder_wish;

/* Computes the output tokens of some queries. A query's numbers are the same bits whichever others are asked for with it. */
void be_encode_queries(const be_encoding *encoding, const be_encoder_wish *wish);

/* The matrix products of the output tokens of all its queries, for an image of such a grid. */
void be_encoder_list_products(const be_encoder *encoder, size_t rows, size_t columns, const be_product_list *list);

/* --- readout -------------------------------------------------------------------------------------- */

/* Which output tokens a vertex is read from: vertex v's are queries[start[v]] .. queries[start[v + 1] - 1]. */
typedef struct be_readout_lists {
    size_t *start;     /* [vertices + 1] */
    uint32_t *queries; /* [start[vertices]] */
} be_readout_lists;

typedef struct be_readout be_readout;

/* Loads prefix + "lh_embed.0.weight" [V_lh][width], ".bias" [V_lh], and rh_embed; weights in bfloat16 take half the memory. `lists`
 * (left vertices first) outlives the readout, which several members of an ensemble share it with; NULL: vertex v is read from query
 * v alone. */
be_status be_readout_load(be_tensor_file *file, const char *prefix, size_t width, size_t left, size_t right,
                          const be_readout_lists *lists, be_readout **readout, be_error *error);
void be_readout_free(be_readout *readout);
/* Of memory. */
size_t be_readout_bytes(const be_readout *readout);

/* out[v] = sum over the queries r of vertex v of tokens[r] . W[v] + b[v]; tokens [Q][width], out [V_lh + V_rh], as trained. */
void be_readout_run(const be_readout *readout, const be_team *team, const float *tokens, float *out);
/* The same for a readout without lists and the tokens of queries first .. first + count - 1; writes those vertices of out. */
void be_readout_rows(const be_readout *readout, const be_kernels *kernels, size_t first, size_t count, const float *tokens,
                     float *out);

#endif
