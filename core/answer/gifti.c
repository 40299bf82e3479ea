#include "core/answer/gifti.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gifti/gifti_io.h>

#include "core/base/memory.h"
#include "core/base/utf8.h"

/* The library keeps its settings and its state in globals. */
static pthread_mutex_t library = PTHREAD_MUTEX_INITIALIZER;

/* --- metadata ------------------------------------------------------------------------------------- */

/* The library writes texts as they are: they must be fit for a CDATA section. */
static void make_writable(char *text)
{
    be_make_printable(text);
    for (char *end = text; (end = strstr(end, "]]>"));)
        end[2] = '?';
}

/* An empty value is left out. */
static be_status add_text(giiMetaData *to, const char *name, const char *value, be_error *error)
{
    char *text;
    if (!*value)
        return BE_OK;
    be_status status = be_copy_text(&text, value, error);
    if (status != BE_OK)
        return status;
    make_writable(text);
    bool good = gifti_add_to_meta(to, name, text, 1) == 0;
    free(text);
    return good ? BE_OK : be_fail_memory(error, strlen(value), "a GIFTI file's metadata");
}

static be_status describe_file(const be_gifti *of, giiMetaData *to, be_error *error)
{
    const be_subject_info *info = of->surface->info;
    char heads[24];
    const struct { const char *name, *value; } facts[] = {
        {"AnatomicalStructurePrimary", of->hemisphere == BE_LEFT ? "CortexLeft" : "CortexRight"},
        {"subject", info->name}, {"space", be_space_name(of->space)}, {"units", info->units}, {"weights", info->weights_hash},
        {"backbone", of->by.backbone}, {"backbone_weights", of->by.backbone_hash}, {"backbone_heads", heads},
        {"backbone_activation", of->by.backbone_activation}, {"precision", of->by.precision}, {"version", of->by.version},
        {"fit", be_fit_name(of->fit)}, {"demo", info->demo ? "true" : ""}, {"unverified", info->unverified},
        {"backbone_unverified", of->by.backbone_unverified},
    };
    snprintf(heads, sizeof heads, "%zu", of->by.backbone_heads);
    be_status status = BE_OK;
    for (size_t i = 0; i < sizeof facts / sizeof *facts && status == BE_OK; i++)
        status = add_text(to, facts[i].name, facts[i].value, error);
    return status;
}

/* --- arrays --------------------------------------------------------------------------------------- */

static bool has_index(const be_gifti *of)
{
    return !of->columns->whole || of->space != BE_SPACE_FSAVERAGE;
}

static be_status fill_index(const be_gifti *of, giiDataArray *array, be_error *error)
{
    const int32_t *fsaverage = of->surface->fsaverage[of->hemisphere];
    const uint32_t *vertices = of->columns->vertices;
    int32_t *out = array->data;
    array->intent = NIFTI_INTENT_NODE_INDEX;
    array->datatype = NIFTI_TYPE_INT32; /* as wide as what the array was made for */
    for (size_t i = 0; i < of->columns->count; i++)
        out[i] = fsaverage ? fsaverage[vertices[i]] : (int32_t)vertices[i];
    be_status status = add_text(&array->meta, "Name", "vertices", error);
    return status == BE_OK ? add_text(&array->meta, "Description",
                                      fsaverage ? "the fsaverage vertex each value is of, from 0"
                                                : "the subject's own (challenge space) vertex each value is of, from 0", error)
                           : status;
}

static be_status fill_arrays(const be_gifti *of, gifti_image *image, be_error *error)
{
    be_status status = BE_OK;
    size_t first = has_index(of);
    for (size_t i = 0; i < first + of->n_images && status == BE_OK; i++) {
        giiDataArray *array = image->darray[i];
        array->encoding = GIFTI_ENCODING_B64GZ;
        array->ext_fname = gifti_strdup(""); /* as it is read again */
        if (i < first) {
            status = fill_index(of, array, error);
            continue;
        }
        be_columns_fill(of->columns, of->vertices[i - first], array->data);
        status = add_text(&array->meta, "Name", of->names[i - first], error);
    }
    return status;
}

static be_status make_image(const be_gifti *of, gifti_image **out, be_error *error)
{
    const int dims[] = {(int)of->columns->length}; /* at most BE_MOST_VERTICES */
    int count = (int)(has_index(of) + of->n_images);
    gifti_image *image = gifti_create_image(count, NIFTI_INTENT_NONE, NIFTI_TYPE_FLOAT32, 1, dims, 1);
    if (!image || !gifti_image_has_data(image)) {
        gifti_free_image(image);
        return be_fail_memory(error, (size_t)count * of->columns->length * sizeof(float), "a GIFTI file's arrays");
    }
    image->compressed = 1;
    be_status status = describe_file(of, &image->meta, error);
    if (status == BE_OK)
        status = fill_arrays(of, image, error);
    if (status == BE_OK)
        *out = image;
    else
        gifti_free_image(image);
    return status;
}

/* --- writing -------------------------------------------------------------------------------------- */

static be_status fail_writing(be_error *error)
{
    return be_fail(error, BE_ERROR_IO, "GIFTI: the file could not be written whole, perhaps for want of memory");
}

/* The library tells of no write that failed: what it wrote is good when it reads as what it was made of. */
static be_status write_image(gifti_image *image, const char *path, be_error *error)
{
    gifti_image *again = gifti_write_image(image, path, 1) == 0 ? gifti_read_image(path, 1) : NULL;
    bool good = again && gifti_compare_gifti_images(image, again, 1, 0) == 0;
    gifti_free_image(again);
    return good ? BE_OK : fail_writing(error);
}

static be_status read_descriptor(int descriptor, unsigned char **bytes, size_t *size, be_error *error)
{
    struct stat info;
    void *memory;
    size_t done = 0;
    if (fstat(descriptor, &info) != 0)
        return be_fail(error, BE_ERROR_IO, "GIFTI: the file cannot be read again: %s", strerror(errno));
    be_status status = be_allocate(&memory, (size_t)info.st_size, 1, "a GIFTI file", error);
    if (status != BE_OK)
        return status;
    while (done < (size_t)info.st_size) {
        ssize_t step = pread(descriptor, (unsigned char *)memory + done, (size_t)info.st_size - done, (off_t)done);
        if (step < 0 && errno == EINTR)
            continue;
        if (step <= 0) {
            free(memory);
            return be_fail(error, BE_ERROR_IO, "GIFTI: the file cannot be read again: %s", strerror(errno));
        }
        done += (size_t)step;
    }
    *bytes = memory;
    *size = done;
    return BE_OK;
}

/* The library writes to names alone: here to that of a file which is nowhere but in memory. */
static be_status write_to_memory(gifti_image *image, unsigned char **bytes, size_t *size, be_error *error)
{
    char path[40];
    int descriptor = memfd_create("gifti", MFD_CLOEXEC);
    if (descriptor < 0)
        return be_fail(error, BE_ERROR_IO, "GIFTI: no file can be made in memory: %s", strerror(errno));
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    be_status status = write_image(image, path, error);
    if (status == BE_OK)
        status = read_descriptor(descriptor, bytes, size, error);
    close(descriptor);
    if (status == BE_OK && (*bytes)[*size - 1] != '\n') { /* without its last byte it reads the same */
        free(*bytes);
        *bytes = NULL;
        return fail_writing(error);
    }
    return status;
}

static be_status make(const be_gifti *of, unsigned char **bytes, size_t *size, be_error *error)
{
    gifti_image *image = NULL;
    gifti_set_verb(0);
    gxml_set_verb(0);
    gifti_set_update_ok(0); /* nothing of the library's own goes into the file */
    be_status status = make_image(of, &image, error);
    if (status != BE_OK)
        return status;
    status = write_to_memory(image, bytes, size, error);
    gifti_free_image(image);
    return status;
}

be_status be_gifti_check(const be_columns *columns, be_hemisphere hemisphere, be_error *error)
{
    if (columns->length == 0)
        return be_fail(error, BE_ERROR_ARGUMENT, "GIFTI: a file must hold a vertex: the ROIs asked for have none in %s",
                       be_hemisphere_name(hemisphere));
    return BE_OK;
}

be_status be_gifti_make(const be_gifti *of, unsigned char **bytes, size_t *size, be_error *error)
{
    if (of->n_images > BE_GIFTI_MOST_IMAGES)
        return be_fail(error, BE_ERROR_LIMIT, "GIFTI: a file holds %d pictures at most, %zu are too many: .npy takes any number",
                       BE_GIFTI_MOST_IMAGES, of->n_images);
    be_status status = be_gifti_check(of->columns, of->hemisphere, error);
    if (status != BE_OK)
        return status;
    pthread_mutex_lock(&library);
    status = make(of, bytes, size, error);
    pthread_mutex_unlock(&library);
    return status;
}
