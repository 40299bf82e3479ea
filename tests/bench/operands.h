/* What the benchmarks of products share. */
#ifndef BRAINENC_BENCH_OPERANDS_H
#define BRAINENC_BENCH_OPERANDS_H

#include <stddef.h>

#include "core/compute/isa.h"

enum { BENCH_ROUNDS = 15 };

/* The seconds of each round. */
typedef struct bench_times {
    double seconds[BENCH_ROUNDS];
    int count;
} bench_times;

void bench_take(bench_times *to, double seconds);
/* The least, and the one in the middle. */
double bench_best(const bench_times *of);
double bench_median(const bench_times *of);

/* Ends the program with a sentence. */
_Noreturn void bench_stop(const char *sentence);
/* [count] numbers between -1 and 1, to be freed; another seed, other numbers. */
float *bench_values(size_t count, unsigned seed);
/* GFLOP/s of one thread at most (core/compute/peak.h). */
double bench_peak(const be_isa *isa, be_precision precision);

#endif
