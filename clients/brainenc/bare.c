#include "clients/brainenc/bare.h"

#include <stdlib.h>

#include "clients/brainenc/blas.h"
#include "core/base/memory.h"
#include "core/compute/panels.h"
#include "core/compute/pool.h"

/* A product and where its weight lies among the weights. */
typedef struct product {
    be_product is;
    size_t offset;
} product;

/* A product of so many rows is computed some rows at a time, as those of a readout by vertex are: nobody keeps the scores of 40,000
 * queries. */
enum { MANY_ROWS = 4096, PIECE_ROWS = 512 };

struct bare {
    product *products;
    size_t n_products, product_capacity, threads;
    size_t weight_floats, left_floats, out_floats;
    float *weights;        /* [weight_floats] */
    float *left, *out;     /* [threads][left_floats], [threads][out_floats] */
    be_pool *pool;
    const be_product *current;
    const float *current_weight;
    be_error failure;      /* of the first product there was no memory for */
};

static size_t pieces_of(size_t rows)
{
    return rows < MANY_ROWS ? 1 : (rows + PIECE_ROWS - 1) / PIECE_ROWS;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static void add(void *context, const be_product *it)
{
    bare *self = context;
    void *products = self->products;
    if (self->failure.status != BE_OK || be_grow(&products, &self->product_capacity, self->n_products + 1, sizeof(product),
                                                 "bare products", &self->failure) != BE_OK)
        return;
    self->products = products;
    self->products[self->n_products++] = (product){*it, self->weight_floats};
    size_t pieces = pieces_of(it->rows), rows = (it->rows + pieces - 1) / pieces, right = it->columns * it->inner;
    if (it->shared)
        self->weight_floats += right;
    else /* taken from where the first operand is */
        self->left_floats = larger(self->left_floats, right);
    self->left_floats = larger(self->left_floats, rows * it->inner);
    self->out_floats = larger(self->out_floats, rows * it->columns);
}

static be_status list_products(bare *self, const be_model *model, const be_image *image, be_error *error)
{
    be_model_list_products(model, image, &(be_product_list){add, self});
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

be_status bare_create(const be_model *model, const be_image *image, size_t threads, bare **out, be_error *error)
{
    void *memory;
    be_status status = be_allocate(&memory, 1, sizeof(bare), "bare products", error);
    if (status != BE_OK)
        return status;
    bare *self = memory;
    self->threads = threads;
    blas_use_one_thread();
    status = list_products(self, model, image, error);
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

static double operations_of(const be_product *it)
{
    return 2.0 * (double)it->rows * (double)it->columns * (double)it->inner * (double)it->count;
}

double bare_operations(const bare *self)
{
    double operations = 0;
    for (size_t i = 0; i < self->n_products; i++)
        operations += operations_of(&self->products[i].is);
    return operations;
}

double bare_stage_operations(const bare *self, be_stage stage, be_precision precision)
{
    double operations = 0;
    for (size_t i = 0; i < self->n_products; i++) {
        const be_product *it = &self->products[i].is;
        if (it->stage == stage && it->precision == precision)
            operations += operations_of(it);
    }
    return operations;
}

static size_t tasks_of(const be_product *it, size_t threads)
{
    return it->shared ? larger(pieces_of(it->rows), threads) : it->count * pieces_of(it->rows);
}

/* One of a product's tasks: some rows of it, or of one of several. */
static void multiply(const bare *self, const be_product *it, const float *weight, size_t task, size_t tasks, size_t worker)
{
    const float *left = self->left + worker * self->left_floats, *right = it->shared ? weight : left;
    float *out = self->out + worker * self->out_floats;
    size_t parts = it->shared ? tasks : pieces_of(it->rows), part = task % parts;
    size_t rows = be_panel_start(it->rows, parts, part + 1) - be_panel_start(it->rows, parts, part);
    if (it->transposed)
        blas_product_transposed(out, left, right, rows, it->columns, it->inner);
    else
        blas_product(out, left, right, rows, it->columns, it->inner);
}

static void multiply_current(void *context, size_t task, size_t worker)
{
    const bare *self = context;
    multiply(self, self->current, self->current_weight, task, tasks_of(self->current, self->threads), worker);
}

double bare_together(bare *self)
{
    double start = be_clock();
    for (size_t i = 0; i < self->n_products; i++) {
        self->current = &self->products[i].is;
        self->current_weight = self->weights + self->products[i].offset;
        be_pool_run(self->pool, tasks_of(self->current, self->threads), multiply_current, self);
    }
    return be_clock() - start;
}

static void multiply_image(void *context, size_t image, size_t worker)
{
    const bare *self = context;
    (void)image;
    for (size_t i = 0; i < self->n_products; i++) {
        const product *it = &self->products[i];
        size_t tasks = tasks_of(&it->is, 1);
        for (size_t task = 0; task < tasks; task++)
            multiply(self, &it->is, self->weights + it->offset, task, tasks, worker);
    }
}

double bare_stream(bare *self, size_t images)
{
    double start = be_clock();
    be_pool_run(self->pool, images, multiply_image, self);
    return (be_clock() - start) / (double)images;
}
