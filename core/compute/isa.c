#include "core/compute/isa.h"

#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of XCR0, and the name of the tiles' data to arch_prctl (asm/prctl.h and the processor's manual). */
enum { TILE_STATES = 3 << 17, TILE_DATA = 18, REQUEST_PERMISSION = 0x1023 };

static bool saves_tiles(void)
{
    unsigned eax, ebx, ecx, edx;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & bit_OSXSAVE))
        return false;
    __asm__("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
    return (eax & TILE_STATES) == TILE_STATES;
}

/* A process may use the tiles once the kernel has granted it their 8 KB of state a thread; asking again changes nothing. */
static bool runs_amx(void)
{
    const unsigned amx_bf16 = 1u << 22, amx_tile = 1u << 24;
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (edx & amx_bf16) && (edx & amx_tile) && saves_tiles() &&
           syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}
#endif

static const be_isa all_isas[] = {
#if defined(__x86_64__)
    {"amx", &be_kernels_avx512, &be_tiles_amx, BE_PRECISION_BF16},
    {"avx512bf16", &be_kernels_avx512, &be_tiles_avx512bf16, BE_PRECISION_F32},
    {"avx512", &be_kernels_avx512, &be_tiles_avx512, BE_PRECISION_F32},
    {"avx2", &be_kernels_avx2, &be_tiles_avx2, BE_PRECISION_F32},
#endif
    {"generic", &be_kernels_generic, &be_tiles_generic, BE_PRECISION_F32},
};
enum { N_ISAS = sizeof all_isas / sizeof *all_isas };

static bool runs_kernels(const be_kernels *kernels)
{
    const be_kernels *list[BE_KERNELS_MAX];
    size_t count = be_kernels_available(list);
    for (size_t i = 0; i < count; i++) {
        if (list[i] == kernels)
            return true;
    }
    return false;
}

static bool runs_here(const be_isa *isa)
{
    if (!runs_kernels(isa->kernels))
        return false;
#if defined(__x86_64__)
    if (isa->tiles == &be_tiles_amx)
        return __builtin_cpu_supports("avx512bf16") && runs_amx();
    if (isa->tiles == &be_tiles_avx512bf16)
        return __builtin_cpu_supports("avx512bf16");
#endif
    return true;
}

size_t be_isa_available(const be_isa *list[BE_ISA_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < N_ISAS; i++) {
        if (runs_here(&all_isas[i]))
            list[count++] = &all_isas[i];
    }
    return count;
}

be_status be_isa_select(const char *name, const be_isa **isa, be_error *error)
{
    bool any = !name || strcmp(name, "auto") == 0;
    for (size_t i = 0; i < N_ISAS; i++) {
        if (!any && strcmp(name, all_isas[i].name) != 0)
            continue;
        if (runs_here(&all_isas[i])) {
            *isa = &all_isas[i];
            return BE_OK;
        }
        if (!any)
            return be_fail(error, BE_ERROR_UNSUPPORTED, "isa: this machine cannot run '%s'", name);
    }
    return be_fail(error, BE_ERROR_ARGUMENT, "isa: '%s' is none of auto, amx, avx512bf16, avx512, avx2, generic", name);
}

be_status be_isa_precision(const char *word, const char *isa, be_precision *precision, be_error *error)
{
    const be_isa *chosen;
    be_status status = be_isa_select(isa, &chosen, error);
    if (status != BE_OK)
        return status;
    if (!word || strcmp(word, "auto") == 0) {
        *precision = chosen->preferred;
        return BE_OK;
    }
    if (be_precision_parse(word, precision, NULL) == BE_OK)
        return BE_OK;
    return be_fail(error, BE_ERROR_ARGUMENT, "precision: '%.40s' is none of auto, f32, bf16, bf16x3", word);
}
