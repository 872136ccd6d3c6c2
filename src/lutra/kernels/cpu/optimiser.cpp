// AdamW for many tensors in one call, with the clipping of the whole gradient and the range of tables folded in.
//
// Each element sees the operations of `reference.adamw` in that order, each rounded once, so that every instruction set
// and any number of threads gives the same bits. The same holds for the norm: its sums have a fixed order.
#include <cmath>

#include "block.h"
#include "export.h"

namespace lutra {

// `rows` of `columns` elements, `stride` apart, of one tensor; all four tensors have the same layout.
struct Slice {
    int64_t rows, columns, stride;
    float* parameter;
    const float* grad;
    float *mean, *square;
    float decay;                     // 1 - learning rate * weight decay
    float keep_square;               // beta 2
    float take_mean, take_square;    // 1 - beta 1 and 1 - beta 2, rounded from double precision
    float root_correction, epsilon;  // sqrt(1 - beta2^step)
    float step_size;                 // learning rate / (1 - beta1^step)
    float limit;                     // parameters stay within +-limit
};

namespace {

constexpr int64_t PIECE = 1 << 14;  // elements that a thread takes at a time
using Doubles = double __attribute__((vector_size(64)));
using EightFloats = float __attribute__((vector_size(32)));

struct Piece {
    const Slice* slice;
    int64_t first_row, last_row, first, last;  // rows, and columns within each of them
};

// Pieces of about PIECE elements: some rows, or a part of one row.
std::vector<Piece> pieces_of(const Slice* slices, int64_t count) {
    std::vector<Piece> pieces;
    for (const Slice* slice = slices; slice < slices + count; ++slice) {
        const int64_t together = std::max<int64_t>(1, PIECE / std::max<int64_t>(1, slice->columns));
        for (int64_t row = 0; row < slice->rows; row += together)
            for (int64_t first = 0; first < slice->columns; first += PIECE)
                pieces.push_back({slice, row, std::min(slice->rows, row + together), first,
                                  std::min(slice->columns, first + PIECE)});
    }
    return pieces;
}

// One vector of parameters; g is the gradient after clipping.
LUTRA_INLINE void update(const Slice& s, Floats g, Floats& p, Floats& m, Floats& v) {
    m = m + splat(s.take_mean) * (g - m);
    v = splat(s.keep_square) * v + splat(s.take_square) * (g * g);
    p = splat(s.decay) * p - splat(s.step_size) * (m / (square_root(v) / splat(s.root_correction) + splat(s.epsilon)));
    const Floats limit = splat(s.limit);
    p = p > limit ? limit : p;
    p = p < -limit ? -limit : p;
}

void update_row(const Slice& s, int64_t at, int64_t count, float scale) {
    const float* grad = s.grad + at;
    float *parameter = s.parameter + at, *mean = s.mean + at, *square = s.square + at;
    auto vector = [&](const float* g, float* p, float* m, float* v) {
        Floats parameters = load(p), means = load(m), squares = load(v);
        update(s, load(g) * splat(scale), parameters, means, squares);
        store(p, parameters);
        store(m, means);
        store(v, squares);
    };
    int64_t i = 0;
    for (; i + 16 <= count; i += 16) vector(grad + i, parameter + i, mean + i, square + i);
    if (i == count) return;
    float tail[4][16] = {};
    const int64_t left = count - i;
    std::copy_n(grad + i, left, tail[0]);
    std::copy_n(parameter + i, left, tail[1]);
    std::copy_n(mean + i, left, tail[2]);
    std::copy_n(square + i, left, tail[3]);
    vector(tail[0], tail[1], tail[2], tail[3]);
    std::copy_n(tail[1], left, parameter + i);
    std::copy_n(tail[2], left, mean + i);
    std::copy_n(tail[3], left, square + i);
}

double squared_sum(const float* values, int64_t count) {
    Doubles sums = {};
    int64_t i = 0;
    for (; i + 8 <= count; i += 8) {
        EightFloats eight;
        std::memcpy(&eight, values + i, sizeof eight);
        const Doubles wide = __builtin_convertvector(eight, Doubles);
        sums += wide * wide;
    }
    for (int lane = 0; i < count; ++i, ++lane) sums[lane] += double(values[i]) * double(values[i]);
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

}  // namespace

LUTRA_EXPORT double lutra_gradient_norm(const Slice* slices, int64_t count, int64_t threads) {
    const std::vector<Piece> pieces = pieces_of(slices, count);
    std::vector<double> sums(pieces.size());
    parallel((int64_t)pieces.size(), threads, [&](int64_t i) {
        const Piece& piece = pieces[i];
        for (int64_t row = piece.first_row; row < piece.last_row; ++row)
            sums[i] +=
                squared_sum(piece.slice->grad + row * piece.slice->stride + piece.first, piece.last - piece.first);
    });
    double total = 0;
    for (double sum : sums) total += sum;
    return std::sqrt(total);
}

LUTRA_EXPORT void lutra_adamw(const Slice* slices, int64_t count, float scale, int64_t threads) {
    const std::vector<Piece> pieces = pieces_of(slices, count);
    parallel((int64_t)pieces.size(), threads, [&](int64_t i) {
        const Piece& piece = pieces[i];
        for (int64_t row = piece.first_row; row < piece.last_row; ++row)
            update_row(*piece.slice, row * piece.slice->stride + piece.first, piece.last - piece.first, scale);
    });
}

}  // namespace lutra
