/* What `brainenc bench` measured, and its table. */
#ifndef BRAINENC_TOOL_BENCH_H
#define BRAINENC_TOOL_BENCH_H

#include "clients/brainenc/bare.h"
#include "clients/brainenc/tool.h"

enum { MOST_ROUNDS = 100 };

typedef struct samples {
    double values[MOST_ROUNDS];
    size_t count;
} samples;

double bench_median(const samples *of);

/* What this machine does at most, on as many threads as the session has. */
typedef struct bench_peaks {
    const char *float32_instructions, *precise_instructions;
    double float32, precise; /* floating-point operations a second: in f32, and in the model's precision */
    double reading;          /* bytes a second from memory */
} bench_peaks;

typedef struct bench_results {
    const be_model *model;
    const be_session *session;
    const bare *bare;
    const picture *picture;
    size_t rounds, n_stream, answer_bytes;
    double load_seconds;
    long resident_kb;       /* the largest so far, before the bare products' operands exist */
    bench_peaks peaks;
    samples decode, answer; /* file to pixels that fit; numbers to JSON */
    samples one, one_bare, many, many_bare, stages[BE_STAGES];
    samples against;        /* another model's, or none */
} bench_results;

/* A table, or one JSON object, to standard output. */
void bench_print_lines(const bench_results *results);
void bench_print_json(const bench_results *results);

#endif
