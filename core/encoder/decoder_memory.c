/* The keys and values of an image's tokens, projected and packed once for all queries. */
#include <string.h>

#include "core/encoder/decoder.h"

/* What is projected stands in one row a token until it is packed: its keys, then its values, unless these are the memory itself. */
static size_t row_floats(const decoder *self)
{
    return self->layers[0].values_bias ? 2 * self->width : self->width;
}

static size_t packed_floats(const decoder *self, size_t columns, size_t inner)
{
    size_t bytes = 0;
    be_matrix_bytes(self->precision, columns, inner, &bytes); /* of arrays that exist: they do not overflow */
    return bytes / sizeof(float);
}

static size_t head_floats(const decoder *self, size_t tokens)
{
    size_t head_width = self->width / self->heads;
    return packed_floats(self, tokens, head_width) + packed_floats(self, head_width, tokens);
}

size_t decoder_memory_floats(const decoder *self, size_t tokens)
{
    return self->n_layers * self->heads * head_floats(self, tokens) + tokens * row_floats(self);
}

void decoder_take_head(const decoder *self, float *projected, size_t tokens, size_t layer, size_t head, be_matrix *keys,
                       be_matrix *values)
{
    size_t head_width = self->width / self->heads;
    float *at = projected + (layer * self->heads + head) * head_floats(self, tokens);
    be_matrix_make(keys, self->precision, tokens, head_width, at);
    be_matrix_make(values, self->precision, head_width, tokens, at + packed_floats(self, tokens, head_width));
}

typedef struct projection {
    const decoder *self;
    const be_team *team;
    size_t layer, tokens;
    const float *memory;
    const be_positions *positions;
    float *rows, *projected;
} projection;

static void project_panel(void *context, size_t panel, size_t worker)
{
    const projection *job = context;
    const decoder_layer *layer = &job->self->layers[job->layer];
    size_t width = job->self->width, stride = row_floats(job->self);
    be_rows rows = be_team_panel(job->team, job->tokens, panel);
    size_t first = rows.first, count = rows.count;
    const float *memory = job->memory + first * width;
    float *out = job->rows + first * stride;
    be_arena *scratch = &job->team->scratch[worker];
    be_arena_reset(scratch);
    float *placed = be_arena_floats(scratch, count * width);
    memcpy(placed, memory, count * width * sizeof *placed);
    be_positions_add(job->positions, first, count, placed);
    be_matrix_linear(job->team->isa, &layer->keys, layer->keys_bias, placed, count, out, stride, scratch);
    if (layer->values_bias)
        be_matrix_linear(job->team->isa, &layer->values, layer->values_bias, memory, count, out + width, stride, scratch);
}

static void pack_head(void *context, size_t head, size_t worker)
{
    const projection *job = context;
    const decoder *self = job->self;
    size_t column = head * (self->width / self->heads), stride = row_floats(self);
    bool own_values = stride > self->width;
    be_matrix keys, values;
    (void)worker;
    decoder_take_head(self, job->projected, job->tokens, job->layer, head, &keys, &values);
    job->team->isa->tiles->pack(&keys, job->rows + column, stride);
    job->team->isa->tiles->pack_turned(&values, own_values ? job->rows + self->width + column : job->memory + column,
                                       own_values ? stride : self->width);
}

void decoder_project_memory(const decoder *self, const be_team *team, const float *memory, const be_positions *positions,
                            float *projected)
{
    size_t tokens = positions->rows * positions->columns;
    projection job = {.self = self, .team = team, .tokens = tokens, .memory = memory, .positions = positions,
                      .projected = projected};
    job.rows = projected + self->n_layers * self->heads * head_floats(self, tokens);
    for (job.layer = 0; job.layer < self->n_layers; job.layer++) {
        be_team_run(team, BE_STAGE_ENCODE, be_team_panels(team, tokens), project_panel, &job);
        be_team_run(team, BE_STAGE_ENCODE, self->heads, pack_head, &job);
    }
}
