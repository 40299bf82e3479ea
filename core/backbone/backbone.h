/* Frozen vision backbones: from an image to feature maps.
 *
 * A backbone is recognised from the tensors of its file. Adding one takes a new file with a be_backbone_kind in it, a row
 * in the table of backbone.c and a test. What a kind offers is in kind.h.
 *
 * A loaded backbone is immutable; any number of threads may run it at once, each with an arena of its own.
 */
#ifndef BRAINENC_BACKBONE_BACKBONE_H
#define BRAINENC_BACKBONE_BACKBONE_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/error.h"
#include "core/compute/products.h"
#include "core/compute/team.h"
#include "core/image/image.h"

/* What is taken from the backbone, in the words of the authors' `backbone_arch`. MODEL section 2. */
typedef enum be_features {
    BE_FEATURES_DINOV2_Q,               /* "dinov2_q": the query projection of one block, patch tokens only */
    BE_FEATURES_DINOV2,                 /* "dinov2": the output of one block through the final LayerNorm, patch tokens only */
    BE_FEATURES_DINOV2_Q_CLS,           /* "dinov2_q_cls": the class token's row of the query projection */
    BE_FEATURES_DINOV2_CLS_FIRST_PATCH, /* "dinov2_cls/first-patch": what the published program takes for the class token */
    BE_FEATURES_DINOV2_CLS,             /* "dinov2_cls/class-token": the class token through the final LayerNorm */
    BE_FEATURES_CLIP,                   /* "clip": the patch tokens through ln_post and the projection; any layer number */
    BE_FEATURES_CLIP_CLS,               /* "clip_cls": the class token, the same way */
    BE_FEATURES_RESNET18,               /* "resnet18": layer4's output; any layer number */
    BE_FEATURES_RESNET50                /* "resnet50" */
} be_features;

/* The name above -> *features; BE_ERROR_UNSUPPORTED naming what is supported otherwise ("dinov2_cls" alone says neither). */
be_status be_features_parse(const char *text, be_features *features, be_error *error);
const char *be_features_name(be_features features);
/* True for one token without a grid: the map is [1][channels]. */
bool be_features_is_class(be_features features);
/* True when they are read from the layer asked for; false for those of the last one, whatever layer is named. */
bool be_features_have_layers(be_features features);

/* One feature map to be read: of which kind, and of which layer (`enc_output_layer`: 1 is the last block, 2 the one
 * before; 0 is the first). */
typedef struct be_tap {
    be_features features;
    size_t layer;
    bool dilation; /* ResNet: layer4 keeps its stride of 1 and is dilated by 2 */
} be_tap;

/* CLIP's activation: OpenAI's weights were trained with QuickGELU, open_clip from 2.29 on builds plain GELU for them. SwiGLU
 * is told by the tensors (the largest DINOv2), ReLU is a ResNet's: no choice. */
typedef enum be_activation {
    BE_ACTIVATION_AUTO, BE_ACTIVATION_QUICK_GELU, BE_ACTIVATION_GELU, BE_ACTIVATION_SWIGLU, BE_ACTIVATION_RELU
} be_activation;
/* "auto", "quick_gelu", "gelu"; BE_ERROR_ARGUMENT naming them otherwise. */
be_status be_activation_parse(const char *text, be_activation *activation, be_error *error);
/* Those words, "swiglu" and "relu". */
const char *be_activation_name(be_activation activation);

enum { BE_BACKBONE_NAME_SIZE = 64, BE_BACKBONE_NOTE_SIZE = 256 };

typedef struct be_backbone_info {
    const char *kind;                  /* "dinov2", "clip", "resnet" */
    char name[BE_BACKBONE_NAME_SIZE];  /* "dinov2_vitb14"; "dinov2_vit96x4" for a width and depth nobody published */
    const char *naming;                /* whose tensor names the file has: "Meta", "Hugging Face" */
    size_t channels, depth, heads;     /* of the feature map; blocks; attention heads (0: there are none) */
    size_t width;                      /* of the tokens inside (CLIP's are projected to channels); 0: there are none */
    size_t hidden;                     /* width of the feed-forward part */
    be_activation activation;          /* of the feed-forward part, or of a ResNet's blocks */
    size_t registers;                  /* tokens between the class token and the patches that belong to no patch */
    size_t patch;                      /* pixels a token is wide and high */
    size_t position_grid;              /* the position table is for position_grid x position_grid tokens; 0: there is none */
    size_t image_size;                 /* pixels a side of the only images it takes (CLIP: 224); 0: any */
    size_t parameters;                 /* numbers held in memory: what the taps need, no more */
    be_precision precision;            /* of its products; a ResNet's convolutions are f32 whatever was asked */
    size_t blocks_needed;              /* whole blocks that are computed for the deepest tap */
    char unverified[BE_BACKBONE_NOTE_SIZE]; /* "" or what was assumed and no golden case covers */
} be_backbone_info;

typedef struct be_backbone_options {
    size_t heads; /* 0: from config.json beside a Hugging Face file, else width / 64, else 12 (marked unverified); another than
                     width / 64 is marked too; a ResNet has none */
    be_activation activation; /* auto: what config.json says, else QuickGELU; for CLIP only */
    const char *kind;         /* NULL, or the kind the file must be of: "dinov2", "clip", "resnet" */
    be_precision precision;   /* of the products of a vision transformer */
} be_backbone_options;

typedef struct be_backbone be_backbone;

/* Opens the weights in `path` and loads what `taps` need (n_taps >= 1; `options` may be NULL). BE_ERROR_UNSUPPORTED when
 * no backbone is recognised, BE_ERROR_FORMAT naming the tensor that is missing or of the wrong shape or a tap that is deeper
 * than the backbone, BE_ERROR_ARGUMENT naming an option that such a backbone has no use for. */
be_status be_backbone_open(const char *path, const be_backbone_options *options, const be_tap *taps, size_t n_taps,
                           be_backbone **backbone, be_error *error);
void be_backbone_close(be_backbone *backbone);
const be_backbone_info *be_backbone_get_info(const be_backbone *backbone);

/* What the file is, from names and shapes alone: no weight is read. */
be_status be_backbone_inspect(const char *path, const be_backbone_options *options, be_backbone_info *info, be_error *error);

/* The token grid for an image of width x height pixels: zero-padded on the right and bottom to whole patches. */
void be_backbone_grid(const be_backbone *backbone, size_t width, size_t height, size_t *rows, size_t *columns);

/* What depends on the grid alone, computed once for each grid: be_backbone_grid_floats floats. */
size_t be_backbone_grid_floats(const be_backbone *backbone, size_t rows, size_t columns);
void be_backbone_prepare_grid(const be_backbone *backbone, size_t rows, size_t columns, float *constants);

/* The floats of arena an image of `tokens` grid cells needs, and of scratch each worker needs. */
size_t be_backbone_arena_bytes(const be_backbone *backbone, size_t tokens);
size_t be_backbone_scratch_bytes(const be_backbone *backbone, size_t tokens);

/* Runs the backbone on one image. `constants` are those of the image's grid. features[i] is for tap i of be_backbone_open:
 * [rows * columns][channels], tokens row-major ([1][channels] for a class token), owned by the caller. `arena` holds the
 * buffers of this image; what it held is lost. BE_ERROR_ARGUMENT when the image is not of the one size a backbone takes. */
be_status be_backbone_run(const be_backbone *backbone, const be_team *team, be_arena *arena, const be_image *image,
                          const float *constants, float *const *features, be_error *error);
/* Its matrix products for an image of width x height pixels. */
void be_backbone_list_products(const be_backbone *backbone, size_t width, size_t height, const be_product_list *list);

#endif
