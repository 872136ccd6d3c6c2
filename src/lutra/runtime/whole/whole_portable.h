// What the kernels of whole programs have in common, and what any processor can do of the parts that take the time;
// included by one source per instruction set, after its target pragma (hence the anonymous namespace).
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "../product/portable.h"
#include "whole.h"

namespace lutra {
namespace {

inline int64_t padded(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }
inline int64_t clamped(int64_t value, int64_t low, int64_t high) {
    return value < low ? low : value > high ? high : value;
}
inline int64_t rounded(int64_t value, int64_t shift) { return (value + (int64_t(1) << shift >> 1)) >> shift; }

struct Reciprocal {
    int64_t factor, exponent;
    explicit Reciprocal(int64_t v) {
        exponent = 63 - __builtin_clzll(uint64_t(v));
        factor = (int64_t(1) << (16 + exponent)) / v;
    }
};

inline int64_t square_root(int64_t v) {
    int64_t root = int64_t(std::sqrt(double(v)));
    root -= root * root > v;
    root += (root + 1) * (root + 1) <= v;
    return root;
}

// An integer of 1, 2 or 4 bytes.
inline int64_t element(const char* x, int64_t index, int64_t bytes, bool is_signed) {
    if (bytes == 1)
        return is_signed ? int64_t(reinterpret_cast<const int8_t*>(x)[index])
                         : reinterpret_cast<const uint8_t*>(x)[index];
    if (bytes == 2)
        return is_signed ? int64_t(reinterpret_cast<const int16_t*>(x)[index])
                         : reinterpret_cast<const uint16_t*>(x)[index];
    return reinterpret_cast<const int32_t*>(x)[index];
}

inline void put(int32_t value, int64_t index, int64_t bytes, char* out) {
    if (bytes == 1) reinterpret_cast<int8_t*>(out)[index] = int8_t(value);
    else if (bytes == 2) reinterpret_cast<int16_t*>(out)[index] = int16_t(value);
    else reinterpret_cast<int32_t*>(out)[index] = value;
}

// The sums of a row that normalising needs.
struct RowMoments {
    int64_t total, factor, shift;  // (width * x - total) * factor >> shift is a normalised value
    RowMoments(const NormStep& c, int64_t sum, int64_t squares) : total(sum) {
        const int64_t root = square_root(c.width * squares - sum * sum + c.epsilon);
        const Reciprocal inverse(root > 1 ? root : 1);
        factor = inverse.factor;
        shift = inverse.exponent + 6;
    }
};

struct PortableWhole : PortableProduct {
    // What follows the sums of `count` outputs of one row, from `column` on: requantise, then a table, then the
    // residual stream. `stream` (or null) and `out` begin at `column`.
    static void finish(const LinearStep& c, const int32_t* sums, int64_t column, int64_t count, const int16_t* stream,
                       char* out) {
        const int64_t bytes = c.table ? c.table_bytes : c.output_bytes;
        for (int64_t i = 0; i < count; i++) {
            const int32_t sum = int32_t(uint32_t(sums[i]) + uint32_t(c.bias[column + i]));
            int64_t y = clamped(rounded(int64_t(sum) * c.multiplier[column + i], c.shift), c.low, c.high);
            if (c.table) y = c.table[y - c.low];
            if (stream) y = clamped(stream[i] + y, c.residual_low, c.residual_high);
            put(int32_t(y), i, bytes, out);
        }
    }

    static void norm(const NormStep& c, const int16_t* x, int8_t* out) {
        int64_t total = 0, squares = 0;
        for (int64_t d = 0; d < c.width; d++) {
            total += x[d];
            squares += int32_t(x[d]) * int32_t(x[d]);
        }
        const RowMoments row(c, total, squares);
        const int64_t half = int64_t(1) << c.shift >> 1;
        for (int64_t d = 0; d < c.width; d++) {
            const int64_t n = (int64_t(int32_t(c.width * x[d] - total)) * int32_t(row.factor)) >> row.shift;
            const int64_t y = (int64_t(int32_t(n)) * int32_t(c.gain[d]) + c.bias[d] + half) >> c.shift;
            out[d] = int8_t(clamped(y, c.low, c.high));
        }
    }

    // Any value of `count` columns of one row, requantised into the residual stream, if there is one.
    static void requantise(const RequantiseStep& c, const char* x, const int16_t* stream, char* out) {
        for (int64_t d = 0; d < c.width; d++) {
            const int64_t value = element(x, d, c.input_bytes, c.input_signed) * c.multiplier[d];
            int64_t y = clamped(rounded(value, c.shift[d]), c.low, c.high);
            if (stream) y = clamped(stream[d] + y, c.residual_low, c.residual_high);
            put(int32_t(y), d, c.output_bytes, out);
        }
    }

    // Scores of one query and `count` keys; returns the largest.
    static int32_t scores(const AttentionStep& c, const int32_t* sums, const int32_t* offsets, int64_t count,
                          int16_t* out) {
        int32_t largest = INT16_MIN;
        for (int64_t j = 0; j < count; j++) {
            const int64_t scaled = rounded(int64_t(sums[j] + offsets[j]) * int32_t(c.multiplier), c.shift);
            out[j] = int16_t(clamped(scaled, INT16_MIN, INT16_MAX));
            largest = out[j] > largest ? out[j] : largest;
        }
        return largest;
    }

    // 0 where the distance is beyond the table; returns the sum.
    static int64_t exponentials(const int16_t* scores, int64_t count, int32_t largest, const uint8_t* table,
                                uint8_t* out) {
        int64_t total = 0;
        for (int64_t j = 0; j < count; j++) {
            const int32_t distance = largest - scores[j];
            out[j] = distance < TABLE_ENTRIES ? table[distance] : 0;
            total += out[j];
        }
        return total;
    }

    // The context of one query, `total` the sum of its exponentials.
    static void context(const AttentionStep& c, const int32_t* sums, int64_t width, int64_t total, int8_t* out) {
        const Reciprocal inverse(total);
        const int64_t shift = 16 + inverse.exponent - c.gain, half = int64_t(1) << shift >> 1;
        for (int64_t w = 0; w < width; w++)
            out[w] = int8_t(clamped((int64_t(sums[w]) * int32_t(inverse.factor) + half) >> shift, c.low, c.high));
    }

    // Values of four tokens, `stride` apart: 16 columns of each -> 16 groups of four.
    static void interleave(const int8_t* rows, int64_t stride, int8_t* out) {
        for (int64_t w = 0; w < PANEL_COLUMNS; w++)
            for (int64_t t = 0; t < PANEL_GROUP; t++) out[w * PANEL_GROUP + t] = rows[t * stride + w];
    }
};

}  // namespace
}  // namespace lutra
