// Backward pass of the weightless block, fused over chunks of 128 rows so that everything between the layers stays in
// the cache. Rows are cut into a number of parts that depends only on their count; each part has its own accumulators,
// and they are added in order, so that gradients are bit-identical for any number of threads.
#include "codes.h"
#include "mapping.h"

namespace lutra {
namespace {

constexpr int64_t CHUNK = 2;              // words
constexpr int64_t ROWS = CHUNK * WORD;
constexpr int64_t TABLE_COPIES = 4;       // consecutive rows often hit the same entry: separate copies break the chain
constexpr int64_t TABLES_TOGETHER = 8;    // scalar stores must have left the store buffer before vectors read them

int64_t part_count(int64_t words) { return std::min<int64_t>(words, words < 48 ? 4 : words < 2048 ? 16 : 64); }

// What one part of the rows adds to the parameter gradients.
struct Accumulators {
    std::vector<Buffer<float>> tables;  // per layer, (luts, 2^n)
    Buffer<float> encoded, bias;        // (R, padded outputs), (padded outputs)
    Buffer<float> thresholds;           // (planes, 16 lanes); empty if not wanted
};

// What a chunk needs only for itself.
struct Scratch {
    std::vector<Buffer<uint64_t>> bits;  // per layer, [word][plane]
    Buffer<uint64_t> inside;             // [word][plane]; empty if the gradient has no window
    std::vector<Buffer<float>> grad;     // per layer from 1, [word][lut][64]
    Buffer<float> grad_input;            // [word][feature][64]
    Buffer<float> grad_y, grad_y_t;      // [row][padded outputs], [output][ROWS]
    Buffer<float> planes;                // gradient of a few thermometer planes that the summation reads
    Buffer<float> table;
    Buffer<float> copies;  // (TABLES_TOGETHER, TABLE_COPIES, 2^n) table gradients, zero between uses
};

struct Backward {
    const Block& block;
    const PackedTables packed;
    std::vector<Buffer<float>> slopes;
    std::vector<Shares> shares;
    std::vector<Buffer<float>> kept_grad;     // layers with scores: gradient of the outputs, [word][lut][64]
    std::vector<Buffer<uint64_t>> kept_bits;  // bits of the layers below those, [word][lut]
    std::vector<Accumulators> parts;
    std::vector<int32_t> feature_of_plane;  // a division in the innermost loop would cost more than the rest of it
    int64_t padded_outputs;

    explicit Backward(const Block& b) : block(b), packed(b), padded_outputs(round_up(b.outputs, COLUMNS)) {
        const int64_t words = b.words();
        kept_grad.resize(b.layer_count);
        kept_bits.resize(b.layer_count + 1);
        for (int64_t k = 0; k < b.layer_count; ++k) {
            const Layer& layer = b.layers[k];
            slopes.push_back(layer_slopes(layer, b.normalised, b.threads));
            shares.push_back(softmax_shares(layer, b.threads));
            if (!layer.grad_scores) continue;
            kept_grad[k].resize(words * layer.luts * WORD);
            kept_bits[k].resize(words * layer.below);
        }
        parts.resize(part_count(words));
        for (int64_t plane = 0; plane < b.planes(); ++plane) feature_of_plane.push_back((int32_t)(plane / b.thermometer_bits));
    }

    void run() {
        const int64_t words = block.words(), count = (int64_t)parts.size();
        parallel(count, block.threads, [&](int64_t part) {
            const int64_t first = words * part / count, last = words * (part + 1) / count;
            run_part(parts[part], first, last);
        });
        reduce();
        for (int64_t k = 0; k < block.layer_count; ++k) {
            if (block.layers[k].grad_scores)
                scores_gradient(block.layers[k], slopes[k].data(), kept_grad[k].data(), kept_bits[k].data(), words, block.threads);
        }
    }

    void run_part(Accumulators& sums, int64_t first, int64_t last) {
        Scratch scratch;
        scratch.bits.resize(block.layer_count + 1);
        scratch.grad.resize(block.layer_count + 1);
        scratch.bits[0].resize(CHUNK * block.planes());
        if (block.gradient == WINDOW) scratch.inside.resize(CHUNK * block.planes());
        for (int64_t k = 1; k <= block.layer_count; ++k) {
            scratch.bits[k].resize(CHUNK * block.width(k));
            scratch.grad[k].resize(ROWS * block.width(k));
            sums.tables.emplace_back(block.width(k) << block.layers[k - 1].inputs);
        }
        scratch.grad_input.resize(round_up(block.features, 16) * ROWS);
        scratch.grad_y.resize(ROWS * padded_outputs);
        scratch.grad_y_t.resize(padded_outputs * ROWS);
        scratch.table.resize(PARTIAL_SUMS);
        scratch.copies.resize(TABLES_TOGETHER * TABLE_COPIES * 256);
        sums.encoded.resize(block.summed() * padded_outputs);
        sums.bias.resize(padded_outputs);
        if (block.want_grad_thresholds) sums.thresholds.resize(block.planes() * 16);
        for (int64_t word = first; word < last; word += CHUNK) run_chunk(sums, scratch, word, std::min(CHUNK, last - word));
    }

    void run_chunk(Accumulators& sums, Scratch& scratch, int64_t word, int64_t words) {
        for (int64_t w = 0; w < words; ++w) {
            uint64_t* inside = scratch.inside.empty() ? nullptr : scratch.inside.data() + w * block.planes();
            decode(block, block.codes + (word + w) * block.features * block.code_bits(), bits_of(scratch, 0, w), inside);
            for (int64_t k = 1; k <= block.layer_count; ++k)
                lut_forward(block.layers[k - 1], packed.layers[k - 1].data(), bits_of(scratch, k - 1, w), bits_of(scratch, k, w));
        }
        read_grad_y(scratch, word, words);
        summation_parameters(sums, scratch, words);
        std::fill(scratch.grad_input.begin(), scratch.grad_input.end(), 0.f);
        int64_t row = 0;  // of the encoded values
        for (int64_t k = 0; k <= block.layer_count; ++k) {
            if (k > 0 && !block.reads(k)) std::fill(scratch.grad[k].begin(), scratch.grad[k].end(), 0.f);
            if (k > 0 && block.reads(k)) summation_inputs(scratch, row, block.width(k), words, scratch.grad[k].data());
            if (k == 0 && block.reads(0)) summation_thermometer(sums, scratch, words);
            row += block.reads(k) ? block.width(k) : 0;
        }
        for (int64_t k = block.layer_count; k > 0; --k) {
            const Layer& layer = block.layers[k - 1];
            if (layer.grad_scores) {
                std::copy_n(scratch.grad[k].data(), words * layer.luts * WORD, kept_grad[k - 1].data() + word * layer.luts * WORD);
                std::copy_n(scratch.bits[k - 1].data(), words * layer.below, kept_bits[k - 1].data() + word * layer.below);
            }
            with_inputs(layer.inputs, [&](auto n) {
                add_to_tables<decltype(n)::value>(sums, scratch, k, words);
                for (int64_t w = 0; w < words; ++w) lut_backward<decltype(n)::value>(sums, scratch, k, w);
            });
        }
        if (block.want_grad_x) write_grad_x(scratch, word, words);
    }

    uint64_t* bits_of(Scratch& scratch, int64_t layer, int64_t w) const {
        return scratch.bits[layer].data() + w * block.width(layer);
    }

    void read_grad_y(Scratch& scratch, int64_t word, int64_t words) const {
        const int64_t first = word * WORD, rows = std::min(words * WORD, block.rows - first);
        if (rows < ROWS) std::fill(scratch.grad_y.begin(), scratch.grad_y.end(), 0.f);
        for (int64_t row = 0; row < rows; ++row)
            std::copy_n(block.grad_y + (first + row) * block.outputs, block.outputs, scratch.grad_y.data() + row * padded_outputs);
        for (int64_t d = 0; d < padded_outputs; d += 16)
            for (int64_t row = 0; row < ROWS; row += 16)
                transpose16(scratch.grad_y.data() + row * padded_outputs + d, padded_outputs, scratch.grad_y_t.data() + d * ROWS + row, ROWS);
    }

    // Gradients of encoded values and bias.
    void summation_parameters(Accumulators& sums, Scratch& scratch, int64_t words) const {
        for (int64_t row = 0; row < words * WORD; ++row)
            for (int64_t d = 0; d < padded_outputs; d += 16)
                store(&sums.bias[d], load(&sums.bias[d]) + load(&scratch.grad_y[row * padded_outputs + d]));
        for (int64_t w = 0; w < words; ++w)
            for (int64_t d = 0; d < padded_outputs; d += COLUMNS) {
                partial_sums(&scratch.grad_y[w * WORD * padded_outputs + d], padded_outputs, WORD, COLUMNS, block.centre, 1, scratch.table.data());
                float* out = sums.encoded.data() + d;
                for (int64_t k = 0; k <= block.layer_count; ++k) {
                    if (!block.reads(k)) continue;
                    add_selected(scratch.table.data(), bits_of(scratch, k, w), 1, block.width(k), out, padded_outputs);
                    out += block.width(k) * padded_outputs;
                }
            }
    }

    // grad[word][i][64] = sum_d encoded[row + i][d] grad_y[., d]
    void summation_inputs(const Scratch& scratch, int64_t row, int64_t count, int64_t words, float* grad) const {
#ifdef LUTRA_AVX512
        constexpr int TILE = 6;  // 6 x 4 accumulators fill the registers
#else
        constexpr int TILE = 1;
#endif
        for (int64_t w = 0; w < words; ++w, grad += count * WORD) {
            const float* columns = scratch.grad_y_t.data() + w * WORD;
            int64_t i = 0;
            for (; i + TILE <= count; i += TILE) multiply_rows<TILE>(columns, row + i, grad + i * WORD);
            for (; i < count; ++i) multiply_rows<1>(columns, row + i, grad + i * WORD);
        }
    }

    template <int TILE>
    LUTRA_INLINE void multiply_rows(const float* columns, int64_t row, float* out) const {
        const float* encoded = block.encoded + row * block.outputs;
        Floats sums[TILE][4];
        for (auto& sum : sums)
            for (auto& quarter : sum) quarter = splat(0);
        for (int64_t d = 0; d < block.outputs; ++d) {
            Floats y[4];
            for (int v = 0; v < 4; ++v) y[v] = load(columns + d * ROWS + 16 * v);
            for (int i = 0; i < TILE; ++i) {
                const Floats value = splat(encoded[i * block.outputs + d]);
                for (int v = 0; v < 4; ++v) sums[i][v] = multiply_add(value, y[v], sums[i][v]);
            }
        }
        for (int i = 0; i < TILE; ++i)
            for (int v = 0; v < 4; ++v) store(out + i * WORD + 16 * v, sums[i][v]);
    }

    void summation_thermometer(Accumulators& sums, Scratch& scratch, int64_t words) const {
        constexpr int64_t TOGETHER = 48;
        scratch.planes.resize(TOGETHER * ROWS);
        for (int64_t p0 = 0; p0 < block.planes(); p0 += TOGETHER) {
            const int64_t count = std::min(TOGETHER, block.planes() - p0);
            summation_inputs(scratch, p0, count, words, scratch.planes.data());
            for (int64_t w = 0; w < words; ++w)
                for (int64_t i = 0; i < count; ++i) {
                    Floats g[4];
                    for (int v = 0; v < 4; ++v) g[v] = load(&scratch.planes[(w * count + i) * WORD + 16 * v]);
                    add_to_input(sums, scratch, w, p0 + i, g);
                }
        }
    }

    // Gradient of a thermometer bit, to the input feature and the threshold.
    LUTRA_INLINE void add_to_input(Accumulators& sums, Scratch& scratch, int64_t w, int64_t plane, const Floats* g, float weight = 1) const {
        const uint64_t inside = !scratch.inside.empty() ? scratch.inside[w * block.planes() + plane] : ~uint64_t(0);
        float* to = &scratch.grad_input[(w * block.features + feature_of_plane[plane]) * WORD];
        for (int v = 0; v < 4; ++v) store(to + 16 * v, masked_multiply_add(load(to + 16 * v), (Mask)(inside >> 16 * v), g[v], splat(weight)));
        if (sums.thresholds.empty()) return;
        float* threshold = &sums.thresholds[plane * 16];
        Floats total = load(threshold);
        for (int v = 0; v < 4; ++v) total = masked_multiply_add(total, (Mask)(inside >> 16 * v), g[v], splat(weight));
        store(threshold, total);
    }

    template <int N>
    void lut_backward(Accumulators& sums, Scratch& scratch, int64_t k, int64_t w) const {
        const Layer& layer = block.layers[k - 1];
        const Shares& share = shares[k - 1];
        const uint64_t* below = bits_of(scratch, k - 1, w);
        if (k == 1 && !block.want_grad_x && !block.want_grad_thresholds) return;
        auto add = [&](int64_t plane, const Floats* g, float weight) {
            if (k == 1) return add_to_input(sums, scratch, w, plane, g, weight);
            float* to = &scratch.grad[k - 1][(w * layer.below + plane) * WORD];
            for (int v = 0; v < 4; ++v) store(to + 16 * v, multiply_add(g[v], splat(weight), load(to + 16 * v)));
        };
        for (int64_t lut = 0; lut < layer.luts; ++lut) {
            const float* grad = &scratch.grad[k][(w * layer.luts + lut) * WORD];
            uint64_t inputs[N];
            alignas(64) uint8_t address[WORD];
            for (int i = 0; i < N; ++i) inputs[i] = below[layer.connections[lut * N + i]];
            addresses(inputs, N, address);
            const float* slope = &slopes[k - 1][lut * N * slope_entries(N)];
            input_gradients<N>(inputs, address, slope, grad, [&](int i, const Floats* g) {
                const int64_t slot = lut * N + i;
                if (!layer.choices) return add(layer.connections[slot], g, 1);
                for (int64_t entry = share.begin[slot]; entry < share.begin[slot + 1]; ++entry)
                    add(share.entries[entry].plane, g, share.entries[entry].weight);
            });
        }
    }

    // Gradient of the addressed entries.
    template <int N>
    void add_to_tables(Accumulators& sums, Scratch& scratch, int64_t k, int64_t words) const {
        constexpr int64_t ENTRIES = 1 << N;
        const Layer& layer = block.layers[k - 1];
        for (int64_t first = 0; first < layer.luts; first += TABLES_TOGETHER) {
            const int64_t last = std::min(layer.luts, first + TABLES_TOGETHER);
            for (int64_t lut = first; lut < last; ++lut) {
                float* copies = &scratch.copies[(lut - first) * TABLE_COPIES * ENTRIES];
                for (int64_t w = 0; w < words; ++w) {
                    const uint64_t* below = bits_of(scratch, k - 1, w);
                    uint64_t inputs[N];
                    alignas(64) uint8_t address[WORD];
                    for (int i = 0; i < N; ++i) inputs[i] = below[layer.connections[lut * N + i]];
                    addresses(inputs, N, address);
                    const float* grad = &scratch.grad[k][(w * layer.luts + lut) * WORD];
                    for (int64_t row = 0; row < WORD; row += TABLE_COPIES)
                        for (int64_t copy = 0; copy < TABLE_COPIES; ++copy)
                            copies[copy * ENTRIES + address[row + copy]] += grad[row + copy];
                }
            }
            float* table = &sums.tables[k - 1][first * ENTRIES];
            float* copies = scratch.copies.data();
            for (int64_t lut = first; lut < last; ++lut, copies += TABLE_COPIES * ENTRIES, table += ENTRIES)
                for (int64_t entry = 0; entry < ENTRIES; ++entry) {
                    float* at = copies + entry;
                    table[entry] += (at[0] + at[ENTRIES]) + (at[2 * ENTRIES] + at[3 * ENTRIES]);
                    at[0] = at[ENTRIES] = at[2 * ENTRIES] = at[3 * ENTRIES] = 0;
                }
        }
    }

    float input_scale() const {
        if (block.gradient == MEAN) return 1.f / block.thermometer_bits;
        return block.gradient == WINDOW ? 1.f / (2 * *block.window) : 1.f;
    }

    void write_grad_x(const Scratch& scratch, int64_t word, int64_t words) const {
        const Floats scale = splat(input_scale());
        alignas(64) float tile[16 * 16];
        for (int64_t w = 0; w < words; ++w)
            for (int64_t f0 = 0; f0 < block.features; f0 += 16)
                for (int64_t row0 = 0; row0 < WORD; row0 += 16) {
                    const int64_t first = (word + w) * WORD + row0, features = std::min<int64_t>(16, block.features - f0);
                    transpose16(&scratch.grad_input[(w * block.features + f0) * WORD + row0], WORD, tile, 16);
                    for (int64_t row = 0; row < 16 && first + row < block.rows; ++row) {
                        float* to = block.grad_x + (first + row) * block.features + f0;
                        const Floats values = load(tile + row * 16) * scale;
                        std::memcpy(to, &values, features * sizeof(float));
                    }
                }
    }

    void reduce() const {
        auto total = [&](float* out, int64_t count, auto&& values_of) {
            std::copy_n(values_of(parts[0]), count, out);
            for (size_t part = 1; part < parts.size(); ++part) {
                const float* values = values_of(parts[part]);
                for (int64_t i = 0; i < count; ++i) out[i] += values[i];
            }
        };
        for (int64_t k = 0; k < block.layer_count; ++k)
            total(block.layers[k].grad_tables, block.layers[k].luts << block.layers[k].inputs, [&](auto& part) { return part.tables[k].data(); });
        for (int64_t row = 0; row < block.summed(); ++row)
            total(block.grad_encoded + row * block.outputs, block.outputs, [&](auto& part) { return part.encoded.data() + row * padded_outputs; });
        total(block.grad_bias, block.outputs, [](auto& part) { return part.bias.data(); });
        if (!block.want_grad_thresholds) return;
        for (int64_t plane = 0; plane < block.planes(); ++plane) {
            float lanes[16], sum = 0;
            total(lanes, 16, [&](auto& part) { return part.thresholds.data() + plane * 16; });
            for (float lane : lanes) sum += lane;
            block.grad_thresholds[plane] = -sum * input_scale();
        }
    }
};

}  // namespace

extern "C" __attribute__((visibility("default"))) void lutra_backward(const Block* block) { Backward(*block).run(); }

}  // namespace lutra
