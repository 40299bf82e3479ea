/* What tests of products in bfloat16 share. */
#ifndef BRAINENC_TESTS_MATRIX_SUPPORT_H
#define BRAINENC_TESTS_MATRIX_SUPPORT_H

#include "core/compute/isa.h"

/* The AMX kernels with tiles of plain C, so that they are tested on every machine. */
extern const be_tiles be_tiles_emulated;

enum { MOST_ISAS = BE_ISA_MAX + 1 };
/* Every instruction set that runs here, and "emulated amx"; returns how many. */
size_t all_isas(be_isa isas[MOST_ISAS]);

/* The nearest number of 8 significant bits, the even one of two. */
double nearest_bf16(double x);

#endif
