#include "core/model.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/files/hash.h"

/* Grids held at once: the training images' and a few more. One is about 8 MB for ViT-B and a subject. */
enum { GRIDS_HELD = 4 };

/* The feature maps one subject is read from. */
typedef struct subject_layers {
    size_t count;
    size_t *taps;   /* [count <= members]: indices into the model's taps */
    size_t *member; /* [members]: which of them each reads */
} subject_layers;

/* How far a subject is from f32. */
typedef struct subject_error {
    bool measured;
    be_precision_error error;
} subject_error;

struct be_model {
    be_backbone *backbone;
    be_precision precision;
    char backbone_hash[BE_HASH_SIZE];
    size_t n_subjects;
    be_subject **subjects; /* [n_subjects] */
    subject_layers *layers; /* [n_subjects] */
    subject_error *errors;  /* [n_subjects] */
    size_t n_taps, tap_capacity;
    be_tap *taps;          /* [n_taps], all different */
    pthread_mutex_t lock;  /* for what is below */
    be_grid *grids[GRIDS_HELD];
    size_t uses;
};

/* --- grids ---------------------------------------------------------------------------------------- */

static void free_grid(const be_model *model, be_grid *grid)
{
    if (!grid)
        return;
    for (size_t i = 0; grid->subjects && i < model->n_subjects; i++)
        free(grid->subjects[i]);
    free(grid->subjects);
    free(grid->backbone);
    free(grid);
}

static be_status make_subject_constants(const be_model *model, be_grid *grid, size_t index, be_error *error)
{
    const be_subject *subject = model->subjects[index];
    size_t members = be_subject_get_info(subject)->members;
    size_t floats = be_encoder_grid_floats(be_subject_encoder(subject, 0), grid->rows, grid->columns);
    void *memory;
    be_status status = be_allocate_aligned(&memory, members * floats, sizeof(float), "a grid's position codes", error);
    if (status != BE_OK)
        return status;
    grid->subjects[index] = memory;
    for (size_t m = 0; m < members; m++)
        be_encoder_prepare_grid(be_subject_encoder(subject, m), grid->rows, grid->columns, grid->subjects[index] + m * floats);
    return BE_OK;
}

/* What the subjects asked for cannot take such a grid is told when they are asked; here those that can are prepared. */
static bool takes_grid(const be_model *model, size_t index, size_t rows, size_t columns)
{
    return be_encoder_check_grid(be_subject_encoder(model->subjects[index], 0), rows, columns, NULL) == BE_OK;
}

static be_status make_grid(const be_model *model, size_t rows, size_t columns, be_grid **out, be_error *error)
{
    void *memory;
    be_status status = be_allocate(&memory, 1, sizeof(be_grid), "a grid", error);
    if (status != BE_OK)
        return status;
    be_grid *grid = memory;
    grid->rows = rows;
    grid->columns = columns;
    status = be_allocate(&memory, model->n_subjects, sizeof(float *), "a grid", error);
    if (status == BE_OK) {
        grid->subjects = memory;
        status = be_allocate_aligned(&memory, be_backbone_grid_floats(model->backbone, rows, columns), sizeof(float),
                                     "a grid's positions", error);
    }
    if (status == BE_OK) {
        grid->backbone = memory;
        be_backbone_prepare_grid(model->backbone, rows, columns, grid->backbone);
    }
    for (size_t i = 0; i < model->n_subjects && status == BE_OK; i++) {
        if (takes_grid(model, i, rows, columns))
            status = make_subject_constants(model, grid, i, error);
    }
    if (status != BE_OK) {
        free_grid(model, grid);
        return status;
    }
    *out = grid;
    return BE_OK;
}

static be_grid *find_grid(const be_model *model, size_t rows, size_t columns)
{
    for (size_t i = 0; i < GRIDS_HELD; i++) {
        be_grid *grid = model->grids[i];
        if (grid && grid->rows == rows && grid->columns == columns)
            return grid;
    }
    return NULL;
}

/* Puts a new grid in an empty place, or that of the one unused for longest. When all are in use it stays outside and is
 * freed by its only user. */
static void hold_grid(be_model *model, be_grid *grid)
{
    size_t place = GRIDS_HELD;
    for (size_t i = 0; i < GRIDS_HELD; i++) {
        if (!model->grids[i]) {
            place = i;
            break;
        }
        if (model->grids[i]->users == 0 &&
            (place == GRIDS_HELD || model->grids[i]->last_used < model->grids[place]->last_used))
            place = i;
    }
    if (place == GRIDS_HELD)
        return;
    free_grid(model, model->grids[place]);
    model->grids[place] = grid;
}

static bool is_held(const be_model *model, const be_grid *grid)
{
    for (size_t i = 0; i < GRIDS_HELD; i++) {
        if (model->grids[i] == grid)
            return true;
    }
    return false;
}

be_status be_model_take_grid(be_model *model, size_t rows, size_t columns, const be_grid **out, be_error *error)
{
    be_status status = BE_OK;
    pthread_mutex_lock(&model->lock);
    be_grid *grid = find_grid(model, rows, columns);
    if (!grid) { /* computed under the lock: who else wants it would only compute the same */
        status = make_grid(model, rows, columns, &grid, error);
        if (status == BE_OK)
            hold_grid(model, grid);
    }
    if (status == BE_OK) {
        grid->users++;
        grid->last_used = ++model->uses;
        *out = grid;
    }
    pthread_mutex_unlock(&model->lock);
    return status;
}

void be_model_release_grid(be_model *model, const be_grid *taken)
{
    be_grid *grid = (be_grid *)taken;
    pthread_mutex_lock(&model->lock);
    grid->users--;
    if (grid->users == 0 && !is_held(model, grid))
        free_grid(model, grid);
    pthread_mutex_unlock(&model->lock);
}

/* --- opening -------------------------------------------------------------------------------------- */

static bool same_tap(const be_tap *a, const be_tap *b)
{
    return a->features == b->features && a->layer == b->layer && a->dilation == b->dilation;
}

/* The model's number of a feature map; those seen before are shared. */
static be_status note_tap(be_model *model, const be_tap *tap, size_t *number, be_error *error)
{
    void *taps = model->taps;
    for (*number = 0; *number < model->n_taps; (*number)++) {
        if (same_tap(&model->taps[*number], tap))
            return BE_OK;
    }
    if (model->n_taps == BE_MOST_TAPS)
        return be_fail(error, BE_ERROR_LIMIT, "the subjects are read from more than %d layers", BE_MOST_TAPS);
    be_status status = be_grow(&taps, &model->tap_capacity, model->n_taps + 1, sizeof(be_tap), "a list of layers", error);
    if (status != BE_OK)
        return status;
    model->taps = taps;
    model->taps[model->n_taps++] = *tap;
    return BE_OK;
}

/* Notes which feature map each member of a subject is read from. */
static be_status note_layers(be_model *model, size_t subject, be_error *error)
{
    const be_subject_info *info = be_subject_get_info(model->subjects[subject]);
    subject_layers *to = &model->layers[subject];
    void *memory;
    be_status status = be_allocate(&memory, 2 * info->members, sizeof(size_t), "a list of layers", error);
    if (status != BE_OK)
        return status;
    to->taps = memory;
    to->member = to->taps + info->members;
    for (size_t m = 0; m < info->members && status == BE_OK; m++) {
        size_t tap, layer = 0;
        status = note_tap(model, &info->member[m].tap, &tap, error);
        while (status == BE_OK && layer < to->count && to->taps[layer] != tap)
            layer++;
        if (status == BE_OK && layer == to->count)
            to->taps[to->count++] = tap;
        to->member[m] = layer;
    }
    return status;
}

static be_status open_subjects(be_model *model, const be_model_options *options, be_error *error)
{
    void *subjects, *layers, *errors;
    be_status status = be_allocate(&subjects, options->n_subjects, sizeof(be_subject *), "a list of subjects", error);
    if (status != BE_OK)
        return status;
    model->subjects = subjects;
    status = be_allocate(&layers, options->n_subjects, sizeof(subject_layers), "a list of layers", error);
    if (status != BE_OK)
        return status;
    model->layers = layers;
    status = be_allocate(&errors, options->n_subjects, sizeof(subject_error), "a list of subjects", error);
    if (status != BE_OK)
        return status;
    model->errors = errors;
    for (size_t i = 0; i < options->n_subjects && status == BE_OK; i++) {
        status = be_subject_open(options->subjects[i], model->precision, &model->subjects[i], error);
        if (status != BE_OK)
            return status;
        model->n_subjects++;
        if (options->names)
            be_subject_rename(model->subjects[i], options->names[i]);
        status = note_layers(model, i, error);
    }
    return status;
}

static be_status check_subjects(const be_model *model, const be_model_options *options, be_error *error)
{
    const be_backbone_info *backbone = be_backbone_get_info(model->backbone);
    for (size_t i = 0; i < model->n_subjects; i++) {
        const be_subject_info *info = be_subject_get_info(model->subjects[i]);
        if (info->channels != backbone->channels)
            return be_fail(error, BE_ERROR_FORMAT, "%s: was trained on %zu channels, the backbone %s has %zu",
                           options->subjects[i], info->channels, options->backbone, backbone->channels);
        be_error why;
        if (be_model_check_image(model, i, info->image_size, info->image_size, &why) != BE_OK)
            return be_fail(error, BE_ERROR_FORMAT, "%s: was trained on pictures of %zu pixels a side: %s", options->subjects[i],
                           info->image_size, why.message);
        for (size_t j = 0; j < i; j++) {
            if (strcmp(info->name, be_subject_get_info(model->subjects[j])->name) == 0)
                return be_fail(error, BE_ERROR_ARGUMENT,
                               "%s: a subject named '%s' is there already (`brainenc import --name` gives "
                               "another)", options->subjects[i], info->name);
        }
    }
    return BE_OK;
}

/* The constants for training-sized images are made at load. */
static be_status prepare_training_grids(be_model *model, be_error *error)
{
    be_status status = BE_OK;
    for (size_t i = 0; i < model->n_subjects && status == BE_OK; i++) {
        size_t size = be_subject_get_info(model->subjects[i])->image_size, rows, columns;
        const be_grid *grid;
        be_backbone_grid(model->backbone, size, size, &rows, &columns);
        if (rows * columns > BE_DEFAULT_TOKENS)
            continue;
        status = be_model_take_grid(model, rows, columns, &grid, error);
        if (status == BE_OK)
            be_model_release_grid(model, grid);
    }
    return status;
}

be_status be_model_open_unnamed(const be_model_options *options, be_model **out, be_error *error)
{
    void *memory;
    if (options->n_subjects == 0)
        return be_fail(error, BE_ERROR_ARGUMENT, "a model needs at least one subject");
    be_status status = be_allocate(&memory, 1, sizeof(be_model), "a model", error);
    if (status != BE_OK)
        return status;
    be_model *model = memory;
    be_backbone_options backbone = options->backbone_options;
    backbone.precision = options->precision;
    model->precision = options->precision;
    pthread_mutex_init(&model->lock, NULL);
    status = open_subjects(model, options, error);
    if (status == BE_OK)
        status = be_backbone_open(options->backbone, &backbone, model->taps, model->n_taps, &model->backbone,
                                  error);
    if (status == BE_OK)
        status = check_subjects(model, options, error);
    if (status == BE_OK)
        status = prepare_training_grids(model, error);
    if (status != BE_OK) {
        be_model_close(model);
        return status;
    }
    *out = model;
    return BE_OK;
}

be_status be_model_open(const be_model_options *options, be_model **out, be_error *error)
{
    be_model *model;
    be_status status = be_model_open_unnamed(options, &model, error);
    if (status != BE_OK)
        return status;
    status = be_hash_file(options->backbone, model->backbone_hash, error);
    if (status != BE_OK) {
        be_model_close(model);
        return status;
    }
    *out = model;
    return BE_OK;
}

void be_model_close(be_model *model)
{
    if (!model)
        return;
    for (size_t i = 0; i < GRIDS_HELD; i++)
        free_grid(model, model->grids[i]);
    for (size_t i = 0; i < model->n_subjects; i++) {
        free(model->layers[i].taps);
        be_subject_close(model->subjects[i]);
    }
    be_backbone_close(model->backbone);
    pthread_mutex_destroy(&model->lock);
    free(model->subjects);
    free(model->layers);
    free(model->errors);
    free(model->taps);
    free(model);
}

/* --- reading -------------------------------------------------------------------------------------- */

be_precision be_model_precision(const be_model *model)
{
    return model->precision;
}

const be_precision_error *be_model_precision_error(const be_model *model, size_t subject)
{
    return model->errors[subject].measured ? &model->errors[subject].error : NULL;
}

void be_model_note_precision_error(be_model *model, size_t subject, const be_precision_error *measured)
{
    model->errors[subject] = (subject_error){true, *measured};
}

const be_backbone_info *be_model_backbone(const be_model *model)
{
    return be_backbone_get_info(model->backbone);
}

size_t be_model_subjects(const be_model *model)
{
    return model->n_subjects;
}

const be_subject *be_model_subject(const be_model *model, size_t subject)
{
    return model->subjects[subject];
}

const char *be_model_backbone_hash(const be_model *model)
{
    return model->backbone_hash;
}

be_status be_model_find_subject(const be_model *model, const char *name, size_t *subject, be_error *error)
{
    char names[256] = "";
    for (size_t i = 0; i < model->n_subjects; i++) {
        const char *known = be_subject_get_info(model->subjects[i])->name;
        if (strcmp(known, name) == 0) {
            *subject = i;
            return BE_OK;
        }
        size_t length = strlen(names);
        snprintf(names + length, sizeof names - length, "%s%s", length ? ", " : "", known);
    }
    return be_fail(error, BE_ERROR_NOT_FOUND, "subject: there is no '%.64s'; loaded: %s", name, names);
}

be_status be_model_check_image(const be_model *model, size_t subject, size_t width, size_t height, be_error *error)
{
    size_t rows, columns, side = be_backbone_get_info(model->backbone)->image_size;
    if (side > 0 && (width != side || height != side))
        return be_fail(error, BE_ERROR_ARGUMENT, "fit: the backbone takes pictures of %zu x %zu pixels alone, not %zu x %zu", side,
                       side, width, height);
    be_backbone_grid(model->backbone, width, height, &rows, &columns);
    return be_encoder_check_grid(be_subject_encoder(model->subjects[subject], 0), rows, columns, error);
}

void be_model_grid(const be_model *model, const be_image *image, size_t *rows, size_t *columns)
{
    be_backbone_grid(model->backbone, image->width, image->height, rows, columns);
}

void be_model_list_products(const be_model *model, const be_image *image, const be_product_list *list)
{
    size_t rows, columns;
    be_model_grid(model, image, &rows, &columns);
    be_backbone_list_products(model->backbone, image->width, image->height, list);
    for (size_t s = 0; s < model->n_subjects; s++) {
        for (size_t m = 0; m < be_subject_get_info(model->subjects[s])->members; m++)
            be_encoder_list_products(be_subject_encoder(model->subjects[s], m), rows, columns, list);
    }
}

const be_backbone *be_model_get_backbone(const be_model *model)
{
    return model->backbone;
}

size_t be_model_taps(const be_model *model)
{
    return model->n_taps;
}

size_t be_model_layers(const be_model *model, size_t subject)
{
    return model->layers[subject].count;
}

size_t be_model_layer_tap(const be_model *model, size_t subject, size_t layer)
{
    return model->layers[subject].taps[layer];
}

size_t be_model_member_layer(const be_model *model, size_t subject, size_t member)
{
    return model->layers[subject].member[member];
}
