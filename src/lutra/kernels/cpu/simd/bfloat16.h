// Vectors of numbers that lie in memory as bfloat16, or as either of the two types that training computes with.
#pragma once

#include "simd.h"

namespace lutra {

using Words = uint32_t __attribute__((vector_size(64)));

// The compiler would do both conversions in quarters.
LUTRA_INLINE Words widened(const uint16_t* from) {
#if defined(LUTRA_AVX512)
    return (Words)_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)from));
#else
    using Halves = uint16_t __attribute__((vector_size(32)));
    Halves halves;
    std::memcpy(&halves, from, sizeof halves);
    return __builtin_convertvector(halves, Words);
#endif
}
LUTRA_INLINE void store_narrowed(uint16_t* to, Words words) {
#if defined(LUTRA_AVX512)
    _mm256_storeu_si256((__m256i*)to, _mm512_cvtepi32_epi16((__m512i)words));
#else
    using Halves = uint16_t __attribute__((vector_size(32)));
    const Halves halves = __builtin_convertvector(words, Halves);
    std::memcpy(to, &halves, sizeof halves);
#endif
}

LUTRA_INLINE Floats load_bfloat16(const uint16_t* from) { return (Floats)(widened(from) << 16); }

// Rounds to the nearest, ties to even; what is no number stays none.
LUTRA_INLINE void store_bfloat16(uint16_t* to, Floats value) {
    const Words bits = (Words)value;
    const Words rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    const Words quiet = (bits >> 16) | 0x40;
    const Words chosen = value == value ? rounded : quiet;
    store_narrowed(to, chosen);
}

// Elements of a tensor in float32 or bfloat16.
struct Elements {
    char* first;
    bool bfloat16;

    Elements(const void* first, bool bfloat16) : first((char*)first), bfloat16(bfloat16) {}

    // `lanes` of them, at most 16, and zeros behind.
    LUTRA_INLINE Floats load(int64_t at, int64_t lanes) const {
        alignas(64) char tail[64] = {};
        const char* from = first + at * size();
        if (lanes < 16) from = (const char*)std::memcpy(tail, from, lanes * size());
        return bfloat16 ? load_bfloat16((const uint16_t*)from) : lutra::load((const float*)from);
    }
    LUTRA_INLINE void store(int64_t at, int64_t lanes, Floats value) const {
        alignas(64) char tail[64];
        char* to = lanes < 16 ? tail : first + at * size();
        if (bfloat16) store_bfloat16((uint16_t*)to, value);
        else lutra::store((float*)to, value);
        if (lanes < 16) std::memcpy(first + at * size(), tail, lanes * size());
    }

private:
    int64_t size() const { return bfloat16 ? 2 : 4; }
};

}  // namespace lutra
