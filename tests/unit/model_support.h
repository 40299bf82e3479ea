/* What the tests of whole models share: the golden subject and backbones, pictures, predictions. */
#ifndef BRAINENC_TESTS_MODEL_SUPPORT_H
#define BRAINENC_TESTS_MODEL_SUPPORT_H

#include "tests/unit/image_support.h"

#include "core/brainenc.h"

#define GOLDEN_CHECKPOINT "dinov2_q_rois/subj01/rois_all/checkpoint.pth"
#define GOLDEN_BACKBONE "dinov2_q_rois/dinov2_small.safetensors"
#define GOLDEN_DATA "dinov2_q_rois/algonauts/subj01"
enum { GOLDEN_HEADS = 12, GOLDEN_LEFT = 300, GOLDEN_RIGHT = 320, GOLDEN_VERTICES = 620, GOLDEN_QUERIES = 50 };

/* Imports a golden checkpoint with the golden data folder to scratch(name). */
void import_golden(const char *checkpoint, const char *name);

/* Imports a checkpoint that must be refused. An output that was there must be as it was, and nothing may lie beside it. */
void refuse_import(const char *checkpoint, const char *data, be_status status, const char *part);

/* The model of a golden backbone and of a subject file in scratch; heads 0: as the file says. */
be_model *open_model(const char *backbone, size_t heads, const char *subject);
be_session *open_session(be_model *model, size_t threads, const char *isa);

/* The golden subject on the golden backbone; `name` is that of the scratch file. */
be_model *open_golden_model(const char *name);

/* Room for all that a prediction of `image` can give. Freed with free_output. */
be_output make_output(const be_model *model, const be_image *image);
void free_output(be_output *output);
/* Predicts one image for the only subject of the session's model. */
be_output predict(be_session *session, const be_model *model, const be_image *image);

/* Fails the test unless all four parts of the outputs are the same bit for bit. */
void assert_same_output(const char *what, const be_model *model, const be_image *image, const be_output *a,
                        const be_output *b);

#endif
