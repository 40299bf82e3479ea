#include "core/answer/surface.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/answer/answer.h"
#include "core/base/memory.h"

static const char *const space_names[] = {"challenge", "fsaverage"};

const char *be_space_name(be_space space)
{
    return space_names[space];
}

be_status be_space_parse(const char *name, be_space *space, be_error *error)
{
    for (size_t i = 0; i < sizeof space_names / sizeof *space_names; i++) {
        if (strcmp(space_names[i], name) == 0) {
            *space = (be_space)i;
            return BE_OK;
        }
    }
    return be_fail(error, BE_ERROR_ARGUMENT, "space: '%.40s' is none of: challenge, fsaverage", name);
}

be_surface be_surface_of(const be_subject *subject)
{
    return (be_surface){.info = be_subject_get_info(subject), .fsaverage = {be_subject_fsaverage(subject, BE_LEFT),
                                                                            be_subject_fsaverage(subject, BE_RIGHT)}};
}

be_status be_surface_check(const be_surface *surface, be_space space, be_error *error)
{
    for (int h = BE_LEFT; h < BE_HEMISPHERES && space == BE_SPACE_FSAVERAGE; h++) {
        const int32_t *index = surface->fsaverage[h];
        if (!index)
            return be_fail(error, BE_ERROR_UNSUPPORTED, "%s: where its vertices lie on fsaverage is not known: its file has no "
                           "index of them", surface->info->name);
        for (size_t v = 1; v < surface->info->n_vertices[h]; v++) {
            if (index[v] <= index[v - 1])
                return be_fail(error, BE_ERROR_UNSUPPORTED, "%s: the fsaverage index of its file does not ascend at %s vertex "
                               "%zu", surface->info->name, be_hemisphere_name((be_hemisphere)h), v);
        }
    }
    return BE_OK;
}

be_status be_columns_make(const be_surface *surface, be_space space, const be_roi_selection *only, be_hemisphere hemisphere,
                          be_columns *columns, be_error *error)
{
    const be_subject_info *info = surface->info;
    be_columns made = {.whole = !only};
    void *numbers;
    be_status status = be_surface_check(surface, space, error);
    if (status == BE_OK)
        status = be_answer_vertices(info, only, hemisphere, &made.vertices, &made.count, error);
    if (status == BE_OK)
        status = be_allocate(&numbers, made.count, sizeof(uint32_t), "the vertices of an answer", error);
    if (status != BE_OK) {
        be_columns_free(&made);
        return status;
    }
    made.numbers = numbers;
    for (size_t i = 0; i < made.count; i++) {
        uint32_t vertex = made.vertices[i];
        made.numbers[i] = space == BE_SPACE_FSAVERAGE ? (uint32_t)surface->fsaverage[hemisphere][vertex] : vertex;
    }
    made.length = only ? made.count : space == BE_SPACE_FSAVERAGE ? info->n_fsaverage[hemisphere] : info->n_vertices[hemisphere];
    *columns = made;
    return BE_OK;
}

void be_columns_free(be_columns *columns)
{
    free(columns->vertices);
    free(columns->numbers);
    *columns = (be_columns){0};
}

/* --- arrays --------------------------------------------------------------------------------------- */

static size_t place_of(const be_columns *columns, size_t i)
{
    return columns->whole ? columns->numbers[i] : i;
}

void be_columns_fill(const be_columns *columns, const float *values, float *out)
{
    for (size_t i = 0; i < columns->length; i++)
        out[i] = NAN;
    for (size_t i = 0; i < columns->count && values; i++)
        out[place_of(columns, i)] = values[columns->vertices[i]];
}

/* How an array is written: its numbers, and many times over what stands for NaN, since most of fsaverage is that. */
typedef struct notation {
    void (*add)(be_text *text, float value);
    const char *nothing; /* NOTHINGS times */
    size_t size;         /* of one */
} notation;

enum { NOTHINGS = 64 };
#define FOUR(text) text text text text
#define SIXTY_FOUR(text) FOUR(FOUR(FOUR(text)))

static void add_nothing(be_text *text, const notation *how, size_t times)
{
    for (size_t step; times > 0; times -= step) {
        step = times < NOTHINGS ? times : NOTHINGS;
        be_text_add_bytes(text, how->nothing, step * how->size);
    }
}

static void add_array(const be_columns *columns, const float *values, const notation *how, be_text *text)
{
    size_t place = 0;
    for (size_t i = 0; i < columns->count && values; i++, place++) {
        size_t next = place_of(columns, i);
        add_nothing(text, how, next - place);
        place = next;
        how->add(text, values[columns->vertices[i]]);
    }
    add_nothing(text, how, columns->length - place);
}

static void add_float_bytes(be_text *text, float value)
{
    be_text_add_bytes(text, (const char *)&value, sizeof value);
}

void be_columns_add_bytes(const be_columns *columns, const float *values, be_text *text)
{
    static const notation bytes = {add_float_bytes, SIXTY_FOUR("\0\0\xc0\x7f"), 4};
    add_array(columns, values, &bytes, text);
}

static void add_float_and_comma(be_text *text, float value)
{
    be_text_add_float(text, value);
    be_text_add_bytes(text, ",", 1);
}

/* Ends an array whose last number has a comma behind it. */
static void end_array(be_text *text, size_t length)
{
    if (length == 0 || text->failed)
        be_text_add(text, "]");
    else
        text->bytes[text->length - 1] = ']';
}

void be_columns_add_json(const be_columns *columns, const float *values, be_text *text)
{
    static const notation json = {add_float_and_comma, SIXTY_FOUR("null,"), 5};
    be_text_add(text, "[");
    add_array(columns, values, &json, text);
    end_array(text, columns->length);
}
