#include "core/subject/member_weights.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"

static const double sharpness = 40;

/* The members' layers, numbered by the order in which they first come. */
typedef struct layer_list {
    size_t count, *of;      /* [members]: each one's layer */
    double *runs, *weight;  /* [count]: how many members it has; what they count together at the vertex at hand */
} layer_list;

static void free_layers(layer_list *layers)
{
    free(layers->of);
    free(layers->runs);
}

static be_status list_layers(const be_member_info *members, size_t n_members, layer_list *layers, be_error *error)
{
    void *of = NULL, *numbers = NULL;
    be_status status = be_allocate(&of, n_members, sizeof *layers->of, "an ensemble's layers", error);
    if (status == BE_OK)
        status = be_allocate(&numbers, 2 * n_members, sizeof *layers->runs, "an ensemble's layers", error);
    *layers = (layer_list){.of = of, .runs = numbers, .weight = status == BE_OK ? (double *)numbers + n_members : NULL};
    for (size_t m = 0; m < n_members && status == BE_OK; m++) {
        size_t first = 0;
        while (members[first].tap.layer != members[m].tap.layer)
            first++;
        layers->of[m] = first < m ? layers->of[first] : layers->count++;
        layers->runs[layers->of[m]]++;
    }
    return status;
}

/* One vertex: each layer counts exp(40 c), shared out among its runs. Subtracting the largest changes nothing but the range. */
static void weigh_vertex(const layer_list *layers, size_t n_members, const float *correlations, size_t vertices, size_t vertex,
                         float *weights, size_t stride)
{
    double largest = -INFINITY, total = 0;
    memset(layers->weight, 0, layers->count * sizeof *layers->weight);
    for (size_t m = 0; m < n_members; m++) {
        double score = (double)correlations[m * vertices + vertex];
        layers->weight[layers->of[m]] += isfinite(score) ? score : 0;
    }
    for (size_t l = 0; l < layers->count; l++) {
        layers->weight[l] /= layers->runs[l];
        largest = fmax(largest, layers->weight[l]);
    }
    for (size_t l = 0; l < layers->count; l++)
        layers->weight[l] = exp(sharpness * (layers->weight[l] - largest)) / layers->runs[l];
    for (size_t m = 0; m < n_members; m++)
        total += layers->weight[layers->of[m]];
    for (size_t m = 0; m < n_members; m++)
        weights[m * stride] = (float)(layers->weight[layers->of[m]] / total);
}

be_status be_member_weights(const be_member_info *members, size_t n_members, const size_t n_vertices[BE_HEMISPHERES],
                            const float *const correlations[BE_HEMISPHERES], float **weights, be_error *error)
{
    size_t total = n_vertices[BE_LEFT] + n_vertices[BE_RIGHT];
    layer_list layers;
    float *out = NULL;
    be_status status = list_layers(members, n_members, &layers, error);
    if (status == BE_OK)
        status = be_allocate_floats(&out, n_members * total, "an ensemble's weights", error);
    for (int h = BE_LEFT; h < BE_HEMISPHERES && status == BE_OK; h++) {
        for (size_t v = 0; v < n_vertices[h]; v++)
            weigh_vertex(&layers, n_members, correlations[h], n_vertices[h], v, out + (h == BE_LEFT ? 0 : n_vertices[BE_LEFT]) + v,
                         total);
    }
    free_layers(&layers);
    if (status == BE_OK)
        *weights = out;
    return status;
}
