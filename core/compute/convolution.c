#include "core/compute/convolution.h"

#include <string.h>

#include "core/compute/matrix.h"
#include "core/compute/panels.h"
#include "core/compute/winograd.h"

/* Tiles that one task transforms: enough for fast products, few enough for their 16 planes to stay in the caches. */
enum { PANEL_TILES = 128 };
/* A map of few pixels is cut by output channels too, so that several workers have something to do; but not thinner than
 * products are fast. */
enum { LEAST_TASKS = 8, LEAST_CHANNELS = 64 };

static bool is_pointwise(const be_convolution *self)
{
    return self->kernel == 1 && self->stride == 1 && self->padding == 0;
}

static bool is_winograd(const be_convolution *self)
{
    return self->kernel == 3 && self->stride == 1 && self->padding == self->dilation;
}

size_t be_convolution_size(const be_convolution *self, size_t size)
{
    size_t padded = size + 2 * self->padding, reach = self->dilation * (self->kernel - 1) + 1;
    return padded < reach ? 0 : (padded - reach) / self->stride + 1;
}

/* --- weights -------------------------------------------------------------------------------------- */

/* The products a convolution is: one of all that lies under the kernel, or in Winograd's form one a plane. */
static size_t count_products(const be_convolution *self)
{
    return is_winograd(self) ? WINOGRAD_PLANES : 1;
}

/* What each of them sums over. */
static size_t inner_of(const be_convolution *self)
{
    return is_winograd(self) ? self->in : self->in * self->kernel * self->kernel;
}

static size_t product_floats(const be_convolution *self)
{
    return be_whole_tiles(self->out) * inner_of(self);
}

size_t be_convolution_weights(const be_convolution *self)
{
    return count_products(self) * product_floats(self);
}

/* The weights of some output channels in a product; `channel` is a multiple of BE_TILE_ROWS. */
static be_matrix weights_of(const be_convolution *self, size_t product, size_t channel, size_t channels)
{
    be_matrix matrix;
    be_matrix_make(&matrix, BE_PRECISION_F32, channels, inner_of(self),
                   self->weight + product * product_floats(self) + channel * inner_of(self));
    return matrix;
}

/* [out][in][tap] to [out][tap][in]. */
static void arrange_taps(const be_convolution *self, const float *weight, const double *scale)
{
    size_t taps = self->kernel * self->kernel, inner = inner_of(self);
    for (size_t o = 0; o < self->out; o++) {
        for (size_t i = 0; i < self->in; i++) {
            for (size_t t = 0; t < taps; t++)
                self->weight[be_strip_place(inner, o, t * self->in + i)] = (float)(scale[o] * (double)*weight++);
        }
    }
}

/* [out][in][3][3] to [plane][out][in]. */
static void arrange_planes(const be_convolution *self, const float *weight, const double *scale)
{
    enum { TAPS = 9 };
    for (size_t o = 0; o < self->out; o++) {
        for (size_t i = 0; i < self->in; i++) {
            double kernel[TAPS], planes[WINOGRAD_PLANES];
            for (size_t t = 0; t < TAPS; t++)
                kernel[t] = scale[o] * (double)*weight++;
            be_winograd_weight(kernel, planes);
            for (size_t p = 0; p < WINOGRAD_PLANES; p++)
                self->weight[p * product_floats(self) + be_strip_place(self->in, o, i)] = (float)planes[p];
        }
    }
}

void be_convolution_arrange(const be_convolution *self, const float *weight, const double *scale)
{
    memset(self->weight, 0, be_convolution_weights(self) * sizeof *self->weight); /* columns that fill up a strip */
    if (is_winograd(self))
        arrange_planes(self, weight, scale);
    else
        arrange_taps(self, weight, scale);
}

/* --- one task: a panel of pixels or tiles, for a piece of the output channels --------------------- */

typedef struct job {
    const be_team *team;
    const be_convolution *convolution;
    const float *in;
    size_t rows, columns; /* of in */
    float *out;
    size_t out_rows, out_columns;
    be_convolution_finish finish;
    size_t units, unit_columns; /* pixels of the result, or tiles; in one row */
    size_t panels, pieces;      /* of the units, of the output channels */
} job;

typedef struct part {
    size_t first, count;      /* units */
    size_t channel, channels; /* of the result */
} part;

static part part_of(const job *self, size_t task)
{
    size_t panel = task / self->pieces, piece = task % self->pieces, out = self->convolution->out;
    size_t strips = be_whole_tiles(out) / BE_TILE_ROWS, end = be_panel_start(strips, self->pieces, piece + 1) * BE_TILE_ROWS;
    part it = {.first = be_panel_start(self->units, self->panels, panel),
               .channel = be_panel_start(strips, self->pieces, piece) * BE_TILE_ROWS};
    it.count = be_panel_start(self->units, self->panels, panel + 1) - it.first;
    it.channels = (end < out ? end : out) - it.channel;
    return it;
}

static void count_tasks(job *self, size_t panel_units)
{
    self->panels = (self->units + panel_units - 1) / panel_units;
    size_t wanted = (LEAST_TASKS + self->panels - 1) / self->panels, most = self->convolution->out / LEAST_CHANNELS;
    self->pieces = wanted < most ? wanted : most;
    if (self->pieces == 0)
        self->pieces = 1;
}

/* --- products of gathered pixels ------------------------------------------------------------------ */

/* `taps` neighbouring pixels of a row, from `start` on, which counts from the padding's first pixel. */
static float *copy_pixels(const be_convolution *self, const float *row, size_t columns, size_t start, size_t taps, float *out)
{
    size_t padding = self->padding, in = self->in;
    size_t from = start > padding ? start : padding, end = start + taps < columns + padding ? start + taps : columns + padding;
    if (end < from) /* nothing but padding, on one side or the other */
        from = end = start;
    memset(out, 0, (from - start) * in * sizeof *out);
    if (end > from)
        memcpy(out + (from - start) * in, row + (from - padding) * in, (end - from) * in * sizeof *out);
    memset(out + (end - start) * in, 0, (start + taps - end) * in * sizeof *out);
    return out + taps * in;
}

/* The pixels under the kernel, [y][x][in], for each pixel of the result from `first` on. */
static void gather(const job *self, size_t first, size_t count, float *out)
{
    const be_convolution *convolution = self->convolution;
    size_t kernel = convolution->kernel, dilation = convolution->dilation, padding = convolution->padding;
    for (size_t i = first; i < first + count; i++) {
        size_t top = i / self->out_columns * convolution->stride, left = i % self->out_columns * convolution->stride;
        for (size_t y = top; y < top + kernel * dilation; y += dilation) {
            if (y < padding || y - padding >= self->rows) {
                memset(out, 0, kernel * convolution->in * sizeof *out);
                out += kernel * convolution->in;
                continue;
            }
            const float *row = self->in + (y - padding) * self->columns * convolution->in;
            if (dilation == 1) {
                out = copy_pixels(convolution, row, self->columns, left, kernel, out);
                continue;
            }
            for (size_t x = left; x < left + kernel * dilation; x += dilation)
                out = copy_pixels(convolution, row, self->columns, x, 1, out);
        }
    }
}

static void multiply(void *context, size_t task, size_t worker)
{
    static const be_epilogue finishes[] = {BE_EPILOGUE_BIAS, BE_EPILOGUE_RELU, BE_EPILOGUE_ADD_RELU}; /* of be_convolution_finish */
    const job *self = context;
    const be_convolution *convolution = self->convolution;
    const be_isa *isa = self->team->isa;
    part it = part_of(self, task);
    size_t inner = inner_of(convolution), width = convolution->out;
    const float *pixels = self->in + it.first * inner;
    be_arena *scratch = &self->team->scratch[worker];
    be_arena_reset(scratch);
    if (!is_pointwise(convolution)) {
        float *gathered = be_arena_floats(scratch, it.count * inner);
        gather(self, it.first, it.count, gathered);
        pixels = gathered;
    }
    be_matrix weight = weights_of(convolution, 0, it.channel, it.channels);
    be_activations in;
    be_activations_round(&in, isa, BE_PRECISION_F32, pixels, inner, it.count, inner, 1.0f, scratch);
    be_matrix_multiply(isa, &(be_matrix_product){.in = &in, .weight = &weight, .epilogue = finishes[self->finish],
                                                 .bias = convolution->bias + it.channel, .out_stride = width,
                                                 .out = self->out + it.first * width + it.channel}, scratch);
}

/* --- Winograd ------------------------------------------------------------------------------------- */

/* A tile gives the results at (y, x), (y, x + d), (y + d, x) and (y + d, x + d), d the dilation. Along an axis they are, in
 * each run of 2d pixels, the first d, each with the one d further on, which may lie past the end. */
static size_t count_tiles(size_t pixels, size_t dilation)
{
    size_t rest = pixels % (2 * dilation);
    return pixels / (2 * dilation) * dilation + (rest < dilation ? rest : dilation);
}

static size_t tile_start(size_t tile, size_t dilation)
{
    return tile / dilation * 2 * dilation + tile % dilation;
}

/* From one plane to the next: an odd number of cache lines, so that the 16 do not fall into the same cache sets. */
static size_t plane_stride(size_t count, size_t channels)
{
    enum { LINE = 16 };
    return ((count * channels + LINE - 1) / LINE | 1) * LINE;
}

typedef struct planes {
    float *in, *out;          /* [16] planes of [count][in] and [count][out_width] */
    size_t in_stride, out_stride;
    size_t out_width;         /* the channels, up to whole tiles */
    float *zeros, *discarded; /* [in], [channels]: for pixels outside */
} planes;

static planes lay_out(const be_convolution *self, size_t count, size_t channels, be_arena *scratch)
{
    planes at = {.in_stride = plane_stride(count, self->in), .out_width = be_whole_tiles(channels)};
    at.out_stride = plane_stride(be_whole_tiles(count), at.out_width);
    at.in = be_arena_floats(scratch, WINOGRAD_PLANES * at.in_stride);
    at.out = be_arena_floats(scratch, WINOGRAD_PLANES * at.out_stride);
    at.zeros = be_arena_floats(scratch, self->in);
    at.discarded = be_arena_floats(scratch, channels);
    return at;
}

static void enter_tile(const job *self, size_t tile, const planes *at, float *to)
{
    const be_convolution *convolution = self->convolution;
    size_t dilation = convolution->dilation;
    size_t top = tile_start(tile / self->unit_columns, dilation), left = tile_start(tile % self->unit_columns, dilation);
    const float *pixels[WINOGRAD_PLANES];
    for (size_t i = 0; i < WINOGRAD_PLANES; i++) {
        size_t y = top + i / 4 * dilation, x = left + i % 4 * dilation; /* from the padding's first pixel */
        bool inside = y >= dilation && y - dilation < self->rows && x >= dilation && x - dilation < self->columns;
        pixels[i] = inside ? self->in + ((y - dilation) * self->columns + x - dilation) * convolution->in : at->zeros;
    }
    be_winograd_input(pixels, convolution->in, to, at->in_stride);
}

static void leave_tile(const job *self, size_t tile, const part *it, const planes *at, const float *from)
{
    const be_convolution *convolution = self->convolution;
    size_t dilation = convolution->dilation;
    size_t top = tile_start(tile / self->unit_columns, dilation), left = tile_start(tile % self->unit_columns, dilation);
    float *results[WINOGRAD_RESULTS];
    for (size_t i = 0; i < WINOGRAD_RESULTS; i++) {
        size_t y = top + i / 2 * dilation, x = left + i % 2 * dilation;
        bool inside = y < self->rows && x < self->columns;
        results[i] = inside ? self->out + (y * self->columns + x) * convolution->out + it->channel : at->discarded;
    }
    be_winograd_output(from, at->out_stride, it->channels, convolution->bias + it->channel, self->finish, results);
}

static void transform(void *context, size_t task, size_t worker)
{
    const job *self = context;
    const be_convolution *convolution = self->convolution;
    const be_isa *isa = self->team->isa;
    part it = part_of(self, task);
    size_t in = convolution->in;
    be_arena *scratch = &self->team->scratch[worker];
    be_arena_reset(scratch);
    planes at = lay_out(convolution, it.count, it.channels, scratch);
    memset(at.zeros, 0, in * sizeof(float));
    memset(at.discarded, 0, it.channels * sizeof(float));
    for (size_t i = 0; i < it.count; i++)
        enter_tile(self, it.first + i, &at, at.in + i * in);
    for (size_t p = 0; p < WINOGRAD_PLANES; p++) {
        be_matrix weight = weights_of(convolution, p, it.channel, it.channels);
        be_activations tiles;
        be_activations_round(&tiles, isa, BE_PRECISION_F32, at.in + p * at.in_stride, in, it.count, in, 1.0f, scratch);
        be_matrix_multiply(isa, &(be_matrix_product){.in = &tiles, .weight = &weight, .out = at.out + p * at.out_stride,
                                                     .out_stride = at.out_width, .whole_tiles = true}, scratch);
    }
    for (size_t i = 0; i < it.count; i++)
        leave_tile(self, it.first + i, &it, &at, at.out + i * at.out_width);
}

/* --- running -------------------------------------------------------------------------------------- */

static void count_units(job *self)
{
    const be_convolution *convolution = self->convolution;
    bool winograd = is_winograd(convolution);
    self->out_rows = be_convolution_size(convolution, self->rows);
    self->out_columns = be_convolution_size(convolution, self->columns);
    self->unit_columns = winograd ? count_tiles(self->columns, convolution->dilation) : self->out_columns;
    self->units = self->unit_columns * (winograd ? count_tiles(self->rows, convolution->dilation) : self->out_rows);
}

void be_convolution_run(const be_team *team, be_stage stage, const be_convolution *convolution, const float *in, size_t rows,
                        size_t columns, float *out, be_convolution_finish finish)
{
    job self = {.team = team, .convolution = convolution, .in = in, .rows = rows, .columns = columns, .out = out,
                .finish = finish};
    bool winograd = is_winograd(convolution);
    count_units(&self);
    count_tasks(&self, winograd ? PANEL_TILES : BE_PANEL_ROWS);
    be_team_run(team, stage, self.panels * self.pieces, winograd ? transform : multiply, &self);
}

void be_convolution_list_products(const be_convolution *convolution, be_stage stage, size_t rows, size_t columns,
                                  const be_product_list *list)
{
    job self = {.convolution = convolution, .rows = rows, .columns = columns};
    count_units(&self);
    list->add(list->context, &(be_product){.stage = stage, .rows = self.units, .columns = convolution->out,
                                           .inner = inner_of(convolution), .count = count_products(convolution),
                                           .shared = count_products(convolution) == 1, .transposed = true});
}

size_t be_convolution_scratch(const be_convolution *self)
{
    be_arena counting = {0};
    if (is_winograd(self)) {
        lay_out(self, PANEL_TILES, self->out, &counting);
        return counting.used;
    }
    if (!is_pointwise(self))
        be_arena_floats(&counting, BE_PANEL_ROWS * inner_of(self));
    be_arena_floats(&counting, be_matrix_scratch(BE_PANEL_ROWS));
    return counting.used;
}

/* --- pooling -------------------------------------------------------------------------------------- */

typedef struct pooling {
    const float *in;
    size_t rows, columns, channels;
    float *out;
    size_t out_columns, pixels;
} pooling;

static inline float larger(float a, float b)
{
    return b > a || b != b ? b : a;
}

static void pool_window(const float *const window[9], size_t channels, float *restrict out)
{
    for (size_t c = 0; c < channels; c++) {
        float best = window[0][c];
        for (size_t i = 1; i < 9; i++)
            best = larger(best, window[i][c]);
        out[c] = best;
    }
}

/* A window's middle always lies inside: it stands for the pixels that do not. */
static void pool_panel(void *context, size_t panel, size_t worker)
{
    const pooling *self = context;
    size_t panels = be_panels(self->pixels), channels = self->channels;
    (void)worker;
    for (size_t i = be_panel_start(self->pixels, panels, panel); i < be_panel_start(self->pixels, panels, panel + 1); i++) {
        size_t middle_y = i / self->out_columns * 2, middle_x = i % self->out_columns * 2;
        const float *window[9];
        for (size_t w = 0; w < 9; w++) {
            size_t y = middle_y + w / 3, x = middle_x + w % 3; /* from the padding's first pixel */
            bool inside = y >= 1 && y - 1 < self->rows && x >= 1 && x - 1 < self->columns;
            size_t at = inside ? (y - 1) * self->columns + x - 1 : middle_y * self->columns + middle_x;
            window[w] = self->in + at * channels;
        }
        pool_window(window, channels, self->out + i * channels);
    }
}

void be_max_pool(const be_team *team, be_stage stage, const float *in, size_t rows, size_t columns, size_t channels, float *out)
{
    pooling self = {.in = in, .rows = rows, .columns = columns, .channels = channels, .out = out,
                    .out_columns = (columns + 1) / 2};
    self.pixels = (rows + 1) / 2 * self.out_columns;
    be_team_run(team, stage, be_panels(self.pixels), pool_panel, &self);
}
