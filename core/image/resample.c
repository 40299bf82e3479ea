#include "core/image/resample.h"

#include <math.h>
#include <stdlib.h>

#include "core/base/memory.h"

/* Weights are whole numbers with this many binary places; sums start at a half, so that the shift rounds. */
enum { WEIGHT_BITS = 32 - 8 - 2 };
static const int64_t HALF = (int64_t)1 << (WEIGHT_BITS - 1);

/* How one pixel of the answer is made along one axis: from `count` pixels of the picture, the first of them `first`. */
typedef struct window {
    size_t first, count;
    int64_t ground; /* the sum of the weights that fall on the ground beside the picture */
} window;

typedef struct axis {
    size_t size;      /* pixels of the answer */
    size_t longest;   /* weights that a window has room for */
    window *windows;  /* [size] */
    int32_t *weights; /* [size][longest] */
} axis;

/* Keys' cubic convolution kernel with a = -0.5. */
static double bicubic(double x)
{
    x = fabs(x);
    if (x < 1.0)
        return (1.5 * x - 2.5) * x * x + 1.0;
    if (x < 2.0)
        return (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5;
    return 0.0;
}

static int32_t quantise(double weight)
{
    double scaled = weight * (1 << WEIGHT_BITS);
    return (int32_t)(scaled < 0.0 ? scaled - 0.5 : scaled + 0.5);
}

static size_t round_position(double position, size_t limit)
{
    double rounded = position + 0.5;
    if (rounded <= 0.0)
        return 0;
    return rounded >= (double)limit ? limit : (size_t)rounded;
}

/* Where the picture lies along one axis of its canvas. */
typedef struct extent {
    size_t canvas, start, length;
} extent;

/* The window of the filter that reaches `support` to both sides of `centre` and is drawn out by `stretch`. */
static void fill_window(window *w, int32_t *weights, const extent *e, double centre, double support, double stretch)
{
    size_t low = round_position(centre - support, e->canvas), high = round_position(centre + support, e->canvas);
    size_t end = e->start + e->length, first = low > e->start ? low : e->start;
    double narrow = 1.0 / stretch, total = 0.0;
    if (end > high)
        end = high;
    if (end < first)
        end = first = e->start;
    *w = (window){.first = first - e->start, .count = end - first};
    for (size_t x = low; x < high; x++)
        total += bicubic(((double)x - centre + 0.5) * narrow);
    for (size_t x = low; x < high; x++) {
        int32_t weight = quantise(bicubic(((double)x - centre + 0.5) * narrow) / total);
        if (x >= first && x < end)
            weights[x - first] = weight;
        else
            w->ground += weight;
    }
}

static be_status make_axis(axis *a, extent e, size_t size, be_error *error)
{
    double scale = (double)e.canvas / (double)size, stretch = scale > 1.0 ? scale : 1.0;
    /* At the same size the kernel is one at the centre and zero at the pixels around it. */
    double support = e.canvas == size ? 0.5 : 2.0 * stretch;
    size_t widest = (size_t)ceil(support) * 2 + 1, count;
    void *windows = NULL, *weights = NULL;
    a->size = size;
    a->longest = widest < e.length ? widest : e.length;
    if (!be_size_multiply(size, a->longest, &count))
        return be_fail_memory(error, SIZE_MAX, "the weights of a resize");
    be_status status = be_allocate(&windows, size, sizeof *a->windows, "the windows of a resize", error);
    if (status != BE_OK)
        return status;
    a->windows = windows;
    status = be_allocate(&weights, count, sizeof *a->weights, "the weights of a resize", error);
    if (status != BE_OK)
        return status;
    a->weights = weights;
    for (size_t i = 0; i < size; i++)
        fill_window(&a->windows[i], a->weights + i * a->longest, &e, ((double)i + 0.5) * scale, support, stretch);
    return BE_OK;
}

static void free_axis(axis *a)
{
    free(a->windows);
    free(a->weights);
}

static uint8_t to_byte(int64_t sum)
{
    if (sum <= 0)
        return 0;
    sum >>= WEIGHT_BITS;
    return sum > 255 ? 255 : (uint8_t)sum;
}

static void resample_row(const axis *columns, const uint8_t *row, const uint8_t ground[3], uint8_t *out)
{
    for (size_t x = 0; x < columns->size; x++, out += 3) {
        const window *w = &columns->windows[x];
        const int32_t *weights = columns->weights + x * columns->longest;
        const uint8_t *pixel = row + 3 * w->first;
        int64_t red = HALF + w->ground * ground[0];
        int64_t green = HALF + w->ground * ground[1];
        int64_t blue = HALF + w->ground * ground[2];
        for (size_t k = 0; k < w->count; k++, pixel += 3) {
            red += (int64_t)weights[k] * pixel[0];
            green += (int64_t)weights[k] * pixel[1];
            blue += (int64_t)weights[k] * pixel[2];
        }
        out[0] = to_byte(red);
        out[1] = to_byte(green);
        out[2] = to_byte(blue);
    }
}

/* What resample_row makes of a row of the canvas that the picture does not reach. */
static void resample_ground(const axis *columns, const uint8_t ground[3], uint8_t *out)
{
    for (size_t x = 0; x < columns->size; x++, out += 3) {
        const window *w = &columns->windows[x];
        int64_t total = w->ground;
        for (size_t k = 0; k < w->count; k++)
            total += columns->weights[x * columns->longest + k];
        for (size_t c = 0; c < 3; c++)
            out[c] = to_byte(HALF + total * ground[c]);
    }
}

static void start_sums(int64_t *sums, int64_t weight, const uint8_t *line, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sums[i] = HALF + weight * line[i];
}

static void add_line(int64_t *sums, int64_t weight, const uint8_t *line, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sums[i] += weight * line[i];
}

/* Both passes at once: a row of the picture is resampled when the first row of the answer needs it, and kept in a ring
 * of as many lines as one row of the answer needs. `ground` is one more line, `sums` the row being added up. */
static void resample_rows(const be_canvas *canvas, const axis *columns, const axis *rows, uint8_t *ring,
                          uint8_t *ground, int64_t *sums, uint8_t *out)
{
    size_t count = columns->size * 3, ready = 0;
    resample_ground(columns, canvas->ground, ground);
    for (size_t y = 0; y < rows->size; y++, out += count) {
        const window *w = &rows->windows[y];
        for (; ready < w->first + w->count; ready++)
            resample_row(columns, canvas->rgb + ready * canvas->stride, canvas->ground,
                         ring + ready % rows->longest * count);
        start_sums(sums, w->ground, ground, count);
        for (size_t k = 0; k < w->count; k++)
            add_line(sums, rows->weights[y * rows->longest + k], ring + (w->first + k) % rows->longest * count, count);
        for (size_t i = 0; i < count; i++)
            out[i] = to_byte(sums[i]);
    }
}

be_status be_resample(const be_canvas *canvas, size_t width, size_t height, be_image *out, be_error *error)
{
    extent across = {canvas->canvas_width, canvas->left, canvas->width};
    extent down = {canvas->canvas_height, canvas->top, canvas->height};
    axis columns = {0}, rows = {0};
    be_image made = {0};
    void *ring = NULL, *ground = NULL, *sums = NULL;
    be_status status;
    if (width == 0 || height == 0)
        return be_fail(error, BE_ERROR_ARGUMENT, "a picture cannot be resized to %zu x %zu pixels", width, height);
    if ((status = be_image_create(width, height, &made, error)) != BE_OK ||
        (status = make_axis(&columns, across, width, error)) != BE_OK ||
        (status = make_axis(&rows, down, height, error)) != BE_OK ||
        (status = be_allocate(&ring, rows.longest, width * 3, "the lines of a resize", error)) != BE_OK ||
        (status = be_allocate(&ground, width, 3, "a line of a resize", error)) != BE_OK ||
        (status = be_allocate(&sums, width * 3, sizeof(int64_t), "a line of a resize", error)) != BE_OK)
        goto cleanup;
    resample_rows(canvas, &columns, &rows, ring, ground, sums, made.rgb);
    *out = made;
    made = (be_image){0};
cleanup:
    be_image_free(&made);
    free_axis(&columns);
    free_axis(&rows);
    free(ring);
    free(ground);
    free(sums);
    return status;
}
