// Learnable mappings: softmax shares of the input gradient, and the gradient of the scores.
#pragma once

#include "slopes.h"

namespace lutra {

struct Share {
    int32_t plane;
    float weight;
};

// Which planes receive the gradient of each slot, and with what weight; without entries the mapping is fixed.
struct Shares {
    std::vector<int64_t> begin;
    std::vector<Share> entries;
};

Shares softmax_shares(const Layer& layer, int64_t threads);

// Gradient of the scores of one layer from the gradient of its outputs, `grad[word][lut][64]`, and the words it read.
void scores_gradient(const Layer& layer, const float* slopes, const float* grad, const uint64_t* below, int64_t words, int64_t threads);

}  // namespace lutra
