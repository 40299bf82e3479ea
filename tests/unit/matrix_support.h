/* What tests of products and attention share. */
#ifndef BRAINENC_TESTS_MATRIX_SUPPORT_H
#define BRAINENC_TESTS_MATRIX_SUPPORT_H

#include <stddef.h>
#include <stdint.h>

#include "core/compute/isa.h"

/* Every instruction set that runs here; also "amx" where it does not but AVX512-BF16 does: its tile instructions are emulated then
 * (see tile_instructions.h), else a line says that it is left out. Returns how many. To be called in every test anew. */
size_t all_isas(be_isa isas[BE_ISA_MAX]);

/* The nearest number of 8 significant bits, the even one of two. */
double nearest_bf16(double x);

/* `count` numbers from -2 to 2, to be freed. */
float *make_values(size_t count, uint32_t seed);
/* Columns block * width and following of an array [rows][3 * width], as [rows][width], to be freed. */
float *column_block(const float *joined, size_t rows, size_t width, size_t block);

#endif
