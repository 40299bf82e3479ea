/* What this machine does at most, measured: what the speed of everything else is a part of. */
#ifndef BRAINENC_COMPUTE_PEAK_H
#define BRAINENC_COMPUTE_PEAK_H

#include "core/compute/isa.h"
#include "core/compute/pool.h"

/* Floating-point operations a second (a multiplication and an addition are two) of all threads of the pool together, from register
 * to register, by what an instruction set multiplies with in a precision: AMX tiles or AVX512-BF16 dot products where it has them and
 * the precision is not f32, else the multiply-and-add of its vectors. The best of several short rounds. The instruction set
 * runs here (be_isa_select). */
double be_peak_operations(const be_isa *isa, be_precision precision, be_pool *pool);
/* "avx512", "avx512bf16", "amx", ...: whose instructions those are. */
const char *be_peak_instructions(const be_isa *isa, be_precision precision);

/* *rate = bytes a second that all threads of the pool together read from memory, from an array several times the last cache. */
be_status be_peak_reading(be_pool *pool, double *rate, be_error *error);

#endif
