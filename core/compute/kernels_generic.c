/* The kernels for any processor: built with the compiler's default instruction set. */
#define KERNELS be_kernels_generic
#define KERNELS_NAME "generic"
#define LANES 4
#include "core/compute/kernels.inc"
