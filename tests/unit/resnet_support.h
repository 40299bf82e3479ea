/* What the tests of residual networks share: opening and running them, the plain network they are compared with, and files
 * in pieces. */
#ifndef BRAINENC_TESTS_RESNET_SUPPORT_H
#define BRAINENC_TESTS_RESNET_SUPPORT_H

#include "tests/unit/model_support.h"

#include "core/backbone/backbone.h"
#include "core/files/tensor_file.h"

#define RESNET18_FILE "resnet/resnet18_narrow.pth"
#define RESNET50_FILE "resnet/resnet50_narrow.pth"
/* tests/golden/README.md */
static const float resnet18_tolerance = 1e-4f, resnet50_tolerance = 1e-3f;

be_backbone *open_resnet(const char *path, be_features features, bool dilation);

/* --- running ------------------------------------------------------------------------------------------------------ */

enum { MOST_THREADS = 4 };

/* A team with an arena for images of up to `tokens` cells. */
typedef struct crew {
    be_team team;
    be_arena arena, scratch[MOST_THREADS];
} crew;

/* `threads` workers; 0: one worker alone, the second of several. */
void make_crew(crew *it, size_t threads, const be_backbone *backbone, size_t tokens);
void free_crew(crew *it);
/* The features of an image, [rows * columns][channels], by a crew of two that is just large enough. */
float *resnet_features(const be_backbone *backbone, const be_image *image);

/* --- the plain network -------------------------------------------------------------------------------------------- */

/* A feature map in float64, channels last. */
typedef struct plain_map {
    size_t rows, columns, channels;
    double *values;
} plain_map;

/* Layer4's output, from the tensors of the file and plain loops: strides as torchvision has them, which are in no file. */
plain_map plain_resnet(be_tensor_file *file, const char *prefix, const be_image *image, bool dilation);
/* Compares `features` with the plain network's. */
void check_plainly(const char *what, const char *path, const char *prefix, const be_image *image, bool dilation,
                   const float *features, float tolerance);

/* --- files in pieces ---------------------------------------------------------------------------------------------- */

/* Enough for the tensors of a ResNet-50. */
enum { MOST_RESNET_TENSORS = 400, RESNET_NAME_ROOM = 96 };

typedef struct resnet_pieces {
    be_tensor_source tensors[MOST_RESNET_TENSORS];
    char names[MOST_RESNET_TENSORS][RESNET_NAME_ROOM];
    size_t n_tensors;
} resnet_pieces;

/* All tensors of a file, with `prefix` before their names. */
resnet_pieces *take_resnet_apart(const char *path, const char *prefix);
/* A network of random weights, of any widths: of `counts` blocks of two convolutions, or of three when `bottleneck`. */
resnet_pieces *make_resnet(bool bottleneck, const size_t counts[4], size_t stem, const size_t inside[4],
                           const size_t outside[4]);
be_tensor_source *resnet_piece(resnet_pieces *it, const char *name);
void remove_resnet_piece(resnet_pieces *it, size_t index);
void write_resnet(const resnet_pieces *it, const char *path);
void free_resnet_pieces(resnet_pieces *it);

#endif
