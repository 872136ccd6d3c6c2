// Products with AMX (Intel since Sapphire Rapids): 16 rows by 16 columns of sums in a register, 64 rows of weights an
// instruction. Included after the target pragma of a source.
#pragma once

#include "avx512.h"

namespace lutra {
namespace {

constexpr int64_t TILE_SIDE = 16;  // rows of a register, and groups of four in one of its rows

// The shapes of the eight registers: 0 to 3 sums, 4 and 5 left operands, 6 and 7 panels.
struct alignas(64) TileShapes {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {};
    uint8_t rows[16] = {};

    explicit TileShapes(int64_t groups) {
        for (int tile = 0; tile < 8; ++tile) {
            rows[tile] = uint8_t(tile < 6 ? TILE_SIDE : groups);
            row_bytes[tile] = uint16_t(tile == 4 || tile == 5 ? groups * PANEL_GROUP : 64);
        }
    }
};

struct AmxProduct {
    // A panel holds its rows as the registers want them. What fills no register is left to AVX-512.
    static void product(const uint8_t* left, int64_t left_stride, const int8_t* panels, int64_t panel_stride,
                        int64_t groups, int64_t rows, int64_t panel_count, int32_t* sums, int64_t sums_stride) {
        const int64_t whole = rows / TILE_SIDE * TILE_SIDE;
        const bool fits = groups % TILE_SIDE == 0 || groups < TILE_SIDE;
        const int64_t done = fits ? whole : 0;
        if (done) {
            const TileShapes shapes(groups < TILE_SIDE ? groups : TILE_SIDE);
            asm volatile("" : : "r"(&shapes) : "memory");  // GCC 12 takes all but the first 8 bytes for unused
            _tile_loadconfig(&shapes);
            for (int64_t p = 0; p < panel_count; p += 2)
                for (int64_t r = 0; r < done; r += 2 * TILE_SIDE)
                    tiles(left + r * left_stride, left_stride, panels + p * panel_stride, panel_stride, groups,
                          done - r > TILE_SIDE, panel_count - p > 1, sums + r * sums_stride + p * PANEL_COLUMNS,
                          sums_stride);
            _tile_release();
        }
        if (done < rows)
            Avx512Product::product(left + done * left_stride, left_stride, panels, panel_stride, groups, rows - done,
                                   panel_count, sums + done * sums_stride, sums_stride);
    }

    // Sums of 16 or 32 rows and of one or two panels.
    static void tiles(const uint8_t* left, int64_t left_stride, const int8_t* panels, int64_t panel_stride,
                      int64_t groups, bool two_rows, bool two_panels, int32_t* sums, int64_t sums_stride) {
        const uint8_t* second_left = left + TILE_SIDE * left_stride;
        const int8_t* second_panel = panels + panel_stride;
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        for (int64_t g = 0; g < groups; g += TILE_SIDE) {
            _tile_loadd(4, left + g * PANEL_GROUP, left_stride);
            _tile_loadd(6, panels + g * GROUP_BYTES, GROUP_BYTES);
            _tile_dpbusd(0, 4, 6);
            if (two_panels) {
                _tile_loadd(7, second_panel + g * GROUP_BYTES, GROUP_BYTES);
                _tile_dpbusd(1, 4, 7);
            }
            if (two_rows) {
                _tile_loadd(5, second_left + g * PANEL_GROUP, left_stride);
                _tile_dpbusd(2, 5, 6);
                if (two_panels) _tile_dpbusd(3, 5, 7);
            }
        }
        const int64_t bytes = sums_stride * int64_t(sizeof(int32_t));
        int32_t* below = sums + TILE_SIDE * sums_stride;
        _tile_stored(0, sums, bytes);
        if (two_panels) _tile_stored(1, sums + PANEL_COLUMNS, bytes);
        if (two_rows) _tile_stored(2, below, bytes);
        if (two_rows && two_panels) _tile_stored(3, below + PANEL_COLUMNS, bytes);
    }
};

}  // namespace
}  // namespace lutra
