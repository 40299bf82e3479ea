/* What one kind of encoder provides; for the files of this folder only. */
#ifndef BRAINENC_ENCODER_KIND_H
#define BRAINENC_ENCODER_KIND_H

#include "core/encoder/encoder.h"

typedef struct be_encoder_kind {
    const char *name; /* `encoder_arch` */
    be_status (*check)(const be_encoder_settings *settings, const char *path, be_error *error);
    /* The result begins with a be_encoder, whose `kind` and `settings` the caller sets; it sets `info` itself. */
    be_status (*load)(be_tensor_file *file, const char *prefix, const be_encoder_settings *settings, be_encoder **encoder,
                      be_error *error);
    void (*unload)(be_encoder *encoder);
    /* BE_ERROR_ARGUMENT for a grid it was not trained on and cannot take; NULL: it takes any. */
    be_status (*check_grid)(const be_encoder *encoder, size_t rows, size_t columns, be_error *error);
    /* NULL: nothing depends on the grid. */
    size_t (*grid_floats)(const be_encoder *encoder, size_t rows, size_t columns);
    void (*prepare_grid)(const be_encoder *encoder, size_t rows, size_t columns, float *constants);
    size_t (*arena_bytes)(const be_encoder *encoder, size_t tokens);
    size_t (*scratch_bytes)(const be_encoder *encoder, size_t tokens);
    /* Lays out encoding->memory in the arena, which is empty, and fills it. */
    be_status (*begin)(be_encoding *encoding, be_arena *arena, const float *constants, be_error *error);
    void (*queries)(const be_encoding *encoding, const be_encoder_wish *wish);
    void (*list_products)(const be_encoder *encoder, size_t rows, size_t columns, const be_product_list *list);
} be_encoder_kind;

struct be_encoder {
    const be_encoder_kind *kind;
    be_encoder_settings settings;
    be_encoder_info info;
};

/* Query number i of a wish. */
static inline size_t be_wished_query(const be_encoder_wish *wish, size_t i)
{
    return wish->queries ? wish->queries[i] : i;
}

/* How a list of queries is cut: into panels of equal height to within one, of few rows where there are few queries, so that
 * several workers have some. */
size_t be_query_panels(size_t count);
enum { BE_QUERY_PANEL_ROWS = 128 }; /* the highest there is */

extern const be_encoder_kind be_encoder_transformer;        /* transformer.c */
extern const be_encoder_kind be_encoder_custom_transformer; /* custom_transformer.c */
extern const be_encoder_kind be_encoder_spatial_feature;    /* spatial_feature.c */
extern const be_encoder_kind be_encoder_linear;             /* linear.c */

#endif
