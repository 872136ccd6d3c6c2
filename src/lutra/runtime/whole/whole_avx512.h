// Kernels of whole programs with AVX-512 VBMI and VNNI; included after the target pragma of a source.
#pragma once

#include <immintrin.h>

#include "../product/avx512.h"
#include "whole_kernel.h"

namespace lutra {
namespace {

struct Avx512Whole : PortableWhole {
    static constexpr auto product = Avx512Product::product;

    // (x * m rounded) >> shift of 16 columns; every result fits 32 bits. Products of even and odd columns have 64 bits.
    static __m512i scaled(__m512i x, __m512i m, __m512i half, __m128i shift) {
        const __m512i odd_m = _mm512_srli_epi64(m, 32);
        const __m512i even = _mm512_sra_epi64(_mm512_add_epi64(_mm512_mul_epi32(x, m), half), shift);
        const __m512i odd =
            _mm512_sra_epi64(_mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64(x, 32), odd_m), half), shift);
        return _mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32));
    }

    static __mmask16 first_of_16(int64_t count) { return count < 16 ? __mmask16((1 << count) - 1) : __mmask16(0xffff); }

    static __m512i limited(__m512i x, __m512i low, __m512i high) {
        return _mm512_min_epi32(_mm512_max_epi32(x, low), high);
    }

    static __m512i load_int16(__mmask16 mask, const int16_t* x) {
        return _mm512_cvtepi16_epi32(_mm256_maskz_loadu_epi16(mask, x));
    }

    static void store(__m512i y, __mmask16 mask, int64_t bytes, char* out) {
        if (bytes == 1) _mm512_mask_cvtepi32_storeu_epi8(out, mask, y);
        else if (bytes == 2) _mm512_mask_cvtepi32_storeu_epi16(out, mask, y);
        else _mm512_mask_storeu_epi32(out, mask, y);
    }

    static void finish(const LinearStep& c, const int32_t* sums, int64_t column, int64_t count, const int16_t* stream,
                       char* out) {
        if (!c.narrow) return PortableWhole::finish(c, sums, column, count, stream, out);
        const __m512i half = _mm512_set1_epi64(int64_t(1) << c.shift >> 1);
        const __m512i low = _mm512_set1_epi32(int32_t(c.low)), high = _mm512_set1_epi32(int32_t(c.high));
        const __m512i stream_low = _mm512_set1_epi32(int32_t(c.residual_low));
        const __m512i stream_high = _mm512_set1_epi32(int32_t(c.residual_high));
        const __m128i shift = _mm_cvtsi64_si128(c.shift);
        const int64_t bytes = c.table ? c.table_bytes : c.output_bytes;
        for (int64_t i = 0; i < count; i += 16) {
            const __mmask16 mask = first_of_16(count - i);
            const __m512i x = _mm512_add_epi32(_mm512_loadu_si512(sums + i), _mm512_loadu_si512(c.bias + column + i));
            __m512i y = limited(scaled(x, _mm512_loadu_si512(c.multiplier + column + i), half, shift), low, high);
            if (c.table) {
                const __m512i two = _mm512_mask_i32gather_epi32(y, mask, _mm512_sub_epi32(y, low), c.table, 2);
                y = _mm512_srai_epi32(_mm512_slli_epi32(two, 16), 16);
            }
            if (stream) y = limited(_mm512_add_epi32(y, load_int16(mask, stream + i)), stream_low, stream_high);
            store(y, mask, bytes, out + i * bytes);
        }
    }

    static void norm(const NormStep& c, const int16_t* x, int8_t* out) {
        __m512i total = _mm512_setzero_si512(), squares = _mm512_setzero_si512();
        const __m512i low_half = _mm512_set1_epi64(0xffffffff);
        for (int64_t d = 0; d < c.width; d += 32) {
            const __mmask32 mask = c.width - d < 32 ? (__mmask32(1) << (c.width - d)) - 1 : ~__mmask32(0);
            const __m512i v = _mm512_maskz_loadu_epi16(mask, x + d);
            total = _mm512_add_epi32(total, _mm512_madd_epi16(v, _mm512_set1_epi16(1)));
            const __m512i pairs = _mm512_madd_epi16(v, v);  // up to 2^31, without a sign
            squares = _mm512_add_epi64(squares, _mm512_and_si512(pairs, low_half));
            squares = _mm512_add_epi64(squares, _mm512_srli_epi64(pairs, 32));
        }
        const RowMoments row(c, _mm512_reduce_add_epi32(total), _mm512_reduce_add_epi64(squares));
        const __m512i width = _mm512_set1_epi32(int32_t(c.width)), sum = _mm512_set1_epi32(int32_t(row.total));
        const __m512i factor = _mm512_set1_epi64(row.factor | row.factor << 32), zero = _mm512_setzero_si512();
        const __m512i low = _mm512_set1_epi32(int32_t(c.low)), high = _mm512_set1_epi32(int32_t(c.high));
        const __m512i half = _mm512_set1_epi32(int32_t(int64_t(1) << c.shift >> 1));
        const __m512i half_64 = _mm512_set1_epi64(int64_t(1) << c.shift >> 1);
        const __m128i row_shift = _mm_cvtsi64_si128(row.shift), shift = _mm_cvtsi64_si128(c.shift);
        for (int64_t d = 0; d < c.width; d += 16) {
            const __mmask16 mask = first_of_16(c.width - d);
            const __m512i v = load_int16(mask, x + d);
            const __m512i n = scaled(_mm512_sub_epi32(_mm512_mullo_epi32(v, width), sum), factor, zero, row_shift);
            const __m512i gain = load_int16(mask, c.gain + d), bias = _mm512_maskz_loadu_epi32(mask, c.bias + d);
            __m512i y;
            if (c.narrow) {
                const __m512i product = _mm512_add_epi32(_mm512_mullo_epi32(n, gain), _mm512_add_epi32(bias, half));
                y = _mm512_sra_epi32(product, shift);
            } else {
                const __m512i even_bias = _mm512_srai_epi64(_mm512_slli_epi64(bias, 32), 32);
                const __m512i even = _mm512_sra_epi64(
                    _mm512_add_epi64(_mm512_add_epi64(_mm512_mul_epi32(n, gain), even_bias), half_64), shift);
                const __m512i odd_product = _mm512_mul_epi32(_mm512_srli_epi64(n, 32), _mm512_srli_epi64(gain, 32));
                const __m512i odd = _mm512_sra_epi64(
                    _mm512_add_epi64(_mm512_add_epi64(odd_product, _mm512_srai_epi64(bias, 32)), half_64), shift);
                const __m512i low_64 = _mm512_set1_epi64(c.low), high_64 = _mm512_set1_epi64(c.high);
                const auto limit = [&](__m512i z) { return _mm512_min_epi64(_mm512_max_epi64(z, low_64), high_64); };
                y = _mm512_mask_blend_epi32(0xaaaa, limit(even), _mm512_slli_epi64(limit(odd), 32));
            }
            _mm512_mask_cvtepi32_storeu_epi8(out + d, mask, limited(y, low, high));
        }
    }

    static void requantise(const RequantiseStep& c, const char* x, const int16_t* stream, char* out) {
        if (c.input_bytes != 2 || !c.input_signed || c.output_bytes != 2)
            return PortableWhole::requantise(c, x, stream, out);
        const int16_t* values = reinterpret_cast<const int16_t*>(x);
        const __m512i low = _mm512_set1_epi64(c.low), high = _mm512_set1_epi64(c.high);
        const __m512i stream_low = _mm512_set1_epi64(c.residual_low), stream_high = _mm512_set1_epi64(c.residual_high);
        const auto limit = [](__m512i z, __m512i from, __m512i to) {
            return _mm512_min_epi64(_mm512_max_epi64(z, from), to);
        };
        for (int64_t d = 0; d < c.width; d += 8) {
            const __mmask8 mask = c.width - d < 8 ? __mmask8((1 << (c.width - d)) - 1) : __mmask8(0xff);
            const __m512i v = _mm512_cvtepi16_epi64(_mm_maskz_loadu_epi16(mask, values + d));
            const __m512i shift = _mm512_maskz_loadu_epi64(mask, c.shift + d);
            const __m512i half = _mm512_srli_epi64(_mm512_sllv_epi64(_mm512_set1_epi64(1), shift), 1);
            const __m512i product = _mm512_mul_epi32(v, _mm512_maskz_loadu_epi64(mask, c.multiplier + d));
            __m512i y = limit(_mm512_srav_epi64(_mm512_add_epi64(product, half), shift), low, high);
            if (stream) {
                const __m512i before = _mm512_cvtepi16_epi64(_mm_maskz_loadu_epi16(mask, stream + d));
                y = limit(_mm512_add_epi64(y, before), stream_low, stream_high);
            }
            _mm512_mask_cvtepi64_storeu_epi16(reinterpret_cast<int16_t*>(out) + d, mask, y);
        }
    }

    static int32_t scores(const AttentionStep& c, const int32_t* sums, const int32_t* offsets, int64_t count,
                          int16_t* out) {
        if (!c.narrow) return PortableWhole::scores(c, sums, offsets, count, out);
        const __m512i half = _mm512_set1_epi64(int64_t(1) << c.shift >> 1);
        const __m512i multiplier = _mm512_set1_epi32(int32_t(c.multiplier)), lowest = _mm512_set1_epi32(INT16_MIN);
        const __m128i shift = _mm_cvtsi64_si128(c.shift);
        __m512i largest = lowest;
        for (int64_t j = 0; j < count; j += 16) {
            const __mmask16 mask = first_of_16(count - j);
            const __m512i x =
                _mm512_add_epi32(_mm512_maskz_loadu_epi32(mask, sums + j), _mm512_maskz_loadu_epi32(mask, offsets + j));
            const __m512i y = limited(scaled(x, multiplier, half, shift), lowest, _mm512_set1_epi32(INT16_MAX));
            largest = _mm512_mask_max_epi32(largest, mask, largest, y);
            _mm512_mask_cvtepi32_storeu_epi16(out + j, mask, y);
        }
        return _mm512_reduce_max_epi32(largest);
    }

    static void context(const AttentionStep& c, const int32_t* sums, int64_t width, int64_t total, int8_t* out) {
        const Reciprocal inverse(total);
        const int64_t shift = 16 + inverse.exponent - c.gain;
        const __m512i factor = _mm512_set1_epi32(int32_t(inverse.factor));
        const __m512i half = _mm512_set1_epi64(int64_t(1) << shift >> 1);
        const __m512i low = _mm512_set1_epi32(int32_t(c.low)), high = _mm512_set1_epi32(int32_t(c.high));
        for (int64_t w = 0; w < width; w += 16) {
            const __mmask16 mask = first_of_16(width - w);
            // A context is at most 128 * 2^8 before it is clamped.
            const __m512i y = scaled(_mm512_maskz_loadu_epi32(mask, sums + w), factor, half, _mm_cvtsi64_si128(shift));
            _mm512_mask_cvtepi32_storeu_epi8(out + w, mask, limited(y, low, high));
        }
    }

    static void interleave(const int8_t* rows, int64_t stride, int8_t* out) {
        const auto load = [&](int64_t t) {
            return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows + t * stride));
        };
        const __m128i a = load(0), b = load(1), c = load(2), d = load(3);
        const __m128i low_ab = _mm_unpacklo_epi8(a, b), low_cd = _mm_unpacklo_epi8(c, d);
        const __m128i high_ab = _mm_unpackhi_epi8(a, b), high_cd = _mm_unpackhi_epi8(c, d);
        __m128i* next = reinterpret_cast<__m128i*>(out);
        _mm_storeu_si128(next, _mm_unpacklo_epi16(low_ab, low_cd));
        _mm_storeu_si128(next + 1, _mm_unpackhi_epi16(low_ab, low_cd));
        _mm_storeu_si128(next + 2, _mm_unpacklo_epi16(high_ab, high_cd));
        _mm_storeu_si128(next + 3, _mm_unpackhi_epi16(high_ab, high_cd));
    }

    static int64_t exponentials(const int16_t* scores, int64_t count, int32_t largest, const uint8_t* table,
                                uint8_t* out) {
        const __m512i quarter[4] = {_mm512_loadu_si512(table), _mm512_loadu_si512(table + 64),
                                    _mm512_loadu_si512(table + 128), _mm512_loadu_si512(table + 192)};
        const __m256i top = _mm256_set1_epi16(int16_t(largest));
        __m512i total = _mm512_setzero_si512();
        for (int64_t j = 0; j < count; j += 64) {
            // Distances are up to 65,535: unsigned 16 bits hold them, and those beyond the table saturate at 255 first.
            const int64_t left = count - j < 64 ? count - j : 64;
            const __mmask64 present = left == 64 ? ~__mmask64(0) : (__mmask64(1) << left) - 1;
            __m512i bytes = _mm512_setzero_si512();
            __mmask64 near = 0;
            for (int part = 0; part < 2; part++) {
                const __mmask32 mask = __mmask32(present >> 32 * part);
                const __m512i s = _mm512_maskz_loadu_epi16(mask, scores + j + 32 * part);
                const __m512i distance = _mm512_sub_epi16(_mm512_broadcastw_epi16(_mm256_castsi256_si128(top)), s);
                near |= __mmask64(_mm512_cmplt_epu16_mask(distance, _mm512_set1_epi16(TABLE_ENTRIES))) << 32 * part;
                const __m256i narrow = _mm512_cvtepi16_epi8(distance);
                bytes = part ? _mm512_inserti64x4(bytes, narrow, 1) : _mm512_inserti64x4(bytes, narrow, 0);
            }
            const __m512i lower = _mm512_permutex2var_epi8(quarter[0], bytes, quarter[1]);
            const __m512i upper = _mm512_permutex2var_epi8(quarter[2], bytes, quarter[3]);
            const __m512i found = _mm512_mask_blend_epi8(_mm512_movepi8_mask(bytes), lower, upper);
            const __m512i kept = _mm512_maskz_mov_epi8(near & present, found);
            _mm512_mask_storeu_epi8(out + j, present, kept);
            total = _mm512_add_epi64(total, _mm512_sad_epu8(kept, _mm512_setzero_si512()));
        }
        return _mm512_reduce_add_epi64(total);
    }
};

}  // namespace
}  // namespace lutra
