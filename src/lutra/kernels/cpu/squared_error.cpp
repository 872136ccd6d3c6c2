// The mean of squared differences of two tensors in one pass, and its gradient to the first
// (`reference.squared_error`).
#include "block.h"
#include "export.h"
#include "simd/bfloat16.h"

namespace lutra {

struct SquaredError {
    int64_t count, threads;
    int32_t x_bfloat16, target_bfloat16;
    float below;  // elements below it count as 0
    const void *x, *target;
    float factor;  // of the gradient: 2 / count times the gradient of the mean
    void* grad_x;
};

namespace {

constexpr int64_t PIECE = 1 << 12;  // elements that a thread takes at a time

// Calls work(first element, lanes) for the vectors of a piece.
template <class Work>
LUTRA_INLINE void for_vectors(const SquaredError& e, int64_t piece, Work&& work) {
    const int64_t last = std::min(e.count, (piece + 1) * PIECE);
    for (int64_t at = piece * PIECE; at < last; at += 16) work(at, std::min<int64_t>(16, e.count - at));
}

// What is no number is kept, so that the error is none.
LUTRA_INLINE Floats kept(Floats x, float below) { return x < splat(below) ? splat(0) : x; }

}  // namespace

LUTRA_EXPORT double lutra_squared_error(const SquaredError* call) {
    const int64_t pieces = (call->count + PIECE - 1) / PIECE;
    std::vector<double> sums(pieces);
    parallel(pieces, call->threads, [&](int64_t piece) {
        const Elements x(call->x, call->x_bfloat16), target(call->target, call->target_bfloat16);
        Floats sum = splat(0);
        for_vectors(*call, piece, [&](int64_t at, int64_t lanes) {
            const Floats error = kept(x.load(at, lanes), call->below) - kept(target.load(at, lanes), call->below);
            sum += error * error;
        });
        for (int lane = 0; lane < 16; ++lane) sums[piece] += sum[lane];
    });
    double total = 0;
    for (double sum : sums) total += sum;
    return total / (double)call->count;
}

LUTRA_EXPORT void lutra_squared_error_backward(const SquaredError* call) {
    parallel((call->count + PIECE - 1) / PIECE, call->threads, [&](int64_t piece) {
        const Elements x(call->x, call->x_bfloat16), target(call->target, call->target_bfloat16);
        const Elements grad_x(call->grad_x, call->x_bfloat16);
        for_vectors(*call, piece, [&](int64_t at, int64_t lanes) {
            const Floats mine = x.load(at, lanes);
            const Floats error = kept(mine, call->below) - kept(target.load(at, lanes), call->below);
            grad_x.store(at, lanes, mine < splat(call->below) ? splat(0) : error * splat(call->factor));
        });
    });
}

}  // namespace lutra
