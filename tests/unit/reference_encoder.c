#include "tests/unit/reference_encoder.h"

#include <math.h>
#include <stdio.h>

enum { HALF = WIDTH / 2, LEARNED = 50 };

/* --- weights ------------------------------------------------------------------------------------------------------ */

static void add_attention(weights *it, uint32_t *random, const char *layer, const char *name)
{
    add_weight(it, random, SHAPE(3 * WIDTH, WIDTH), "%s%s.in_proj_weight", layer, name);
    add_weight(it, random, SHAPE(3 * WIDTH), "%s%s.in_proj_bias", layer, name);
    add_weight(it, random, SHAPE(WIDTH, WIDTH), "%s%s.out_proj.weight", layer, name);
    add_weight(it, random, SHAPE(WIDTH), "%s%s.out_proj.bias", layer, name);
}

static void add_feed_forward(weights *it, uint32_t *random, const char *layer)
{
    add_layer(it, random, layer, "linear1", HIDDEN, WIDTH);
    add_layer(it, random, layer, "linear2", WIDTH, HIDDEN);
}

static void add_layers(weights *it, const be_encoder_settings *s, uint32_t *random)
{
    char layer[64];
    for (size_t l = 0; l < s->enc_layers; l++) {
        snprintf(layer, sizeof layer, "m.transformer.encoder.layers.%zu.", l);
        add_attention(it, random, layer, "self_attn");
        add_feed_forward(it, random, layer);
        add_norm(it, random, layer, "norm1", WIDTH);
        add_norm(it, random, layer, "norm2", WIDTH);
    }
    for (size_t l = 0; l < s->dec_layers; l++) {
        snprintf(layer, sizeof layer, "m.transformer.decoder.layers.%zu.", l);
        add_attention(it, random, layer, "multihead_attn");
        add_feed_forward(it, random, layer);
        add_norm(it, random, layer, "norm1", WIDTH);
        add_norm(it, random, layer, "norm2", WIDTH);
        add_norm(it, random, layer, "norm3", WIDTH);
    }
    if (s->enc_layers > 0 && s->pre_norm)
        add_norm(it, random, "m.transformer.encoder.", "norm", WIDTH);
    add_norm(it, random, "m.transformer.decoder.", "norm", WIDTH);
}

weights make_encoder(const be_encoder_settings *s, uint32_t *random)
{
    static const char *const projections[] = {"q_proj", "k_proj", "c_proj"};
    weights it = {.count = 0};
    if (strcmp(s->kind, "transformer") == 0) {
        add_layers(&it, s, random);
    } else {
        for (size_t i = 0; i < 3; i++)
            add_layer(&it, random, "m.transformer.decoder.layers.0.cross_attn.", projections[i], WIDTH, WIDTH);
        add_feed_forward(&it, random, "m.transformer.decoder.layers.0.");
        add_norm(&it, random, "m.transformer.decoder.layers.0.", "norm3", WIDTH);
    }
    if (s->input_projection)
        add_layer(&it, random, "m.", "input_proj", WIDTH, CHANNELS);
    if (s->learned_position) {
        add_weight(&it, random, SHAPE(LEARNED, HALF), "m.row_embed.weight");
        add_weight(&it, random, SHAPE(LEARNED, HALF), "m.col_embed.weight");
    }
    add_weight(&it, random, SHAPE(QUERIES, WIDTH), "m.query_embed.weight");
    return it;
}

void shrink_branches(weights *it)
{
    for (size_t i = 0; i < it->count; i++) {
        be_tensor_source *tensor = &it->tensors[i];
        if (!strstr(tensor->name, "out_proj.") && !strstr(tensor->name, "c_proj.") && !strstr(tensor->name, "linear2."))
            continue;
        float *values = (float *)(uintptr_t)tensor->data;
        for (size_t v = 0; v < tensor->shape[0] * (tensor->n_dims == 2 ? tensor->shape[1] : 1); v++)
            values[v] *= 0.004f;
    }
}

/* --- the formulas ------------------------------------------------------------------------------------------------- */

/* The tensor start + name + what; "in_proj_" or "norm1." is a name, "weight" a what. */
static const float *values(const reference *self, const char *start, const char *name, const char *what)
{
    char full[128];
    snprintf(full, sizeof full, "%s%s%s", start, name, what);
    return weight_named(self->from, full)->data;
}

/* in [rows][inner] and out [rows][columns] of a product. */
typedef struct product {
    const double *in;
    double *out;
    size_t rows, inner, columns;
} product;

/* out = in W' + b, from row `first` of W on. */
static void project(const reference *self, const char *start, const char *name, size_t first, product of)
{
    const float *weight = values(self, start, name, "weight"), *bias = values(self, start, name, "bias");
    for (size_t r = 0; r < of.rows; r++) {
        for (size_t c = 0; c < of.columns; c++) {
            double sum = (double)bias[first + c];
            for (size_t i = 0; i < of.inner; i++)
                sum += of.in[r * of.inner + i] * (double)weight[(first + c) * of.inner + i];
            of.out[r * of.columns + c] = sum;
        }
    }
}

static void project_rows(const reference *self, const char *start, const char *name, size_t first, const row *in, size_t rows,
                         row *out)
{
    project(self, start, name, first, (product){in[0], out[0], rows, WIDTH, WIDTH});
}

static void norm(const reference *self, const char *start, const char *name, row *x, size_t rows)
{
    const float *gain = values(self, start, name, "weight"), *shift = values(self, start, name, "bias");
    for (size_t r = 0; r < rows; r++) {
        double mean = 0, variance = 0;
        for (size_t i = 0; i < WIDTH; i++)
            mean += x[r][i] / WIDTH;
        for (size_t i = 0; i < WIDTH; i++)
            variance += (x[r][i] - mean) * (x[r][i] - mean) / WIDTH;
        for (size_t i = 0; i < WIDTH; i++)
            x[r][i] = (x[r][i] - mean) / sqrt(variance + 1e-5) * (double)gain[i] + (double)shift[i];
    }
}

static void add(row *out, const row *a, const row *b, size_t rows)
{
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < WIDTH; i++)
            out[r][i] = a[r][i] + b[r][i];
    }
}

/* softmax over tokens of q_h k_h' / sqrt(width of a head), times v_h, heads beside each other. */
static void attend(const row *q, size_t queries, const row *k, const row *v, size_t heads, row *out,
                   double (*maps)[QUERIES][TOKENS])
{
    size_t wide = WIDTH / heads;
    for (size_t h = 0; h < heads; h++) {
        for (size_t r = 0; r < queries; r++) {
            double shares[TOKENS], sum = 0;
            for (size_t t = 0; t < TOKENS; t++) {
                double score = 0;
                for (size_t i = h * wide; i < (h + 1) * wide; i++)
                    score += q[r][i] * k[t][i];
                sum += shares[t] = exp(score / sqrt((double)wide));
            }
            for (size_t i = h * wide; i < (h + 1) * wide; i++)
                out[r][i] = 0;
            for (size_t t = 0; t < TOKENS; t++) {
                for (size_t i = h * wide; i < (h + 1) * wide; i++)
                    out[r][i] += shares[t] / sum * v[t][i];
                if (maps)
                    maps[h][r][t] = shares[t] / sum;
            }
        }
    }
}

/* The attention layer `name`, its three projections and the one of its output: out [queries]. */
static void attend_layer(reference *self, const char *name, const row *q, size_t queries, const row *k, const row *v, row *out,
                         double (*maps)[QUERIES][TOKENS])
{
    static row projected_q[QUERIES], projected_k[TOKENS], projected_v[TOKENS], pooled[QUERIES];
    char start[96];
    snprintf(start, sizeof start, "%s%s.", self->layer, name);
    project_rows(self, start, "in_proj_", 0, q, queries, projected_q);
    project_rows(self, start, "in_proj_", WIDTH, k, TOKENS, projected_k);
    project_rows(self, start, "in_proj_", 2 * WIDTH, v, TOKENS, projected_v);
    attend(projected_q, queries, projected_k, projected_v, self->settings->heads, pooled, maps);
    project_rows(self, start, "out_proj.", 0, pooled, queries, out);
}

/* x += W2 relu(W1 n + b1) + b2, where n is x, normed by `name` unless that is NULL. */
static void feed_forward(const reference *self, const char *name, row *x, size_t rows)
{
    static row normal[QUERIES], branch[QUERIES];
    static double hidden[QUERIES * HIDDEN];
    memcpy(normal, x, rows * sizeof *x);
    if (name)
        norm(self, self->layer, name, normal, rows);
    project(self, self->layer, "linear1.", 0, (product){normal[0], hidden, rows, WIDTH, HIDDEN});
    for (size_t i = 0; i < rows * HIDDEN; i++)
        hidden[i] = fmax(0, hidden[i]);
    project(self, self->layer, "linear2.", 0, (product){hidden, branch[0], rows, HIDDEN, WIDTH});
    add(x, x, branch, rows);
}

static void encode(reference *self)
{
    static row normal[TOKENS], placed[TOKENS], branch[TOKENS];
    row *s = self->memory;
    bool pre_norm = self->settings->pre_norm;
    for (size_t l = 0; l <= self->settings->memory_layer; l++) {
        snprintf(self->layer, sizeof self->layer, "m.transformer.encoder.layers.%zu.", l);
        memcpy(normal, s, sizeof normal);
        if (pre_norm)
            norm(self, self->layer, "norm1.", normal, TOKENS);
        add(placed, normal, self->position, TOKENS);
        attend_layer(self, "self_attn", placed, TOKENS, placed, normal, branch, NULL);
        add(s, s, branch, TOKENS);
        if (!pre_norm)
            norm(self, self->layer, "norm1.", s, TOKENS);
        feed_forward(self, pre_norm ? "norm2." : NULL, s, TOKENS);
        if (!pre_norm)
            norm(self, self->layer, "norm2.", s, TOKENS);
    }
    if (pre_norm)
        norm(self, "m.transformer.encoder.", "norm.", s, TOKENS);
}

static void decode(reference *self, const row *embedding)
{
    static row placed[TOKENS], asking[QUERIES], branch[QUERIES];
    row *t = self->state;
    bool pre_norm = self->settings->pre_norm;
    memset(t, 0, sizeof self->state);
    add(placed, self->memory, self->position, TOKENS);
    for (size_t l = 0; l < self->settings->dec_layers; l++) {
        snprintf(self->layer, sizeof self->layer, "m.transformer.decoder.layers.%zu.", l);
        memcpy(asking, t, sizeof asking);
        norm(self, self->layer, "norm1.", asking, QUERIES);
        if (!pre_norm)
            memcpy(t, asking, sizeof asking);
        add(asking, asking, embedding, QUERIES);
        attend_layer(self, "multihead_attn", asking, QUERIES, placed, self->memory, branch, self->maps);
        add(t, t, branch, QUERIES);
        if (!pre_norm)
            norm(self, self->layer, "norm2.", t, QUERIES);
        feed_forward(self, pre_norm ? "norm3." : NULL, t, QUERIES);
        if (!pre_norm)
            norm(self, self->layer, "norm3.", t, QUERIES);
    }
    norm(self, "m.transformer.decoder.", "norm.", t, QUERIES);
}

/* Of custom_transformer, which has sixteen heads whatever `nheads` says. */
static void decode_custom(reference *self, const row *embedding)
{
    static row placed[TOKENS], queries[QUERIES], keys[TOKENS], pooled[QUERIES];
    const char *start = "m.transformer.decoder.layers.0.cross_attn.";
    snprintf(self->layer, sizeof self->layer, "m.transformer.decoder.layers.0.");
    add(placed, self->memory, self->position, TOKENS);
    project_rows(self, start, "q_proj.", 0, embedding, QUERIES, queries);
    project_rows(self, start, "k_proj.", 0, placed, TOKENS, keys);
    attend(queries, QUERIES, keys, self->memory, 16, pooled, self->maps);
    project_rows(self, start, "c_proj.", 0, pooled, QUERIES, self->state);
    feed_forward(self, "norm3.", self->state, QUERIES);
}

static double sine(size_t index, size_t count, size_t k)
{
    double angle = ((double)index + 1) / ((double)count + 1e-6) * 2 * acos(-1) / pow(10000, 2 * floor((double)k / 2) / HALF);
    return k % 2 ? cos(angle) : sin(angle);
}

/* The row's half is the first of the sines, the column's of the tables. */
static void place(reference *self)
{
    bool learned = self->settings->learned_position;
    const float *of_row = learned ? values(self, "m.", "row_embed.", "weight") : NULL;
    const float *of_column = learned ? values(self, "m.", "col_embed.", "weight") : NULL;
    for (size_t t = 0; t < TOKENS; t++) {
        size_t y = t / COLUMNS, x = t % COLUMNS;
        for (size_t k = 0; k < HALF; k++) {
            self->position[t][k] = learned ? (double)of_column[x * HALF + k] : sine(y, ROWS, k);
            self->position[t][HALF + k] = learned ? (double)of_row[y * HALF + k] : sine(x, COLUMNS, k);
        }
    }
}

void compute_reference(reference *self, const float *features)
{
    static row embedding[QUERIES];
    static double wide[TOKENS * WIDTH];
    size_t channels = self->settings->channels;
    for (size_t i = 0; i < TOKENS * channels; i++)
        wide[i] = (double)features[i];
    for (size_t i = 0; i < QUERIES * WIDTH; i++)
        embedding[i / WIDTH][i % WIDTH] = (double)values(self, "m.", "query_embed.", "weight")[i];
    if (self->settings->input_projection)
        project(self, "m.", "input_proj.", 0, (product){wide, self->memory[0], TOKENS, channels, WIDTH});
    else
        memcpy(self->memory, wide, sizeof self->memory);
    place(self);
    if (self->settings->enc_layers > 0)
        encode(self);
    if (strcmp(self->settings->kind, "transformer") == 0)
        decode(self, embedding);
    else
        decode_custom(self, embedding);
}
