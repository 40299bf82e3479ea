#include "tests/unit/matrix_support.h"

#include <math.h>

#define BE_TILES_EMULATED
#include "core/compute/matrix_amx.c"

size_t all_isas(be_isa isas[MOST_ISAS])
{
    const be_isa *list[BE_ISA_MAX];
    size_t count = be_isa_available(list);
    for (size_t i = 0; i < count; i++)
        isas[i] = *list[i];
    isas[count++] = (be_isa){"emulated amx", &be_kernels_generic, &be_tiles_emulated, BE_PRECISION_BF16};
    return count;
}

double nearest_bf16(double x)
{
    int exponent;
    frexp(x, &exponent);
    return ldexp(nearbyint(ldexp(x, 8 - exponent)), exponent - 8);
}
