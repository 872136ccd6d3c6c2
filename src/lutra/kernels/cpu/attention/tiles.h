// Products of bfloat16 matrices with AMX, and how their operands lie in memory. Included behind a target pragma.
//
// A left operand lies row by row, a right one in panels of 16 columns: two rows beside each other in each 32 bits, 16
// columns in a line. All extents are multiples of 32, so that four registers of sums are always whole.
#pragma once

#include "head.h"

namespace lutra {
namespace {

constexpr int64_t DEPTH = 32;  // that a register holds of both operands
constexpr int64_t PANEL = 16;

// Configures the registers of this thread while it lives: eight of 16 lines of 64 bytes.
struct Tiles {
    struct alignas(64) Shapes {
        uint8_t palette = 1, start_row = 0, reserved[14] = {};
        uint16_t row_bytes[16] = {};
        uint8_t rows[16] = {};
    };
    Tiles() {
        Shapes shapes;
        for (int tile = 0; tile < 8; ++tile) shapes.row_bytes[tile] = 64, shapes.rows[tile] = 16;
        asm volatile("" : : "r"(&shapes) : "memory");  // GCC 12 takes all but the first 8 bytes for unused
        _tile_loadconfig(&shapes);
    }
    ~Tiles() { _tile_release(); }
};

// Numbers cut off to bfloat16, and what that has lost as bfloat16 again: together 16 bits of precision.
struct Split {
    Workspace<uint16_t> high, low;
    explicit Split(int64_t count) : high(count), low(count) {}

    // 32 numbers from two vectors.
    void put(int64_t index, Floats first, Floats second) {
        constexpr short UPPER[32] = {1,  3,  5,  7,  9,  11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31,
                                     33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 63};
        const __m512i upper = _mm512_permutex2var_epi16((__m512i)first, _mm512_loadu_si512(UPPER), (__m512i)second);
        _mm512_storeu_si512(&high[index], upper);
        const Words kept = (Words)splat(0) | 0xffff0000u;
        const __m512bh rest = _mm512_cvtne2ps_pbh((__m512)(second - (Floats)((Words)second & kept)),
                                                  (__m512)(first - (Floats)((Words)first & kept)));
        std::memcpy(&low[index], &rest, sizeof rest);
    }
};

struct Left {
    const uint16_t *high, *low;  // low: null for numbers that are bfloat16
    int64_t stride;
};

struct Right {
    const uint16_t* panels;
    int64_t stride;  // from one panel to the next
    // From a row on, a multiple of 2.
    Right from(int64_t row) const { return {panels + row * PANEL, stride}; }
};

template <bool LOW>
LUTRA_INLINE void multiply_depth(const Left& left, int64_t first_row, int64_t k, const uint16_t* right, int64_t next) {
    const uint16_t* from = (LOW ? left.low : left.high) + first_row * left.stride + k;
    _tile_loadd(4, from, left.stride * 2);
    _tile_loadd(5, from + 16 * left.stride, left.stride * 2);
    if (!LOW) {
        _tile_loadd(6, right, 64);
        _tile_loadd(7, right + next, 64);
    }
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
}

// to (rows, columns) = (or +=) left (rows, depth) * right (depth, columns)
template <bool ADD>
inline void multiply(const Left& left, const Right& right, float* to, int64_t to_stride, int64_t rows, int64_t columns,
                     int64_t depth) {
    for (int64_t column = 0; column < columns; column += 2 * PANEL) {
        const uint16_t* panel = right.panels + column / PANEL * right.stride;
        for (int64_t row = 0; row < rows; row += 32) {
            float* sums = to + row * to_stride + column;
            float* below = sums + 16 * to_stride;
            if (ADD) {
                _tile_loadd(0, sums, to_stride * 4);
                _tile_loadd(1, sums + 16, to_stride * 4);
                _tile_loadd(2, below, to_stride * 4);
                _tile_loadd(3, below + 16, to_stride * 4);
            } else {
                _tile_zero(0);
                _tile_zero(1);
                _tile_zero(2);
                _tile_zero(3);
            }
            for (int64_t k = 0; k < depth; k += DEPTH) {
                multiply_depth<false>(left, row, k, panel + k * PANEL, right.stride);
                if (left.low) multiply_depth<true>(left, row, k, panel + k * PANEL, right.stride);
            }
            _tile_stored(0, sums, to_stride * 4);
            _tile_stored(1, sums + 16, to_stride * 4);
            _tile_stored(2, below, to_stride * 4);
            _tile_stored(3, below + 16, to_stride * 4);
        }
    }
}

// One head's part of a bfloat16 tensor as operands, with zeros behind its rows and columns.
struct Operand {
    const int64_t rows, width;
    Workspace<uint16_t> elements;

    explicit Operand(const Rows& from)
        : rows(round_up(from.length, DEPTH)), width(round_up(from.width, DEPTH)), elements(rows * width) {
        for (int64_t row = 0; row < rows; ++row) {
            const int64_t present = row < from.length ? from.width : 0;
            uint16_t* to = &elements[row * width];
            for (int64_t column = 0; column < width; column += DEPTH) {
                const int64_t count = std::min(DEPTH, present - column);
                const __mmask32 mask = count <= 0 ? 0 : ~__mmask32(0) >> (DEPTH - count);
                _mm512_storeu_si512(to + column, _mm512_maskz_loadu_epi16(mask, from.at(row, column)));
            }
        }
    }
    Left left(int64_t first_row) const { return {&elements[first_row * width], nullptr, width}; }

    // As a right operand (rows, width).
    Workspace<uint16_t> panels() const {
        Workspace<uint16_t> to(rows * width);
        for (int64_t column = 0; column < width; column += PANEL)
            for (int64_t row = 0; row < rows; row += 2) {
                const uint16_t* upper = &elements[row * width + column];
                const Words pair = widened(upper) | widened(upper + width) << 16;
                std::memcpy(&to[column * rows + row * PANEL], &pair, sizeof pair);
            }
        return to;
    }
    // Transposed, as a right operand (width, rows).
    Workspace<uint16_t> transposed_panels() const {
        Workspace<uint16_t> to(rows * width);
        const float* pairs = (const float*)elements.data();  // of columns
        for (int64_t row = 0; row < rows; row += PANEL)
            for (int64_t pair = 0; pair < width / 2; pair += 16)
                transpose16(pairs + row * (width / 2) + pair, width / 2, (float*)&to[row * width] + pair * 16, 16);
        return to;
    }
};

}  // namespace
}  // namespace lutra
