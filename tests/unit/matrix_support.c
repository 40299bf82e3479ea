#include "tests/unit/matrix_support.h"

#include <math.h>

#include "tests/unit/random.h"
#include "tests/unit/support.h"
#include "tests/unit/tile_instructions.h"

/* Adds "amx" as core/compute/isa.c has it. */
static bool add_emulated_amx(be_isa *isa)
{
#if defined(__x86_64__)
    const be_isa *nearest;
    if (be_isa_select("avx512bf16", &nearest, NULL) != BE_OK)
        return false;
    emulate_tile_instructions();
    *isa = (be_isa){"amx", &be_kernels_avx512, &be_tiles_amx, BE_PRECISION_BF16};
    return true;
#else
    (void)isa;
    return false;
#endif
}

size_t all_isas(be_isa isas[BE_ISA_MAX])
{
    static bool said;
    const be_isa *list[BE_ISA_MAX];
    size_t count = be_isa_available(list);
    for (size_t i = 0; i < count; i++)
        isas[i] = *list[i];
    if (strcmp(isas[0].name, "amx") == 0)
        return count;
    if (add_emulated_amx(&isas[count]))
        return count + 1;
    if (!said)
        print_message("amx is left out: this processor has neither AMX nor AVX512-BF16, with which it could be emulated\n");
    said = true;
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
