/* The AMX kernels with tiles of plain C, so that they are tested on every machine. */
#ifndef BRAINENC_TESTS_EMULATED_TILES_H
#define BRAINENC_TESTS_EMULATED_TILES_H

#include "core/compute/isa.h"

extern const be_tiles be_tiles_emulated;

enum { MOST_ISAS = BE_ISA_MAX + 1 };
/* Every instruction set that runs here, and "emulated amx"; returns how many. */
size_t all_isas(be_isa isas[MOST_ISAS]);

#endif
