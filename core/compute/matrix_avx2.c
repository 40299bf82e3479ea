/* Products for processors with AVX2 and FMA: the Makefile gives this file alone the flags for it. */
#if defined(__x86_64__)
#define TILES be_tiles_avx2
#define LANES 8
#include "core/compute/matrix_plain.inc"
#else
typedef int be_no_such_processor; /* an empty file is not C */
#endif
