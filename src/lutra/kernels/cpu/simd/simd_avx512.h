// Sixteen floats, and words of 64 bits, with AVX-512; simd.h includes it.
#pragma once

namespace lutra {

LUTRA_INLINE Floats multiply_add(Floats a, Floats b, Floats c) {
    return (Floats)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
LUTRA_INLINE Floats masked_add(Floats a, Mask where, Floats b) {
    return (Floats)_mm512_mask_add_ps((__m512)a, where, (__m512)a, (__m512)b);
}
LUTRA_INLINE Floats masked_multiply_add(Floats sum, Mask where, Floats a, Floats b) {
    return (Floats)_mm512_mask3_fmadd_ps((__m512)a, (__m512)b, (__m512)sum, where);
}
LUTRA_INLINE Mask at_least(Floats a, Floats b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GE_OQ); }
LUTRA_INLINE Mask positive(Floats a) { return _mm512_cmp_ps_mask((__m512)a, _mm512_setzero_ps(), _CMP_GT_OQ); }
LUTRA_INLINE Floats rounded_down(Floats x) {
    return (Floats)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}
LUTRA_INLINE Floats quantise(Floats x, Floats inverse_scale) {
    __m512 steps = (__m512)rounded_down(x * inverse_scale + splat(0.5f));
    return (Floats)_mm512_min_ps(_mm512_max_ps(steps, _mm512_set1_ps(-128)), _mm512_set1_ps(127));
}
LUTRA_INLINE Ints widen(const uint8_t* bytes) {
    return (Ints)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)bytes));
}
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

LUTRA_INLINE Floats square_root(Floats x) { return (Floats)_mm512_sqrt_ps((__m512)x); }

// Which of 64 values are at least `b`.
LUTRA_INLINE uint64_t at_least(const Floats* a, Floats b) {
    const __mmask32 low = _mm512_kunpackw(at_least(a[1], b), at_least(a[0], b));
    const __mmask32 high = _mm512_kunpackw(at_least(a[3], b), at_least(a[2], b));
    return _mm512_kunpackd(high, low);
}

// to[column * to_stride + row] = from[row * from_stride + column] for 16 rows and 16 columns.
LUTRA_INLINE void transpose16(const float* from, int64_t from_stride, float* to, int64_t to_stride) {
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
}

// Addresses of one table for the 64 rows of a word, from the words of its inputs.
LUTRA_INLINE void addresses(const uint64_t* inputs, int n, uint8_t* address) {
    __m512i sum = _mm512_setzero_si512();
    for (int i = 0; i < n; ++i) sum = _mm512_mask_add_epi8(sum, inputs[i], sum, _mm512_set1_epi8((char)(1 << i)));
    _mm512_storeu_si512(address, sum);
}

// One output word of one table whose bits are packed: up to four words of 64 entries.
LUTRA_INLINE uint64_t lookup_bits(const uint64_t* table, const uint64_t* inputs, int n) {
    alignas(64) uint8_t address[64];
    addresses(inputs, n, address);
    __m512i index = _mm512_load_si512(address);
    auto part = [&](int k) { return _mm512_bitshuffle_epi64_mask(_mm512_set1_epi64((long long)table[k]), index); };
    if (n <= 6) return part(0);
    uint64_t low = (part(0) & ~inputs[6]) | (part(1) & inputs[6]);
    if (n == 7) return low;
    return (low & ~inputs[7]) | (((part(2) & ~inputs[6]) | (part(3) & inputs[6])) & inputs[7]);
}

// sum += 16 floats at `offset + entry` bytes from the table. The compiler would compute and spill 32 addresses first.
template <int64_t offset, int64_t size>
LUTRA_INLINE void add_from(Floats& sum, const float* table, uint64_t entry) {
    asm("vaddps %c3(%1,%2), %0, %0"
        : "+v"(sum)
        : "r"(table), "r"(entry), "i"(offset), "m"(*(const float (*)[size])table));
}

// Into level[row]: how many of `count` words have the row's bit.
LUTRA_INLINE void count_set(const uint64_t* words, int64_t count, uint8_t* level) {
    __m512i total = _mm512_setzero_si512();
    for (int64_t t = 0; t < count; ++t) total = _mm512_mask_add_epi8(total, words[t], total, _mm512_set1_epi8(1));
    _mm512_storeu_si512(level, total);
}

}  // namespace lutra
