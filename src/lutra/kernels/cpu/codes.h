// What the backward pass must know of the input, in a few bits per feature.
//
// A thermometer bit and either end of the gradient's window around its threshold are all conditions `x >= edge`. Once
// the edges of a feature are sorted, the number of conditions that hold, its code, says which of them hold: 8
// thresholds with windows have 25 codes, which 5 bits hold. An edge is not `threshold - window`, which is rounded, but
// the lowest float that meets the very condition of the definition, so that nothing is lost. NaN meets none.
#pragma once

#include "block.h"

namespace lutra {

enum Condition { SET, ENTERED, LEFT };  // x >= threshold, x - threshold > -window, x - threshold >= window

constexpr int64_t MOST_EDGES = 3 * 256, MOST_CODE_BITS = 10;

// Floats as integers in the same order, and back.
LUTRA_INLINE Ints ordered(Ints bits) { return bits ^ ((bits >> 31) & 0x7fffffff); }

// The lowest float (as an ordered integer; a NaN if there is none) that `holds`, which none below does.
template <class Holds>
LUTRA_INLINE Ints lowest(Holds&& holds) {
    constexpr int32_t INFINITE = 0x7f800000;
    Ints low = Ints{} - INFINITE - 1, high = Ints{} + (INFINITE + 1);
    for (int step = 0; step < 32; ++step) {
        const Ints middle = (low & high) + ((low ^ high) >> 1);
        const Ints held = holds((Floats)ordered(middle));
        high = held ? middle : high;
        low = held ? low : middle + 1;
    }
    return high;
}

// Edges (features, edges) in ascending order; writes the ranks: condition c of bit t holds if the code is at least
// `ranks[feature][c * T + t]`.
struct Edges {
    Buffer<float> sorted;

    explicit Edges(const Block& block) : sorted(block.features * block.edges()) {
        const int64_t T = block.thermometer_bits, edges = block.edges();
        Buffer<int32_t> found(round_up(sorted.size(), 16));
        for (int64_t plane = 0; plane < block.planes(); plane += 16) {
            const int64_t lanes = std::min<int64_t>(16, block.planes() - plane);
            Floats threshold = {}, limit = {};
            for (int64_t lane = 0; lane < lanes; ++lane) {
                threshold[lane] = block.thresholds[block.threshold_index(plane + lane)];
                limit[lane] = block.integer_thresholds ? block.integer_thresholds[plane + lane] : threshold[lane];
            }
            for (int64_t condition = 0; condition * T < edges; ++condition) {
                const Ints edge = search(block, (Condition)condition, threshold, limit);
                for (int64_t lane = 0; lane < lanes; ++lane) {
                    const int64_t feature = (plane + lane) / T, t = (plane + lane) % T;
                    found[feature * edges + condition * T + t] = edge[lane];
                }
            }
        }
        Buffer<int32_t> ascending(found);
        for (int64_t feature = 0; feature < block.features; ++feature) {
            int32_t *first = &ascending[feature * edges], *last = first + edges;
            std::sort(first, last);
            for (int64_t e = feature * edges; e < (feature + 1) * edges; ++e)
                block.ranks[e] = (int16_t)(std::upper_bound(first, last, found[e]) - first);
        }
        for (int64_t e = 0; e < (int64_t)sorted.size(); ++e) {
            const int32_t bits = ascending[e] ^ ((ascending[e] >> 31) & 0x7fffffff);
            std::memcpy(&sorted[e], &bits, sizeof bits);
        }
    }

    static Ints search(const Block& block, Condition condition, Floats threshold, Floats limit) {
        if (condition == ENTERED) return lowest([&](Floats x) { return x - threshold > splat(-*block.window); });
        if (condition == LEFT) return lowest([&](Floats x) { return x - threshold >= splat(*block.window); });
        if (!block.integer_thresholds) return lowest([&](Floats x) { return x >= limit; });
        return lowest([&](Floats x) { return quantise(x, splat(*block.inverse_scale)) >= limit; });
    }
};

// Codes and thermometer bits of one word of rows: codes[feature][code bit], bits[plane].
inline void encode(const Block& block, const Edges& edges, int64_t word, uint64_t* codes, uint64_t* bits) {
    const int64_t first = word * WORD, rows = std::min(WORD, block.rows - first);
    const int64_t T = block.thermometer_bits, count = block.edges(), code_bits = block.code_bits();
    alignas(64) float tile[WORD * 16], columns[16 * WORD];
    for (int64_t f0 = 0; f0 < block.features; f0 += 16) {
        const int64_t features = std::min<int64_t>(16, block.features - f0);
        const float* from = block.x + first * block.features + f0;
        int64_t stride = block.features;
        if (rows < WORD || features < 16) {
            std::memset(tile, 0, sizeof tile);
            for (int64_t row = 0; row < rows; ++row) std::memcpy(tile + row * 16, from + row * stride, features * 4);
            from = tile;
            stride = 16;
        }
        for (int64_t row = 0; row < WORD; row += 16) transpose16(from + row * stride, stride, columns + row, WORD);
        for (int64_t f = 0; f < features; ++f) {
            Floats x[4];
            for (int v = 0; v < 4; ++v) x[v] = load(columns + f * WORD + v * 16);
            const float* edge = &edges.sorted[(f0 + f) * count];
            uint64_t held[MOST_EDGES], code[MOST_CODE_BITS] = {};
            // Bit b of a count c is the parity of the multiples of 2^b in 1 .. c.
            for (int64_t e = 0; e < count; ++e) code[__builtin_ctzll(e + 1)] ^= held[e] = at_least(x, splat(edge[e]));
            for (int64_t b = code_bits - 2; b >= 0; --b) code[b] ^= code[b + 1];
            std::copy_n(code, code_bits, codes + (f0 + f) * code_bits);
            const int16_t* rank = block.ranks + (f0 + f) * count;
            for (int64_t t = 0; t < T; ++t) bits[(f0 + f) * T + t] = held[rank[t] - 1];
        }
    }
}

// From the codes of one word: thermometer bits, and in `inside` (null: not wanted) which rows lie in each one's window.
inline void decode(const Block& block, const uint64_t* codes, uint64_t* bits, uint64_t* inside) {
    const int64_t T = block.thermometer_bits, count = block.edges(), code_bits = block.code_bits();
    uint64_t at_least[1 << MOST_CODE_BITS];  // [r]: the code is at least r
    for (int64_t f = 0; f < block.features; ++f, codes += code_bits) {
        for (int64_t b = 0; b < code_bits; ++b) {  // of the lowest b + 1 bits
            const int64_t half = int64_t(1) << b;
            at_least[half] = codes[b];
            for (int64_t r = 1; r < half; ++r) {
                at_least[half + r] = at_least[r] & codes[b];
                at_least[r] |= codes[b];
            }
        }
        const int16_t* rank = block.ranks + f * count;
        for (int64_t t = 0; t < T; ++t) bits[f * T + t] = at_least[rank[SET * T + t]];
        if (!inside) continue;
        for (int64_t t = 0; t < T; ++t)
            inside[f * T + t] = at_least[rank[ENTERED * T + t]] & ~at_least[rank[LEFT * T + t]];
    }
}

}  // namespace lutra
