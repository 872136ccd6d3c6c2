// Gradients of choices with AVX-512: a table of partial sums is a register; candidates.h includes it.
#pragma once

namespace lutra {

// The words of 16 planes, `words[plane][CHUNK]`, transposed: vector 2 * w + h holds half h of every plane's word w.
LUTRA_INLINE void gather_halves(const uint64_t* words, const int32_t* planes, float* halves) {
    __m512i four[4];  // planes i, i + 4, i + 8, i + 12
    for (int i = 0; i < 4; ++i) {
        auto words_of = [&](int c) { return _mm_loadu_si128((const __m128i*)(words + CHUNK * planes[c])); };
        const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(words_of(i)), words_of(i + 4), 1);
        const __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(words_of(i + 8)), words_of(i + 12), 1);
        four[i] = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
    }
    for (int w = 0; w < CHUNK; ++w) {  // pairs of planes, then fours of planes
        auto pair = [&](int i) {
            return w == 0 ? _mm512_unpacklo_epi32(four[i], four[i + 1]) : _mm512_unpackhi_epi32(four[i], four[i + 1]);
        };
        _mm512_storeu_si512(halves + 32 * w, _mm512_unpacklo_epi64(pair(0), pair(2)));
        _mm512_storeu_si512(halves + 32 * w + 16, _mm512_unpackhi_epi64(pair(0), pair(2)));
    }
}

// sums[c] += the signed sum of 64 gradients for the choices c, 16 per vector: the signed partial sums of 4 rows fill
// one register, and one permute reads them for 16 choices. Larger tables would cost more to build than they save.
LUTRA_INLINE void add_signed_sums(const float* grad, const float* halves, int64_t choices, float* sums) {
    static const Floats sign[4] = {
        {-1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1},
        {-1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1},
        {-1, -1, -1, -1, 1, 1, 1, 1, -1, -1, -1, -1, 1, 1, 1, 1},
        {-1, -1, -1, -1, -1, -1, -1, -1, 1, 1, 1, 1, 1, 1, 1, 1},
    };
    Floats table[16];
#pragma GCC unroll 16
    for (int part = 0; part < 16; ++part) {
        const float* g = grad + 4 * part;
        const Floats low = multiply_add(sign[1], splat(g[1]), sign[0] * splat(g[0]));
        table[part] = multiply_add(sign[3], splat(g[3]), multiply_add(sign[2], splat(g[2]), low));
    }
    for (int64_t c = 0; c < choices; c += 16, halves += 32 * CHUNK) {
        const __m512i low = _mm512_loadu_si512(halves), high = _mm512_loadu_si512(halves + 16);
        Floats total[2] = {load(sums + c), splat(0)};
#pragma GCC unroll 8
        for (int part = 0; part < 8; ++part) {
            total[0] += (Floats)_mm512_permutexvar_ps(_mm512_srli_epi32(low, 4 * part), (__m512)table[part]);
            total[1] += (Floats)_mm512_permutexvar_ps(_mm512_srli_epi32(high, 4 * part), (__m512)table[8 + part]);
        }
        store(sums + c, total[0] + total[1]);
    }
}

// sums[c] += sum over the rows of `count` words of (2 bit - 1) grad, bits in words[planes[c]][CHUNK]; `choices` is a
// multiple of 16, `halves` has room for 4 * choices.
LUTRA_INLINE void choice_gradients(const float* grad, const uint64_t* words, int64_t count, const int32_t* planes,
                                   int64_t choices, float* halves, float* sums) {
    for (int64_t c = 0; c < choices; c += 16) gather_halves(words, planes + c, halves + 2 * CHUNK * c);
    for (int64_t w = 0; w < count; ++w) add_signed_sums(grad + WORD * w, halves + 32 * w, choices, sums);
}

}  // namespace lutra
