// The C interface of the 1-bit linear layer.
#include "linear.h"

#include <cstring>

#include "export.h"
#include "memory.h"

namespace lutra {
namespace {

const LinearKernels& kernels_of(int64_t isa) {
#if defined(__x86_64__)
    if (isa >= 2) return linear_avx512;
#endif
    return linear_scalar;
}

int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

// Rows of levels to sums of the +1 weights' levels. Levels above four bits are two digits of four.
void multiply(const Linear& layer, const LinearKernels& kernels, const uint8_t* levels, int64_t rows, uint8_t* digits,
              int32_t* sums, char* workspace) {
    const int64_t padded = layer.groups * WEIGHT_BITS, low_bits = layer.bits < 4 ? layer.bits : 4;
    memset(sums, 0, rows * round_up(layer.outputs, PANEL) * sizeof *sums);
    for (int64_t shift = 0; shift < layer.bits; shift += 4) {
        const uint8_t* source = levels;
        if (layer.bits > 4) {
            for (int64_t i = 0; i < rows * padded; ++i) digits[i] = levels[i] >> shift & 15;
            source = digits;
        }
        for (int64_t g = 0; g < layer.groups; g += CHUNK) {
            const int64_t groups = layer.groups - g < CHUNK ? layer.groups - g : CHUNK;
            kernels.add_product(layer, source, low_bits, rows, g, groups, shift, sums, workspace);
        }
    }
}

}  // namespace

// x (tokens, inputs) float32 -> y (tokens, outputs) float32. Returns 0, or 1 when memory is short.
LUTRA_EXPORT int64_t lutra_run_linear(const Linear* layer, int64_t isa, const float* x, float* y, int64_t tokens) {
    const LinearKernels& kernels = kernels_of(isa);
    const int64_t padded = layer->groups * WEIGHT_BITS;
    const int64_t level_bytes = round_up(ROWS * padded + 64, 64);  // 64: kernels read past the last group
    const int64_t sum_bytes = ROWS * round_up(layer->outputs, PANEL) * 4;
    Memory memory;
    if (!acquire_memory(2 * level_bytes + sum_bytes + (CHUNK * PANEL + ROWS * CHUNK * 64), memory)) return 1;
    uint8_t* levels = reinterpret_cast<uint8_t*>(memory.data);
    uint8_t* digits = levels + level_bytes;
    int32_t* sums = reinterpret_cast<int32_t*>(digits + level_bytes);
    char* workspace = memory.data + 2 * level_bytes + sum_bytes;
    memset(levels, 0, level_bytes);
    for (int64_t first = 0; first < tokens; first += ROWS) {
        const int64_t rows = tokens - first < ROWS ? tokens - first : ROWS;
        int32_t level_sum[ROWS];
        for (int64_t t = 0; t < rows; ++t)
            level_sum[t] = kernels.quantise(*layer, x + (first + t) * layer->inputs, levels + t * padded);
        multiply(*layer, kernels, levels, rows, digits, sums, workspace);
        for (int64_t t = 0; t < rows; ++t)
            kernels.dequantise(*layer, sums + t * round_up(layer->outputs, PANEL), level_sum[t],
                               y + (first + t) * layer->outputs);
    }
    release_memory(memory);
    return 0;
}

}  // namespace lutra
