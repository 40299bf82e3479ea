#include "clients/brainenc/pictures.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hdf5.h>

#include "core/base/memory.h"
#include "core/image/hdf5_images.h"

/* Each is listed by its name before the first is read, and a small file may claim any number of tiny ones. */
enum { MOST_NUMBERED = 1 << 22 };

struct container {
    be_hdf5_images *images;
    char *dataset;
    size_t left; /* pictures still to be read */
};

typedef struct range {
    size_t first, last;
} range;

struct picture_list {
    run_picture *pictures;
    size_t count, capacity;
    container **containers;
    size_t n_containers, container_capacity;
    range *ranges; /* none: all pictures */
    size_t n_ranges, range_capacity;
    pthread_mutex_t lock; /* libhdf5 has one state for all files */
};

/* --- "0-999,5000" --------------------------------------------------------------------------------- */

static bool take_number(const char **text, size_t *number)
{
    const char *start = *text;
    *number = 0;
    for (; **text >= '0' && **text <= '9'; (*text)++) {
        if (!be_size_multiply(*number, 10, number) || !be_size_add(*number, (size_t)(**text - '0'), number))
            return false;
    }
    return *text > start;
}

static bool take_range(const char **text, range *it)
{
    if (!take_number(text, &it->first))
        return false;
    it->last = it->first;
    if (**text == '-') {
        (*text)++;
        if (!take_number(text, &it->last))
            return false;
    }
    return it->first <= it->last;
}

static be_status add_range(picture_list *self, const range *it, be_error *error)
{
    void *ranges = self->ranges;
    be_status status = be_grow(&ranges, &self->range_capacity, self->n_ranges + 1, sizeof *it, "a list of pictures", error);
    if (status != BE_OK)
        return status;
    self->ranges = ranges;
    self->ranges[self->n_ranges++] = *it;
    return BE_OK;
}

static be_status parse_ranges(picture_list *self, const char *text, be_error *error)
{
    const char *at = text, *start;
    be_status status = BE_OK;
    do {
        range it;
        start = at;
        if (!take_range(&at, &it) || (*at != ',' && *at != '\0'))
            return be_fail(error, BE_ERROR_ARGUMENT, "--images: '%.40s' begins with neither a number nor a range such as 0-999",
                           start);
        status = add_range(self, &it, error);
    } while (status == BE_OK && *at++ == ',');
    return status;
}

/* --- adding --------------------------------------------------------------------------------------- */

static be_status add_picture(picture_list *self, const run_picture *it, be_error *error)
{
    void *pictures = self->pictures;
    be_status status = be_grow(&pictures, &self->capacity, self->count + 1, sizeof *it, "a list of pictures", error);
    if (status != BE_OK)
        return status;
    self->pictures = pictures;
    self->pictures[self->count++] = *it;
    return BE_OK;
}

static be_status add_number(picture_list *self, const char *file, container *from, size_t number, be_error *error)
{
    void *memory;
    size_t size = strlen(file) + 32;
    be_status status = be_allocate(&memory, size, 1, "a picture's name", error);
    if (status != BE_OK)
        return status;
    char *name = memory;
    snprintf(name, size, "%s[%zu]", file, number);
    const run_picture it = {.file = file, .name = name, .dataset = from->dataset, .from = from, .number = number};
    status = add_picture(self, &it, error);
    if (status != BE_OK)
        free(name);
    else
        from->left++;
    return status;
}

static be_status add_numbers(picture_list *self, const char *file, container *from, be_error *error)
{
    const size_t count = be_hdf5_images_count(from->images);
    const range all = {0, count - 1}, *ranges = self->n_ranges ? self->ranges : &all;
    const size_t n_ranges = self->n_ranges ? self->n_ranges : 1;
    be_status status = BE_OK;
    for (size_t r = 0; r < n_ranges && status == BE_OK; r++) {
        if (ranges[r].last >= count)
            return be_fail(error, BE_ERROR_NOT_FOUND, "%s: there is no picture %zu in %s: they are numbered 0 to %zu", file,
                           ranges[r].last, from->dataset, count - 1);
        if (self->count >= MOST_NUMBERED || ranges[r].last - ranges[r].first >= MOST_NUMBERED - self->count)
            return be_fail(error, BE_ERROR_LIMIT, "%s: a run takes %d pictures at most: --images names fewer", file, MOST_NUMBERED);
        for (size_t number = ranges[r].first; number <= ranges[r].last && status == BE_OK; number++)
            status = add_number(self, file, from, number, error);
    }
    return status;
}

static be_status add_container(picture_list *self, const char *file, const picture_choice *choice, be_error *error)
{
    void *memory, *containers = self->containers;
    be_status status = be_grow(&containers, &self->container_capacity, self->n_containers + 1, sizeof *self->containers,
                               "a list of files", error);
    if (status != BE_OK)
        return status;
    self->containers = containers;
    status = be_allocate(&memory, 1, sizeof(container), "a file's state", error);
    if (status != BE_OK)
        return status;
    container *it = self->containers[self->n_containers++] = memory;
    H5dont_atexit(); /* nothing is written; what is left of a damaged file libhdf5 cannot close, and it says so without end */
    status = be_hdf5_images_open(file, choice->dataset, choice->max_pixels, &it->images, error);
    if (status == BE_OK)
        status = be_copy_text(&it->dataset, be_hdf5_images_dataset(it->images), error);
    return status == BE_OK ? add_numbers(self, file, it, error) : status;
}

static be_status add_files(picture_list *self, const file_list *files, const picture_choice *choice, be_error *error)
{
    be_status status = choice->images ? parse_ranges(self, choice->images, error) : BE_OK;
    for (size_t i = 0; i < files->count && status == BE_OK; i++) {
        const char *file = files->paths[i];
        if (ends_with(file, ".h5") || ends_with(file, ".hdf5"))
            status = add_container(self, file, choice, error);
        else
            status = add_picture(self, &(run_picture){.file = file, .name = file}, error);
    }
    if (status == BE_OK && self->n_containers == 0 && (choice->dataset || choice->images))
        status = be_fail(error, BE_ERROR_ARGUMENT, "%s goes with a file whose name ends with .h5 or .hdf5, and none is named",
                         choice->dataset ? "--dataset" : "--images");
    return status;
}

be_status picture_list_open(const file_list *files, const picture_choice *choice, picture_list **list, be_error *error)
{
    void *memory;
    be_status status = be_allocate(&memory, 1, sizeof(picture_list), "a list of pictures", error);
    if (status != BE_OK)
        return status;
    picture_list *self = memory;
    pthread_mutex_init(&self->lock, NULL);
    status = add_files(self, files, choice, error);
    if (status == BE_OK)
        *list = self;
    else
        picture_list_close(self);
    return status;
}

void picture_list_close(picture_list *self)
{
    if (!self)
        return;
    for (size_t i = 0; i < self->count; i++) {
        if (self->pictures[i].from)
            free((char *)self->pictures[i].name);
    }
    for (size_t i = 0; i < self->n_containers; i++) {
        be_hdf5_images_close(self->containers[i]->images);
        free(self->containers[i]->dataset);
        free(self->containers[i]);
    }
    free(self->pictures);
    free(self->containers);
    free(self->ranges);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

size_t picture_list_count(const picture_list *list)
{
    return list->count;
}

const run_picture *picture_list_at(const picture_list *list, size_t index)
{
    return &list->pictures[index];
}

/* --- reading -------------------------------------------------------------------------------------- */

be_status picture_list_load(picture_list *self, size_t index, be_image *image, be_error *error)
{
    container *from = self->pictures[index].from;
    pthread_mutex_lock(&self->lock);
    be_status status = be_hdf5_images_read(from->images, self->pictures[index].number, image, error);
    if (--from->left == 0) { /* the chunks that are kept would be for nothing */
        be_hdf5_images_close(from->images);
        from->images = NULL;
    }
    pthread_mutex_unlock(&self->lock);
    return status;
}

void picture_list_read(picture_list *self, size_t index, const compute_options *options, const be_model *model, picture *out)
{
    const run_picture *it = &self->pictures[index];
    be_image decoded = {0};
    double start = be_clock();
    if (!it->from) {
        read_picture(it->file, options, model, out);
        return;
    }
    *out = (picture){.about = {.name = it->name, .fit = options->fit}};
    out->status = picture_list_load(self, index, &decoded, &out->error);
    if (out->status == BE_OK)
        out->status = be_answer_hash_pixels(&decoded, out->about.hash, &out->error);
    if (out->status == BE_OK)
        fit_picture(&decoded, options, model, out);
    be_image_free(&decoded);
    out->decode_ms = 1e3 * (be_clock() - start);
}
