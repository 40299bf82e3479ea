/* What the tests of backbones share: one by itself, its weights in pieces. */
#ifndef BRAINENC_TESTS_BACKBONE_SUPPORT_H
#define BRAINENC_TESTS_BACKBONE_SUPPORT_H

#include "tests/unit/model_support.h"
#include "tests/unit/weights.h"

#include "core/files/tensor_file.h"

/* tests/golden/README.md, for DINOv2 and CLIP. */
#define FEATURE_TOLERANCE 3e-5f

be_backbone *open_backbone(const char *path, const be_backbone_options *options, const be_tap *taps, size_t n_taps);
/* Opens a backbone that must be refused; the sentence begins with its path and holds `part`. */
void refuse_backbone(const char *path, const be_backbone_options *options, const be_tap *taps, size_t n_taps, be_status status,
                     const char *part);

/* What running a backbone on an image takes; one worker. */
typedef struct workspace {
    be_team team;
    be_arena arena, scratch;
    float *constants;
    size_t rows, columns;
} workspace;
/* In place: the team points into it. `isa` may be NULL: the best. */
void open_workspace(workspace *it, const be_backbone *backbone, const char *isa, const be_image *image);
void close_workspace(workspace *it);

/* Runs it; features[i], to be freed, are those of taps[i]. */
void run_backbone(const be_backbone *backbone, const char *isa, const be_image *image, const be_tap *taps, size_t n_taps,
                  float **features);

/* `expected` holds the features of `images` images sampled [:, ::8, ::5, ::5], channels first; ours, of image number `image`
 * of them, are [token][channel]. */
void check_feature_sample(const char *path, size_t image, size_t images, const float *features, size_t rows, size_t columns,
                          size_t channels);

/* Leaves each tensor out in turn, and makes each a row of one value less: a file for these taps must then be refused by the
 * tensor's name. One that is named in `unneeded` (ended by NULL) is not missed. */
void check_each_tensor(const weights *it, const be_backbone_options *options, const be_tap *taps, size_t n_taps,
                       const char *const *unneeded);

#endif
