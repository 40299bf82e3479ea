#include "core/subject/member_weights.h"

#include <math.h>
#include <stdlib.h>

#include "core/base/memory.h"

static const double sharpness = 40;

/* The members of the same layer as member m. */
static bool same_layer(const be_member_info *members, size_t m, size_t n)
{
    return members[m].tap.layer == members[n].tap.layer;
}

/* The mean correlation of member m's layer at a vertex, and how many runs the layer has. */
static double layer_score(const be_member_info *members, size_t n_members, const float *correlations, size_t vertices, size_t vertex,
                          size_t m, size_t *runs)
{
    double sum = 0;
    *runs = 0;
    for (size_t n = 0; n < n_members; n++) {
        if (!same_layer(members, m, n))
            continue;
        double score = (double)correlations[n * vertices + vertex];
        sum += isfinite(score) ? score : 0;
        ++*runs;
    }
    return sum / (double)*runs;
}

/* One vertex: each layer counts exp(40 c), shared out among its runs. Subtracting the largest changes nothing but the range. */
static void weigh_vertex(const be_member_info *members, size_t n_members, const float *correlations, size_t vertices, size_t vertex,
                         float *weights, size_t stride)
{
    double largest = -INFINITY, total = 0;
    size_t runs;
    for (size_t m = 0; m < n_members; m++)
        largest = fmax(largest, layer_score(members, n_members, correlations, vertices, vertex, m, &runs));
    for (size_t m = 0; m < n_members; m++) {
        double score = layer_score(members, n_members, correlations, vertices, vertex, m, &runs);
        double weight = exp(sharpness * (score - largest)) / (double)runs;
        weights[m * stride] = (float)weight;
        total += weight;
    }
    for (size_t m = 0; m < n_members; m++)
        weights[m * stride] = (float)((double)weights[m * stride] / total);
}

be_status be_member_weights(const be_member_info *members, size_t n_members, const size_t n_vertices[BE_HEMISPHERES],
                            const float *const correlations[BE_HEMISPHERES], float **weights, be_error *error)
{
    size_t total = n_vertices[BE_LEFT] + n_vertices[BE_RIGHT];
    float *out;
    be_status status = be_allocate_floats(&out, n_members * total, "an ensemble's weights", error);
    if (status != BE_OK)
        return status;
    for (int h = BE_LEFT; h < BE_HEMISPHERES; h++) {
        for (size_t v = 0; v < n_vertices[h]; v++)
            weigh_vertex(members, n_members, correlations[h], n_vertices[h], v, out + (h == BE_LEFT ? 0 : n_vertices[BE_LEFT]) + v, total);
    }
    *weights = out;
    return BE_OK;
}
