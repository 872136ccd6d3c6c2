// A linear layer with one bit per weight, prepared for the kernels (binary_linear.py fills it).
//
// Activations are levels 0 .. 2^bits - 1. Six levels of a token make a table of 64 subset sums; six weight bits of a
// column address it. Sums of weights +1 and -1 follow from A[t, n] = sum over the +1 weights of level[t, k]:
//     sum_k code[t, k] * w[k, n] = 2 A[t, n] - sum_k level[t, k] + lowest_code * sum_k w[k, n].
#pragma once

#include <cstdint>

namespace lutra {

constexpr int64_t WEIGHT_BITS = 6;    // weights that address one table
constexpr int64_t WEIGHT_BYTES = 48;  // 64 columns of six bits: one bit per weight
constexpr int64_t PANEL = 256;        // columns whose addresses are expanded at once: 32 KiB for a chunk
constexpr int64_t CHUNK = 128;        // groups of six weights in a chunk; 16-bit sums hold 6 * 128 levels of 4 bits
constexpr int64_t ROWS = 32;          // tokens at once: 256 KiB of tables

struct Linear {
    int64_t inputs, outputs;
    int64_t groups;               // inputs / 6, rounded up; one is added where that is odd
    int64_t bits;                 // of an activation
    int64_t lowest_code;          // 0, or -2^(bits-1)
    const uint8_t* weights;       // (groups, padded outputs / 64, 48): 64 columns of six bits, in the order of POSITION
    const int32_t* weight_sum;    // (padded outputs) sum of a column's +1 and -1; outputs are padded to 256
    float scale_inverse, offset;  // level = clamp(floor((x - offset) * scale_inverse + 0.5) - lowest_code)
    const float* column_scale;    // (padded outputs)
    const float* column_offset;
};

// The column (of 64) that byte b of expanded addresses belongs to: eight bytes go to the even and odd words of a lane.
constexpr int64_t column_of_byte(int64_t byte) { return (byte / 8 % 2) * 32 + byte / 16 * 8 + byte % 8; }

struct LinearKernels {
    // levels (inputs) of one token; returns their sum
    int32_t (*quantise)(const Linear&, const float* x, uint8_t* levels);
    // Adds 2^shift * sum of the +1 weights' digits (rows, 6 * groups) to sums (rows, padded outputs), for one chunk.
    void (*add_product)(const Linear&, const uint8_t* digits, int64_t digit_bits, int64_t rows, int64_t first_group,
                        int64_t groups, int64_t shift, int32_t* sums, char* workspace);
    void (*dequantise)(const Linear&, const int32_t* sums, int32_t level_sum, float* y);
};

extern const LinearKernels linear_scalar, linear_avx512;

}  // namespace lutra
