#include "mapping.h"

namespace lutra {
namespace {

constexpr float SMALLEST_SHARE = 1e-7f;     // smaller entries are lost in rounding, and denormals are slow
constexpr float NEGLIGIBLE_EXPONENT = -30;  // e^-30: not even a million of them change a float32 sum
constexpr int64_t SLOT_RANGE = 256;

int64_t slot_count(const Layer& layer) { return layer.luts * layer.inputs; }

// Highest score of each slot and where it is (the first, if several).
void column_maximum(const float* scores, int64_t choices, int64_t slots, int64_t first, int64_t last, float* best, int32_t* where) {
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

}  // namespace

Shares softmax_shares(const Layer& layer, int64_t threads) {
    Shares shares;
    if (!layer.choices) return shares;
    const int64_t slots = slot_count(layer);
    Buffer<float> best(slots);
    std::vector<int32_t> where(slots);
    std::vector<std::vector<Share>> found(slots);
    parallel((slots + SLOT_RANGE - 1) / SLOT_RANGE, threads, [&](int64_t part) {
        const int64_t first = part * SLOT_RANGE, last = std::min(slots, first + SLOT_RANGE);
        column_maximum(layer.scores, layer.choices, slots, first, last, best.data(), where.data());
        Buffer<float> limit(last - first);
        for (int64_t slot = first; slot < last; ++slot) limit[slot - first] = best[slot] + NEGLIGIBLE_EXPONENT * layer.temperature;
        for (int64_t c = 0; c < layer.choices; ++c) {
            const float* row = layer.scores + c * slots + first;
            for (int64_t s0 = 0; s0 < last - first; s0 += 16) {
                const int64_t lanes = std::min<int64_t>(16, last - first - s0);
                uint32_t near = 0;
                if (lanes == 16) near = at_least(load(row + s0), load(limit.data() + s0));
                else
                    for (int64_t s = 0; s < lanes; ++s) near |= uint32_t(row[s0 + s] >= limit[s0 + s]) << s;
                for (; near; near &= near - 1) {
                    const int64_t slot = first + s0 + __builtin_ctz(near);
                    const float weight = std::exp((layer.scores[c * slots + slot] - best[slot]) / layer.temperature);
                    const int32_t plane = layer.candidates ? layer.candidates[c * slots + slot] : (int32_t)c;
                    found[slot].push_back({plane, weight});
                }
            }
        }
        for (int64_t slot = first; slot < last; ++slot) {
            double sum = 0;
            for (const Share& share : found[slot]) sum += share.weight;
            for (Share& share : found[slot]) share.weight = (float)(share.weight / sum);
        }
    });
    for (const auto& slot : found) {
        shares.begin.push_back((int64_t)shares.entries.size());
        for (const Share& share : slot)
            if (share.weight > SMALLEST_SHARE) shares.entries.push_back(share);
    }
    shares.begin.push_back((int64_t)shares.entries.size());
    return shares;
}

namespace {

// Gradients of `count` slots from `slot` on for one word, [slot][64]; whole tables are computed.
void slot_gradients(const Layer& layer, const float* slopes, const float* grad, const uint64_t* below, int64_t lut, int64_t last_lut, float* out) {
    with_inputs(layer.inputs, [&](auto inputs) {
        constexpr int n = decltype(inputs)::value;
        for (; lut < last_lut; ++lut, out += n * WORD) {
            uint64_t words[n];
            alignas(64) uint8_t address[64];
            for (int i = 0; i < n; ++i) words[i] = below[layer.connections[lut * n + i]];
            addresses(words, n, address);
            input_gradients<n>(words, address, slopes + lut * n * slope_entries(n), grad + lut * WORD, [&](int i, const Floats* g) {
                for (int v = 0; v < 4; ++v) store(out + i * WORD + v * 16, g[v]);
            });
        }
    });
}

// All planes are choices: the product of signs and slot gradients, 32 slots at a time with partial sums over 64 rows.
void dense_scores_gradient(const Layer& layer, const float* slopes, const float* grad, const uint64_t* below, int64_t words, int64_t tile) {
    const int64_t slots = slot_count(layer), first = tile * COLUMNS, columns = std::min(COLUMNS, slots - first);
    const int64_t lut = first / layer.inputs, last_lut = (first + columns + layer.inputs - 1) / layer.inputs;
    Buffer<float> gradients(((last_lut - lut) * layer.inputs + COLUMNS) * WORD), by_row(WORD * COLUMNS), table(PARTIAL_SUMS);
    Buffer<float> sums(layer.below * COLUMNS);
    for (int64_t w = 0; w < words; ++w) {
        const uint64_t* planes = below + w * layer.below;
        slot_gradients(layer, slopes, grad + w * layer.luts * WORD, planes, lut, last_lut, gradients.data());
        const float* from = gradients.data() + (first - lut * layer.inputs) * WORD;
        for (int64_t s = 0; s < COLUMNS; s += 16)
            for (int64_t row = 0; row < WORD; row += 16)
                transpose16(from + s * WORD + row, WORD, by_row.data() + row * COLUMNS + s, COLUMNS);
        partial_sums(by_row.data(), COLUMNS, WORD, COLUMNS, 0.5f, 2, table.data());  // sign = 2 (bit - 1/2)
        add_selected(table.data(), planes, 1, layer.below, sums.data(), COLUMNS);
    }
    for (int64_t plane = 0; plane < layer.below; ++plane)
        std::copy_n(sums.data() + plane * COLUMNS, columns, layer.grad_scores + plane * slots + first);
}

// Every slot has choices of its own: signed sums of its gradient, with the planes' words laid out `[plane][word]`.
void candidate_scores_gradient(const Layer& layer, const float* slopes, const float* grad, const uint64_t* below, const uint64_t* by_plane, int64_t words, int64_t lut) {
    const int64_t n = layer.inputs, slots = slot_count(layer), padded = words * WORD;
    Buffer<float> gradients(n * padded), one_word(n * WORD);
    for (int64_t w = 0; w < words; ++w) {
        slot_gradients(layer, slopes, grad + w * layer.luts * WORD, below + w * layer.below, lut, lut + 1, one_word.data());
        for (int64_t i = 0; i < n; ++i) std::copy_n(one_word.data() + i * WORD, WORD, gradients.data() + i * padded + w * WORD);
    }
    for (int64_t i = 0; i < n; ++i) {
        const int64_t slot = lut * n + i;
        const float* g = gradients.data() + i * padded;
        Floats total = splat(0);
        for (int64_t row = 0; row < padded; row += 16) total += load(g + row);
        float whole = 0;
        for (int lane = 0; lane < 16; ++lane) whole += total[lane];
        constexpr int TOGETHER = 4;  // choices that share the loads of the gradient
        for (int64_t c0 = 0; c0 < layer.choices; c0 += TOGETHER) {
            const uint64_t* bits[TOGETHER];
            Floats sums[TOGETHER][2];
            for (int k = 0; k < TOGETHER; ++k) {
                const int64_t c = std::min(c0 + k, layer.choices - 1);
                bits[k] = by_plane + layer.candidates[c * slots + slot] * words;
                sums[k][0] = sums[k][1] = splat(0);
            }
            for (int64_t w = 0; w < words; ++w)
                for (int v = 0; v < 4; ++v)
                    for (int k = 0; k < TOGETHER; ++k)
                        sums[k][v % 2] = masked_add(sums[k][v % 2], (Mask)(bits[k][w] >> 16 * v), load(g + w * WORD + 16 * v));
            for (int k = 0; k < TOGETHER && c0 + k < layer.choices; ++k) {
                const Floats sum = sums[k][0] + sums[k][1];
                float set = 0;
                for (int lane = 0; lane < 16; ++lane) set += sum[lane];
                layer.grad_scores[(c0 + k) * slots + slot] = 2 * set - whole;
            }
        }
    }
}

}  // namespace

void scores_gradient(const Layer& layer, const float* slopes, const float* grad, const uint64_t* below, int64_t words, int64_t threads) {
    if (!layer.candidates) {
        const int64_t tiles = (slot_count(layer) + COLUMNS - 1) / COLUMNS;
        parallel(tiles, threads, [&](int64_t tile) { dense_scores_gradient(layer, slopes, grad, below, words, tile); });
        return;
    }
    Buffer<uint64_t> by_plane(layer.below * words);
    for (int64_t w = 0; w < words; ++w)
        for (int64_t plane = 0; plane < layer.below; ++plane) by_plane[plane * words + w] = below[w * layer.below + plane];
    parallel(layer.luts, threads, [&](int64_t lut) {
        candidate_scores_gradient(layer, slopes, grad, below, by_plane.data(), words, lut);
    });
}

extern "C" __attribute__((visibility("default"))) void lutra_column_argmax(const float* scores, int64_t choices, int64_t slots, int64_t* where, int64_t threads) {
    Buffer<float> best(slots);
    std::vector<int32_t> index(slots);
    parallel((slots + SLOT_RANGE - 1) / SLOT_RANGE, threads, [&](int64_t part) {
        const int64_t first = part * SLOT_RANGE, last = std::min(slots, first + SLOT_RANGE);
        column_maximum(scores, choices, slots, first, last, best.data(), index.data());
        std::copy(index.begin() + first, index.begin() + last, where + first);
    });
}

}  // namespace lutra
