// Sixteen floats at a time. The library is compiled once per instruction set; GCC's vector extension lowers what has no
// special case here to AVX2 or plain SSE. No contraction: a multiply-add is fused only where `multiply_add` says so.
#pragma once

#include <cstdint>
#include <cstring>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lutra {

using Floats = float __attribute__((vector_size(64)));
using Ints = int32_t __attribute__((vector_size(64)));
using Mask = uint16_t;  // one bit per lane

#define LUTRA_INLINE inline __attribute__((always_inline))

LUTRA_INLINE Floats load(const float* from) {
    Floats value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

LUTRA_INLINE void store(float* to, Floats value) { std::memcpy(to, &value, sizeof value); }

LUTRA_INLINE Floats splat(float x) { return Floats{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }

// words[i] bit j becomes words[j] bit i.
inline void transpose64(uint64_t* words) {
    uint64_t mask = 0x00000000ffffffffull;
    for (int step = 32; step != 0; step >>= 1, mask ^= mask << step)
        for (int i = 0; i < 64; i = ((i | step) + 1) & ~step) {
            uint64_t swapped = ((words[i] >> step) ^ words[i + step]) & mask;
            words[i] ^= swapped << step;
            words[i + step] ^= swapped;
        }
}

}  // namespace lutra

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512BITALG__)
#define LUTRA_AVX512 1
#include "simd_avx512.h"
#else
#include "simd_scalar.h"
#endif
