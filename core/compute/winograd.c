#include "core/compute/winograd.h"

#include <stdint.h>
#include <string.h>

/* --- weights -------------------------------------------------------------------------------------- */

/* The rows of U: (1 0 0) (1/2 1/2 1/2) (1/2 -1/2 1/2) (0 0 1). */
static void transform_weight(const double g[3], double out[4])
{
    out[0] = g[0];
    out[1] = (g[0] + g[1] + g[2]) / 2;
    out[2] = (g[0] - g[1] + g[2]) / 2;
    out[3] = g[2];
}

void be_winograd_weight(const double kernel[9], double planes[WINOGRAD_PLANES])
{
    double half[3][4]; /* U G, turned */
    for (size_t x = 0; x < 3; x++) {
        const double column[3] = {kernel[x], kernel[3 + x], kernel[6 + x]};
        transform_weight(column, half[x]);
    }
    for (size_t y = 0; y < 4; y++) {
        const double row[3] = {half[0][y], half[1][y], half[2][y]};
        transform_weight(row, planes + 4 * y);
    }
}

/* --- maps ----------------------------------------------------------------------------------------- */

/* Sixteen bytes: what every processor of a 64-bit kind has. The sums take a small part of the time of the products. */
enum { LANES = 4 };
typedef float lanes __attribute__((vector_size(LANES * sizeof(float))));
typedef int32_t int_lanes __attribute__((vector_size(LANES * sizeof(float))));

/* Loads and stores are of `count` channels, LANES of them but at the end of a row. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

ALWAYS_INLINE lanes load(const float *from, size_t count)
{
    lanes value = {0};
    memcpy(&value, from, count * sizeof *from);
    return value;
}

ALWAYS_INLINE void store(float *to, lanes value, size_t count)
{
    memcpy(to, &value, count * sizeof *to);
}

/* The rows of B': (1 0 -1 0) (0 1 1 0) (0 -1 1 0) (0 1 0 -1). */
ALWAYS_INLINE void enter(const float *const pixels[WINOGRAD_PLANES], size_t c, size_t count, float *planes, size_t stride)
{
    lanes half[4][4];
    for (size_t x = 0; x < 4; x++) {
        lanes a = load(pixels[x] + c, count), b = load(pixels[4 + x] + c, count);
        lanes d = load(pixels[8 + x] + c, count), e = load(pixels[12 + x] + c, count);
        half[0][x] = a - d;
        half[1][x] = b + d;
        half[2][x] = d - b;
        half[3][x] = b - e;
    }
    for (size_t y = 0; y < 4; y++) {
        float *plane = planes + 4 * y * stride + c;
        store(plane, half[y][0] - half[y][2], count);
        store(plane + stride, half[y][1] + half[y][2], count);
        store(plane + 2 * stride, half[y][2] - half[y][1], count);
        store(plane + 3 * stride, half[y][1] - half[y][3], count);
    }
}

void be_winograd_input(const float *const pixels[WINOGRAD_PLANES], size_t channels, float *planes, size_t stride)
{
    size_t c = 0;
    for (; c + LANES <= channels; c += LANES)
        enter(pixels, c, LANES, planes, stride);
    if (c < channels)
        enter(pixels, c, channels - c, planes, stride);
}

ALWAYS_INLINE void put(float *to, lanes value, size_t count, be_convolution_finish finish)
{
    if (finish == BE_CONVOLUTION_ADD_RELU)
        value += load(to, count);
    if (finish != BE_CONVOLUTION_BIAS)
        value = (lanes)((int_lanes)value & ~(value < (lanes){0})); /* this way round NaN stays NaN */
    store(to, value, count);
}

/* The rows of A': (1 1 1 0) (0 1 -1 -1). */
ALWAYS_INLINE void leave(const float *planes, size_t stride, size_t c, size_t count, const float *bias,
                         be_convolution_finish finish, float *const results[WINOGRAD_RESULTS])
{
    lanes top[4], bottom[4], shift = load(bias + c, count);
    for (size_t x = 0; x < 4; x++) {
        lanes a = load(planes + x * stride + c, count), b = load(planes + (4 + x) * stride + c, count);
        lanes d = load(planes + (8 + x) * stride + c, count), e = load(planes + (12 + x) * stride + c, count);
        top[x] = a + b + d;
        bottom[x] = b - d - e;
    }
    put(results[0] + c, top[0] + top[1] + top[2] + shift, count, finish);
    put(results[1] + c, top[1] - top[2] - top[3] + shift, count, finish);
    put(results[2] + c, bottom[0] + bottom[1] + bottom[2] + shift, count, finish);
    put(results[3] + c, bottom[1] - bottom[2] - bottom[3] + shift, count, finish);
}

void be_winograd_output(const float *planes, size_t stride, size_t channels, const float *bias, be_convolution_finish finish,
                        float *const results[WINOGRAD_RESULTS])
{
    size_t c = 0;
    for (; c + LANES <= channels; c += LANES)
        leave(planes, stride, c, LANES, bias, finish, results);
    if (c < channels)
        leave(planes, stride, c, channels - c, bias, finish, results);
}
