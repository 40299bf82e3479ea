#include "core/compute/kernels.h"

#include <stdbool.h>

static bool runs_here(const be_kernels *kernels)
{
#if defined(__x86_64__)
    if (kernels == &be_kernels_avx512) {
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("fma");
    }
    if (kernels == &be_kernels_avx2)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return kernels == &be_kernels_generic;
}

static const be_kernels *const all_kernels[] = {
#if defined(__x86_64__)
    &be_kernels_avx512, &be_kernels_avx2,
#endif
    &be_kernels_generic,
};
enum { N_KERNELS = sizeof all_kernels / sizeof *all_kernels };

size_t be_kernels_available(const be_kernels *list[BE_KERNELS_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < N_KERNELS; i++) {
        if (runs_here(all_kernels[i]))
            list[count++] = all_kernels[i];
    }
    return count;
}
