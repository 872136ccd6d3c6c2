#include "mapping.h"

#include <cmath>

#include "export.h"

namespace lutra {
namespace {

constexpr float SMALLEST_SHARE = 1e-7f;     // smaller entries are lost in rounding, and denormals are slow
constexpr float NEGLIGIBLE_EXPONENT = -23;  // e^-23: thousands of them do not change a float32 sum
constexpr int64_t SLOT_RANGE = 256;

int64_t slot_count(const Layer& layer) { return layer.luts * layer.inputs; }

// Highest score of each slot and where it is (the first, if several).
void column_maximum(const float* scores, int64_t choices, int64_t slots, int64_t first, int64_t last, float* best,
                    int32_t* where) {
    std::copy(scores + first, scores + last, best + first);
    std::fill(where + first, where + last, 0);
    for (int64_t c = 1; c < choices; ++c) {
        const float* row = scores + c * slots;
        for (int64_t slot = first; slot < last; ++slot) {
            const bool better = row[slot] > best[slot];
            best[slot] = better ? row[slot] : best[slot];
            where[slot] = better ? (int32_t)c : where[slot];
        }
    }
}

struct Found {
    int32_t plane;
    Share share;
};

// Scores of slots [first, last) that are close enough to the highest of their slot, with e^(difference / temperature).
std::vector<Found> near_maximum(const Layer& layer, int64_t first, int64_t last, const float* best) {
    const int64_t slots = slot_count(layer), count = last - first;
    std::vector<Found> found;
    Buffer<float> limit(round_up(count, 16), INFINITY);
    for (int64_t s = 0; s < count; ++s) limit[s] = best[s] + NEGLIGIBLE_EXPONENT * layer.temperature;
    for (int64_t c = 0; c < layer.choices; ++c) {
        const float* row = layer.scores + c * slots + first;
        for (int64_t s0 = 0; s0 < count; s0 += 16) {
            const int64_t lanes = std::min<int64_t>(16, count - s0);
            float tail[16] = {};
            if (lanes < 16) std::copy_n(row + s0, lanes, tail);
            uint32_t near = at_least(load(lanes < 16 ? tail : row + s0), load(&limit[s0]));
            for (; near; near &= near - 1) {
                const int64_t s = s0 + __builtin_ctz(near);
                const int32_t plane = layer.candidates ? layer.candidates[(first + s) * layer.choices + c] : (int32_t)c;
                found.push_back({plane, {(int32_t)s, std::exp((row[s] - best[s]) / layer.temperature)}});
            }
        }
    }
    return found;
}

Shares shares_of(const Layer& layer, int64_t first, int64_t last) {
    const int64_t slots = slot_count(layer), count = last - first;
    std::vector<float> best(count);
    if (layer.candidates) {
        std::vector<int32_t> where(count);
        column_maximum(layer.scores + first, layer.choices, slots, 0, count, best.data(), where.data());
    } else {  // the connections are the places of the maxima
        for (int64_t s = 0; s < count; ++s) best[s] = layer.scores[layer.connections[first + s] * slots + first + s];
    }
    std::vector<Found> found = near_maximum(layer, first, last, best.data());
    std::vector<double> sum(count);
    for (const Found& entry : found) sum[entry.share.slot] += entry.share.weight;
    if (layer.candidates)  // otherwise they come in order
        std::stable_sort(found.begin(), found.end(), [](const Found& a, const Found& b) { return a.plane < b.plane; });
    Shares shares;
    for (const Found& entry : found) {
        const float weight = (float)(entry.share.weight / sum[entry.share.slot]);
        if (weight <= SMALLEST_SHARE) continue;
        if (shares.runs.empty() || shares.runs.back().plane != entry.plane) shares.runs.push_back({entry.plane, 0});
        shares.entries.push_back({entry.share.slot, weight});
        shares.runs.back().end = (int32_t)shares.entries.size();
    }
    return shares;
}

}  // namespace

std::vector<Shares> softmax_shares(const Layer& layer, int64_t threads) {
    if (!layer.choices) return {};
    const int64_t slots = slot_count(layer), range = LUTS_TOGETHER * layer.inputs;
    std::vector<Shares> shares((slots + range - 1) / range);
    parallel((int64_t)shares.size(), threads,
             [&](int64_t part) { shares[part] = shares_of(layer, part * range, std::min(slots, (part + 1) * range)); });
    return shares;
}

LUTRA_EXPORT void lutra_column_argmax(const float* scores, int64_t choices, int64_t slots, int64_t* where,
                                      int64_t threads) {
    Buffer<float> best(slots);
    std::vector<int32_t> index(slots);
    parallel((slots + SLOT_RANGE - 1) / SLOT_RANGE, threads, [&](int64_t part) {
        const int64_t first = part * SLOT_RANGE, last = std::min(slots, first + SLOT_RANGE);
        column_maximum(scores, choices, slots, first, last, best.data(), index.data());
        std::copy(index.begin() + first, index.begin() + last, where + first);
    });
}

}  // namespace lutra
