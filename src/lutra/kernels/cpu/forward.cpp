// Forward pass of the weightless block: thermometer, lookups and conditional summation over groups of up to 512 rows.
#include "block.h"

namespace lutra {
namespace {

constexpr int64_t GROUP = 8;  // words: a table of partial sums is built once per group

// Thermometer bits (and which inputs lie inside the gradient's window) of one word of rows.
void encode(const Block& block, int64_t word, uint64_t* bits, uint64_t* inside) {
    const int64_t first = word * WORD, rows = std::min(WORD, block.rows - first), T = block.thermometer_bits;
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
            Floats x[4], compared[4];
            for (int v = 0; v < 4; ++v) {
                x[v] = load(columns + f * WORD + v * 16);
                compared[v] = block.integer_thresholds ? quantise(x[v], splat(*block.inverse_scale)) : x[v];
            }
            for (int64_t t = 0; t < T; ++t) {
                const int64_t plane = (f0 + f) * T + t;
                const Floats threshold = splat(block.thresholds[block.threshold_index(plane)]);
                const Floats limit = block.integer_thresholds ? splat(block.integer_thresholds[plane]) : threshold;
                uint64_t set = 0, near = 0;
                for (int v = 0; v < 4; ++v) set |= uint64_t(at_least(compared[v], limit)) << (16 * v);
                bits[plane] = set;
                if (!inside) continue;
                const Floats window = splat(*block.window);
                for (int v = 0; v < 4; ++v) near |= uint64_t(closer_than(x[v], threshold, window)) << (16 * v);
                inside[plane] = near;
            }
        }
    }
}

void write_outputs(const Block& block, const float* sums, int64_t first, int64_t rows, int64_t d0, int64_t columns) {
    for (int64_t row = 0; row < rows; ++row)
        for (int64_t d = 0; d < columns; ++d) {
            float y = sums[row * COLUMNS + d] + block.bias[d0 + d];
            if (block.requantise) {  // round half up after a shift, clamp, dequantise: frozen/spec.md
                const float half = block.requantise[0], step = block.requantise[1], limit = block.requantise[2];
                y = __builtin_floorf((y + half) * step);
                y = std::min(std::max(y, -limit), limit - 1) * block.requantise[3];
            }
            block.y[(first + row) * block.outputs + d0 + d] = y;
        }
}

void forward_group(const Block& block, const PackedTables& packed, int64_t first_word, int64_t words) {
    const int64_t planes = block.planes(), summed = block.summed(), blocks = (summed + WORD - 1) / WORD;
    Buffer<uint64_t> selected(words * blocks * WORD);  // [block of planes][row]: which of 64 planes are set
    Buffer<uint64_t> layer_bits[2];
    for (int64_t w = 0; w < words; ++w) {
        uint64_t* bits = block.bits + (first_word + w) * planes;
        encode(block, first_word + w, bits, block.inside ? block.inside + (first_word + w) * planes : nullptr);
        Buffer<uint64_t> read(blocks * WORD);
        uint64_t* next = read.data();
        const uint64_t* current = bits;
        for (int64_t k = 0; k <= block.layer_count; ++k) {
            if (k > 0) {
                auto& out = layer_bits[k % 2];
                out.resize(block.width(k));
                lut_forward(block.layers[k - 1], packed.layers[k - 1].data(), current, out.data());
                current = out.data();
            }
            if (block.reads(k)) next = std::copy(current, current + block.width(k), next);
        }
        for (int64_t b = 0; b < blocks; ++b) {
            transpose64(read.data() + b * WORD);
            std::copy_n(read.data() + b * WORD, WORD, selected.data() + (b * words + w) * WORD);
        }
    }
    const int64_t first = first_word * WORD, rows = std::min(words * WORD, block.rows - first);
    Buffer<float> table(PARTIAL_SUMS), sums(words * WORD * COLUMNS);
    for (int64_t d0 = 0; d0 < block.outputs; d0 += COLUMNS) {
        const int64_t columns = std::min(COLUMNS, block.outputs - d0);
        std::fill(sums.begin(), sums.end(), 0.f);
        for (int64_t b = 0; b < blocks; ++b) {
            const float* encoded = block.encoded + b * WORD * block.outputs + d0;
            partial_sums(encoded, block.outputs, std::min(WORD, summed - b * WORD), columns, block.centre, 1, table.data());
            add_selected(table.data(), selected.data() + b * words * WORD, 1, rows, sums.data(), COLUMNS);
        }
        write_outputs(block, sums.data(), first, rows, d0, columns);
    }
}

}  // namespace

extern "C" __attribute__((visibility("default"))) void lutra_forward(const Block* block) {
    const PackedTables packed(*block);
    const int64_t words = block->words();
    parallel((words + GROUP - 1) / GROUP, block->threads, [&](int64_t group) {
        forward_group(*block, packed, group * GROUP, std::min(GROUP, words - group * GROUP));
    });
}

}  // namespace lutra
