// Products with VNNI; included after the target pragma of a source.
#pragma once

#include <immintrin.h>

#include "portable.h"

namespace lutra {
namespace {

// A tile of sums in registers: up to 6 rows by 4 panels, one dot product of four bytes for 16 columns at a time.
template <int ROW_COUNT, int PANEL_COUNT>
inline void tile(const uint8_t* left, int64_t left_stride, const int8_t* panels, int64_t panel_stride, int64_t groups,
                 int32_t* sums, int64_t sums_stride) {
    __m512i total[ROW_COUNT][PANEL_COUNT];
#pragma GCC unroll 6
    for (int r = 0; r < ROW_COUNT; r++)
#pragma GCC unroll 4
        for (int p = 0; p < PANEL_COUNT; p++) total[r][p] = _mm512_setzero_si512();
    for (int64_t g = 0; g < groups; g++) {
        __m512i weights[PANEL_COUNT];
#pragma GCC unroll 4
        for (int p = 0; p < PANEL_COUNT; p++)
            weights[p] = _mm512_loadu_si512(panels + p * panel_stride + g * GROUP_BYTES);
#pragma GCC unroll 6
        for (int r = 0; r < ROW_COUNT; r++) {
            int32_t four;
            std::memcpy(&four, left + r * left_stride + g * PANEL_GROUP, sizeof four);
            const __m512i values = _mm512_set1_epi32(four);
#pragma GCC unroll 4
            for (int p = 0; p < PANEL_COUNT; p++) total[r][p] = _mm512_dpbusd_epi32(total[r][p], values, weights[p]);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < ROW_COUNT; r++)
#pragma GCC unroll 4
        for (int p = 0; p < PANEL_COUNT; p++)
            _mm512_storeu_si512(sums + r * sums_stride + p * PANEL_COLUMNS, total[r][p]);
}

using Tile = void (*)(const uint8_t*, int64_t, const int8_t*, int64_t, int64_t, int32_t*, int64_t);
constexpr int64_t TILE_ROWS = 6;

template <int ROW_COUNT>
constexpr Tile TILES_OF_ROWS[4] = {tile<ROW_COUNT, 1>, tile<ROW_COUNT, 2>, tile<ROW_COUNT, 3>, tile<ROW_COUNT, 4>};
constexpr const Tile* TILES[TILE_ROWS] = {TILES_OF_ROWS<1>, TILES_OF_ROWS<2>, TILES_OF_ROWS<3>,
                                          TILES_OF_ROWS<4>, TILES_OF_ROWS<5>, TILES_OF_ROWS<6>};

struct Avx512Product {
    static void product(const uint8_t* left, int64_t left_stride, const int8_t* panels, int64_t panel_stride,
                        int64_t groups, int64_t rows, int64_t panel_count, int32_t* sums, int64_t sums_stride) {
        for (int64_t p = 0; p < panel_count; p += PANELS_AT_ONCE) {
            const int64_t some = panel_count - p < PANELS_AT_ONCE ? panel_count - p : PANELS_AT_ONCE;
            for (int64_t r = 0; r < rows; r += TILE_ROWS) {
                const int64_t count = rows - r < TILE_ROWS ? rows - r : TILE_ROWS;
                TILES[count - 1][some - 1](left + r * left_stride, left_stride, panels + p * panel_stride, panel_stride,
                                           groups, sums + r * sums_stride + p * PANEL_COLUMNS, sums_stride);
            }
        }
    }
};

}  // namespace
}  // namespace lutra
