// Forward pass of the weightless block: thermometer, lookups and conditional summation over groups of up to 512 rows.
#include "codes.h"
#include "export.h"
#include "summation.h"

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

// Transposes planes `[word][plane]` to `selected[block of 64 planes][row]`.
void select_rows(const uint64_t* planes, int64_t stride, int64_t count, int64_t words, uint64_t* selected) {
    for (int64_t plane = 0; plane < count; plane += WORD)
        for (int64_t w = 0; w < words; ++w, selected += WORD) {
            const int64_t present = std::min(WORD, count - plane);
            std::copy_n(planes + w * stride + plane, present, selected);
            std::fill(selected + present, selected + WORD, 0);
            transpose64(selected);
        }
}

void forward_group(const Block& block, const Edges& edges, const PackedTables& packed, int64_t first_word,
                   int64_t words) {
    const int64_t codes = block.features * block.code_bits(), summed = block.summed();
    Buffer<uint64_t> bits(block.planes()), read(words * summed), selected(words * round_up(summed, WORD));
    Buffer<uint64_t> layer_bits[2];
    for (int64_t w = 0; w < words; ++w) {
        encode(block, edges, first_word + w, block.codes + (first_word + w) * codes, bits.data());
        uint64_t* next = &read[w * summed];
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
    }
    const int64_t first = first_word * WORD, rows = std::min(words * WORD, block.rows - first);
    Buffer<float> table(PARTIAL_SUMS), sums(words * WORD * COLUMNS);
    std::pair<int64_t, int64_t> range{0, 0};
    for (int64_t d0 = 0; d0 < block.outputs; d0 += COLUMNS) {
        const int64_t columns = std::min(COLUMNS, block.outputs - d0);
        const auto needed = block.bits_read_by(d0, d0 + columns);
        if (needed != range)
            select_rows(&read[needed.first], summed, needed.second - needed.first, words, selected.data());
        range = needed;
        std::fill(sums.begin(), sums.end(), 0.f);
        const uint64_t* chosen = selected.data();
        for (int64_t bit = range.first; bit < range.second; bit += WORD, chosen += words * WORD) {
            const float* encoded = block.encoded + bit * block.outputs + d0;
            partial_sums(encoded, block.outputs, std::min(WORD, range.second - bit), columns, block.centre,
                         table.data());
            add_selected(table.data(), chosen, rows, sums.data(), COLUMNS);
        }
        write_outputs(block, sums.data(), first, rows, d0, columns);
    }
}

}  // namespace

LUTRA_EXPORT void lutra_forward(const Block* block) {
    const Edges edges(*block);
    const PackedTables packed(*block);
    const int64_t words = block->words();
    parallel((words + GROUP - 1) / GROUP, block->threads, [&](int64_t group) {
        forward_group(*block, edges, packed, group * GROUP, std::min(GROUP, words - group * GROUP));
    });
}

}  // namespace lutra
