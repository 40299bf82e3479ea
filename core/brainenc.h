/* libbrainenc: from the bytes of a picture to the response of every vertex of cortex.
 *
 * Two nouns. A be_model is loaded once and shared: one backbone and any number of subjects read from it, immutable but for
 * a small cache behind a lock. A be_session is one caller's workspace on a model: threads and memory sized when it is made,
 * so that predicting allocates nothing that grows with the work. Nothing is global; any number of models and sessions may
 * exist at once, each session used by one thread at a time.
 *
 *     be_model *model; be_session *session; be_error error;
 *     be_model_open(&(be_model_options){.backbone = "dinov2_vitb14_pretrain.pth", .subjects = paths, .n_subjects = 1},
 *                   &model, &error);
 *     be_session_open(model, NULL, &session, &error);
 *     be_image_decode(bytes, size, "a.png", BE_DEFAULT_PIXELS, &picture, &error);
 *     be_image_fit(&picture, BE_FIT_CROP, info->image_size, &input, &error);
 *     be_session_predict(session, &input, 1, &output, NULL, &error);
 *
 * Every function returns BE_OK or a status with a sentence (core/base/error.h). The same image gives the same bits on one
 * machine whatever else is in the batch, however many threads there are and whatever else runs.
 */
#ifndef BRAINENC_H
#define BRAINENC_H

#include "core/backbone/backbone.h"
#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/compute/team.h"
#include "core/image/image.h"
#include "core/subject/roi.h"
#include "core/subject/subject.h"

/* Limits a caller has no reason to change: pixels of a picture before decoding, tokens of a grid (37 x 37). */
enum { BE_DEFAULT_PIXELS = 40000000, BE_DEFAULT_TOKENS = 1369 };

/* --- model ---------------------------------------------------------------------------------------- */

typedef struct be_model be_model;

typedef struct be_model_options {
    const char *backbone;                /* the backbone's weights file */
    be_backbone_options backbone_options;
    be_precision precision;              /* of the products with the weights; that of backbone_options does not count */
    const char *const *subjects;         /* [n_subjects]: subject files, all read from this backbone */
    size_t n_subjects;                   /* at least 1 */
    const char *const *names;            /* [n_subjects]: what the subjects are called; NULL: as their files say */
} be_model_options;

/* Opens the subjects, then the part of the backbone that they need, and prepares what depends on no image. On success
 * *model is to be closed with be_model_close. BE_ERROR_FORMAT when a subject does not fit the backbone. */
be_status be_model_open(const be_model_options *options, be_model **model, be_error *error);
/* No session on the model may be left. NULL is allowed. */
void be_model_close(be_model *model);

const be_backbone_info *be_model_backbone(const be_model *model);
size_t be_model_subjects(const be_model *model);
/* subject < be_model_subjects. */
const be_subject *be_model_subject(const be_model *model, size_t subject);
/* Of the products; f32 unless the options said another. */
be_precision be_model_precision(const be_model *model);
/* The backbone file's SHA-256. */
const char *be_model_backbone_hash(const be_model *model);
/* Index of the subject of that name; BE_ERROR_NOT_FOUND lists those there are. */
be_status be_model_find_subject(const be_model *model, const char *name, size_t *subject, be_error *error);

/* How many different feature maps the subjects together are read from, all from one pass of the backbone. */
size_t be_model_taps(const be_model *model);

/* BE_OK when a subject can be asked for an image of that shape (after fitting); BE_ERROR_ARGUMENT with the reason otherwise: CLIP
 * takes its own size alone, some encoders the grid they were trained on. */
be_status be_model_check_image(const be_model *model, size_t subject, size_t width, size_t height, be_error *error);
/* The token grid of an image, after fitting. */
void be_model_grid(const be_model *model, const be_image *image, size_t *rows, size_t *columns);
/* The matrix products of a prediction of all subjects' vertices for such an image, which they all take. Readouts are no products of
 * matrices: each vertex has a sum of its own. */
void be_model_list_products(const be_model *model, const be_image *image, const be_product_list *list);

/* --- session -------------------------------------------------------------------------------------- */

typedef struct be_session be_session;

typedef struct be_session_options {
    size_t threads; /* 0: one for each physical core that the process may use (core/compute/processors.h) */
    size_t tokens;  /* the largest grid, cells; 0: BE_DEFAULT_TOKENS */
    const char *isa; /* instruction set (core/compute/isa.h): "amx", "avx512bf16", "avx512", ...; NULL or "auto": the best */
} be_session_options;

/* `options` may be NULL. On success *session is to be closed with be_session_close, before its model. */
be_status be_session_open(be_model *model, const be_session_options *options, be_session **session, be_error *error);
void be_session_close(be_session *session);
size_t be_session_threads(const be_session *session);
const char *be_session_isa(const be_session *session);

/* Runs run(context, 0 .. count - 1, worker) on the session's threads, for work of the caller's own such as decoding. */
void be_session_run(be_session *session, size_t count, void (*run)(void *context, size_t index, size_t worker),
                    void *context);

/* Where the answer for one image and one subject goes; what is NULL is not asked for. T is the image's grid, rows * columns. Maps
 * are numbered as be_subject_info says: map r is ROI r of the subject's set in the left hemisphere, map maps / 2 + r in the right
 * one. A subject without maps (info.maps 0) writes no attention. */
typedef struct be_output {
    float *vertices;        /* [V_lh + V_rh]: the response, in the subject's units; of an ensemble the weighted mean of its
                             * members */
    float *spread;          /* [V_lh + V_rh]: of an ensemble, the standard deviation over its runs; 0 with one run */
    float *attention;       /* [maps][T]: where each ROI's query looked, mean over heads (and members); each map sums to 1 */
    float *attention_heads; /* [heads][maps][T] */
    float *tokens;          /* [Q][width]: the encoder's output tokens; with several members of the last one; not by vertex */
    float *features;        /* [members' different layers][T][channels], in the order they first come: for be_session_maps */
} be_output;

/* Seconds spent on one image: the backbone, and encoder and readout of all subjects; and by stage (core/compute/team.h). */
typedef struct be_timing {
    double backbone, encoder;
    double stages[BE_STAGES];
} be_timing;

/* Predicts `n_images` images (already fitted) for all subjects of the model: outputs[image * subjects + subject].
 * Each image is computed by all threads together or by one of them, whichever ends the batch sooner by what the session measured
 * so far (core/pace.h): the bits are the same. `timings`
 * [n_images] may be NULL. BE_ERROR_LIMIT naming the image's place, from 1, when its grid is larger than the session's; then no
 * output of any image is to be used. */
be_status be_session_predict(be_session *session, const be_image *images, size_t n_images, const be_output *outputs,
                             be_timing *timings, be_error *error);

/* The feature map of each subject's (first member's) layer, for one image: features[subject] is [T][channels] or NULL. */
be_status be_session_features(be_session *session, const be_image *image, float *const *features, be_error *error);

/* How many different layers a subject's members are read from: the first dimension of be_output.features. */
size_t be_session_layers(const be_session *session, size_t subject);

/* Some vertices of a subject whose mean map is wanted: `vertices` [count], left ones first (a right vertex v is V_lh + v). */
typedef struct be_vertex_group {
    const uint32_t *vertices;
    size_t count;
} be_vertex_group;

/* The mean map of each group of vertices of a subject that has a map a vertex; NaN for a group of none. `features` is what
 * be_output.features was given for an image of that grid. mean [n_groups][T], heads [n_groups][heads][T], either may be NULL; each
 * map sums to 1. BE_ERROR_UNSUPPORTED for a subject that has none, BE_ERROR_ARGUMENT for a vertex out of range, BE_ERROR_LIMIT for
 * a grid larger than the session's. */
be_status be_session_maps(be_session *session, size_t subject, const float *features, size_t rows, size_t columns,
                          const be_vertex_group *groups, size_t n_groups, float *mean, float *heads, be_error *error);

/* --- what a precision costs ------------------------------------------------------------------------ */

/* How far the answers of a subject are from those in f32, on drawn pictures (core/image/drawn.h): the worst of them. NaN when the
 * answer in f32 is the same for all vertices. */
typedef struct be_precision_error {
    size_t pictures, side; /* how many, of side x side pixels */
    double correlation;    /* over vertices */
    double largest;        /* difference of a vertex, in standard deviations of the f32 answer over vertices */
} be_precision_error;

/* As be_model_open; a precision other than f32 is measured first, by the threads and the instruction set of `session`, against the
 * same files opened in f32 and closed again. */
be_status be_model_open_measured(const be_model_options *options, const be_session_options *session, be_model **model,
                                 be_error *error);
/* What was measured; NULL in f32, and when the model was opened without measuring. */
const be_precision_error *be_model_precision_error(const be_model *model, size_t subject);

#endif
