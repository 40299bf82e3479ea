/* What one word of compute.isa chooses: the vector kernels between the products, and what computes products. Those in float32
 * multiply and add in the vector kernels' registers.
 *
 *   word        vector kernels   products in bfloat16
 *   amx         avx512           AMX tiles of 16 x 16 (the kernel's permission is asked for)
 *   avx512bf16  avx512           dot products of pairs in AVX-512 registers
 *   avx512      avx512           widened to float32 and multiplied in registers: slower than float32, but the same numbers to
 *   avx2        avx2             rounding, so that every precision runs on every machine
 *   generic     generic
 */
#ifndef BRAINENC_COMPUTE_ISA_H
#define BRAINENC_COMPUTE_ISA_H

#include "core/compute/kernels.h"
#include "core/compute/precision.h"
#include "core/compute/tiles.h"

typedef struct be_isa {
    const char *name; /* the word */
    const be_kernels *kernels;
    const be_tiles *tiles;
    be_precision preferred; /* what the precision "auto" means on it: bf16 where AMX runs, else f32 */
} be_isa;

/* *isa = the one of this name; NULL or "auto" is the best this processor and kernel run. Constant, lives as long as the
 * program. BE_ERROR_ARGUMENT for an unknown name, BE_ERROR_UNSUPPORTED for one that cannot run here. */
be_status be_isa_select(const char *name, const be_isa **isa, be_error *error);

/* *precision = the one that "f32", "bf16" or "bf16x3" names, or of "auto" (or NULL) what the instruction set `isa` prefers.
 * BE_ERROR_ARGUMENT for any other word; errors of be_isa_select. */
be_status be_isa_precision(const char *word, const char *isa, be_precision *precision, be_error *error);

enum { BE_ISA_MAX = 5 };
/* Every one that runs here, best first; returns how many. */
size_t be_isa_available(const be_isa *list[BE_ISA_MAX]);

#endif
