// Activations quantised with a learned step and dequantised: one pass forward, one backward.
//
// The definition is `reference.learned_step`; each element sees its operations in that order, in float32 whatever the
// types. The backward pass computes the integers again instead of reading them. Sums have a fixed order, so that any
// number of threads gives the same bits.
#include "../block.h"
#include "../simd/bfloat16.h"
#include "export.h"

namespace lutra {

struct LearnedStep {
    int64_t count, columns, threads;  // elements; without a bias the last row may be shorter
    int32_t x_bfloat16, y_bfloat16;   // types of x and of y, and of their gradients
    int32_t sign;                     // -1 and +1 instead of a range of integers
    float step, low, high;
    const void* x;
    const float* bias;  // of the columns; null: none
    void* y;
    const void* grad_y;
    void* grad_x;
    float* grad_bias;   // null without a bias
    double* grad_step;  // one number
};

namespace {

constexpr int64_t TOGETHER = 32;  // rows that a thread takes at a time

LUTRA_INLINE Floats integers(const LearnedStep& s, Floats shifted, Floats ratio) {
    if (s.sign) return shifted >= splat(0) ? splat(1) : splat(-1);
    ratio = ratio > splat(s.high) ? splat(s.high) : ratio;
    ratio = ratio < splat(s.low) ? splat(s.low) : ratio;
    return rounded_down(ratio + splat(0.5f));
}

// Calls work(first element, first column, lanes) for the vectors of a row.
template <class Work>
LUTRA_INLINE void for_vectors(const LearnedStep& s, int64_t row, Work&& work) {
    const int64_t first = row * s.columns, columns = std::min(s.columns, s.count - first);
    for (int64_t column = 0; column < columns; column += 16)
        work(first + column, column, std::min<int64_t>(16, columns - column));
}

LUTRA_INLINE Floats shifted_by_bias(const LearnedStep& s, Floats x, int64_t column, int64_t lanes) {
    return s.bias == nullptr ? x : x + Elements(s.bias, false).load(column, lanes);
}

void quantise_row(const LearnedStep& s, int64_t row) {
    const Elements x(s.x, s.x_bfloat16), y(s.y, s.y_bfloat16);
    const Floats step = splat(s.step), inverse = splat(1 / s.step);
    for_vectors(s, row, [&](int64_t at, int64_t column, int64_t lanes) {
        const Floats shifted = shifted_by_bias(s, x.load(at, lanes), column, lanes);
        y.store(at, lanes, integers(s, shifted, shifted * inverse) * step);
    });
}

// Returns the row's part of the step's gradient and adds its part of the bias's to `grad_bias`.
double backward_of_row(const LearnedStep& s, int64_t row, float* grad_bias) {
    const Elements x(s.x, s.x_bfloat16), grad_y(s.grad_y, s.y_bfloat16), grad_x(s.grad_x, s.x_bfloat16);
    const Floats inverse = splat(1 / s.step);
    Floats sum = splat(0);
    for_vectors(s, row, [&](int64_t at, int64_t column, int64_t lanes) {
        const Floats shifted = shifted_by_bias(s, x.load(at, lanes), column, lanes);
        const Floats ratio = shifted * inverse, grad = grad_y.load(at, lanes);
        const Ints in_range = (ratio >= splat(s.low)) & (ratio <= splat(s.high));
        const Floats inside = in_range ? splat(1) : splat(0);
        const Floats whole = integers(s, shifted, ratio);
        // The sign has no rounding error to learn from: its step is only an amplitude (BiT).
        sum += grad * (s.sign ? whole : whole - ratio * inside);
        const Floats passed = grad * inside;
        grad_x.store(at, lanes, passed);
        if (grad_bias == nullptr) return;
        const Elements bias(grad_bias, false);
        bias.store(column, lanes, bias.load(column, lanes) + passed);
    });
    double total = 0;
    for (int lane = 0; lane < 16; ++lane) total += sum[lane];
    return total;
}

// Calls work(part, row) for all rows.
template <class Work>
void for_rows(const LearnedStep& s, Work&& work) {
    const int64_t rows = (s.count + s.columns - 1) / s.columns;
    parallel((rows + TOGETHER - 1) / TOGETHER, s.threads, [&](int64_t part) {
        for (int64_t row = part * TOGETHER; row < std::min(rows, (part + 1) * TOGETHER); ++row) work(part, row);
    });
}

}  // namespace

LUTRA_EXPORT void lutra_learned_step_forward(const LearnedStep* call) {
    for_rows(*call, [&](int64_t, int64_t row) { quantise_row(*call, row); });
}

LUTRA_EXPORT void lutra_learned_step_backward(const LearnedStep* call) {
    const int64_t columns = call->columns, parts = call->count / (TOGETHER * columns) + 1;
    std::vector<double> steps(parts);
    std::vector<float> biases(call->bias == nullptr ? 0 : parts * columns);
    for_rows(*call, [&](int64_t part, int64_t row) {
        float* grad_bias = call->bias == nullptr ? nullptr : biases.data() + part * columns;
        steps[part] += backward_of_row(*call, row, grad_bias);
    });
    *call->grad_step = 0;
    for (double step : steps) *call->grad_step += step;
    if (call->bias == nullptr) return;
    std::fill_n(call->grad_bias, columns, 0.f);
    for (int64_t part = 0; part < parts; ++part)
        for (int64_t column = 0; column < columns; ++column) call->grad_bias[column] += biases[part * columns + column];
}

}  // namespace lutra
