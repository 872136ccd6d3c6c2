// The best of the compiled variants that this processor can run: 0 scalar, 1 AVX2, 2 AVX-512, 3 AMX for
// products of bfloat16 beside it.
#include <cstdint>

#include "amx.h"
#include "export.h"

LUTRA_EXPORT int64_t lutra_best_isa() {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bitalg"))
        return lutra::has_avx512_bf16() && lutra::has_amx(lutra::AMX_BF16) ? 3 : 2;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")) return 1;
#endif
    return 0;
}
