// 1-bit linear layer in portable C++; also what AVX2 machines run.
#include "linear.h"

namespace lutra {
namespace {

int32_t quantise(const Linear& layer, const float* x, uint8_t* levels) {
    const float highest = float((1 << layer.bits) - 1), lowest_code = float(layer.lowest_code);
    int32_t sum = 0;
    for (int64_t k = 0; k < layer.inputs; ++k) {
        const float code = __builtin_floorf((x[k] - layer.offset) * layer.scale_inverse + 0.5f);
        const float level = code - lowest_code;
        levels[k] = uint8_t(level > 0 ? (level < highest ? level : highest) : 0);
        sum += levels[k];
    }
    return sum;
}

void add_product(const Linear& layer, const uint8_t* digits, int64_t, int64_t rows, int64_t first_group, int64_t groups,
                 int64_t shift, int32_t* sums, char*) {
    const int64_t blocks = (layer.outputs + PANEL - 1) / PANEL * (PANEL / 64);
    for (int64_t t = 0; t < rows; ++t) {
        for (int64_t g = first_group; g < first_group + groups; ++g) {
            const uint8_t* digit = digits + t * WEIGHT_BITS * layer.groups + g * WEIGHT_BITS;
            int32_t table[64] = {0};
            for (int64_t i = 0; i < WEIGHT_BITS; ++i)
                for (int64_t entry = 0; entry < 1 << i; ++entry)
                    table[(1 << i) + entry] = table[entry] + (digit[i] << shift);
            for (int64_t block = 0; block < blocks; ++block) {
                const uint8_t* weights = layer.weights + (g * blocks + block) * WEIGHT_BYTES;
                int32_t* sum = sums + (t * blocks + block) * 64;
                for (int64_t part = 0; part < 8; ++part) {
                    uint64_t bits = 0;
                    for (int64_t byte = 0; byte < 6; ++byte) bits |= uint64_t(weights[6 * part + byte]) << (8 * byte);
                    for (int64_t j = 0; j < 8; ++j)
                        sum[column_of_byte(8 * part + j)] += table[bits >> (WEIGHT_BITS * j) & 63];
                }
            }
        }
    }
}

void dequantise(const Linear& layer, const int32_t* sums, int32_t level_sum, float* y) {
    for (int64_t n = 0; n < layer.outputs; ++n) {
        const int32_t sum = 2 * sums[n] - level_sum + int32_t(layer.lowest_code) * layer.weight_sum[n];
        y[n] = float(sum) * layer.column_scale[n] + layer.column_offset[n];
    }
}

}  // namespace

const LinearKernels linear_scalar = {quantise, add_product, dequantise};

}  // namespace lutra
