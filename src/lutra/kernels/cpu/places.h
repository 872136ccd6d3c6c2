// Memory of the backward pass: the sums of the parameters' gradients, and what a thread works on.
#pragma once

#include "candidates.h"
#include "summation.h"

namespace lutra {
namespace {

// Where the gradient of each parameter lies in one array of sums.
struct Places {
    std::vector<int64_t> tables;  // per layer, (luts, 2^n)
    std::vector<int64_t> scores;  // per layer, (slots, choices rounded up to 16); only for candidates
    int64_t encoded, bias;        // as `Tile::offset` says, (padded outputs)
    int64_t thresholds;           // (planes, 16 lanes); only if wanted
    int64_t size = 0;

    Places(const Block& block, const std::vector<Tile>& tiles, int64_t padded_outputs) {
        for (int64_t k = 0; k < block.layer_count; ++k) {
            const Layer& layer = block.layers[k];
            tables.push_back(take(layer.luts << layer.inputs));
            scores.push_back(take(
                layer.candidates && layer.grad_scores ? layer.luts * layer.inputs * round_up(layer.choices, 16) : 0));
        }
        encoded = take(tiles.back().offset + (tiles.back().last_bit - tiles.back().first_bit) * tiles.back().width());
        bias = take(padded_outputs);
        thresholds = take(block.want_grad_thresholds ? block.planes() * 16 : 0);
    }

    int64_t take(int64_t count) { return std::exchange(size, size + round_up(count, 16)); }
};

// What one thread needs.
struct Scratch {
    Buffer<float> sums;                      // as `Places` says
    std::vector<Buffer<uint64_t>> bits;      // per layer, [word][plane]
    std::vector<Buffer<uint64_t>> by_plane;  // the same as [plane][word], for layers that are candidates
    Buffer<uint64_t> inside;                 // [word][plane]; empty if the gradient has no window
    std::vector<Buffer<float>> own_grad;     // per layer from 1, unless all rows are kept
    std::vector<float*> grad;                // of this chunk, [word][lut][64]
    Buffer<float> grad_input;                // [word][feature][64]
    Buffer<float> slots;                     // of LUTS_TOGETHER tables, [slot][ROWS]
    Buffer<float> grad_y, grad_y_t;          // [row][padded outputs], [output][ROWS]
    Buffer<float> planes;                    // gradient of a few thermometer planes that the summation reads
    Workspace<float> table;
    Buffer<float> halves;
};

}  // namespace
}  // namespace lutra
