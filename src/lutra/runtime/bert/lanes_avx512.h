// Sixteen numbers of binary16 at a time, with AVX-512; included after the target pragma of a source.
#pragma once

#include "../product/avx512.h"
#include "lanes_scalar.h"

namespace lutra {
namespace {

struct Avx512Lanes : Avx512Product {
    using Floats = __m512;
    static constexpr int64_t COUNT = 16;
    static constexpr int NEAREST = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

    static Floats load(const float* x) { return _mm512_loadu_ps(x); }
    static void store(float* x, Floats v) { _mm512_storeu_ps(x, v); }
    static Floats all(float x) { return _mm512_set1_ps(x); }
    static Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
    static Floats subtract(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
    static Floats multiply(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
    static Floats positive(Floats x) { return _mm512_max_ps(x, _mm512_setzero_ps()); }  // of two zeros the second: +0
    static Floats larger(Floats a, Floats b) { return _mm512_max_ps(a, b); }
    static float largest(Floats x) { return _mm512_reduce_max_ps(x); }
    static Floats of_integers(const int32_t* x, const int32_t* y) {
        return _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_loadu_si512(x), _mm512_loadu_si512(y)));
    }
    static Floats half(Floats x) { return _mm512_cvtph_ps(_mm512_cvtps_ph(x, NEAREST)); }
    static bool out_of_range(Floats x) { return _mm512_fpclass_ps_mask(x, 0x99) != 0; }  // infinities and NaNs
    static __mmask16 lanes(int64_t count) { return count < 16 ? __mmask16((1 << count) - 1) : __mmask16(0xffff); }
    static Floats first(Floats x, int64_t count, float fill) {
        return _mm512_mask_blend_ps(lanes(count), _mm512_set1_ps(fill), x);
    }
    static Floats look_up(const float* table, Floats x, uint32_t mask) {
        const __m512i bits = _mm512_cvtepu16_epi32(_mm512_cvtps_ph(x, NEAREST));
        return _mm512_i32gather_ps(_mm512_and_si512(bits, _mm512_set1_epi32(int32_t(mask))), table, 4);
    }
    static Floats levels(const BertQuantiser& q, Floats x) {
        if (q.sign)
            return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GE_OQ), _mm512_set1_ps(2.0f));
        const Floats scaled = half(_mm512_mul_ps(x, _mm512_set1_ps(q.inverse_step)));
        const Floats code = _mm512_roundscale_ps(_mm512_add_ps(scaled, _mm512_set1_ps(0.5f)),
                                                 _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
        const Floats low = _mm512_set1_ps(float(q.low)), high = _mm512_set1_ps(float(q.high));
        return _mm512_sub_ps(_mm512_min_ps(_mm512_max_ps(code, low), high), low);
    }
    static void store_levels(uint8_t* out, Floats x, int64_t count) {
        _mm512_mask_cvtepi32_storeu_epi8(out, lanes(count), _mm512_cvtps_epi32(x));
    }

    struct Sum {
        __m512d low{}, high{};
        static __m512d square(__m256 x) {
            const __m512d wide = _mm512_cvtps_pd(x);
            const __m512d units = _mm512_mul_pd(_mm512_mul_pd(wide, wide), _mm512_set1_pd(1048576.0));
            return _mm512_roundscale_pd(_mm512_add_pd(units, _mm512_set1_pd(0.5)),
                                        _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
        }
        void add(Floats x) {
            low = _mm512_add_pd(low, _mm512_cvtps_pd(_mm512_castps512_ps256(x)));
            high = _mm512_add_pd(high, _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1)));
        }
        void add_square(Floats x) {
            low = _mm512_add_pd(low, square(_mm512_castps512_ps256(x)));
            high = _mm512_add_pd(high, square(_mm512_extractf32x8_ps(x, 1)));
        }
        double value() const { return _mm512_reduce_add_pd(_mm512_add_pd(low, high)); }
    };

    static void expand(const uint64_t* weights, int64_t planes, int64_t groups, int8_t* panel) {
        const __m512i plus = _mm512_set1_epi8(1), minus = _mm512_set1_epi8(-1);
        for (int64_t g = 0; g < groups; ++g, weights += planes, panel += GROUP_BYTES) {
            const __m512i signs = _mm512_mask_blend_epi8(weights[0], minus, plus);
            _mm512_storeu_si512(panel, planes == 1 ? signs : _mm512_maskz_mov_epi8(weights[1], signs));
        }
    }
};

}  // namespace
}  // namespace lutra
