#include "core/compute/reference.h"

#include <math.h>

void be_reference_layer_norm(float *out, const float *in, const float *gain, const float *bias, size_t rows, size_t width,
                             double epsilon)
{
    for (size_t r = 0; r < rows; r++, in += width, out += width) {
        double mean = 0, variance = 0;
        for (size_t i = 0; i < width; i++)
            mean += in[i] / (double)width;
        for (size_t i = 0; i < width; i++)
            variance += (in[i] - mean) * (in[i] - mean) / (double)width;
        for (size_t i = 0; i < width; i++)
            out[i] = (float)((in[i] - mean) / sqrt(variance + epsilon) * gain[i] + bias[i]);
    }
}

void be_reference_softmax(float *x, size_t rows, size_t width, size_t stride)
{
    for (size_t r = 0; r < rows; r++, x += stride) {
        double largest = -INFINITY, sum = 0;
        for (size_t i = 0; i < width; i++)
            largest = fmax(largest, x[i]);
        for (size_t i = 0; i < width; i++)
            sum += exp(x[i] - largest);
        for (size_t i = 0; i < width; i++)
            x[i] = (float)(exp(x[i] - largest) / sum);
    }
}

void be_reference_bias_gelu(float *x, const float *bias, size_t rows, size_t width)
{
    for (size_t i = 0; i < rows * width; i++) {
        double y = (double)x[i] + bias[i % width];
        x[i] = (float)(y / 2 * (1 + erf(y / sqrt(2))));
    }
}

void be_reference_bias_swiglu(float *x, const float *bias, size_t rows, size_t width)
{
    for (size_t r = 0; r < rows; r++, x += 2 * width) {
        for (size_t i = 0; i < width; i++) {
            double a = (double)x[i] + bias[i], b = (double)x[width + i] + bias[width + i];
            x[i] = (float)(a / (1 + exp(-a)) * b);
        }
    }
}

void be_reference_bias_add(float *x, const float *bias, size_t rows, size_t width, size_t stride)
{
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < width; i++)
            x[r * stride + i] = (float)((double)x[r * stride + i] + bias[i]);
    }
}

float be_reference_dot(const float *a, const float *b, size_t width)
{
    double sum = 0;
    for (size_t i = 0; i < width; i++)
        sum += (double)a[i] * b[i];
    return (float)sum;
}

void be_reference_accumulate(float *out, const float *in, float factor, size_t width)
{
    for (size_t i = 0; i < width; i++)
        out[i] = (float)(out[i] + (double)in[i] * factor);
}

void be_reference_product_transposed(float *out, const float *a, const float *b, size_t rows, size_t columns, size_t inner,
                                     double scale)
{
    for (size_t r = 0; r < rows; r++) {
        for (size_t c = 0; c < columns; c++) {
            double sum = 0;
            for (size_t i = 0; i < inner; i++)
                sum += (double)a[r * inner + i] * b[c * inner + i];
            out[r * columns + c] = (float)(scale * sum);
        }
    }
}

static double score(const float *q, const float *k, size_t width, double scale)
{
    double sum = 0;
    for (size_t i = 0; i < width; i++)
        sum += (double)q[i] * k[i];
    return scale * sum;
}

void be_reference_attention(float *out, const float *q, const float *k, const float *v, size_t queries, size_t tokens,
                            size_t heads, size_t head_width, double scale)
{
    size_t width = heads * head_width;
    for (size_t row = 0; row < queries; row++) {
        for (size_t h = 0; h < heads; h++) {
            const float *query = q + row * width + h * head_width;
            double largest = -INFINITY, total = 0;
            for (size_t t = 0; t < tokens; t++)
                largest = fmax(largest, score(query, k + t * width + h * head_width, head_width, scale));
            for (size_t t = 0; t < tokens; t++)
                total += exp(score(query, k + t * width + h * head_width, head_width, scale) - largest);
            for (size_t i = 0; i < head_width; i++) {
                double sum = 0;
                for (size_t t = 0; t < tokens; t++) {
                    double weight = exp(score(query, k + t * width + h * head_width, head_width, scale) - largest);
                    sum += weight / total * v[t * width + h * head_width + i];
                }
                out[row * width + h * head_width + i] = (float)sum;
            }
        }
    }
}
