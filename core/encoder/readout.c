#include <stdlib.h>

#include "core/base/memory.h"
#include "core/encoder/encoder.h"
#include "core/encoder/load.h"

enum { BLOCK_VERTICES = 512 };

struct be_readout {
    size_t width, vertices;
    float *weight;   /* [vertices][width]; NULL: */
    uint16_t *halves; /* the same in bfloat16, as the file has it */
    float *bias;     /* [vertices] */
    const be_readout_lists *lists; /* NULL: vertex v is read from query v */
};

typedef struct run {
    const be_readout *readout;
    const be_team *team;
    const float *tokens; /* [Q][width] */
    float *out;          /* [vertices] */
} run;

/* token . W[v] + b[v] */
static float read_vertex(const be_readout *readout, const be_kernels *kernels, const float *token, size_t v)
{
    size_t width = readout->width;
    float sum = readout->halves ? kernels->dot_bf16(token, readout->halves + v * width, width)
                                : kernels->dot(token, readout->weight + v * width, width);
    return sum + readout->bias[v];
}

static void read_block(void *context, size_t block, size_t worker)
{
    const run *self = context;
    const be_readout *readout = self->readout;
    size_t first = block * BLOCK_VERTICES, width = readout->width;
    size_t end = first + BLOCK_VERTICES < readout->vertices ? first + BLOCK_VERTICES : readout->vertices;
    (void)worker;
    for (size_t v = first; v < end; v++) {
        float sum = 0;
        for (size_t i = readout->lists->start[v]; i < readout->lists->start[v + 1]; i++) {
            const float *token = self->tokens + readout->lists->queries[i] * width;
            sum += read_vertex(readout, self->team->isa->kernels, token, v);
        }
        self->out[v] = sum;
    }
}

void be_readout_run(const be_readout *readout, const be_team *team, const float *tokens, float *out)
{
    run self = {readout, team, tokens, out};
    be_team_run(team, BE_STAGE_READ_OUT, (readout->vertices + BLOCK_VERTICES - 1) / BLOCK_VERTICES, read_block, &self);
}

void be_readout_rows(const be_readout *readout, const be_kernels *kernels, size_t first, size_t count, const float *tokens,
                     float *out)
{
    for (size_t v = first; v < first + count; v++, tokens += readout->width)
        out[v] = read_vertex(readout, kernels, tokens, v);
}

/* Weights that the file holds in bfloat16 stay so in memory. */
static be_status load_weights(be_readout *readout, be_tensor_file *file, const be_tensor *const tensors[2], be_error *error)
{
    size_t left = tensors[0]->shape[0] * readout->width, count = readout->vertices * readout->width;
    bool halves = tensors[0]->dtype == BE_DTYPE_BF16 && tensors[1]->dtype == BE_DTYPE_BF16;
    void *memory;
    be_status status = be_allocate_aligned(&memory, count, halves ? sizeof(uint16_t) : sizeof(float), "the weights of a readout",
                                           error);
    if (status != BE_OK)
        return status;
    if (halves) {
        readout->halves = memory;
        status = be_tensor_file_read_halves(file, tensors[0], readout->halves, error);
        return status == BE_OK ? be_tensor_file_read_halves(file, tensors[1], readout->halves + left, error) : status;
    }
    readout->weight = memory;
    status = be_tensor_file_read_weights(file, tensors[0], readout->weight, error);
    return status == BE_OK ? be_tensor_file_read_weights(file, tensors[1], readout->weight + left, error) : status;
}

static be_status load_biases(be_readout *readout, be_tensor_file *file, const char *prefix, size_t left, be_error *error)
{
    void *memory;
    be_status status = be_allocate_aligned(&memory, readout->vertices, sizeof(float), "the biases of a readout", error);
    if (status != BE_OK)
        return status;
    readout->bias = memory;
    const be_wanted_tensor wanted[] = {
        {"lh_embed.0.bias", left, 0, readout->bias},
        {"rh_embed.0.bias", readout->vertices - left, 0, readout->bias + left},
    };
    return be_load_tensors(file, prefix, wanted, sizeof wanted / sizeof *wanted, error);
}

be_status be_readout_load(be_tensor_file *file, const char *prefix, size_t width, size_t left, size_t right,
                          const be_readout_lists *lists, be_readout **out, be_error *error)
{
    const be_tensor *tensors[2];
    void *memory;
    be_status status = be_find_tensor(file, prefix, "lh_embed.0.weight", left, width, &tensors[0], error);
    if (status == BE_OK)
        status = be_find_tensor(file, prefix, "rh_embed.0.weight", right, width, &tensors[1], error);
    if (status == BE_OK)
        status = be_allocate(&memory, 1, sizeof(be_readout), "a readout", error);
    if (status != BE_OK)
        return status;
    be_readout *readout = memory;
    readout->width = width;
    readout->vertices = left + right;
    status = load_weights(readout, file, tensors, error);
    if (status == BE_OK)
        status = load_biases(readout, file, prefix, left, error);
    if (status != BE_OK) {
        be_readout_free(readout);
        return status;
    }
    readout->lists = lists;
    *out = readout;
    return BE_OK;
}

size_t be_readout_bytes(const be_readout *readout)
{
    size_t each = readout->width * (readout->halves ? sizeof *readout->halves : sizeof *readout->weight) + sizeof *readout->bias;
    return readout->vertices * each;
}

void be_readout_free(be_readout *readout)
{
    if (!readout)
        return;
    free(readout->weight);
    free(readout->halves);
    free(readout->bias);
    free(readout);
}
