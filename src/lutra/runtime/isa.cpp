// The best of the kernels that this processor can run: 0 scalar, 1 AVX2, 2 AVX-512 with VBMI, VNNI, BITALG and GFNI,
// 3 AMX for 8-bit products beside it.
#include <cstdint>

#include "amx.h"
#include "export.h"

LUTRA_EXPORT int64_t lutra_best_isa() {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni") &&
        __builtin_cpu_supports("avx512bitalg") && __builtin_cpu_supports("gfni") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return lutra::has_amx(lutra::AMX_INT8) ? 3 : 2;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")) return 1;
#endif
    return 0;
}
