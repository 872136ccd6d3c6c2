// Sums of float rows that bits select, by tables of partial sums (the method of four Russians).
#pragma once

#include "block.h"

namespace lutra {

constexpr int64_t COLUMNS = 32;  // most output columns that one table of partial sums serves: 32 KiB, which fits in L1
constexpr int64_t NIBBLES = 16;  // partial-sum tables cover 4 bits each
constexpr int64_t PARTIAL_SUMS = NIBBLES * 16 * COLUMNS;

// Outputs of one group that one table of partial sums serves, and the summed bits that they read.
struct Tile {
    int64_t first, columns;       // outputs
    int64_t first_bit, last_bit;  // of the summed bits
    int64_t offset;               // where its encoded values lie if the tiles' (bits, width()) follow each other

    int64_t vectors() const { return columns > 16 ? 2 : 1; }
    int64_t width() const { return 16 * vectors(); }
};

inline std::vector<Tile> summation_tiles(const Block& block) {
    std::vector<Tile> tiles;
    int64_t offset = 0;
    for (int64_t group = 0; group < block.groups; ++group) {
        const int64_t first_bit = block.group_begin(block.summed(), group),
                      last_bit = block.group_begin(block.summed(), group + 1);
        const int64_t end = block.group_begin(block.outputs, group + 1);
        for (int64_t first = block.group_begin(block.outputs, group); first < end; first += COLUMNS) {
            tiles.push_back({first, std::min(COLUMNS, end - first), first_bit, last_bit, offset});
            offset += (last_bit - first_bit) * tiles.back().width();
        }
    }
    return tiles;
}

// Calls body(std::integral_constant<int, vectors>).
template <class Body>
LUTRA_INLINE void with_vectors(int64_t vectors, Body&& body) {
    if (vectors == 1) body(std::integral_constant<int, 1>{});
    else body(std::integral_constant<int, 2>{});
}

// Sums over 64 rows of `values` (at most 16 VECTORS wide) selected by a 64-bit word are 16 table reads, one per nibble:
// table[nibble position][nibble][column] = sum of (bit - centre) * value.
template <int VECTORS>
inline void partial_sums(const float* values, int64_t stride, int64_t rows, int64_t columns, float centre,
                         float* table) {
    constexpr int64_t WIDTH = 16 * VECTORS;
    alignas(64) float padded[WORD * WIDTH];
    if (rows < WORD || columns < WIDTH) {
        std::memset(padded, 0, sizeof padded);
        for (int64_t row = 0; row < rows; ++row) std::memcpy(padded + row * WIDTH, values + row * stride, columns * 4);
        values = padded;
        stride = WIDTH;
    }
    for (int64_t nibble = 0; nibble < NIBBLES; ++nibble, values += 4 * stride)
        for (int64_t part = 0; part < WIDTH; part += 16) {
            Floats v[4], sums[16];
            for (int i = 0; i < 4; ++i) v[i] = load(values + i * stride + part);
            sums[0] = ((v[0] + v[1]) + (v[2] + v[3])) * splat(-centre);
            for (int i = 0; i < 4; ++i)
                for (int low = 0; low < 1 << i; ++low) sums[low | 1 << i] = sums[low] + v[i];
            for (int entry = 0; entry < 16; ++entry) store(table + (nibble * 16 + entry) * WIDTH + part, sums[entry]);
        }
}

// out[i] += the sum that words[i] selects, 16 VECTORS floats each.
template <int VECTORS>
inline void add_selected(const float* table, const uint64_t* words, int64_t count, float* out, int64_t out_stride) {
    constexpr int ENTRY = 16 * VECTORS * sizeof(float), SHIFT = VECTORS == 2 ? 7 : 6;
    static_assert(ENTRY == 1 << SHIFT);
    for (int64_t i = 0; i < count; ++i, out += out_stride) {
        const uint64_t word = words[i];
        Floats sum[VECTORS][2];  // two chains hide the latency
        for (int v = 0; v < VECTORS; ++v) {
            sum[v][0] = load(out + 16 * v);
            sum[v][1] = splat(0);
        }
        auto add = [&](auto position) {
            constexpr int nibble = decltype(position)::value, offset = nibble * 16 * ENTRY;
            const uint64_t entry = rotate_right<4 * nibble - SHIFT>(word) & 15 << SHIFT;  // as an offset in bytes
            add_from<offset, PARTIAL_SUMS>(sum[0][nibble % 2], table, entry);
            if constexpr (VECTORS == 2) add_from<offset + 64, PARTIAL_SUMS>(sum[1][nibble % 2], table, entry);
        };
        for_each<NIBBLES>(add);
        for (int v = 0; v < VECTORS; ++v) store(out + 16 * v, sum[v][0] + sum[v][1]);
    }
}

}  // namespace lutra
