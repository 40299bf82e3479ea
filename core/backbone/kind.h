/* What one kind of backbone provides; for the files of this folder only. */
#ifndef BRAINENC_BACKBONE_KIND_H
#define BRAINENC_BACKBONE_KIND_H

#include "core/backbone/backbone.h"
#include "core/files/tensor_file.h"

/* What in a file tells that it holds a backbone of some kind. */
typedef struct be_backbone_signs {
    const char *first, *second; /* names of tensors of which each backbone of the kind has one; NULL: there is none, or one alone */
    char missing[256];          /* "", or the name that `first` would have by other tensors of such a backbone */
} be_backbone_signs;

typedef struct be_backbone_kind {
    const char *name;  /* "dinov2": be_backbone_info.kind */
    const char *files; /* whose files it reads, for the sentence about an unknown one: "DINOv2 (Meta's or Hugging Face's names)" */
    bool takes_heads, takes_activation; /* which of the options it has a use for: another is refused */
    /* True when it gives such features. */
    bool (*offers)(be_features features);
    /* Fills *signs, a zeroed one, from the file's tensor names. */
    void (*recognise)(const be_tensor_file *file, be_backbone_signs *signs);
    /* Fills *info from names and shapes; n_taps may be 0 (then nothing depends on taps). */
    be_status (*inspect)(const be_tensor_file *file, const be_backbone_options *options, const be_tap *taps, size_t n_taps,
                         be_backbone_info *info, be_error *error);
    /* Loads the weights for the taps. The result begins with a be_backbone, whose fields the caller sets. */
    be_status (*load)(be_tensor_file *file, const be_backbone_info *info, const be_tap *taps, size_t n_taps,
                      be_backbone **backbone, be_error *error);
    void (*unload)(be_backbone *backbone);
    /* NULL: nothing depends on the grid. */
    size_t (*grid_floats)(const be_backbone *backbone, size_t rows, size_t columns);
    void (*prepare_grid)(const be_backbone *backbone, size_t rows, size_t columns, float *constants);
    size_t (*arena_bytes)(const be_backbone *backbone, size_t tokens);
    size_t (*scratch_bytes)(const be_backbone *backbone, size_t tokens);
    be_status (*run)(const be_backbone *backbone, const be_team *team, be_arena *arena, const be_image *image,
                     const float *constants, float *const *features, be_error *error);
    void (*list_products)(const be_backbone *backbone, size_t width, size_t height, const be_product_list *list);
} be_backbone_kind;

struct be_backbone {
    const be_backbone_kind *kind;
    be_backbone_info info;
};

extern const be_backbone_kind be_backbone_dinov2; /* dinov2.c */
extern const be_backbone_kind be_backbone_clip;   /* clip.c */
extern const be_backbone_kind be_backbone_resnet; /* resnet.c */

#endif
