#include "mapping.h"

#include <cmath>

namespace lutra {
namespace {

constexpr float SMALLEST_SHARE = 1e-7f;     // smaller entries are lost in rounding, and denormals are slow
constexpr float NEGLIGIBLE_EXPONENT = -23;  // e^-23: thousands of them do not change a float32 sum
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

namespace {

struct Found {
    int64_t slot;
    Share share;
};

// Scores of slots [first, last) that are close enough to the highest of their slot, with e^(difference / temperature).
std::vector<Found> near_maximum(const Layer& layer, int64_t first, int64_t last, const float* best) {
    const int64_t slots = slot_count(layer), count = last - first;
    std::vector<Found> found;
    Buffer<float> limit(round_up(count, 16), INFINITY);
    for (int64_t s = 0; s < count; ++s) limit[s] = best[first + s] + NEGLIGIBLE_EXPONENT * layer.temperature;
    for (int64_t c = 0; c < layer.choices; ++c) {
        const float* row = layer.scores + c * slots + first;
        for (int64_t s0 = 0; s0 < count; s0 += 16) {
            const int64_t lanes = std::min<int64_t>(16, count - s0);
            float tail[16] = {};
            if (lanes < 16) std::copy_n(row + s0, lanes, tail);
            uint32_t near = at_least(load(lanes < 16 ? tail : row + s0), load(&limit[s0]));
            for (; near; near &= near - 1) {
                const int64_t s = s0 + __builtin_ctz(near);
                const int32_t plane = layer.candidates ? layer.candidates[c * slots + first + s] : (int32_t)c;
                found.push_back({first + s, {plane, std::exp((row[s] - best[first + s]) / layer.temperature)}});
            }
        }
    }
    return found;
}

}  // namespace

Shares softmax_shares(const Layer& layer, int64_t threads) {
    Shares shares;
    if (!layer.choices) return shares;
    const int64_t slots = slot_count(layer), parts = (slots + SLOT_RANGE - 1) / SLOT_RANGE;
    Buffer<float> best(slots);
    std::vector<double> sum(slots);
    std::vector<std::vector<Found>> found(parts);
    shares.begin.resize(slots + 1);
    parallel(parts, threads, [&](int64_t part) {
        const int64_t first = part * SLOT_RANGE, last = std::min(slots, first + SLOT_RANGE);
        if (layer.candidates) {
            std::vector<int32_t> where(slots);
            column_maximum(layer.scores, layer.choices, slots, first, last, best.data(), where.data());
        } else {  // the connections are the places of the maxima
            for (int64_t slot = first; slot < last; ++slot) best[slot] = layer.scores[layer.connections[slot] * slots + slot];
        }
        found[part] = near_maximum(layer, first, last, best.data());
        for (const Found& entry : found[part]) sum[entry.slot] += entry.share.weight;
        for (Found& entry : found[part]) {
            entry.share.weight = (float)(entry.share.weight / sum[entry.slot]);
            shares.begin[entry.slot + 1] += entry.share.weight > SMALLEST_SHARE;
        }
    });
    for (int64_t slot = 0; slot < slots; ++slot) shares.begin[slot + 1] += shares.begin[slot];
    shares.entries.resize(shares.begin[slots]);
    std::vector<int64_t> next(shares.begin.begin(), shares.begin.end() - 1);
    for (const auto& part : found)
        for (const Found& entry : part)
            if (entry.share.weight > SMALLEST_SHARE) shares.entries[next[entry.slot]++] = entry.share;
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

// Signed sums over 64 rows for one vector of 16 slots, as 12 reads of tables of partial sums: 8 groups of 6 rows, then
// 4 groups of 4, which together just fit beside the streams in an L1 cache of 48 KiB. Groups this large pay only where
// very many planes read the same tables.
constexpr int64_t SIX_BIT_TABLE = 64 * 16, FOUR_BIT_TABLE = 16 * 16;
constexpr int64_t SIGNED_SUMS = 8 * SIX_BIT_TABLE + 4 * FOUR_BIT_TABLE;

// One group: table[bits] = sum of +value where the bit is set and -value where not. All but the last value in registers.
template <int bits>
LUTRA_INLINE void signed_group(const float* values, float* table) {
    Floats sums[1 << (bits - 1)], value[bits];
    sums[0] = splat(0);
#pragma GCC unroll 8
    for (int i = 0; i < bits; ++i) {
        value[i] = load(values + 16 * i);
        sums[0] -= value[i];
        value[i] += value[i];
    }
#pragma GCC unroll 8
    for (int i = 0; i < bits - 1; ++i)
#pragma GCC unroll 32
        for (int low = 0; low < 1 << i; ++low) sums[low | 1 << i] = sums[low] + value[i];
#pragma GCC unroll 32
    for (int entry = 0; entry < 1 << (bits - 1); ++entry) {
        store(table + 16 * entry, sums[entry]);
        store(table + 16 * (entry | 1 << (bits - 1)), sums[entry] + value[bits - 1]);
    }
}

// Tables of the 12 groups of 64 rows; values (64, 16).
inline void signed_sums(const float* values, float* table) {
    for (int group = 0; group < 8; ++group) signed_group<6>(values + 96 * group, table + SIX_BIT_TABLE * group);
    for (int group = 0; group < 4; ++group)
        signed_group<4>(values + 768 + 64 * group, table + 8 * SIX_BIT_TABLE + FOUR_BIT_TABLE * group);
}

// out[plane] += the signed sum that the plane's word selects, 16 floats each.
inline void add_signed(const float* table, const uint64_t* words, int64_t planes, float* out) {
    for (int64_t plane = 0; plane < planes; ++plane, out += 16) {
        const uint64_t word = words[plane];
        Floats sum = load(out), second = splat(0), third = splat(0);  // three chains hide the latency
        auto add = [&](auto position) {
            constexpr int group = decltype(position)::value, first = group < 8 ? 6 * group : 48 + 4 * (group - 8);
            constexpr int64_t offset = 4 * (group < 8 ? SIX_BIT_TABLE * group : 8 * SIX_BIT_TABLE + FOUR_BIT_TABLE * (group - 8));
            const uint64_t entry = rotate_right<first - 6>(word) & (group < 8 ? 63 : 15) << 6;  // as an offset in bytes
            add_from<offset, SIGNED_SUMS>(group % 3 == 0 ? sum : group % 3 == 1 ? second : third, table, entry);
        };
        for_each<12>(add);
        store(out, (sum + second) + third);
    }
}

// All planes are choices: the product of signs and slot gradients, for 16 slots.
void dense_scores_gradient(const Layer& layer, const float* slopes, const float* grad, const uint64_t* below, int64_t words, int64_t tile) {
    const int64_t slots = slot_count(layer), first = tile * 16, columns = std::min<int64_t>(16, slots - first);
    const int64_t lut = first / layer.inputs, last_lut = (first + columns + layer.inputs - 1) / layer.inputs;
    Buffer<float> gradients(((last_lut - lut) * layer.inputs + 16) * WORD), by_row(WORD * 16), table(SIGNED_SUMS);
    Buffer<float> sums(layer.below * 16);
    for (int64_t w = 0; w < words; ++w) {
        const uint64_t* planes = below + w * layer.below;
        slot_gradients(layer, slopes, grad + w * layer.luts * WORD, planes, lut, last_lut, gradients.data());
        const float* from = gradients.data() + (first - lut * layer.inputs) * WORD;
        for (int64_t row = 0; row < WORD; row += 16) transpose16(from + row, WORD, by_row.data() + row * 16, 16);
        signed_sums(by_row.data(), table.data());
        add_signed(table.data(), planes, layer.below, sums.data());
    }
    for (int64_t plane = 0; plane < layer.below; ++plane) {
        float* to = layer.grad_scores + plane * slots + first;
        if (columns == 16) store(to, load(&sums[plane * 16]));
        else std::copy_n(&sums[plane * 16], columns, to);
    }
}

constexpr int64_t WORDS_TOGETHER = 8;  // a cache line of one plane

#ifdef LUTRA_AVX512

// Signed sums of 64 gradients for up to 16 choices per vector: the 32 signed partial sums of 5 rows fit in two
// registers, and one permute reads them for 16 choices at once. `low` and `high` hold the halves of the choices' words.
LUTRA_INLINE void add_signed_sums(const float* grad, const float* low, const float* high, int64_t choices, float* sums) {
    static const Floats sign[4] = {
        {-1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1},
        {-1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1},
        {-1, -1, -1, -1, 1, 1, 1, 1, -1, -1, -1, -1, 1, 1, 1, 1},
        {-1, -1, -1, -1, -1, -1, -1, -1, 1, 1, 1, 1, 1, 1, 1, 1},
    };
    Floats table[14][2];  // 5 rows each; the last of each half covers 2
    for (int half = 0; half < 2; ++half)
        for (int part = 0; part < 7; ++part) {
            const float* g = grad + 32 * half + 5 * part;
            Floats sum = multiply_add(sign[1], splat(g[1]), sign[0] * splat(g[0]));
            if (part < 6) sum = multiply_add(sign[3], splat(g[3]), multiply_add(sign[2], splat(g[2]), sum));
            const Floats fifth = splat(part < 6 ? g[4] : 0);
            table[half * 7 + part][0] = sum - fifth;
            table[half * 7 + part][1] = sum + fifth;
        }
    for (int64_t c = 0; c < choices; c += 16) {
        const __m512i words[2] = {_mm512_loadu_si512(low + c), _mm512_loadu_si512(high + c)};
        Floats total[2] = {load(sums + c), splat(0)};
        for (int part = 0; part < 7; ++part)
            for (int half = 0; half < 2; ++half) {
                const Floats* entry = table[half * 7 + part];
                total[half] += lookup32(entry[0], entry[1], (Ints)_mm512_srli_epi32(words[half], 5 * part));
            }
        store(sums + c, total[0] + total[1]);
    }
}

#else

LUTRA_INLINE void add_signed_sums(const float* grad, const float* low, const float* high, int64_t choices, float* sums) {
    for (int64_t c = 0; c < choices; ++c) {
        uint32_t words[2];
        std::memcpy(words, low + c, 4);
        std::memcpy(words + 1, high + c, 4);
        const uint64_t word = words[0] | uint64_t(words[1]) << 32;
        Floats total = splat(0);
        for (int v = 0; v < 4; ++v) {
            const Floats g = load(grad + 16 * v);
            total = masked_add(total - g, (Mask)(word >> 16 * v), g + g);
        }
        float sum = 0;
        for (int lane = 0; lane < 16; ++lane) sum += total[lane];
        sums[c] += sum;
    }
}

#endif

// The 8 words of each of 16 planes, as halves[2 * word + half][plane]: a transpose of 32-bit units.
inline void gather_halves(const uint64_t* const* planes, float* halves, int64_t stride) {
    alignas(64) float tile[16 * 16];
    for (int c = 0; c < 16; ++c) {
        store(tile + 16 * c, load((const float*)planes[c]));
        __builtin_prefetch(planes[c] + WORDS_TOGETHER);
    }
    transpose16(tile, 16, halves, stride);
}

// Every slot has choices of its own: signed sums of its gradient, with the planes' words laid out `[plane][word]`.
void candidate_scores_gradient(const Layer& layer, const float* slopes, const float* grad, const uint64_t* below, const uint64_t* by_plane, int64_t words, int64_t lut) {
    const int64_t n = layer.inputs, slots = slot_count(layer), choices = layer.choices, padded = round_up(choices, 16);
    const int64_t plane_stride = round_up(words, WORDS_TOGETHER), slot_halves = WORDS_TOGETHER * 2 * padded;
    Buffer<float> gradients(n * WORD), sums(n * padded), halves(n * slot_halves);
    std::vector<const uint64_t*> planes(n * padded, by_plane);
    for (int64_t i = 0; i < n; ++i)
        for (int64_t c = 0; c < choices; ++c)
            planes[i * padded + c] = by_plane + layer.candidates[c * slots + lut * n + i] * plane_stride;
    for (int64_t first = 0; first < words; first += WORDS_TOGETHER) {
        for (int64_t i = 0; i < n; ++i)
            for (int64_t c = 0; c < padded; c += 16) gather_halves(&planes[i * padded + c], &halves[i * slot_halves + c], padded);
        for (auto& plane : planes) plane += WORDS_TOGETHER;
        for (int64_t w = first; w < std::min(words, first + WORDS_TOGETHER); ++w) {
            slot_gradients(layer, slopes, grad + w * layer.luts * WORD, below + w * layer.below, lut, lut + 1, gradients.data());
            for (int64_t i = 0; i < n; ++i) {
                const float* low = &halves[i * slot_halves + (w - first) * 2 * padded];
                add_signed_sums(&gradients[i * WORD], low, low + padded, choices, &sums[i * padded]);
            }
        }
    }
    for (int64_t i = 0; i < n; ++i)
        for (int64_t c = 0; c < choices; ++c) layer.grad_scores[c * slots + lut * n + i] = sums[i * padded + c];
}

}  // namespace

void scores_gradient(const Layer& layer, const float* slopes, const float* grad, const uint64_t* below, int64_t words, int64_t threads) {
    if (!layer.candidates) {
        const int64_t tiles = (slot_count(layer) + 15) / 16;
        parallel(tiles, threads, [&](int64_t tile) { dense_scores_gradient(layer, slopes, grad, below, words, tile); });
        return;
    }
    const int64_t plane_stride = round_up(words, WORDS_TOGETHER);
    Buffer<uint64_t> by_plane(layer.below * plane_stride);
    parallel((layer.below + WORD - 1) / WORD, threads, [&](int64_t part) {
        for (int64_t plane = part * WORD; plane < std::min(layer.below, part * WORD + WORD); ++plane)
            for (int64_t w = 0; w < words; ++w) by_plane[plane * plane_stride + w] = below[w * layer.below + plane];
    });
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
