// AVX-512 with VBMI and VNNI (Intel since Ice Lake, AMD since Zen 4).
#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx512bitalg,gfni,avx2,fma,bmi,bmi2")
#include <immintrin.h>

#include "whole_kernel.h"

namespace {

// A tile of sums in registers: up to 6 rows by 4 panels, one dot product of four bytes for 16 columns at a time.
template <int kRowCount, int kPanelCount>
inline void tile(const uint8_t* left, int64_t left_stride, const int8_t* panels, int64_t panel_stride, int64_t groups,
                 int32_t* sums, int64_t sums_stride) {
    __m512i total[kRowCount][kPanelCount];
#pragma GCC unroll 6
    for (int r = 0; r < kRowCount; r++)
#pragma GCC unroll 4
        for (int p = 0; p < kPanelCount; p++) total[r][p] = _mm512_setzero_si512();
    for (int64_t g = 0; g < groups; g++) {
        __m512i weights[kPanelCount];
#pragma GCC unroll 4
        for (int p = 0; p < kPanelCount; p++)
            weights[p] = _mm512_loadu_si512(panels + p * panel_stride + g * kGroupBytes);
#pragma GCC unroll 6
        for (int r = 0; r < kRowCount; r++) {
            int32_t four;
            std::memcpy(&four, left + r * left_stride + g * kPanelGroup, sizeof four);
            const __m512i values = _mm512_set1_epi32(four);
#pragma GCC unroll 4
            for (int p = 0; p < kPanelCount; p++) total[r][p] = _mm512_dpbusd_epi32(total[r][p], values, weights[p]);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < kRowCount; r++)
#pragma GCC unroll 4
        for (int p = 0; p < kPanelCount; p++)
            _mm512_storeu_si512(sums + r * sums_stride + p * kPanelColumns, total[r][p]);
}

using Tile = void (*)(const uint8_t*, int64_t, const int8_t*, int64_t, int64_t, int32_t*, int64_t);
constexpr int64_t kTileRows = 6;

template <int kRowCount>
constexpr Tile kTilesOfRows[4] = {tile<kRowCount, 1>, tile<kRowCount, 2>, tile<kRowCount, 3>, tile<kRowCount, 4>};
constexpr const Tile* kTiles[kTileRows] = {kTilesOfRows<1>, kTilesOfRows<2>, kTilesOfRows<3>,
                                           kTilesOfRows<4>, kTilesOfRows<5>, kTilesOfRows<6>};

struct Avx512Whole : PortableWhole {
    static void product(const uint8_t* left, int64_t left_stride, const int8_t* panels, int64_t panel_stride,
                        int64_t groups, int64_t rows, int64_t panel_count, int32_t* sums, int64_t sums_stride) {
        for (int64_t p = 0; p < panel_count; p += kPanelsAtOnce) {
            const int64_t some = panel_count - p < kPanelsAtOnce ? panel_count - p : kPanelsAtOnce;
            for (int64_t r = 0; r < rows; r += kTileRows) {
                const int64_t count = rows - r < kTileRows ? rows - r : kTileRows;
                kTiles[count - 1][some - 1](left + r * left_stride, left_stride, panels + p * panel_stride, panel_stride,
                                            groups, sums + r * sums_stride + p * kPanelColumns, sums_stride);
            }
        }
    }

    static void requantise(int32_t* sums, const int32_t* bias, const int32_t* multiplier, int64_t count, int64_t shift,
                           int64_t low, int64_t high, bool narrow) {
        if (!narrow) return PortableWhole::requantise(sums, bias, multiplier, count, shift, low, high, narrow);
        const __m512i half = _mm512_set1_epi64(int64_t(1) << shift >> 1);
        const __m512i lowest = _mm512_set1_epi32(int32_t(low)), highest = _mm512_set1_epi32(int32_t(high));
        const __m128i by = _mm_cvtsi64_si128(shift);
        for (int64_t i = 0; i < count; i += 16) {
            const __m512i x = _mm512_add_epi32(_mm512_loadu_si512(sums + i), _mm512_loadu_si512(bias + i));
            const __m512i m = _mm512_loadu_si512(multiplier + i);
            // Products of the even and of the odd columns, 64 bits each.
            const __m512i even = _mm512_sra_epi64(_mm512_add_epi64(_mm512_mul_epi32(x, m), half), by);
            const __m512i odd = _mm512_sra_epi64(
                _mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64(x, 32), _mm512_srli_epi64(m, 32)), half), by);
            const __m512i both = _mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32));
            _mm512_storeu_si512(sums + i, _mm512_min_epi32(_mm512_max_epi32(both, lowest), highest));
        }
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
                near |= __mmask64(_mm512_cmplt_epu16_mask(distance, _mm512_set1_epi16(kTableEntries))) << 32 * part;
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

const WholeKernels whole_avx512 = {run_whole<Avx512Whole>};
#endif
