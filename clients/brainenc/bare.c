#include "clients/brainenc/bare.h"

#include <stdlib.h>
#include <string.h>

#include "clients/brainenc/blas.h"
#include "core/base/memory.h"
#include "core/compute/panels.h"
#include "core/compute/pool.h"

/* `count` products [rows][inner] x [inner][columns]. A shared one's second operand is a weight with a place of its own among the
 * weights, and it is cut along the rows; others are the heads of an attention, or panels. */
typedef struct product {
    be_stage stage;
    size_t rows, columns, inner, count;
    bool shared, transposed;
    size_t offset; /* of the weight */
} product;

enum { MANY_QUERIES = 4096, PANEL_ROWS = 512, BLOCK_ROWS = 128 };

struct bare {
    product *products;
    size_t n_products, product_capacity, threads;
    size_t weight_floats, left_floats, out_floats;
    float *weights;        /* [weight_floats] */
    float *left, *out;     /* [threads][left_floats], [threads][out_floats] */
    be_pool *pool;
    const product *current;
    be_error failure;      /* of the first product there was no memory for */
};

static void add(bare *self, product it)
{
    void *products = self->products;
    if (self->failure.status != BE_OK || be_grow(&products, &self->product_capacity, self->n_products + 1, sizeof(product),
                                                 "bare products", &self->failure) != BE_OK)
        return;
    it.offset = self->weight_floats;
    self->products = products;
    self->products[self->n_products++] = it;
    size_t left = it.rows * it.inner, right = it.columns * it.inner, out = it.rows * it.columns;
    if (it.shared)
        self->weight_floats += right;
    left = left > right ? left : right; /* the heads' second operand is taken from the same place */
    self->left_floats = left > self->left_floats ? left : self->left_floats;
    self->out_floats = out > self->out_floats ? out : self->out_floats;
}

/* `count` products with one and the same weight [columns][inner]. */
static void add_linear(bare *self, be_stage stage, size_t rows, size_t columns, size_t inner, size_t count, bool shared)
{
    add(self, (product){.stage = stage, .rows = rows, .columns = columns, .inner = inner, .count = count, .shared = shared,
                        .transposed = true});
}

/* Both products of `count` heads. */
static void add_attention(bare *self, be_stage stage, size_t queries, size_t tokens, size_t head_width, size_t count)
{
    add(self, (product){.stage = stage, .rows = queries, .columns = tokens, .inner = head_width, .count = count, .transposed = true});
    add(self, (product){.stage = stage, .rows = queries, .columns = head_width, .inner = tokens, .count = count});
}

static void add_backbone(bare *self, const be_backbone_info *backbone, size_t cells)
{
    size_t width = backbone->channels, tokens = cells + 1;
    add_linear(self, BE_STAGE_EMBED, cells, width, 3 * backbone->patch * backbone->patch, 1, true);
    for (size_t block = 0; block < backbone->blocks_needed; block++) {
        add_linear(self, BE_STAGE_PROJECT, tokens, 3 * width, width, 1, true);
        add_attention(self, BE_STAGE_ATTEND, tokens, tokens, width / backbone->heads, backbone->heads);
        add_linear(self, BE_STAGE_FEED_FORWARD, tokens, width, width, 1, true);
        add_linear(self, BE_STAGE_FEED_FORWARD, tokens, backbone->hidden, width, 1, true);
        add_linear(self, BE_STAGE_FEED_FORWARD, tokens, width, backbone->hidden, 1, true);
    }
    add_linear(self, BE_STAGE_FEATURES, cells, width, width, 1, true); /* of the deepest layer: the others' queries are their blocks' */
}

/* Attention of all queries and what follows it, in the blocks it is computed in. */
static void add_queries(bare *self, size_t queries, size_t width, size_t hidden, size_t heads, size_t cells)
{
    bool many = queries >= MANY_QUERIES; /* as core/encoder/decoder.c cuts them */
    size_t panels = many ? (queries + PANEL_ROWS - 1) / PANEL_ROWS : 1, rows = (queries + panels - 1) / panels;
    size_t blocks = many ? (rows + BLOCK_ROWS - 1) / BLOCK_ROWS * panels : 1, block = (queries + blocks - 1) / blocks;
    add_attention(self, BE_STAGE_ENCODE, block, cells, width / heads, blocks * heads);
    add_linear(self, BE_STAGE_ENCODE, rows, width, width, panels, !many);
    add_linear(self, BE_STAGE_ENCODE, rows, hidden, width, panels, !many);
    add_linear(self, BE_STAGE_ENCODE, rows, width, hidden, panels, !many);
}

static void add_encoders(bare *self, const be_subject *subject, size_t cells)
{
    const be_subject_info *info = be_subject_get_info(subject);
    for (size_t m = 0; m < info->members; m++) {
        size_t hidden = be_encoder_get_info(be_subject_encoder(subject, m))->hidden;
        add_linear(self, BE_STAGE_ENCODE, cells, info->channels, info->channels, 2, true); /* keys and values */
        add_queries(self, info->queries, info->channels, hidden, info->heads, cells);
    }
}

static be_status list_products(bare *self, const be_model *model, size_t cells, be_error *error)
{
    add_backbone(self, be_model_backbone(model), cells);
    for (size_t s = 0; s < be_model_subjects(model); s++) {
        const be_subject_info *info = be_subject_get_info(be_model_subject(model, s));
        if (strcmp(info->encoder, "transformer") != 0)
            return be_fail(error, BE_ERROR_UNSUPPORTED, "%s: the bare products of its %s encoder are not known here; transformer's are",
                           info->name, info->encoder);
        add_encoders(self, be_model_subject(model, s), cells);
    }
    return self->failure.status == BE_OK ? BE_OK : be_fail(error, self->failure.status, "%s", self->failure.message);
}

static be_status make_operand(float **out, size_t floats, be_error *error)
{
    void *memory;
    be_status status = be_allocate_aligned(&memory, floats, sizeof(float), "the operands of bare products", error);
    if (status != BE_OK)
        return status;
    *out = memory;
    uint32_t bits = 1;
    for (size_t i = 0; i < floats; i++) { /* a linear congruence: any numbers of moderate size will do */
        bits = bits * 1664525u + 1013904223u;
        (*out)[i] = (float)(bits >> 8) * 0x1p-24f - 0.5f;
    }
    return BE_OK;
}

be_status bare_create(const be_model *model, size_t rows, size_t columns, size_t threads, bare **out, be_error *error)
{
    void *memory;
    be_status status = be_allocate(&memory, 1, sizeof(bare), "bare products", error);
    if (status != BE_OK)
        return status;
    bare *self = memory;
    self->threads = threads;
    blas_use_one_thread();
    status = list_products(self, model, rows * columns, error);
    if (status == BE_OK)
        status = make_operand(&self->weights, self->weight_floats, error);
    if (status == BE_OK)
        status = make_operand(&self->left, threads * self->left_floats, error);
    if (status == BE_OK)
        status = make_operand(&self->out, threads * self->out_floats, error);
    if (status == BE_OK)
        status = be_pool_create(threads, &self->pool, error);
    if (status != BE_OK) {
        bare_free(self);
        return status;
    }
    *out = self;
    return BE_OK;
}

void bare_free(bare *self)
{
    if (!self)
        return;
    be_pool_destroy(self->pool);
    free(self->weights);
    free(self->left);
    free(self->out);
    free(self->products);
    free(self);
}

static double operations_of(const product *it)
{
    return 2.0 * (double)it->rows * (double)it->columns * (double)it->inner * (double)it->count;
}

double bare_operations(const bare *self)
{
    double operations = 0;
    for (size_t i = 0; i < self->n_products; i++)
        operations += operations_of(&self->products[i]);
    return operations;
}

double bare_stage_operations(const bare *self, be_stage stage)
{
    double operations = 0;
    for (size_t i = 0; i < self->n_products; i++) {
        if (self->products[i].stage == stage)
            operations += operations_of(&self->products[i]);
    }
    return operations;
}

static void multiply(const bare *self, const product *it, size_t rows, size_t worker)
{
    const float *left = self->left + worker * self->left_floats;
    const float *right = it->shared ? self->weights + it->offset : left;
    float *out = self->out + worker * self->out_floats;
    if (it->transposed)
        blas_product_transposed(out, left, right, rows, it->columns, it->inner);
    else
        blas_product(out, left, right, rows, it->columns, it->inner);
}

/* One thread's part of the current product: its share of the rows, or one head. */
static void multiply_part(void *context, size_t task, size_t worker)
{
    const bare *self = context;
    const product *it = self->current;
    size_t rows = it->rows;
    if (it->shared)
        rows = be_panel_start(it->rows, self->threads, task + 1) - be_panel_start(it->rows, self->threads, task);
    multiply(self, it, rows, worker);
}

double bare_together(bare *self)
{
    double start = be_clock();
    for (size_t i = 0; i < self->n_products; i++) {
        self->current = &self->products[i];
        be_pool_run(self->pool, self->current->shared ? self->threads : self->current->count, multiply_part, self);
    }
    return be_clock() - start;
}

static void multiply_image(void *context, size_t task, size_t worker)
{
    const bare *self = context;
    (void)task;
    for (size_t i = 0; i < self->n_products; i++) {
        for (size_t n = 0; n < self->products[i].count; n++)
            multiply(self, &self->products[i], self->products[i].rows, worker);
    }
}

double bare_stream(bare *self, size_t images)
{
    double start = be_clock();
    be_pool_run(self->pool, images, multiply_image, self);
    return (be_clock() - start) / (double)images;
}
