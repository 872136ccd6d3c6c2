// The published training algorithm of a LUT layer (DWN's released kernel, which runs on a GPU only), for comparison:
// activations are floats, and the backward pass of every row and table loops over all entries and inputs of the table.
#include <cstdint>

extern "C" __attribute__((visibility("default"))) void published_forward(
    const float* x, int64_t rows, int64_t width, const float* tables, const int32_t* connections, int64_t luts, int64_t n, float* y) {
    for (int64_t row = 0; row < rows; ++row)
        for (int64_t lut = 0; lut < luts; ++lut) {
            int address = 0;
            for (int64_t i = 0; i < n; ++i) address |= (x[row * width + connections[lut * n + i]] > 0) << i;
            y[row * luts + lut] = tables[(lut << n) + address] > 0;
        }
}

// grad_x and grad_tables start at zero.
extern "C" __attribute__((visibility("default"))) void published_backward(
    const float* x, const float* grad_y, int64_t rows, int64_t width, const float* tables, const int32_t* connections, int64_t luts,
    int64_t n, float* grad_x, float* grad_tables) {
    const int entries = 1 << n;
    float weight[256];  // alpha beta^H by the bits that differ
    for (int k = 0; k < entries; ++k) {
        weight[k] = 0.5f;
        for (int64_t i = 1; i < n; ++i) weight[k] *= 0.75f;
        for (int i = 0; i < __builtin_popcount(k); ++i) weight[k] /= 3;
    }
    for (int64_t row = 0; row < rows; ++row)
        for (int64_t lut = 0; lut < luts; ++lut) {
            const float* table = tables + (lut << n);
            const float grad = grad_y[row * luts + lut];
            int address = 0;
            for (int64_t i = 0; i < n; ++i) address |= (x[row * width + connections[lut * n + i]] > 0) << i;
            grad_tables[(lut << n) + address] += grad;
            for (int64_t i = 0; i < n; ++i) {
                const int others = ~(1 << i) & (entries - 1);
                float slope = 0;
#pragma GCC ivdep
                for (int k = 0; k < entries; ++k) slope += (k >> i & 1 ? 1.f : -1.f) * weight[(k ^ address) & others] * table[k];
                grad_x[row * width + connections[lut * n + i]] += grad * slope;
            }
        }
}
