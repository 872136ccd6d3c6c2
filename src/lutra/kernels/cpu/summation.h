// Sums of float rows that bits select, by tables of partial sums (the method of four Russians).
#pragma once

#include "block.h"

namespace lutra {

constexpr int64_t COLUMNS = 32;  // output columns that one table of partial sums serves: 32 KiB, which fits in L1
constexpr int64_t NIBBLES = 16;  // partial-sum tables cover 4 bits each
constexpr int64_t PARTIAL_SUMS = NIBBLES * 16 * COLUMNS;

// Sums over 64 rows of `values` (at most COLUMNS wide) selected by a 64-bit word are 16 table reads, one per nibble:
// table[nibble position][nibble][column] = sum of (bit - centre) * value.
inline void partial_sums(const float* values, int64_t stride, int64_t rows, int64_t columns, float centre,
                         float* table) {
    alignas(64) float padded[WORD * COLUMNS];
    if (rows < WORD || columns < COLUMNS) {
        std::memset(padded, 0, sizeof padded);
        for (int64_t row = 0; row < rows; ++row)
            std::memcpy(padded + row * COLUMNS, values + row * stride, columns * 4);
        values = padded;
        stride = COLUMNS;
    }
    for (int64_t nibble = 0; nibble < NIBBLES; ++nibble, values += 4 * stride)
        for (int64_t half = 0; half < COLUMNS; half += 16) {
            Floats v[4], sums[16];
            for (int i = 0; i < 4; ++i) v[i] = load(values + i * stride + half);
            sums[0] = ((v[0] + v[1]) + (v[2] + v[3])) * splat(-centre);
            for (int i = 0; i < 4; ++i)
                for (int low = 0; low < 1 << i; ++low) sums[low | 1 << i] = sums[low] + v[i];
            for (int entry = 0; entry < 16; ++entry) store(table + (nibble * 16 + entry) * COLUMNS + half, sums[entry]);
        }
}

// out[i] += the sum that words[i] selects, COLUMNS floats each.
inline void add_selected(const float* table, const uint64_t* words, int64_t count, float* out, int64_t out_stride) {
    constexpr int ENTRY = COLUMNS * sizeof(float), SHIFT = 7;
    static_assert(ENTRY == 1 << SHIFT);
    for (int64_t i = 0; i < count; ++i, out += out_stride) {
        const uint64_t word = words[i];
        Floats low = load(out), high = load(out + 16), low2 = splat(0),
               high2 = splat(0);  // two chains hide the latency
        auto add = [&](auto position) {
            constexpr int nibble = decltype(position)::value, offset = nibble * 16 * ENTRY;
            const uint64_t entry = rotate_right<4 * nibble - SHIFT>(word) & 15 << SHIFT;  // as an offset in bytes
            add_from<offset, PARTIAL_SUMS>(nibble % 2 ? low2 : low, table, entry);
            add_from<offset + 64, PARTIAL_SUMS>(nibble % 2 ? high2 : high, table, entry);
        };
        for_each<NIBBLES>(add);
        store(out, low + low2);
        store(out + 16, high + high2);
    }
}

}  // namespace lutra
