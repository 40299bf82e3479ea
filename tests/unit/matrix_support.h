/* What tests of products and attention share. */
#ifndef BRAINENC_TESTS_MATRIX_SUPPORT_H
#define BRAINENC_TESTS_MATRIX_SUPPORT_H

#include <stddef.h>
#include <stdint.h>

#include "core/compute/isa.h"

/* The AMX kernels with tiles of plain C, so that they are tested on every machine. */
extern const be_tiles be_tiles_emulated;

enum { MOST_ISAS = BE_ISA_MAX + 1 };
/* Every instruction set that runs here, and "emulated amx"; returns how many. */
size_t all_isas(be_isa isas[MOST_ISAS]);

/* The nearest number of 8 significant bits, the even one of two. */
double nearest_bf16(double x);

/* `count` numbers from -2 to 2, to be freed. */
float *make_values(size_t count, uint32_t seed);
/* Columns block * width and following of an array [rows][3 * width], as [rows][width], to be freed. */
float *column_block(const float *joined, size_t rows, size_t width, size_t block);

#endif
