/* Products for processors with AVX-512 (F, VL, DQ, BW): the Makefile gives this file alone the flags for it. */
#if defined(__x86_64__)
#define TILES be_tiles_avx512
#define LANES 16
#include "core/compute/matrix_plain.inc"
#else
typedef int be_no_such_processor; /* an empty file is not C */
#endif
