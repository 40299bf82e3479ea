#include "tests/bench/operands.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/memory.h"
#include "core/compute/peak.h"

void bench_stop(const char *sentence)
{
    fprintf(stderr, "%s\n", sentence);
    exit(1);
}

void bench_take(bench_times *to, double seconds)
{
    int at = to->count++;
    for (; at > 0 && to->seconds[at - 1] > seconds; at--)
        to->seconds[at] = to->seconds[at - 1];
    to->seconds[at] = seconds; /* in order */
}

double bench_best(const bench_times *of)
{
    return of->seconds[0];
}

double bench_median(const bench_times *of)
{
    return of->seconds[of->count / 2];
}

float *bench_values(size_t count, unsigned seed)
{
    void *memory;
    be_error error;
    if (be_allocate_aligned(&memory, count, sizeof(float), "values", &error) != BE_OK)
        bench_stop(error.message);
    float *values = memory;
    uint32_t state = seed;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        values[i] = (float)(state >> 8) / 8388608.0f - 1.0f;
    }
    return values;
}

double bench_peak(const be_isa *isa, be_precision precision)
{
    be_error error;
    be_pool *pool;
    if (be_pool_create(1, &pool, &error) != BE_OK)
        bench_stop(error.message);
    double peak = 1e-9 * be_peak_operations(isa, precision, pool);
    be_pool_destroy(pool);
    return peak;
}
