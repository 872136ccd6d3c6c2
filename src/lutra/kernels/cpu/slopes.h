// Gradient of a table to its inputs (extended finite difference), as small tables built once per step.
//
// The gradient to input i depends on the address only through the other inputs, so 2^(n-1) entries are enough. Their
// index is the address with bit i replaced by bit n - 1: rows then share one index vector, in which one bit is flipped
// where inputs i and n - 1 differ.
#pragma once

#include <cmath>

#include "block.h"

namespace lutra {

inline int64_t slope_entries(int64_t inputs) { return std::max<int64_t>(32, int64_t(1) << (inputs - 1)); }

// Eight tables at a time, one in each lane.
using Doubles = double __attribute__((vector_size(64)));
constexpr int64_t LANES = 8;

// Slopes of `count` tables, at most LANES: (count, n, slope_entries(n)). With fewer than 32 entries they repeat, so
// that high index bits are ignored.
inline void build_slopes(const float* tables, int n, int64_t count, bool normalised, float* slopes) {
    const int half = 1 << (n - 1);
    Doubles entry[256], value[128], smoothed[128];
    for (int a = 0; a < 2 * half; ++a)
        for (int64_t lane = 0; lane < LANES; ++lane) entry[a][lane] = tables[std::min(lane, count - 1) * 2 * half + a];
    for (int i = 0; i < n; ++i) {
        for (int j = 0; j < half; ++j) {
            const int other = (j & ~(1 << i)) | ((j >> i & 1) << (n - 1));
            value[j] = 0.5 * (entry[other | 1 << i] - entry[other & ~(1 << i)]);
        }
        if (normalised) {  // 1 / (H + 1), which sums to (2^n - 1) / n over a half cube
            const double scale = n / double((1 << n) - 1);
            for (int a = 0; a < half; ++a) {
                smoothed[a] = Doubles{};
                for (int j = 0; j < half; ++j) smoothed[a] += scale / (__builtin_popcount(a ^ j) + 1) * value[j];
            }
            std::copy_n(smoothed, half, value);
        } else {  // 3^-H is a tensor product: one butterfly pass per bit
            for (int step = 1; step < half; step *= 2)
                for (int first = 0; first < half; first += 2 * step)
                    for (int j = first; j < first + step; ++j) {
                        const Doubles clear = value[j], set = value[j + step];
                        value[j] = 0.75 * clear + 0.25 * set;
                        value[j + step] = 0.25 * clear + 0.75 * set;
                    }
        }
        for (int64_t lane = 0; lane < count; ++lane) {
            float* out = slopes + (lane * n + i) * slope_entries(n);
            for (int j = 0; j < slope_entries(n); ++j) out[j] = (float)value[j & (half - 1)][lane];
        }
    }
}

// (luts, n, slope_entries(n)) for a whole layer.
inline Workspace<float> layer_slopes(const Layer& layer, bool normalised, int64_t threads) {
    const int64_t n = layer.inputs, size = n * slope_entries(n), entries = int64_t(1) << n;
    Workspace<float> slopes(layer.luts * size);
    parallel((layer.luts + 31) / 32, threads, [&](int64_t part) {
        for (int64_t lut = part * 32; lut < std::min(layer.luts, part * 32 + 32); lut += LANES)
            build_slopes(layer.tables + lut * entries, (int)n, std::min(LANES, layer.luts - lut), normalised,
                         slopes.data() + lut * size);
    });
    return slopes;
}

template <int N>
LUTRA_INLINE Floats lookup_slope(const float* slopes, Ints index) {
    Floats value = lookup32(load(slopes), load(slopes + 16), index);
    if constexpr (N >= 7) value = choose(index, 32, value, lookup32(load(slopes + 32), load(slopes + 48), index));
    if constexpr (N == 8) {
        Floats high = lookup32(load(slopes + 64), load(slopes + 80), index);
        high = choose(index, 32, high, lookup32(load(slopes + 96), load(slopes + 112), index));
        value = choose(index, 64, value, high);
    }
    return value;
}

// For one table and W words: calls sink(w, i, gradient[4]) with the gradient to input i of the 64 rows of word w.
// `inputs` and `address` hold the words one after the other, `grad` is of the first word, those of the others follow at
// `stride`.
template <int N, int W, class Sink>
LUTRA_INLINE void input_gradients(const uint64_t (*inputs)[N], const uint8_t (*address)[WORD], const float* slopes,
                                  const float* grad, int64_t stride, Sink&& sink) {
    Ints base[W][4];
    Floats g[W][4];
    for (int w = 0; w < W; ++w)
        for (int v = 0; v < 4; ++v) {
            base[w][v] = widen(address[w] + 16 * v);
            g[w][v] = load(grad + w * stride + 16 * v);
        }
    for (int i = 0; i < N; ++i, slopes += N >= 7 ? 1 << (N - 1) : 32)
        for (int w = 0; w < W; ++w) {
            const uint64_t differ = inputs[w][i] ^ inputs[w][N - 1];
            Floats gradient[4];
            for (int v = 0; v < 4; ++v) {
                const Ints index = i == N - 1 ? base[w][v] : flip(base[w][v], (Mask)(differ >> 16 * v), 1 << i);
                gradient[v] = lookup_slope<N>(slopes, index) * g[w][v];
            }
            sink(w, i, gradient);
        }
}

// Calls body(std::integral_constant<int, n>) for n = 2 .. 8.
template <class Body>
void with_inputs(int64_t n, Body&& body) {
    switch (n) {
        case 2: return body(std::integral_constant<int, 2>{});
        case 3: return body(std::integral_constant<int, 3>{});
        case 4: return body(std::integral_constant<int, 4>{});
        case 5: return body(std::integral_constant<int, 5>{});
        case 6: return body(std::integral_constant<int, 6>{});
        case 7: return body(std::integral_constant<int, 7>{});
        case 8: return body(std::integral_constant<int, 8>{});
    }
}

}  // namespace lutra
