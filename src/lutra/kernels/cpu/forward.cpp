// Forward pass of the weightless block: thermometer, lookups and conditional summation over groups of up to 512 rows.
#include "codes.h"

namespace lutra {
namespace {

constexpr int64_t GROUP = 8;  // words: a table of partial sums is built once per group

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

void forward_group(const Block& block, const Edges& edges, const PackedTables& packed, int64_t first_word, int64_t words) {
    const int64_t codes = block.features * block.code_bits(), summed = block.summed(), blocks = (summed + WORD - 1) / WORD;
    Buffer<uint64_t> bits(block.planes());
    Buffer<uint64_t> selected(words * blocks * WORD);  // [block of planes][row]: which of 64 planes are set
    Buffer<uint64_t> layer_bits[2];
    for (int64_t w = 0; w < words; ++w) {
        encode(block, edges, first_word + w, block.codes + (first_word + w) * codes, bits.data());
        Buffer<uint64_t> read(blocks * WORD);
        uint64_t* next = read.data();
        const uint64_t* current = bits.data();
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
    const Edges edges(*block);
    const PackedTables packed(*block);
    const int64_t words = block->words();
    parallel((words + GROUP - 1) / GROUP, block->threads, [&](int64_t group) {
        forward_group(*block, edges, packed, group * GROUP, std::min(GROUP, words - group * GROUP));
    });
}

}  // namespace lutra
