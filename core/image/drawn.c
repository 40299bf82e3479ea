#include "core/image/drawn.h"

#include <stdint.h>
#include <stdlib.h>

/* Places and lengths are in units of 1 / SPAN of the picture's side. */
enum { SPAN = 1024, SHAPES = 40, CHANNELS = 3 };

typedef enum kind { GRATING, BLOB, BAR, KINDS } kind;

typedef struct shape {
    kind kind;
    int64_t x, y, radius; /* a disc's, or of a bar half its length */
    int64_t along[2];     /* a direction */
    int64_t scale;        /* its length */
    int64_t period;       /* a grating's; half a bar's width */
    int colours[2][CHANNELS];
} shape;

/* The next of a sequence of well-mixed numbers. */
static uint32_t next(uint32_t *state)
{
    uint32_t mixed = *state += 0x9e3779b9u;
    mixed = (mixed ^ (mixed >> 16)) * 0x21f0aaadu;
    mixed = (mixed ^ (mixed >> 15)) * 0x735a2d97u;
    return mixed ^ (mixed >> 15);
}

static int64_t between(uint32_t *state, int64_t least, int64_t most)
{
    return least + (int64_t)(next(state) % (uint64_t)(most - least + 1));
}

/* The root of a number below 2^16, rounded down. */
static int64_t root_of(int64_t square)
{
    int64_t root = 0;
    for (int64_t bit = 1 << 7; bit; bit >>= 1) {
        if ((root + bit) * (root + bit) <= square)
            root += bit;
    }
    return root;
}

static shape make_shape(uint32_t *state)
{
    shape it = {.kind = (kind)(next(state) % KINDS)};
    it.x = between(state, 0, SPAN);
    it.y = between(state, 0, SPAN);
    it.radius = between(state, SPAN / 16, SPAN / 4);
    it.along[0] = between(state, 1, 45);
    it.along[1] = between(state, -45, 45);
    it.scale = root_of(it.along[0] * it.along[0] + it.along[1] * it.along[1]);
    it.period = between(state, SPAN / 64, SPAN / 8);
    for (int c = 0; c < 2 * CHANNELS; c++)
        it.colours[c / CHANNELS][c % CHANNELS] = (int)between(state, 0, 255);
    return it;
}

/* Of 256, how much of the first and of the second colour lies on a place; the rest is what was there. */
static void cover(const shape *of, int64_t x, int64_t y, int64_t parts[2])
{
    int64_t right = x - of->x, down = y - of->y, square = right * right + down * down, edge = of->radius * of->radius;
    int64_t along = (right * of->along[0] + down * of->along[1]) / of->scale;
    int64_t across = (down * of->along[0] - right * of->along[1]) / of->scale;
    parts[0] = parts[1] = 0;
    if (of->kind == BAR) {
        parts[0] = llabs(across) < of->period && llabs(along) < of->radius ? 256 : 0;
        return;
    }
    if (square >= edge)
        return;
    if (of->kind == BLOB) {
        parts[0] = 256 - 256 * square / edge;
        return;
    }
    int64_t phase = (along + 2 * SPAN * of->period) % of->period; /* a triangle wave of the two colours */
    parts[0] = 256 * (2 * phase < of->period ? 2 * phase : 2 * (of->period - phase)) / of->period;
    parts[1] = 256 - parts[0];
}

static void paint(const shape *of, int64_t x, int64_t y, unsigned char *pixel)
{
    int64_t parts[2];
    cover(of, x, y, parts);
    for (int c = 0; c < CHANNELS; c++)
        pixel[c] = (unsigned char)((of->colours[0][c] * parts[0] + of->colours[1][c] * parts[1] +
                                    pixel[c] * (256 - parts[0] - parts[1])) / 256);
}

void be_image_draw(unsigned number, size_t side, unsigned char *rgb)
{
    uint32_t state = number;
    shape shapes[SHAPES];
    for (int s = 0; s < SHAPES; s++)
        shapes[s] = make_shape(&state);
    for (size_t i = 0; i < side * side; i++) {
        unsigned char *pixel = rgb + CHANNELS * i;
        int64_t x = (int64_t)(i % side * SPAN / side), y = (int64_t)(i / side * SPAN / side);
        for (int c = 0; c < CHANNELS; c++)
            pixel[c] = 128;
        for (int s = 0; s < SHAPES; s++)
            paint(&shapes[s], x, y, pixel);
    }
}
