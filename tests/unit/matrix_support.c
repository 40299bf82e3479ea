#include "tests/unit/matrix_support.h"

#include <math.h>

#include "tests/unit/random.h"
#include "tests/unit/support.h"

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

float *make_values(size_t count, uint32_t seed)
{
    float *values = malloc((count + 1) * sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < count; i++)
        values[i] = next_uniform(&seed) * 2;
    return values;
}

float *column_block(const float *joined, size_t rows, size_t width, size_t block)
{
    float *dense = make_values(rows * width, 0);
    for (size_t r = 0; r < rows; r++)
        memcpy(dense + r * width, joined + (3 * r + block) * width, width * sizeof *dense);
    return dense;
}
