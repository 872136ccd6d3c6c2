// Products with AVX2; included after the target pragma of a source.
#pragma once

#include <immintrin.h>

#include "portable.h"

namespace lutra {
namespace {

// Bytes 0 and 2 of every four as int16, and bytes 1 and 3: their products with a row's four values add up in 32 bits.
// (The instruction for pairs of bytes saturates.)
template <int ROW_COUNT>
inline void tile(const uint8_t* left, int64_t left_stride, const int8_t* panel, int64_t groups, int32_t* sums,
                 int64_t sums_stride) {
    __m256i total[ROW_COUNT][2];
    for (int r = 0; r < ROW_COUNT; r++) total[r][0] = total[r][1] = _mm256_setzero_si256();
    const __m256i low_bytes = _mm256_set1_epi16(0xff);
    for (int64_t g = 0; g < groups; g++) {
        const __m256i* weights = reinterpret_cast<const __m256i*>(panel + g * GROUP_BYTES);
        __m256i even[2], odd[2];
        for (int v = 0; v < 2; v++) {
            const __m256i bytes = _mm256_loadu_si256(weights + v);
            even[v] = _mm256_srai_epi16(_mm256_slli_epi16(bytes, 8), 8);
            odd[v] = _mm256_srai_epi16(bytes, 8);
        }
        for (int r = 0; r < ROW_COUNT; r++) {
            int32_t four;
            std::memcpy(&four, left + r * left_stride + g * PANEL_GROUP, sizeof four);
            const __m256i values = _mm256_set1_epi32(four);
            const __m256i values_even = _mm256_and_si256(values, low_bytes), values_odd = _mm256_srli_epi16(values, 8);
            for (int v = 0; v < 2; v++)
                total[r][v] = _mm256_add_epi32(total[r][v], _mm256_add_epi32(_mm256_madd_epi16(values_even, even[v]),
                                                                             _mm256_madd_epi16(values_odd, odd[v])));
        }
    }
    for (int r = 0; r < ROW_COUNT; r++)
        for (int v = 0; v < 2; v++)
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + r * sums_stride + 8 * v), total[r][v]);
}

struct Avx2Product {
    static void product(const uint8_t* left, int64_t left_stride, const int8_t* panels, int64_t panel_stride,
                        int64_t groups, int64_t rows, int64_t panel_count, int32_t* sums, int64_t sums_stride) {
        for (int64_t p = 0; p < panel_count; p++) {
            const int8_t* panel = panels + p * panel_stride;
            int32_t* out = sums + p * PANEL_COLUMNS;
            int64_t r = 0;
            for (; r + 3 <= rows; r += 3)
                tile<3>(left + r * left_stride, left_stride, panel, groups, out + r * sums_stride, sums_stride);
            for (; r < rows; r++)
                tile<1>(left + r * left_stride, left_stride, panel, groups, out + r * sums_stride, sums_stride);
        }
    }
};

}  // namespace
}  // namespace lutra
