// Products of small float matrices that lie in the cache.
#pragma once

#include <algorithm>

#include "../simd/bfloat16.h"

namespace lutra {

// c[row][16 VECTORS] = (or +=) sum over k < depth of a[row * a_row + k * a_k] * b[k * b_k][16 VECTORS], for ROWS rows.
template <int ROWS, int VECTORS, bool ADD>
LUTRA_INLINE void multiply_tile(const float* a, int64_t a_row, int64_t a_k, const float* b, int64_t b_k, float* c,
                                int64_t c_row, int64_t depth) {
    Floats sums[ROWS][VECTORS];
    for (int row = 0; row < ROWS; ++row)
        for (int v = 0; v < VECTORS; ++v) sums[row][v] = ADD ? load(c + row * c_row + 16 * v) : splat(0);
    for (int64_t k = 0; k < depth; ++k) {
        Floats values[VECTORS];
        for (int v = 0; v < VECTORS; ++v) values[v] = load(b + k * b_k + 16 * v);
        for (int row = 0; row < ROWS; ++row) {
            const Floats factor = splat(a[row * a_row + k * a_k]);
            for (int v = 0; v < VECTORS; ++v) sums[row][v] = multiply_add(factor, values[v], sums[row][v]);
        }
    }
    for (int row = 0; row < ROWS; ++row)
        for (int v = 0; v < VECTORS; ++v) store(c + row * c_row + 16 * v, sums[row][v]);
}

// The same for any number of rows, and of columns that is a multiple of 16.
template <bool ADD>
inline void multiply(const float* a, int64_t a_row, int64_t a_k, const float* b, int64_t b_k, float* c, int64_t c_row,
                     int64_t rows, int64_t columns, int64_t depth) {
    for (int64_t column = 0; column < columns; column += 64) {
        const float* from = b + column;
        auto tiles = [&](auto vectors) {
            constexpr int V = decltype(vectors)::value;
            int64_t row = 0;
            for (; row + 6 <= rows; row += 6)
                multiply_tile<6, V, ADD>(a + row * a_row, a_row, a_k, from, b_k, c + row * c_row + column, c_row,
                                         depth);
            for (; row < rows; ++row)
                multiply_tile<1, V, ADD>(a + row * a_row, a_row, a_k, from, b_k, c + row * c_row + column, c_row,
                                         depth);
        };
        switch (std::min<int64_t>(4, (columns - column) / 16)) {
            case 1: tiles(std::integral_constant<int, 1>{}); break;
            case 2: tiles(std::integral_constant<int, 2>{}); break;
            case 3: tiles(std::integral_constant<int, 3>{}); break;
            default: tiles(std::integral_constant<int, 4>{});
        }
    }
}

// Halves against each other, so that little waits for what is before it.
template <class Combine>
LUTRA_INLINE float reduced(Floats x, Combine combine) {
    using Eight = float __attribute__((vector_size(32)));
    using Four = float __attribute__((vector_size(16)));
    Eight eight[2];
    std::memcpy(eight, &x, sizeof x);
    const Eight of_eight = combine(eight[0], eight[1]);
    Four four[2];
    std::memcpy(four, &of_eight, sizeof of_eight);
    const Four of_four = combine(four[0], four[1]);
    return combine(combine(of_four[0], of_four[1]), combine(of_four[2], of_four[3]));
}
LUTRA_INLINE float sum_of(Floats x) {
    return reduced(x, [](auto a, auto b) { return a + b; });
}
LUTRA_INLINE float highest_of(Floats x) {
    return reduced(x, [](auto a, auto b) { return a > b ? a : b; });
}

// e^x for x up to 0, within two units in the last place; 0 below -87.
LUTRA_INLINE Floats exponential(Floats x) {
    const Floats low = splat(-87.f);
    const auto tiny = x < low;
    x = tiny ? low : x;
    const Floats magic = splat(12582912.f);  // adding 1.5 * 2^23 rounds to an integer
    const Floats shifted = multiply_add(x, splat(1.44269504f), magic), n = shifted - magic;
    Floats r = multiply_add(n, splat(-0.693359375f), x);
    r = multiply_add(n, splat(2.12194440e-4f), r);
    Floats p = splat(1.9875691500e-4f);
    for (float coefficient : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f})
        p = multiply_add(p, r, splat(coefficient));
    p = multiply_add(p * r, r, r + splat(1.f));
    const Floats power = (Floats)(((Ints)shifted << 23) + (Ints)splat(1.f));  // the low bits of `shifted` hold n
    const Floats result = p * power;
    return tiny ? splat(0) : result;
}

}  // namespace lutra
