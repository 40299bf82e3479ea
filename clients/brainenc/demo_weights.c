#include "clients/brainenc/demo_weights.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/files/torch_writer.h"
#include "core/subject/checkpoint.h"

enum { PATCH = 14, PROJECTION = 64 };

/* The tensors of a file in the making. */
typedef struct collection {
    be_tensor_source *tensors;
    size_t count, capacity;
    demo_random *random;
    be_error *error;
    be_status status; /* of the first addition that failed; later ones do nothing */
} collection;

/* splitmix64 (Steele, Lea and Flood, 2014), public domain. */
static uint64_t next_bits(demo_random *random)
{
    uint64_t bits = random->state += 0x9e3779b97f4a7c15u;
    bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9u;
    bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebu;
    return bits ^ (bits >> 31);
}

double demo_uniform(demo_random *random)
{
    return (double)(next_bits(random) >> 11) * 0x1p-53;
}

/* Near enough to normal for weights: the sum of four uniforms of 16 bits, mean 0, standard deviation 1. */
static float roughly_normal(demo_random *random)
{
    uint64_t bits = next_bits(random);
    double sum = 0;
    for (int i = 0; i < 4; i++)
        sum += (double)((bits >> (16 * i)) & 0xffff) / 65536.0 - 0.5;
    return (float)(sum * 1.7320508075688772);
}

/* Adds a tensor of values mean + deviation * normal. The name is printf's; shape ends at the first 0. */
static void add(collection *to, float mean, float deviation, const size_t shape[4], const char *format, ...)
    __attribute__((format(printf, 5, 6)));
static void add(collection *to, float mean, float deviation, const size_t shape[4], const char *format, ...)
{
    enum { NAME_SIZE = 128 };
    void *name = NULL, *values = NULL, *tensors = to->tensors;
    be_tensor_source tensor = {.dtype = BE_DTYPE_F32};
    size_t count = 1;
    if (to->status != BE_OK)
        return;
    for (; tensor.n_dims < 4 && shape[tensor.n_dims]; tensor.n_dims++) {
        tensor.shape[tensor.n_dims] = shape[tensor.n_dims];
        count *= shape[tensor.n_dims];
    }
    to->status = be_grow(&tensors, &to->capacity, to->count + 1, sizeof tensor, "a list of tensors", to->error);
    to->tensors = tensors;
    if (to->status == BE_OK)
        to->status = be_allocate(&name, NAME_SIZE, 1, "a tensor's name", to->error);
    if (to->status == BE_OK)
        to->status = be_allocate(&values, count, sizeof(float), "a tensor", to->error);
    if (to->status != BE_OK) {
        free(name);
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(name, NAME_SIZE, format, arguments);
    va_end(arguments);
    for (size_t i = 0; i < count; i++)
        ((float *)values)[i] = mean + deviation * roughly_normal(to->random);
    tensor.name = name;
    tensor.data = values;
    to->tensors[to->count++] = tensor;
}

static void free_collection(collection *it)
{
    for (size_t i = 0; i < it->count; i++) {
        free((void *)it->tensors[i].name);
        free((void *)it->tensors[i].data);
    }
    free(it->tensors);
}

#define SHAPE(...) ((const size_t[4]){__VA_ARGS__})

/* A linear layer: weights that keep the size of what goes through, small biases. */
static void add_linear(collection *to, const char *name, size_t rows, size_t columns)
{
    add(to, 0, 1 / sqrtf((float)columns), SHAPE(rows, columns), "%s.weight", name);
    add(to, 0, 0.02f, SHAPE(rows), "%s.bias", name);
}

static void add_norm(collection *to, const char *name, size_t width)
{
    add(to, 1, 0.1f, SHAPE(width), "%s.weight", name);
    add(to, 0, 0.05f, SHAPE(width), "%s.bias", name);
}

static void add_block(collection *to, const demo_size *size, size_t block)
{
    char name[64];
    size_t width = size->width;
    const struct { const char *part; size_t rows, columns; } layers[] = {
        {"attn.qkv", 3 * width, width}, {"attn.proj", width, width}, {"mlp.fc1", 4 * width, width}, {"mlp.fc2", width, 4 * width},
    };
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        snprintf(name, sizeof name, "blocks.%zu.%s", block, layers[i].part);
        add_linear(to, name, layers[i].rows, layers[i].columns);
    }
    for (int i = 1; i <= 2; i++) {
        snprintf(name, sizeof name, "blocks.%zu.norm%d", block, i);
        add_norm(to, name, width);
        add(to, 0.5f, 0.1f, SHAPE(width), "blocks.%zu.ls%d.gamma", block, i);
    }
}

be_status demo_write_backbone(const char *path, const demo_size *size, demo_random *random, be_error *error)
{
    collection to = {.random = random, .error = error};
    size_t width = size->width;
    add(&to, 0, 0.5f, SHAPE(1, 1, width), "cls_token");
    add(&to, 0, 0.5f, SHAPE(1, 1 + size->position_grid * size->position_grid, width), "pos_embed");
    add(&to, 0, 0.02f, SHAPE(1, width), "mask_token");
    add(&to, 0, 1 / sqrtf(3.0f * PATCH * PATCH), SHAPE(width, 3, PATCH, PATCH), "patch_embed.proj.weight");
    add(&to, 0, 0.02f, SHAPE(width), "patch_embed.proj.bias");
    for (size_t block = 0; block < size->depth; block++)
        add_block(&to, size, block);
    add_norm(&to, "norm", width);
    if (to.status == BE_OK)
        to.status = be_torch_write(path, to.tensors, to.count, NULL, 0, error);
    free_collection(&to);
    return to.status;
}

static void add_attention(collection *to, const char *name, size_t width)
{
    add(to, 0, 1 / sqrtf((float)width), SHAPE(3 * width, width), "transformer.decoder.layers.0.%s.in_proj_weight", name);
    add(to, 0, 0.02f, SHAPE(3 * width), "transformer.decoder.layers.0.%s.in_proj_bias", name);
    add(to, 0, 1 / sqrtf((float)width), SHAPE(width, width), "transformer.decoder.layers.0.%s.out_proj.weight", name);
    add(to, 0, 0.02f, SHAPE(width), "transformer.decoder.layers.0.%s.out_proj.bias", name);
}

static void add_encoder(collection *to, const demo_size *size, size_t queries)
{
    size_t width = size->width;
    add_attention(to, "self_attn", width);
    add_attention(to, "multihead_attn", width);
    add_linear(to, "transformer.decoder.layers.0.linear1", size->hidden, width);
    add_linear(to, "transformer.decoder.layers.0.linear2", width, size->hidden);
    for (int i = 1; i <= 3; i++) {
        char name[64];
        snprintf(name, sizeof name, "transformer.decoder.layers.0.norm%d", i);
        add_norm(to, name, width);
    }
    add_norm(to, "transformer.decoder.norm", width);
    add(to, 0, 1 / sqrtf((float)width), SHAPE(PROJECTION, width, 1, 1), "transformer.memory_proj.weight");
    add(to, 0, 0.02f, SHAPE(PROJECTION), "transformer.memory_proj.bias");
    add(to, 0, 1, SHAPE(queries, width), "query_embed.weight");
    add_linear(to, "lh_embed.0", size->vertices[0], width);
    add_linear(to, "rh_embed.0", size->vertices[1], width);
}

#define TEXT(NAME, VALUE) {NAME, {.kind = BE_VALUE_TEXT, .as.text = {VALUE, sizeof VALUE - 1}}}
#define WHOLE(NAME, VALUE) {NAME, {.kind = BE_VALUE_INT, .as.integer = (int64_t)(VALUE)}}
#define NUMBER(NAME, VALUE) {NAME, {.kind = BE_VALUE_FLOAT, .as.number = VALUE}}

be_status demo_write_checkpoint(const char *path, const demo_size *size, const demo_model *model, demo_random *random,
                                be_error *error)
{
    collection to = {.random = random, .error = error};
    const be_torch_setting settings[] = {
        TEXT("subj", "01"), TEXT("dataset", BE_CHECKPOINT_DEMO), TEXT("objective", "classification"),
        TEXT("backbone_arch", "dinov2_q"), TEXT("encoder_arch", "transformer"),
        {"readout_res", {.kind = BE_VALUE_TEXT, .as.text = {model->readout, strlen(model->readout)}}},
        TEXT("position_embedding", "sine"), WHOLE("enc_output_layer", model->layer), WHOLE("enc_layers", 0), WHOLE("dec_layers", 1),
        WHOLE("hidden_dim", size->width), WHOLE("nheads", size->heads), WHOLE("dim_feedforward", size->hidden),
        WHOLE("num_queries", model->queries), WHOLE("pre_norm", 1), {"image_size", {.kind = BE_VALUE_NONE}},
        WHOLE("lh_vs", size->vertices[0]), WHOLE("rh_vs", size->vertices[1]), WHOLE("run", model->run),
        NUMBER("lr", 0.0005), NUMBER("weight_decay", 0.0001), NUMBER("dropout", 0.1), WHOLE("epochs", 0),
    };
    add_encoder(&to, size, model->queries);
    if (to.status == BE_OK)
        to.status = be_torch_write(path, to.tensors, to.count, settings, sizeof settings / sizeof *settings, error);
    free_collection(&to);
    return to.status;
}
