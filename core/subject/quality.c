#include "core/subject/quality.h"

#include <math.h>

/* A member's correlation; that of a constant vertex is none, and counts as 0. */
static double member_correlation(const be_subject *subject, be_hemisphere hemisphere, size_t member, size_t vertex)
{
    size_t vertices = be_subject_get_info(subject)->n_vertices[hemisphere];
    double value = (double)be_subject_validation(subject, hemisphere)[member * vertices + vertex];
    return isfinite(value) ? value : 0;
}

static double correlation_of(const be_subject *subject, be_hemisphere hemisphere, size_t vertex)
{
    const be_subject_info *info = be_subject_get_info(subject);
    size_t place = vertex + (hemisphere == BE_RIGHT ? info->n_vertices[BE_LEFT] : 0);
    double sum = 0;
    if (!be_subject_validation(subject, hemisphere))
        return NAN;
    if (info->members == 1)
        return member_correlation(subject, hemisphere, 0, vertex);
    for (size_t m = 0; m < info->members; m++)
        sum += (double)be_subject_member_weights(subject, m)[place] * member_correlation(subject, hemisphere, m, vertex);
    return sum;
}

static double ceiling_of(const be_subject *subject, be_hemisphere hemisphere, size_t vertex)
{
    const float *ncsnr = be_subject_ncsnr(subject, hemisphere);
    if (!ncsnr || isnan(ncsnr[vertex]))
        return NAN;
    double signal = (double)ncsnr[vertex] * (double)ncsnr[vertex];
    return signal / (signal + 1.0 / BE_QUALITY_REPETITIONS);
}

static double accuracy_of(double correlation, double ceiling)
{
    if (isnan(correlation) || !(ceiling > 0))
        return NAN;
    return fmin(1, fmax(0, correlation) * fmax(0, correlation) / ceiling);
}

/* A mean in the making. */
typedef struct mean {
    double sum;
    size_t count;
} mean;

static void add(mean *to, double value)
{
    if (!isnan(value)) {
        to->sum += value;
        to->count++;
    }
}

static double value_of(const mean *it)
{
    return it->count > 0 ? it->sum / (double)it->count : NAN;
}

void be_quality_of(const be_subject *subject, be_hemisphere hemisphere, const uint32_t *vertices, size_t count, be_quality *out)
{
    mean correlation = {0}, ceiling = {0}, accuracy = {0};
    if (!vertices)
        count = be_subject_get_info(subject)->n_vertices[hemisphere];
    for (size_t i = 0; i < count; i++) {
        size_t vertex = vertices ? vertices[i] : i;
        double r = correlation_of(subject, hemisphere, vertex), most = ceiling_of(subject, hemisphere, vertex);
        add(&correlation, r);
        add(&ceiling, most);
        add(&accuracy, accuracy_of(r, most));
    }
    *out = (be_quality){.vertices = count, .explainable = accuracy.count, .correlation = value_of(&correlation),
                        .ceiling = value_of(&ceiling), .accuracy = value_of(&accuracy)};
}

void be_quality_vertices(const be_subject *subject, be_hemisphere hemisphere, float *correlation, float *ceiling, float *accuracy)
{
    size_t count = be_subject_get_info(subject)->n_vertices[hemisphere];
    for (size_t v = 0; v < count; v++) {
        double r = correlation_of(subject, hemisphere, v), most = ceiling_of(subject, hemisphere, v);
        if (correlation)
            correlation[v] = (float)r;
        if (ceiling)
            ceiling[v] = (float)most;
        if (accuracy)
            accuracy[v] = (float)accuracy_of(r, most);
    }
}
