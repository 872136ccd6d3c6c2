// Forward pass of the weightless block: thermometer, lookups and conditional summation over groups of up to 512 rows.
#include "codes.h"
#include "export.h"
#include "summation.h"

namespace lutra {
namespace {

constexpr int64_t GROUP = 8;  // words: a table of partial sums is built once per group

void write_outputs(const Block& block, const Tile& tile, const float* sums, int64_t first, int64_t rows) {
    for (int64_t row = 0; row < rows; ++row)
        for (int64_t d = 0; d < tile.columns; ++d) {
            float y = sums[row * tile.width() + d] + block.bias[tile.first + d];
            if (block.requantise) {  // round half up after a shift, clamp, dequantise: frozen/spec.md
                const float rounding = block.requantise[0], step = block.requantise[1], limit = block.requantise[2];
                y = __builtin_floorf((y + rounding) * step);
                y = std::min(std::max(y, -limit), limit - 1) * block.requantise[3];
            }
            block.y[(first + row) * block.outputs + tile.first + d] = y;
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

template <int VECTORS>
void sum_tile(const Block& block, const Tile& tile, const uint64_t* selected, int64_t words, int64_t rows, float* table,
              float* sums) {
    std::fill_n(sums, rows * tile.width(), 0.f);
    for (int64_t bit = tile.first_bit; bit < tile.last_bit; bit += WORD, selected += words * WORD) {
        const float* encoded = block.encoded + bit * block.outputs + tile.first;
        partial_sums<VECTORS>(encoded, block.outputs, std::min(WORD, tile.last_bit - bit), tile.columns, block.centre,
                              table);
        add_selected<VECTORS>(table, selected, rows, sums, tile.width());
    }
}

void forward_group(const Block& block, const Edges& edges, const PackedTables& packed, const std::vector<Tile>& tiles,
                   int64_t first_word, int64_t words) {
    const int64_t codes = block.features * block.code_bits(), summed = block.summed();
    Workspace<uint64_t> bits(block.planes()), read(words * summed), selected(words * round_up(summed, WORD));
    Workspace<uint64_t> layer_bits[2];
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
    Workspace<float> table(PARTIAL_SUMS), sums(words * WORD * COLUMNS);
    int64_t transposed = -1;  // the first of the bits in `selected`
    for (const Tile& tile : tiles) {
        if (tile.first_bit != transposed)
            select_rows(&read[tile.first_bit], summed, tile.last_bit - tile.first_bit, words, selected.data());
        transposed = tile.first_bit;
        with_vectors(tile.vectors(), [&](auto vectors) {
            sum_tile<decltype(vectors)::value>(block, tile, selected.data(), words, rows, table.data(), sums.data());
        });
        write_outputs(block, tile, sums.data(), first, rows);
    }
}

}  // namespace

// 0, or without computing anything the first layer, from 1, that reads planes which are not there.
LUTRA_EXPORT int64_t lutra_forward(const Block* block) {
    if (const int64_t unreadable = block->first_unreadable()) return unreadable;
    const Edges edges(*block);
    const PackedTables packed(*block);
    const std::vector<Tile> tiles = summation_tiles(*block);
    const int64_t words = block->words();
    parallel((words + GROUP - 1) / GROUP, block->threads, [&](int64_t group) {
        forward_group(*block, edges, packed, tiles, group * GROUP, std::min(GROUP, words - group * GROUP));
    });
    return 0;
}

}  // namespace lutra
