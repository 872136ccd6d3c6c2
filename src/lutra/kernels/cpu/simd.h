// Sixteen floats at a time. The library is compiled once per instruction set; GCC's vector extension lowers what has no
// special case here to AVX2 or plain SSE. No contraction: a multiply-add is fused only where `multiply_add` says so.
#pragma once

#include <cstdint>
#include <cstring>
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512BITALG__)
#define LUTRA_AVX512 1
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

#ifdef LUTRA_AVX512

LUTRA_INLINE Floats multiply_add(Floats a, Floats b, Floats c) { return (Floats)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
LUTRA_INLINE Floats masked_add(Floats a, Mask where, Floats b) {
    return (Floats)_mm512_mask_add_ps((__m512)a, where, (__m512)a, (__m512)b);
}
LUTRA_INLINE Floats masked_multiply_add(Floats sum, Mask where, Floats a, Floats b) {
    return (Floats)_mm512_mask3_fmadd_ps((__m512)a, (__m512)b, (__m512)sum, where);
}
LUTRA_INLINE Mask at_least(Floats a, Floats b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GE_OQ); }
LUTRA_INLINE Floats quantise(Floats x, Floats inverse_scale) {
    __m512 steps = _mm512_roundscale_ps((__m512)(x * inverse_scale + splat(0.5f)), _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    return (Floats)_mm512_min_ps(_mm512_max_ps(steps, _mm512_set1_ps(-128)), _mm512_set1_ps(127));
}
LUTRA_INLINE Ints widen(const uint8_t* bytes) { return (Ints)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)bytes)); }
LUTRA_INLINE Ints flip(Ints index, Mask where, int32_t bit) {
    return (Ints)_mm512_mask_xor_epi32((__m512i)index, where, (__m512i)index, _mm512_set1_epi32(bit));
}
// table[index] for tables of 32 floats; higher bits of the index are ignored.
LUTRA_INLINE Floats lookup32(Floats low, Floats high, Ints index) {
    return (Floats)_mm512_permutex2var_ps((__m512)low, (__m512i)index, (__m512)high);
}
LUTRA_INLINE Floats choose(Ints index, int32_t bit, Floats if_clear, Floats if_set) {
    __mmask16 set = _mm512_test_epi32_mask((__m512i)index, _mm512_set1_epi32(bit));
    return (Floats)_mm512_mask_blend_ps(set, (__m512)if_clear, (__m512)if_set);
}

#else

LUTRA_INLINE Ints lanes_of(Mask mask) {
    const Ints bit = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
    int32_t m = mask;
    return ((Ints{m, m, m, m, m, m, m, m, m, m, m, m, m, m, m, m} & bit) != 0);
}
LUTRA_INLINE Mask mask_of(Ints lanes) {
    Mask mask = 0;
    for (int lane = 0; lane < 16; ++lane) mask |= (Mask)((lanes[lane] & 1) << lane);
    return mask;
}
LUTRA_INLINE Floats multiply_add(Floats a, Floats b, Floats c) {
#ifdef __FMA__
    Floats result;
    for (int half = 0; half < 2; ++half) {
        __m256 x, y, z;
        std::memcpy(&x, (const char*)&a + 32 * half, 32);
        std::memcpy(&y, (const char*)&b + 32 * half, 32);
        std::memcpy(&z, (const char*)&c + 32 * half, 32);
        z = _mm256_fmadd_ps(x, y, z);
        std::memcpy((char*)&result + 32 * half, &z, 32);
    }
    return result;
#else
    return a * b + c;
#endif
}
LUTRA_INLINE Floats masked_add(Floats a, Mask where, Floats b) { return a + (Floats)((Ints)b & lanes_of(where)); }
LUTRA_INLINE Floats masked_multiply_add(Floats sum, Mask where, Floats a, Floats b) { return masked_add(sum, where, a * b); }
LUTRA_INLINE Mask at_least(Floats a, Floats b) { return mask_of(a >= b); }
LUTRA_INLINE Floats quantise(Floats x, Floats inverse_scale) {
    Floats steps = x * inverse_scale + splat(0.5f);
    for (int lane = 0; lane < 16; ++lane) {
        float floored = __builtin_floorf(steps[lane]);
        floored = floored > -128.f ? floored : -128.f;
        steps[lane] = floored < 127.f ? floored : 127.f;
    }
    return steps;
}
LUTRA_INLINE Ints widen(const uint8_t* bytes) {
    Ints index;
    for (int lane = 0; lane < 16; ++lane) index[lane] = bytes[lane];
    return index;
}
LUTRA_INLINE Ints flip(Ints index, Mask where, int32_t bit) {
    const Ints bits = {bit, bit, bit, bit, bit, bit, bit, bit, bit, bit, bit, bit, bit, bit, bit, bit};
    return index ^ (bits & lanes_of(where));
}
LUTRA_INLINE Floats lookup32(Floats low, Floats high, Ints index) {
    float table[32];
    store(table, low);
    store(table + 16, high);
    Floats value;
    for (int lane = 0; lane < 16; ++lane) value[lane] = table[index[lane] & 31];
    return value;
}
LUTRA_INLINE Floats choose(Ints index, int32_t bit, Floats if_clear, Floats if_set) {
    Floats value;
    for (int lane = 0; lane < 16; ++lane) value[lane] = index[lane] & bit ? if_set[lane] : if_clear[lane];
    return value;
}

#endif

// Which of 64 values are at least `b`.
LUTRA_INLINE uint64_t at_least(const Floats* a, Floats b) {
#ifdef LUTRA_AVX512
    const __mmask32 low = _mm512_kunpackw(at_least(a[1], b), at_least(a[0], b));
    const __mmask32 high = _mm512_kunpackw(at_least(a[3], b), at_least(a[2], b));
    return _mm512_kunpackd(high, low);
#else
    uint64_t word = 0;
    for (int v = 0; v < 4; ++v) word |= uint64_t(at_least(a[v], b)) << (16 * v);
    return word;
#endif
}

// to[column * to_stride + row] = from[row * from_stride + column] for 16 rows and 16 columns.
LUTRA_INLINE void transpose16(const float* from, int64_t from_stride, float* to, int64_t to_stride) {
#ifdef LUTRA_AVX512
    __m512 r[16], t[16];
    for (int i = 0; i < 16; ++i) r[i] = _mm512_loadu_ps(from + i * from_stride);
    for (int i = 0; i < 16; i += 2) {  // pairs of rows
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {  // fours of rows: r[i + j] holds columns j, j + 4, j + 8, j + 12
        r[i] = (__m512)_mm512_unpacklo_pd((__m512d)t[i], (__m512d)t[i + 2]);
        r[i + 1] = (__m512)_mm512_unpackhi_pd((__m512d)t[i], (__m512d)t[i + 2]);
        r[i + 2] = (__m512)_mm512_unpacklo_pd((__m512d)t[i + 1], (__m512d)t[i + 3]);
        r[i + 3] = (__m512)_mm512_unpackhi_pd((__m512d)t[i + 1], (__m512d)t[i + 3]);
    }
    for (int j = 0; j < 4; ++j) {  // 4 x 4 blocks of 128 bits
        __m512 a = _mm512_shuffle_f32x4(r[j], r[j + 4], 0x88), b = _mm512_shuffle_f32x4(r[j], r[j + 4], 0xdd);
        __m512 c = _mm512_shuffle_f32x4(r[j + 8], r[j + 12], 0x88), d = _mm512_shuffle_f32x4(r[j + 8], r[j + 12], 0xdd);
        _mm512_storeu_ps(to + j * to_stride, _mm512_shuffle_f32x4(a, c, 0x88));
        _mm512_storeu_ps(to + (j + 4) * to_stride, _mm512_shuffle_f32x4(b, d, 0x88));
        _mm512_storeu_ps(to + (j + 8) * to_stride, _mm512_shuffle_f32x4(a, c, 0xdd));
        _mm512_storeu_ps(to + (j + 12) * to_stride, _mm512_shuffle_f32x4(b, d, 0xdd));
    }
#else
    for (int row = 0; row < 16; ++row)
        for (int column = 0; column < 16; ++column) to[column * to_stride + row] = from[row * from_stride + column];
#endif
}

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
