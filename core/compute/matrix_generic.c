/* Products for any processor. */
#define TILES be_tiles_generic
#define LANES 4
#include "core/compute/matrix_plain.inc"
