// Learnable mappings: which bits receive the gradient of a table's input, and the gradient of the scores.
#pragma once

#include "slopes.h"

namespace lutra {

constexpr int64_t LUTS_TOGETHER =
    128;  // tables whose slots' gradients are kept for a while: they fit in L2, beside what else is used

struct Share {
    int32_t slot;  // counted from the first of the group of tables
    float weight;
};

// Softmax of the scores of LUTS_TOGETHER tables' slots: every plane with the slots that it receives gradient from.
struct Shares {
    struct Run {
        int32_t plane, end;  // `end` is past the last of its entries; they begin where the run before ends
    };
    std::vector<Run> runs;
    std::vector<Share> entries;
};

// One for every LUTS_TOGETHER tables; none for a fixed mapping.
std::vector<Shares> softmax_shares(const Layer& layer, int64_t threads);

// Gradients of the slots of tables [lut, last_lut) for one word, [slot][64].
void slot_gradients(const Layer& layer, const float* slopes, const float* grad, const uint64_t* below, int64_t lut,
                    int64_t last_lut, float* out);

// Gradient of the scores of a layer in which all planes are choices, from the gradient of its outputs,
// grad[word][lut][64], and the planes, below[word][plane]. The first layer reads thermometers, for which there is a
// quicker way.
void thermometer_scores_gradient(const Block& block, const float* slopes, const float* grad, const uint64_t* below);
void scores_gradient(const Layer& layer, const float* slopes, const float* grad, const uint64_t* below, int64_t words,
                     int64_t threads);

}  // namespace lutra
