#include "tests/unit/backbone_support.h"

#include <stdio.h>


/* --- running ------------------------------------------------------------------------------------------------------ */

be_backbone *open_backbone(const char *path, const be_backbone_options *options, const be_tap *taps, size_t n_taps)
{
    be_backbone *backbone = NULL;
    be_error error;
    assert_ok(be_backbone_open(path, options, taps, n_taps, &backbone, &error), &error);
    return backbone;
}

void refuse_backbone(const char *path, const be_backbone_options *options, const be_tap *taps, size_t n_taps, be_status status,
                     const char *part)
{
    be_backbone *backbone = NULL;
    be_error error;
    assert_error(be_backbone_open(path, options, taps, n_taps, &backbone, &error), status, &error, part);
    assert_null(backbone);
    if (strncmp(error.message, path, strlen(path)) != 0)
        fail_msg("the sentence \"%s\" does not begin with the path", error.message);
}

void open_workspace(workspace *it, const be_backbone *backbone, const char *isa, const be_image *image)
{
    be_error error;
    *it = (workspace){.team = {.scratch = &it->scratch}};
    assert_ok(be_isa_select(isa, &it->team.isa, &error), &error);
    be_backbone_grid(backbone, image->width, image->height, &it->rows, &it->columns);
    size_t cells = it->rows * it->columns;
    assert_ok(be_arena_create(&it->arena, be_backbone_arena_bytes(backbone, cells), "an arena", &error), &error);
    assert_ok(be_arena_create(&it->scratch, be_backbone_scratch_bytes(backbone, cells), "scratch", &error), &error);
    it->constants = malloc((be_backbone_grid_floats(backbone, it->rows, it->columns) + 1) * sizeof(float));
    assert_non_null(it->constants);
    be_backbone_prepare_grid(backbone, it->rows, it->columns, it->constants);
}

void close_workspace(workspace *it)
{
    be_arena_destroy(&it->arena);
    be_arena_destroy(&it->scratch);
    free(it->constants);
}

void run_backbone(const be_backbone *backbone, const char *isa, const be_image *image, const be_tap *taps, size_t n_taps,
                  float **features)
{
    workspace it;
    be_error error;
    open_workspace(&it, backbone, isa, image);
    for (size_t i = 0; i < n_taps; i++) {
        size_t tokens = be_features_is_class(taps[i].features) ? 1 : it.rows * it.columns;
        features[i] = malloc(tokens * be_backbone_get_info(backbone)->channels * sizeof(float));
        assert_non_null(features[i]);
    }
    assert_ok(be_backbone_run(backbone, &it.team, &it.arena, image, it.constants, features, &error), &error);
    close_workspace(&it);
}

void check_feature_sample(const char *path, size_t image, size_t images, const float *features, size_t rows, size_t columns,
                          size_t channels)
{
    size_t high = (rows + 4) / 5, wide = (columns + 4) / 5, deep = channels / 8, count = deep * high * wide;
    float *expected = golden_f32(path, images * count);
    for (size_t i = 0; i < count; i++) {
        size_t channel = i / (high * wide) * 8, row = i / wide % high * 5, column = i % wide * 5;
        assert_close(path, &features[(row * columns + column) * channels + channel], &expected[image * count + i], 1,
                     FEATURE_TOLERANCE);
    }
    free(expected);
}

/* --- weights ------------------------------------------------------------------------------------------------------ */

static bool is_one_of(const char *name, const char *const *names)
{
    for (; *names; names++) {
        if (strcmp(name, *names) == 0)
            return true;
    }
    return false;
}

void check_each_tensor(const weights *it, const be_backbone_options *options, const be_tap *taps, size_t n_taps,
                       const char *const *unneeded)
{
    char path[1024];
    snprintf(path, sizeof path, "%s", scratch("damaged.safetensors"));
    write_weights(it, path);
    be_backbone_close(open_backbone(path, options, taps, n_taps));
    for (size_t i = 0; i < it->count; i++) {
        weights damaged = *it;
        const char *name = it->tensors[i].name;
        damaged.tensors[i] = damaged.tensors[--damaged.count];
        write_weights(&damaged, path);
        if (is_one_of(name, unneeded)) {
            be_backbone_close(open_backbone(path, options, taps, n_taps));
            continue;
        }
        refuse_backbone(path, options, taps, n_taps, BE_ERROR_FORMAT, name);
        damaged = *it;
        be_tensor_source *tensor = &damaged.tensors[i];
        for (; tensor->n_dims > 1; tensor->n_dims--)
            tensor->shape[0] *= tensor->shape[tensor->n_dims - 1];
        tensor->shape[0]--;
        write_weights(&damaged, path);
        refuse_backbone(path, options, taps, n_taps, BE_ERROR_FORMAT, name);
    }
}
