// The best of the kernels that this processor can run: 0 scalar, 1 AVX2, 2 AVX-512 with VBMI, VNNI, BITALG and GFNI,
// 3 AMX for 8-bit products beside it.
#include <cstdint>

#include "export.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

// Whether the processor has the tiles, and the kernel lets this process use them (it is asked for that once).
bool has_amx() {
    constexpr unsigned TILE = 1u << 24, INT8 = 1u << 25;  // of EDX, leaf 7
    constexpr long REQUEST = 0x1023, TILE_DATA = 18;      // ARCH_REQ_XCOMP_PERM
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & TILE) == 0 || (d & INT8) == 0) return false;
    return syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
}

}  // namespace
#else
namespace {
bool has_amx() { return false; }
}  // namespace
#endif

LUTRA_EXPORT int64_t lutra_best_isa() {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni") &&
        __builtin_cpu_supports("avx512bitalg") && __builtin_cpu_supports("gfni") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return has_amx() ? 3 : 2;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")) return 1;
#endif
    return 0;
}
