// Gradient of the scores where every bit is a choice: the product of the bits as signs and the gradients of the slots.
#include "mapping.h"

namespace lutra {

void slot_gradients(const Layer& layer, const float* slopes, const float* grad, const uint64_t* below, int64_t lut,
                    int64_t last_lut, float* out) {
    with_inputs(layer.inputs, [&](auto inputs) {
        constexpr int n = decltype(inputs)::value;
        for (; lut < last_lut; ++lut, out += n * WORD) {
            uint64_t words[1][n];
            alignas(64) uint8_t address[1][WORD];
            for (int i = 0; i < n; ++i) words[0][i] = below[layer.connections[lut * n + i]];
            addresses(words[0], n, address[0]);
            input_gradients<n, 1>(words, address, slopes + lut * n * slope_entries(n), grad + lut * WORD, 0,
                                  [&](int, int i, const Floats* g) {
                                      for (int v = 0; v < 4; ++v) store(out + i * WORD + v * 16, g[v]);
                                  });
        }
    });
}

namespace {

// Signed sums over 64 rows for one vector of 16 slots, as 12 reads of tables of partial sums: 8 groups of 6 rows, then
// 4 groups of 4, which together just fit beside the streams in an L1 cache of 48 KiB. Groups this large pay only where
// very many planes read the same tables.
constexpr int64_t SIX_BIT_TABLE = 64 * 16, FOUR_BIT_TABLE = 16 * 16;
constexpr int64_t SIGNED_SUMS = 8 * SIX_BIT_TABLE + 4 * FOUR_BIT_TABLE;

// One group: table[bits] = sum of +value where the bit is set, -value where not. All but the last value in registers.
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
            constexpr int64_t offset =
                4 * (group < 8 ? SIX_BIT_TABLE * group : 8 * SIX_BIT_TABLE + FOUR_BIT_TABLE * (group - 8));
            const uint64_t entry = rotate_right<first - 6>(word) & (group < 8 ? 63 : 15) << 6;  // as an offset in bytes
            add_from<offset, SIGNED_SUMS>(group % 3 == 0 ? sum : group % 3 == 1 ? second : third, table, entry);
        };
        for_each<12>(add);
        store(out, (sum + second) + third);
    }
}

// All planes are choices: the product of signs and slot gradients, for 16 slots.
void dense_scores_gradient(const Layer& layer, const float* slopes, const float* grad, const uint64_t* below,
                           int64_t words, int64_t tile) {
    const int64_t slots = layer.luts * layer.inputs, first = tile * 16, columns = std::min<int64_t>(16, slots - first);
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

// The bits of a feature are nested: with the rows sorted by level (how many of them are set), the sum over the rows in
// which a bit is set is a prefix sum. One addition per row and feature then serves all bits of the feature.
constexpr int64_t SORTED_WORDS = 5, SORTED_ROWS = SORTED_WORDS * WORD;  // rows sorted together
constexpr int64_t VECTORS = 2, SLOTS = 16 * VECTORS;       // their gradients: 40 KiB, for an L1 cache of 48
constexpr int64_t ROW_SHIFT = 6;                           // log2 of the bytes of a row of 16 slots
constexpr int64_t VECTOR_STRIDE = (SORTED_ROWS + 1) * 16;  // floats from one vector of a row to the next
// A step adds six rows; row SORTED_ROWS, of zeros, fills up. All that a step needs is one word, since the loads of the
// gradients are what limits the sums: six rows of 9 bits, above them level - 1.
constexpr int64_t STEP = 6, ROW_BITS = 9, LEVEL_PLACE = STEP * ROW_BITS;

// Rows of SORTED_WORDS words by descending level, for every feature.
struct SortedRows {
    std::vector<uint64_t> steps;
    std::vector<int32_t> ends;  // per feature: past its last step

    void build(const Block& block, const uint64_t* bits, int64_t words) {
        constexpr uint64_t zeros = uint64_t(SORTED_ROWS) * 0x0000201008040201;
        const int64_t T = block.thermometer_bits, planes = block.planes();
        for (int64_t feature = 0; feature < block.features; ++feature) {
            uint8_t level[SORTED_ROWS];
            for (int64_t w = 0; w < words; ++w) count_set(bits + w * planes + feature * T, T, level + w * WORD);
            int64_t next[257] = {};
            for (int64_t row = 0; row < words * WORD; ++row) ++next[level[row]];
            for (int64_t l = T; l > 0; --l) {  // at least one step, so that every sum is written
                const int64_t count = std::max<int64_t>(1, (next[l] + STEP - 1) / STEP);
                next[l] = (int64_t)steps.size() * STEP;
                steps.insert(steps.end(), count, uint64_t(l - 1) << LEVEL_PLACE | zeros);
            }
            for (int64_t row = 0; row < words * WORD; ++row) {
                if (!level[row]) continue;
                const int64_t place = next[level[row]]++;
                steps[place / STEP] ^= uint64_t(SORTED_ROWS ^ row) << place % STEP * ROW_BITS;
            }
            ends.push_back((int32_t)steps.size());
        }
    }
};

// Sums over the rows by level: sums[level - 1][SLOTS], each starting from `start`; by_row[vector][row][16].
LUTRA_INLINE void prefix_sums(const uint64_t* steps, int64_t count, const float* by_row, const Floats* start,
                              float* sums) {
    Floats total[VECTORS];
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) total[v] = start[v];
    for (const uint64_t* end = steps + count; steps < end; ++steps) {
        const uint64_t step = *steps;
        const float* row[STEP];
        for_each<STEP>([&](auto i) {
            constexpr int place = decltype(i)::value * ROW_BITS - ROW_SHIFT;
            row[i] =
                (const float*)((const char*)by_row + (rotate_right<place>(step) & ((1 << ROW_BITS) - 1) << ROW_SHIFT));
        });
        float* sum = sums + (step >> LEVEL_PLACE) * SLOTS;  // the last step of a level is the one that stays
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; ++v) {
            auto at = [&](int i) { return load(row[i] + v * VECTOR_STRIDE); };
            total[v] += ((at(0) + at(1)) + (at(2) + at(3))) + (at(4) + at(5));
            store(sum + 16 * v, total[v]);
        }
    }
}

// Slots [first, first + count) of the first layer, at most SLOTS.
void tile_scores_gradient(const Block& block, const std::vector<SortedRows>& sorted,
                          const std::vector<int32_t>& plane_of_level, const float* slopes, const float* grad,
                          const uint64_t* bits, int64_t first_slot, int64_t count) {
    const Layer& layer = block.layers[0];
    const int64_t T = block.thermometer_bits, total_slots = layer.luts * layer.inputs;
    const int64_t lut = first_slot / layer.inputs, last_lut = (first_slot + count + layer.inputs - 1) / layer.inputs;
    Buffer<float> gradients((SLOTS + 2 * layer.inputs) * WORD), by_row(VECTORS * VECTOR_STRIDE),
        sums(block.planes() * SLOTS), levels(T * SLOTS);
    for (int64_t part = 0; part < (int64_t)sorted.size(); ++part) {
        const int64_t first = part * SORTED_WORDS, words = std::min(SORTED_WORDS, block.words() - first);
        Floats start[VECTORS] = {};  // minus half the sum of all rows: what is added up is half of the signed sum
        for (int64_t w = 0; w < words; ++w) {
            const int64_t word = first + w;
            slot_gradients(layer, slopes, grad + word * layer.luts * WORD, bits + word * layer.below, lut, last_lut,
                           gradients.data());
            const float* from = gradients.data() + (first_slot - lut * layer.inputs) * WORD;
            for (int64_t v = 0; v < VECTORS; ++v) {
                float* to = &by_row[v * VECTOR_STRIDE + w * WORD * 16];
                for (int64_t row = 0; row < WORD; row += 16)
                    transpose16(from + 16 * v * WORD + row, WORD, to + row * 16, 16);
                for (int64_t row = 0; row < WORD; ++row) start[v] -= load(to + row * 16) * splat(0.5f);
            }
        }
        int64_t step = 0;
        for (int64_t feature = 0; feature < block.features; ++feature) {
            const int64_t end = sorted[part].ends[feature];
            prefix_sums(&sorted[part].steps[step], end - step, by_row.data(), start, levels.data());
            step = end;
            for (int64_t level = 0; level < T; ++level) {
                float* sum = &sums[plane_of_level[feature * T + level] * SLOTS];
                for (int64_t slot = 0; slot < SLOTS; slot += 16)
                    store(sum + slot, load(sum + slot) + load(&levels[level * SLOTS + slot]));
            }
        }
    }
    for (int64_t plane = 0; plane < block.planes(); ++plane)
        for (int64_t slot = 0; slot < count; ++slot)
            layer.grad_scores[plane * total_slots + first_slot + slot] = 2 * sums[plane * SLOTS + slot];
}

}  // namespace

void thermometer_scores_gradient(const Block& block, const float* slopes, const float* grad, const uint64_t* bits) {
    const Layer& layer = block.layers[0];
    const int64_t T = block.thermometer_bits, words = block.words(), slots = layer.luts * layer.inputs;
    std::vector<SortedRows> sorted((words + SORTED_WORDS - 1) / SORTED_WORDS);
    parallel((int64_t)sorted.size(), block.threads, [&](int64_t part) {
        const int64_t first = part * SORTED_WORDS;
        sorted[part].build(block, bits + first * block.planes(), std::min(SORTED_WORDS, words - first));
    });
    std::vector<int32_t> plane_of_level(block.planes());  // the lowest threshold is the one that level 1 reaches
    for (int64_t feature = 0; feature < block.features; ++feature) {
        const int16_t* rank = block.ranks + feature * block.edges();
        int32_t* planes = &plane_of_level[feature * T];
        for (int64_t t = 0; t < T; ++t) planes[t] = (int32_t)t;
        std::stable_sort(planes, planes + T, [&](int32_t a, int32_t b) { return rank[a] < rank[b]; });
        for (int64_t t = 0; t < T; ++t) planes[t] += (int32_t)(feature * T);
    }
    parallel((slots + SLOTS - 1) / SLOTS, block.threads, [&](int64_t tile) {
        const int64_t first = tile * SLOTS;
        tile_scores_gradient(block, sorted, plane_of_level, slopes, grad, bits, first, std::min(SLOTS, slots - first));
    });
}

void scores_gradient(const Layer& layer, const float* slopes, const float* grad, const uint64_t* below, int64_t words,
                     int64_t threads) {
    const int64_t tiles = (layer.luts * layer.inputs + 15) / 16;
    parallel(tiles, threads, [&](int64_t tile) { dense_scores_gradient(layer, slopes, grad, below, words, tile); });
}

}  // namespace lutra
