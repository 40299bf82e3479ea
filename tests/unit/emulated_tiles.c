/* be_tiles_emulated, see matrix_support.h. */
#include "tests/unit/matrix_support.h"

#define BE_TILES_EMULATED
#include "core/compute/matrix_amx.c"
