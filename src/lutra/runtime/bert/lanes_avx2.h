// Eight numbers of binary16 at a time, with AVX2 and F16C; included after the target pragma of a source.
#pragma once

#include "../product/avx2.h"
#include "lanes_scalar.h"

namespace lutra {
namespace {

struct Avx2Lanes : Avx2Product {
    using Floats = __m256;
    static constexpr int64_t COUNT = 8;

    static Floats load(const float* x) { return _mm256_loadu_ps(x); }
    static void store(float* x, Floats v) { _mm256_storeu_ps(x, v); }
    static Floats all(float x) { return _mm256_set1_ps(x); }
    static Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
    static Floats subtract(Floats a, Floats b) { return _mm256_sub_ps(a, b); }
    static Floats multiply(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
    static Floats positive(Floats x) { return _mm256_max_ps(x, _mm256_setzero_ps()); }  // of two zeros the second: +0
    static Floats larger(Floats a, Floats b) { return _mm256_max_ps(a, b); }
    static float largest(Floats x) {
        __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
        four = _mm_max_ps(four, _mm_movehl_ps(four, four));
        return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
    }
    static Floats of_integers(const int32_t* x, const int32_t* y) {
        const auto a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
        return _mm256_cvtepi32_ps(_mm256_add_epi32(a, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(y))));
    }
    static Floats half(Floats x) { return _mm256_cvtph_ps(_mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT)); }
    static bool out_of_range(Floats x) {
        const Floats magnitude = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
        return _mm256_movemask_ps(_mm256_cmp_ps(magnitude, _mm256_set1_ps(65504.0f), _CMP_NLE_UQ)) != 0;
    }
    static Floats first(Floats x, int64_t count, float fill) {
        const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        const __m256i present = _mm256_cmpgt_epi32(_mm256_set1_epi32(int32_t(count < 8 ? count : 8)), lane);
        return _mm256_blendv_ps(_mm256_set1_ps(fill), x, _mm256_castsi256_ps(present));
    }
    static Floats look_up(const float* table, Floats x, uint32_t mask) {
        const __m256i bits = _mm256_cvtepu16_epi32(_mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
        return _mm256_i32gather_ps(table, _mm256_and_si256(bits, _mm256_set1_epi32(int32_t(mask))), 4);
    }
    static Floats levels(const BertQuantiser& q, Floats x) {
        if (q.sign) return _mm256_and_ps(_mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_GE_OQ), _mm256_set1_ps(2.0f));
        const Floats scaled = half(_mm256_mul_ps(x, _mm256_set1_ps(q.inverse_step)));
        const Floats code = _mm256_floor_ps(_mm256_add_ps(scaled, _mm256_set1_ps(0.5f)));
        const Floats low = _mm256_set1_ps(float(q.low)), high = _mm256_set1_ps(float(q.high));
        return _mm256_sub_ps(_mm256_min_ps(_mm256_max_ps(code, low), high), low);
    }
    static void store_levels(uint8_t* out, Floats x, int64_t count) {
        const __m256i words = _mm256_cvtps_epi32(x);
        const __m128i pairs = _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
        const __m128i bytes = _mm_packus_epi16(pairs, pairs);
        if (count >= 8) {
            _mm_storel_epi64(reinterpret_cast<__m128i*>(out), bytes);
        } else {
            const int64_t eight = _mm_cvtsi128_si64(bytes);
            std::memcpy(out, &eight, size_t(count));
        }
    }

    struct Sum {
        __m256d low{}, high{};
        static __m256d square(__m128 x) {
            const __m256d wide = _mm256_cvtps_pd(x);
            const __m256d units = _mm256_mul_pd(_mm256_mul_pd(wide, wide), _mm256_set1_pd(1048576.0));
            return _mm256_floor_pd(_mm256_add_pd(units, _mm256_set1_pd(0.5)));
        }
        void add(Floats x) {
            low = _mm256_add_pd(low, _mm256_cvtps_pd(_mm256_castps256_ps128(x)));
            high = _mm256_add_pd(high, _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1)));
        }
        void add_square(Floats x) {
            low = _mm256_add_pd(low, square(_mm256_castps256_ps128(x)));
            high = _mm256_add_pd(high, square(_mm256_extractf128_ps(x, 1)));
        }
        double value() const {
            const __m256d both = _mm256_add_pd(low, high);
            const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(both), _mm256_extractf128_pd(both, 1));
            return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
        }
    };

    // 32 bits -> 32 bytes of all ones or zeros.
    static __m256i spread(uint32_t bits) {
        const __m256i byte = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
        const __m256i bit = _mm256_set1_epi64x(int64_t(0x8040201008040201));
        const __m256i repeated = _mm256_shuffle_epi8(_mm256_set1_epi32(int32_t(bits)), byte);
        return _mm256_cmpeq_epi8(_mm256_and_si256(repeated, bit), bit);
    }

    static void expand(const uint64_t* weights, int64_t planes, int64_t groups, int8_t* panel) {
        const __m256i minus = _mm256_set1_epi8(-1), two = _mm256_set1_epi8(2);
        for (int64_t g = 0; g < groups; ++g, weights += planes)
            for (int part = 0; part < 2; ++part, panel += 32) {
                __m256i values = _mm256_add_epi8(minus, _mm256_and_si256(spread(uint32_t(*weights >> 32 * part)), two));
                if (planes == 2) values = _mm256_and_si256(values, spread(uint32_t(weights[1] >> 32 * part)));
                _mm256_storeu_si256(reinterpret_cast<__m256i*>(panel), values);
            }
    }
};

}  // namespace
}  // namespace lutra
