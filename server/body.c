#include "server/body.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "core/base/memory.h"
#include "core/files/hash.h"
#include "core/files/json.h"
#include "core/files/npy.h"

enum { NAME_SIZE = 32 };

be_status body_count_bytes(request *it, size_t bytes, const body_limits *limits, be_error *error)
{
    if (request_count_bytes(it, bytes, limits->bytes_in_flight))
        return BE_OK;
    return be_fail(error, BE_ERROR_MEMORY,
                   "too many bytes are in flight: ask for fewer images, subjects or single heads at once, or later");
}

/* --- base64 --------------------------------------------------------------------------------------- */

/* Decodes into a new part; libcrypto ignores line breaks and refuses what is no base64. */
static be_status add_base64(request *it, const char *text, size_t place, be_error *error)
{
    size_t length = strlen(text), room = length / 4 * 3 + 4;
    int written = 0, rest = 0;
    void *memory;
    const char *comma = strncmp(text, "data:", 5) == 0 ? strchr(text, ',') : NULL;
    if (comma) { /* a data: URL, as a web page's canvas gives it */
        length -= (size_t)(comma + 1 - text);
        text = comma + 1;
    }
    if (length > INT32_MAX)
        return be_fail(error, BE_ERROR_LIMIT, "image %zu: its base64 is too long", place);
    be_status status = be_allocate(&memory, room, 1, "an image", error);
    if (status != BE_OK)
        return status;
    EVP_ENCODE_CTX *context = EVP_ENCODE_CTX_new();
    bool good = context != NULL;
    good = good && !strchr(text, '-'); /* which libcrypto takes for the end */
    if (good) {
        EVP_DecodeInit(context);
        good = EVP_DecodeUpdate(context, memory, &written, (const unsigned char *)text, (int)length) >= 0 &&
               EVP_DecodeFinal(context, (unsigned char *)memory + written, &rest) == 1;
    }
    EVP_ENCODE_CTX_free(context);
    if (!good) {
        free(memory);
        return be_fail(error, BE_ERROR_FORMAT, "image %zu: is no base64", place);
    }
    if (!request_add_part(it)) {
        free(memory);
        return be_fail_memory(error, room, "an image");
    }
    it->parts[it->n_parts - 1] = (request_part){memory, (size_t)(written + rest), room};
    return BE_OK;
}

static be_status add_texts(request *it, const cJSON *image, const cJSON *images, size_t most, be_error *error)
{
    const cJSON *item;
    size_t place = 0;
    be_status status = BE_OK;
    if (cJSON_IsString(image) && !images)
        return add_base64(it, image->valuestring, 0, error);
    if (image || !cJSON_IsArray(images))
        return be_fail(error, BE_ERROR_ARGUMENT,
                       "the JSON body is to be {\"image\": \"<base64>\"} or {\"images\": [\"<base64>\", ...]}");
    cJSON_ArrayForEach(item, images) {
        if (place == most)
            return be_fail(error, BE_ERROR_LIMIT, "images: more than %zu in one request", most);
        if (!cJSON_IsString(item))
            return be_fail(error, BE_ERROR_ARGUMENT, "images: number %zu is no text", place);
        status = add_base64(it, item->valuestring, place++, error);
        if (status != BE_OK)
            return status;
    }
    return BE_OK;
}

/* Each key once, and none that means nothing: a parameter put here by mistake would be passed over in silence. */
static be_status check_keys(const cJSON *root, be_error *error)
{
    size_t image = 0, images = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, root) {
        if (strcmp(item->string, "image") == 0)
            image++;
        else if (strcmp(item->string, "images") == 0)
            images++;
        else
            return be_fail(error, BE_ERROR_ARGUMENT,
                           "unknown key '%.40s' in the JSON body; there are: image, images (parameters go into the URL)",
                           item->string);
    }
    return image <= 1 && images <= 1 ? BE_OK : be_fail(error, BE_ERROR_ARGUMENT, "a key of the JSON body is there twice");
}

static bool is_npy(const request_part *part)
{
    return part->size >= 6 && memcmp(part->bytes, "\x93NUMPY", 6) == 0;
}

/* JSON begins with a brace, which no image does. What the client declares counts only where the bytes tell nothing. */
static bool is_json(const request *it)
{
    static const char spaces[] = " \t\r\n";
    const request_part *part = &it->parts[0];
    size_t i = 0;
    if (it->n_parts != 1)
        return false;
    while (i < part->size && memchr(spaces, part->bytes[i], sizeof spaces - 1))
        i++;
    bool brace = i < part->size && part->bytes[i] == '{';
    return brace || (it->declared_json && !is_npy(part) && be_image_sniff(part->bytes, part->size) == BE_IMAGE_UNKNOWN);
}

/* Takes the one JSON part out and puts the images in it into its place. */
static be_status read_json(request *it, const body_limits *limits, be_error *error)
{
    request_part body = it->parts[0];
    be_status status;
    it->n_parts = 0;
    cJSON *root = NULL;
    if (!be_json_has_few_values((const char *)body.bytes, body.size, 2 * limits->images + 16))
        status = be_fail(error, BE_ERROR_LIMIT, "the JSON body holds more than %zu images can need", limits->images);
    else
        status = be_json_parse((const char *)body.bytes, body.size, "the body", &root, error);
    if (status == BE_OK && !cJSON_IsObject(root))
        status = be_fail(error, BE_ERROR_FORMAT, "the body is no JSON object");
    if (status == BE_OK)
        status = check_keys(root, error);
    if (status == BE_OK)
        status = add_texts(it, cJSON_GetObjectItemCaseSensitive(root, "image"),
                           cJSON_GetObjectItemCaseSensitive(root, "images"), limits->images, error);
    cJSON_Delete(root);
    free(body.bytes);
    return status;
}

/* --- images --------------------------------------------------------------------------------------- */

static be_status add_image(request *it, size_t *capacity, const body_limits *limits, request_image **added, be_error *error)
{
    void *images = it->images;
    if (it->n_images == limits->images)
        return be_fail(error, BE_ERROR_LIMIT, "images: more than %zu in one request", limits->images);
    be_status status = be_grow(&images, capacity, it->n_images + 1, sizeof *it->images, "a request's images", error);
    if (status != BE_OK)
        return status;
    it->images = images;
    *added = &it->images[it->n_images++];
    memset(*added, 0, sizeof **added);
    return BE_OK;
}

/* The grid of a fitted image is known before the fitting: the training size, or the picture's own. */
static be_status check_tokens(const request *it, size_t width, size_t height, const char *name, const body_limits *limits,
                              be_error *error)
{
    const engine_subject *subject = engine_subject_at(it->engine, it->query.subjects[0]);
    be_image shape = {.width = width, .height = height};
    size_t rows, columns, cells;
    be_model_grid(engine_model(it->engine, subject->model), &shape, &rows, &columns);
    if (!be_size_multiply(rows, columns, &cells) || cells > limits->tokens)
        return be_fail(error, BE_ERROR_LIMIT, "%s: %zu x %zu pixels are %zu x %zu tokens, the limit is %zu", name, width, height,
                       rows, columns, limits->tokens);
    return BE_OK;
}

/* Whether every subject asked for takes pictures of that shape. */
static be_status check_shape(const request *it, size_t width, size_t height, const char *name, be_error *error)
{
    be_error why;
    for (size_t s = 0; s < it->query.n_subjects; s++) {
        const engine_subject *subject = engine_subject_at(it->engine, it->query.subjects[s]);
        be_status status = be_model_check_image(engine_model(it->engine, subject->model), subject->subject, width, height, &why);
        if (status != BE_OK)
            return be_fail(error, status, "%s: %s: %s", name, subject->name, why.message);
    }
    return BE_OK;
}

static be_status fit_image(request *it, request_image *image, const char *name, const body_limits *limits, be_error *error)
{
    size_t size = engine_subject_info(it->engine, it->query.subjects[0])->image_size;
    bool native = it->query.fit == BE_FIT_NATIVE;
    image->about.width = image->decoded.width;
    image->about.height = image->decoded.height;
    image->about.fit = it->query.fit;
    size_t width = native ? image->decoded.width : size, height = native ? image->decoded.height : size;
    be_status status = check_tokens(it, width, height, name, limits, error);
    if (status == BE_OK)
        status = check_shape(it, width, height, name, error);
    if (status == BE_OK)
        status = body_count_bytes(it, width * height * 3, limits, error);
    if (status == BE_OK)
        status = be_image_fit(&image->decoded, it->query.fit, size, &image->input, error);
    be_image_free(&image->decoded);
    if (status == BE_OK) {
        const engine_subject *subject = engine_subject_at(it->engine, it->query.subjects[0]);
        be_model_grid(engine_model(it->engine, subject->model), &image->input, &image->about.rows, &image->about.columns);
    }
    return status;
}

static be_status read_file(request *it, const request_part *part, const char *name, const body_limits *limits,
                           size_t *capacity, be_error *error)
{
    request_image *image;
    be_status status = add_image(it, capacity, limits, &image, error);
    if (status == BE_OK)
        status = be_hash_bytes(part->bytes ? (const void *)part->bytes : "", part->size, image->about.hash, error);
    if (status == BE_OK && it->query.fit == BE_FIT_NATIVE) { /* refused from the header */
        size_t width, height;
        status = be_image_size(part->bytes, part->size, name, &width, &height, error);
        if (status == BE_OK)
            status = check_tokens(it, width, height, name, limits, error);
    }
    if (status == BE_OK)
        status = be_image_decode(part->bytes, part->size, name, limits->pixels, &image->decoded, error);
    return status == BE_OK ? fit_image(it, image, name, limits, error) : status;
}

/* uint8 [H][W][3], or [N][H][W][3]: N images. The hash is that of each image's own pixels and shape. */
static be_status read_array(request *it, const request_part *part, const char *name, const body_limits *limits,
                            size_t *capacity, be_error *error)
{
    be_npy npy;
    size_t pixels;
    be_status status = be_npy_parse(part->bytes, part->size, name, &npy, error);
    if (status != BE_OK)
        return status;
    size_t first = npy.n_dims == 4 ? 1 : 0, count = first ? npy.shape[0] : 1;
    const size_t *shape = npy.shape + first;
    if (npy.dtype != BE_DTYPE_U8 || npy.n_dims < 3 || npy.n_dims > 4 || shape[2] != 3 || npy.count == 0)
        status = be_fail(error, BE_ERROR_FORMAT, "%s: is no array of uint8 [H][W][3] or [N][H][W][3]", name);
    else if (!be_size_multiply(shape[0], shape[1], &pixels) || pixels > limits->pixels)
        status = be_fail(error, BE_ERROR_LIMIT, "%s: %zu x %zu pixels, the limit is %zu", name, shape[1], shape[0], limits->pixels);
    for (size_t i = 0; i < count && status == BE_OK; i++) {
        request_image *image;
        void *copy;
        status = add_image(it, capacity, limits, &image, error);
        if (status == BE_OK)
            status = be_allocate(&copy, pixels, 3, "an image", error);
        if (status != BE_OK)
            break;
        memcpy(copy, (unsigned char *)npy.data + i * pixels * 3, pixels * 3);
        image->decoded = (be_image){shape[1], shape[0], copy};
        status = be_answer_hash_pixels(&image->decoded, image->about.hash, error);
        if (status == BE_OK)
            status = fit_image(it, image, name, limits, error);
    }
    be_npy_free(&npy);
    return status;
}

be_status body_read_images(request *it, const body_limits *limits, be_error *error)
{
    size_t capacity = 0;
    be_status status = is_json(it) ? read_json(it, limits, error) : BE_OK;
    if (status == BE_OK && it->n_parts == 0)
        status = be_fail(error, BE_ERROR_ARGUMENT, "the request holds no image");
    for (size_t i = 0; i < it->n_parts && status == BE_OK; i++) {
        request_part *part = &it->parts[i];
        size_t before = it->n_images;
        char name[NAME_SIZE];
        double start = be_clock();
        snprintf(name, sizeof name, "image %zu", it->n_images);
        if (part->size == 0)
            status = be_fail(error, BE_ERROR_ARGUMENT, "%s: is empty", name);
        else if (is_npy(part))
            status = read_array(it, part, name, limits, &capacity, error);
        else
            status = read_file(it, part, name, limits, &capacity, error);
        free(part->bytes); /* what is decoded is not needed twice */
        *part = (request_part){0};
        for (size_t n = before; n < it->n_images; n++)
            it->images[n].decode_ms = 1e3 * (be_clock() - start) / (double)(it->n_images - before);
    }
    return status;
}
