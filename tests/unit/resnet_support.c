#include "tests/unit/resnet_support.h"

#include <math.h>
#include <stdio.h>

#include "tests/unit/random.h"

be_backbone *open_resnet(const char *path, be_features features, bool dilation)
{
    be_tap tap = {.features = features, .layer = 1, .dilation = dilation};
    be_backbone *backbone = NULL;
    be_error error;
    assert_ok(be_backbone_open(path, NULL, &tap, 1, &backbone, &error), &error);
    return backbone;
}

/* --- running ------------------------------------------------------------------------------------------------------ */

void make_crew(crew *it, size_t threads, const be_backbone *backbone, size_t tokens)
{
    be_error error;
    *it = (crew){.team = {.worker = threads ? 0 : 1}};
    it->team.scratch = it->scratch;
    assert_ok(be_isa_select(NULL, &it->team.isa, &error), &error);
    if (threads)
        assert_ok(be_pool_create(threads, &it->team.pool, &error), &error);
    assert_ok(be_arena_create(&it->arena, be_backbone_arena_bytes(backbone, tokens), "an arena", &error), &error);
    for (size_t i = 0; i < MOST_THREADS; i++)
        assert_ok(be_arena_create(&it->scratch[i], be_backbone_scratch_bytes(backbone, tokens), "scratch", &error), &error);
}

void free_crew(crew *it)
{
    be_pool_destroy(it->team.pool);
    be_arena_destroy(&it->arena);
    for (size_t i = 0; i < MOST_THREADS; i++)
        be_arena_destroy(&it->scratch[i]);
}

float *resnet_features(const be_backbone *backbone, const be_image *image)
{
    size_t rows, columns;
    crew it;
    be_error error;
    be_backbone_grid(backbone, image->width, image->height, &rows, &columns);
    size_t count = rows * columns * be_backbone_get_info(backbone)->channels;
    float *features = malloc(count * sizeof *features);
    assert_non_null(features);
    memset(features, 0xff, count * sizeof *features); /* NaN: what is not written fails every comparison */
    make_crew(&it, 2, backbone, rows * columns);
    assert_ok(be_backbone_run(backbone, &it.team, &it.arena, image, NULL, &features, &error), &error);
    free_crew(&it);
    return features;
}

/* --- the plain network -------------------------------------------------------------------------------------------- */

typedef struct network {
    be_tensor_file *file;
    const char *prefix;
} network;

static const be_tensor *find(const network *from, const char *part, const char *suffix)
{
    char name[256];
    snprintf(name, sizeof name, "%s%s.%s", from->prefix, part, suffix);
    return be_tensor_file_find(from->file, name);
}

static float *read(const network *from, const char *part, const char *suffix)
{
    be_error error;
    const be_tensor *tensor = find(from, part, suffix);
    assert_non_null(tensor);
    float *values = malloc((tensor->count + 1) * sizeof *values);
    assert_non_null(values);
    assert_ok(be_tensor_file_read_f32(from->file, tensor, values, &error), &error);
    return values;
}

static plain_map make_map(size_t rows, size_t columns, size_t channels)
{
    plain_map map = {rows, columns, channels, calloc(rows * columns * channels + 1, sizeof *map.values)};
    assert_non_null(map.values);
    return map;
}

static double pixel(const plain_map *map, long y, long x, size_t channel, double outside)
{
    bool inside = y >= 0 && x >= 0 && y < (long)map->rows && x < (long)map->columns;
    return inside ? map->values[((size_t)y * map->columns + (size_t)x) * map->channels + channel] : outside;
}

/* Convolution, then the batch norm as its definition has it. */
static plain_map plain_convolution(const network *from, const char *part, const char *norm, const plain_map *in, size_t stride,
                                   size_t dilation)
{
    const be_tensor *tensor = find(from, part, "weight");
    assert_non_null(tensor);
    size_t out = tensor->shape[0], kernel = tensor->shape[2], reach = dilation * (kernel - 1), padding = reach / 2;
    float *weight = read(from, part, "weight"), *gain = read(from, norm, "weight"), *shift = read(from, norm, "bias");
    float *mean = read(from, norm, "running_mean"), *variance = read(from, norm, "running_var");
    plain_map map = make_map((in->rows + 2 * padding - reach - 1) / stride + 1,
                             (in->columns + 2 * padding - reach - 1) / stride + 1, out);
    for (size_t i = 0; i < map.rows * map.columns * out; i++) {
        size_t o = i % out, column = i / out % map.columns, row = i / out / map.columns;
        double sum = 0;
        for (size_t t = 0; t < kernel * kernel; t++) {
            long y = (long)(row * stride + t / kernel * dilation) - (long)padding;
            long x = (long)(column * stride + t % kernel * dilation) - (long)padding;
            for (size_t c = 0; c < in->channels; c++)
                sum += pixel(in, y, x, c, 0) * (double)weight[(o * in->channels + c) * kernel * kernel + t];
        }
        map.values[i] = (sum - (double)mean[o]) / sqrt((double)variance[o] + 1e-5) * (double)gain[o] + (double)shift[o];
    }
    free(weight), free(gain), free(shift), free(mean), free(variance);
    return map;
}

static void rectify(plain_map *map)
{
    for (size_t i = 0; i < map->rows * map->columns * map->channels; i++)
        map->values[i] = fmax(0, map->values[i]);
}

static plain_map plain_pool(const plain_map *in)
{
    plain_map map = make_map((in->rows - 1) / 2 + 1, (in->columns - 1) / 2 + 1, in->channels);
    for (size_t i = 0; i < map.rows * map.columns * map.channels; i++) {
        long y = (long)(i / map.channels / map.columns) * 2 - 1, x = (long)(i / map.channels % map.columns) * 2 - 1;
        double best = -INFINITY;
        for (long t = 0; t < 9; t++)
            best = fmax(best, pixel(in, y + t / 3, x + t % 3, i % map.channels, -INFINITY));
        map.values[i] = best;
    }
    return map;
}

static plain_map plain_block(const network *from, const char *block, const plain_map *in, size_t stride, size_t dilation)
{
    char part[128], norm[128];
    plain_map map = *in;
    size_t steps = 2;
    snprintf(part, sizeof part, "%s.conv3", block);
    if (find(from, part, "weight"))
        steps = 3;
    for (size_t s = 1; s <= steps; s++) {
        snprintf(part, sizeof part, "%s.conv%zu", block, s);
        snprintf(norm, sizeof norm, "%s.bn%zu", block, s);
        bool middle = steps == 3 && s == 2;
        plain_map next = plain_convolution(from, part, norm, &map, middle || (steps == 2 && s == 1) ? stride : 1,
                                           middle ? dilation : 1);
        if (s < steps)
            rectify(&next);
        if (s > 1)
            free(map.values);
        map = next;
    }
    snprintf(part, sizeof part, "%s.downsample.0", block);
    snprintf(norm, sizeof norm, "%s.downsample.1", block);
    bool moves = find(from, part, "weight") != NULL;
    plain_map kept = moves ? plain_convolution(from, part, norm, in, stride, 1) : *in;
    for (size_t i = 0; i < map.rows * map.columns * map.channels; i++)
        map.values[i] += kept.values[i];
    if (moves)
        free(kept.values);
    rectify(&map);
    return map;
}

static plain_map plain_stem(const network *from, const be_image *image)
{
    static const double mean[] = {0.485, 0.456, 0.406}, deviation[] = {0.229, 0.224, 0.225};
    plain_map pixels = make_map(image->height, image->width, 3);
    for (size_t i = 0; i < image->height * image->width * 3; i++)
        pixels.values[i] = (image->rgb[i] / 255.0 - mean[i % 3]) / deviation[i % 3];
    plain_map wide = plain_convolution(from, "conv1", "bn1", &pixels, 2, 1);
    rectify(&wide);
    plain_map map = plain_pool(&wide);
    free(pixels.values), free(wide.values);
    return map;
}

plain_map plain_resnet(be_tensor_file *file, const char *prefix, const be_image *image, bool dilation)
{
    const network from = {file, prefix};
    plain_map map = plain_stem(&from, image);
    for (size_t stage = 1; stage <= 4; stage++) {
        for (size_t number = 0;; number++) {
            char block[64], first[96];
            bool dilated = dilation && stage == 4;
            snprintf(block, sizeof block, "layer%zu.%zu", stage, number);
            snprintf(first, sizeof first, "%s.conv1", block);
            if (!find(&from, first, "weight"))
                break;
            plain_map next = plain_block(&from, block, &map, number == 0 && stage > 1 && !dilated ? 2 : 1,
                                         dilated && number > 0 ? 2 : 1);
            free(map.values);
            map = next;
        }
    }
    return map;
}

void check_plainly(const char *what, const char *path, const char *prefix, const be_image *image, bool dilation,
                   const float *features, float tolerance)
{
    be_tensor_file *file = NULL;
    be_error error;
    assert_ok(be_tensor_file_open(path, &file, &error), &error);
    plain_map map = plain_resnet(file, prefix, image, dilation);
    for (size_t i = 0; i < map.rows * map.columns * map.channels; i++) {
        if (!(fabs((double)features[i] - map.values[i]) <= (double)tolerance))
            fail_msg("%s, %zu x %zu pixels: feature %zu is %.9g, expected %.9g", what, image->width, image->height, i,
                     (double)features[i], map.values[i]);
    }
    free(map.values);
    be_tensor_file_close(file);
}

/* --- files in pieces ---------------------------------------------------------------------------------------------- */

static resnet_pieces *make_pieces(void)
{
    resnet_pieces *it = calloc(1, sizeof *it);
    assert_non_null(it);
    return it;
}

static void *add_piece(resnet_pieces *it, const char *name, be_dtype dtype, size_t n_dims, const size_t *shape)
{
    assert_true(it->n_tensors < MOST_RESNET_TENSORS && strlen(name) < RESNET_NAME_ROOM);
    snprintf(it->names[it->n_tensors], RESNET_NAME_ROOM, "%s", name);
    be_tensor_source *tensor = &it->tensors[it->n_tensors];
    *tensor = (be_tensor_source){.name = it->names[it->n_tensors++], .dtype = dtype, .n_dims = n_dims};
    size_t count = 1;
    for (size_t d = 0; d < n_dims; d++)
        count *= tensor->shape[d] = shape[d];
    void *data = malloc(count * be_dtype_size(dtype) + 1);
    assert_non_null(data);
    tensor->data = data;
    return data;
}

resnet_pieces *take_resnet_apart(const char *path, const char *prefix)
{
    be_tensor_file *file = NULL;
    be_error error;
    resnet_pieces *it = make_pieces();
    assert_ok(be_tensor_file_open(path, &file, &error), &error);
    for (size_t i = 0; i < be_tensor_file_count(file); i++) {
        char name[2 * RESNET_NAME_ROOM];
        const be_tensor *tensor = be_tensor_file_at(file, i);
        snprintf(name, sizeof name, "%s%s", prefix, tensor->name);
        void *data = add_piece(it, name, tensor->dtype, tensor->n_dims, tensor->shape);
        assert_ok(be_tensor_file_read(file, tensor, data, &error), &error);
    }
    be_tensor_file_close(file);
    return it;
}

static void add_random(resnet_pieces *it, const char *part, const char *suffix, size_t n_dims, const size_t *shape,
                       float middle, float spread, uint32_t *state)
{
    char name[RESNET_NAME_ROOM];
    size_t count = 1;
    snprintf(name, sizeof name, "%s.%s", part, suffix);
    float *values = add_piece(it, name, BE_DTYPE_F32, n_dims, shape);
    for (size_t d = 0; d < n_dims; d++)
        count *= shape[d];
    for (size_t i = 0; i < count; i++)
        values[i] = middle + spread * next_uniform(state);
}

static void add_convolution(resnet_pieces *it, const char *part, const char *norm, size_t out, size_t in, size_t kernel,
                            uint32_t *state)
{
    const size_t shape[] = {out, in, kernel, kernel};
    add_random(it, part, "weight", 4, shape, 0, 1.5f / sqrtf((float)(in * kernel * kernel)), state);
    add_random(it, norm, "weight", 1, shape, 1, 0.3f, state);
    add_random(it, norm, "bias", 1, shape, 0, 0.5f, state);
    add_random(it, norm, "running_mean", 1, shape, 0, 0.5f, state);
    add_random(it, norm, "running_var", 1, shape, 1, 0.9f, state);
}

resnet_pieces *make_resnet(bool bottleneck, const size_t counts[4], size_t stem, const size_t inside[4],
                           const size_t outside[4])
{
    resnet_pieces *it = make_pieces();
    uint32_t state = 3;
    size_t in = stem;
    add_convolution(it, "conv1", "bn1", stem, 3, 7, &state);
    for (size_t stage = 0; stage < 4; stage++) {
        for (size_t number = 0; number < counts[stage]; number++) {
            char part[64], norm[64];
            size_t steps = bottleneck ? 3 : 2, width = in;
            for (size_t s = 1; s <= steps; s++) {
                size_t out = s < steps ? inside[stage] : outside[stage];
                snprintf(part, sizeof part, "layer%zu.%zu.conv%zu", stage + 1, number, s);
                snprintf(norm, sizeof norm, "layer%zu.%zu.bn%zu", stage + 1, number, s);
                add_convolution(it, part, norm, out, width, bottleneck && s != 2 ? 1 : 3, &state);
                width = out;
            }
            snprintf(part, sizeof part, "layer%zu.%zu.downsample.0", stage + 1, number);
            snprintf(norm, sizeof norm, "layer%zu.%zu.downsample.1", stage + 1, number);
            if (number == 0)
                add_convolution(it, part, norm, outside[stage], in, 1, &state);
            in = outside[stage];
        }
    }
    return it;
}

be_tensor_source *resnet_piece(resnet_pieces *it, const char *name)
{
    for (size_t i = 0; i < it->n_tensors; i++) {
        if (strcmp(it->tensors[i].name, name) == 0)
            return &it->tensors[i];
    }
    fail_msg("there is no tensor %s", name);
    return NULL;
}

void remove_resnet_piece(resnet_pieces *it, size_t index)
{
    free((void *)(uintptr_t)it->tensors[index].data);
    it->n_tensors--;
    memmove(&it->tensors[index], &it->tensors[index + 1], (it->n_tensors - index) * sizeof *it->tensors);
}

void write_resnet(const resnet_pieces *it, const char *path)
{
    be_error error;
    assert_ok(be_safetensors_write(path, it->tensors, it->n_tensors, NULL, 0, &error), &error);
}

void free_resnet_pieces(resnet_pieces *it)
{
    for (size_t i = 0; i < it->n_tensors; i++)
        free((void *)(uintptr_t)it->tensors[i].data);
    free(it);
}
