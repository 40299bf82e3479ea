#include <stdlib.h>

#include "core/base/memory.h"
#include "core/encoder/encoder.h"
#include "core/encoder/load.h"

enum { BLOCK_VERTICES = 512 };

struct be_readout {
    size_t width, vertices;
    float *weight, *bias; /* [vertices][width], [vertices] */
    const be_readout_lists *lists; /* NULL: vertex v is read from query v */
};

typedef struct run {
    const be_readout *readout;
    const be_team *team;
    const float *tokens; /* [Q][width] */
    float *out;          /* [vertices] */
} run;

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
            sum += self->team->kernels->dot(token, readout->weight + v * width, width) + readout->bias[v];
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
        out[v] = kernels->dot(tokens, readout->weight + v * readout->width, readout->width) + readout->bias[v];
}

be_status be_readout_load(be_tensor_file *file, const char *prefix, size_t width, size_t left, size_t right,
                          const be_readout_lists *lists, be_readout **out, be_error *error)
{
    const be_tensor *tensor;
    void *memory;
    be_status status = be_find_tensor(file, prefix, "lh_embed.0.weight", left, width, &tensor, error);
    if (status == BE_OK)
        status = be_find_tensor(file, prefix, "rh_embed.0.weight", right, width, &tensor, error);
    if (status == BE_OK)
        status = be_allocate(&memory, 1, sizeof(be_readout), "a readout", error);
    if (status != BE_OK)
        return status;
    be_readout *readout = memory;
    readout->width = width;
    readout->vertices = left + right;
    status = be_allocate_aligned(&memory, readout->vertices * (width + 1), sizeof(float), "the weights of a readout", error);
    if (status == BE_OK) {
        readout->weight = memory;
        readout->bias = readout->weight + readout->vertices * width;
        const be_wanted_tensor wanted[] = {
            {"lh_embed.0.weight", left, width, readout->weight},
            {"rh_embed.0.weight", right, width, readout->weight + left * width},
            {"lh_embed.0.bias", left, 0, readout->bias},
            {"rh_embed.0.bias", right, 0, readout->bias + left},
        };
        status = be_load_tensors(file, prefix, wanted, sizeof wanted / sizeof *wanted, error);
    }
    if (status != BE_OK) {
        be_readout_free(readout);
        return status;
    }
    readout->lists = lists;
    *out = readout;
    return BE_OK;
}

void be_readout_free(be_readout *readout)
{
    if (!readout)
        return;
    free(readout->weight);
    free(readout);
}
