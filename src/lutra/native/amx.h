// Whether this process may compute in AMX's tile registers, and convert to what they multiply.
#pragma once

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace lutra {

// Bits of EDX in leaf 7 of CPUID.
constexpr unsigned AMX_BF16 = 1u << 22, AMX_TILE = 1u << 24, AMX_INT8 = 1u << 25;

// Whether the processor has the tiles and their `products`, and the kernel lets this process use them (it is asked for
// that once).
inline bool has_amx(unsigned products) {
#if defined(__x86_64__) && defined(__linux__)
    constexpr long REQUEST = 0x1023, TILE_DATA = 18;  // ARCH_REQ_XCOMP_PERM
    const unsigned wanted = AMX_TILE | products;
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & wanted) != wanted) return false;
    return syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
#else
    return false;
#endif
}

// Conversions to bfloat16; older compilers do not know the feature's name.
inline bool has_avx512_bf16() {
#if defined(__x86_64__) && defined(__linux__)
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 5) != 0;
#else
    return false;
#endif
}

}  // namespace lutra
