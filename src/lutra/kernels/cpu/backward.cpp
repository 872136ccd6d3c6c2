// Backward pass of the weightless block, fused over chunks of 128 rows so that everything between the layers stays in
// the cache. Rows are cut into a number of parts that depends only on their count; the gradients of the parameters are
// summed within each part, and the parts are added in order, so that they are bit-identical for any number of threads.
#include <condition_variable>
#include <mutex>

#include "candidates.h"
#include "codes.h"
#include "export.h"
#include "mapping.h"
#include "places.h"
#include "summation.h"

namespace lutra {
namespace {

int64_t part_count(int64_t words) { return std::min<int64_t>(words, words < 48 ? 4 : words < 2048 ? 16 : 64); }

struct Backward {
    const Block& block;
    const PackedTables packed;
    const std::vector<Tile> tiles;
    const int64_t padded_outputs;  // a vector more than needed, so that the last tile may read past its outputs
    const Places places;
    std::vector<Workspace<float>> slopes;
    std::vector<std::vector<Shares>> shares;
    std::vector<std::vector<int32_t>> padded_candidates;  // per layer, if the choices are no multiple of 16
    std::vector<Workspace<float>> kept_grad;     // layers that choose among all planes: of the outputs, [word][lut][64]
    std::vector<Workspace<uint64_t>> kept_bits;  // of the layers below those, [word][plane]
    std::vector<int32_t> feature_of_plane;       // a division in the innermost loop would cost more than the rest of it
    Buffer<float> total;                         // as `Places` says
    std::mutex adding;
    std::condition_variable added;
    int64_t parts_added = 0;

    explicit Backward(const Block& b)
        : block(b),
          packed(b),
          tiles(summation_tiles(b)),
          padded_outputs(round_up(b.outputs, 16) + 16),
          places(b, tiles, padded_outputs),
          total(places.size) {
        kept_grad.resize(b.layer_count);
        kept_bits.resize(b.layer_count);
        for (int64_t k = 0; k < b.layer_count; ++k) {
            const Layer& layer = b.layers[k];
            slopes.push_back(layer_slopes(layer, b.normalised, b.threads));
            shares.push_back(softmax_shares(layer, b.threads));
            padded_candidates.push_back(layer.choices % 16 ? pad_candidates(layer) : std::vector<int32_t>());
            if (!keeps(k)) continue;
            kept_grad[k].resize(b.words() * layer.luts * WORD);
            kept_bits[k].resize(b.words() * layer.below);
        }
        for (int64_t plane = 0; plane < b.planes(); ++plane)
            feature_of_plane.push_back((int32_t)(plane / b.thermometer_bits));
    }

    bool keeps(int64_t k) const { return block.layers[k].grad_scores && !block.layers[k].candidates; }

    static std::vector<int32_t> pad_candidates(const Layer& layer) {
        if (!layer.candidates) return {};
        const int64_t slots = layer.luts * layer.inputs, padded = round_up(layer.choices, 16);
        std::vector<int32_t> planes(slots * padded);
        for (int64_t slot = 0; slot < slots; ++slot)
            std::copy_n(layer.candidates + slot * layer.choices, layer.choices, &planes[slot * padded]);
        return planes;
    }

    void run() {
        const int64_t words = block.words(), count = part_count(words);
        std::atomic<int64_t> next{0};
        parallel(std::min(block.threads, count), block.threads, [&](int64_t) {
            Scratch scratch = make_scratch();
            for (int64_t part; (part = next.fetch_add(1)) < count;) {
                run_part(scratch, words * part / count, words * (part + 1) / count);
                add_part(scratch.sums, part);
            }
        });
        write_sums();
        for (int64_t k = 0; k < block.layer_count; ++k) {
            if (!keeps(k)) continue;
            const float *slope = slopes[k].data(), *grad = kept_grad[k].data();
            if (k == 0) thermometer_scores_gradient(block, slope, grad, kept_bits[k].data());
            else scores_gradient(block.layers[k], slope, grad, kept_bits[k].data(), words, block.threads);
        }
    }

    Scratch make_scratch() const {
        Scratch scratch;
        scratch.sums.resize(places.size);
        scratch.bits.resize(block.layer_count + 1);
        scratch.by_plane.resize(block.layer_count);
        scratch.own_grad.resize(block.layer_count + 1);
        scratch.grad.resize(block.layer_count + 1);
        scratch.bits[0].resize(CHUNK * block.planes());
        if (block.gradient == WINDOW) scratch.inside.resize(CHUNK * block.planes());
        for (int64_t k = 1; k <= block.layer_count; ++k) {
            const Layer& layer = block.layers[k - 1];
            scratch.bits[k].resize(CHUNK * layer.luts);
            if (!keeps(k - 1)) scratch.own_grad[k].resize(ROWS * layer.luts);
            if (layer.candidates) scratch.by_plane[k - 1].resize(CHUNK * layer.below);
            if (layer.choices)
                scratch.slots.resize(std::max<int64_t>(scratch.slots.size(), LUTS_TOGETHER * layer.inputs * ROWS));
            scratch.halves.resize(std::max<int64_t>(scratch.halves.size(), 2 * CHUNK * round_up(layer.choices, 16)));
        }
        scratch.grad_input.resize(round_up(block.features, 16) * ROWS);
        scratch.grad_y.resize(ROWS * padded_outputs);
        scratch.grad_y_t.resize(padded_outputs * ROWS);
        scratch.table.resize(PARTIAL_SUMS);
        return scratch;
    }

    void run_part(Scratch& scratch, int64_t first, int64_t last) {
        for (int64_t word = first; word < last; word += CHUNK) run_chunk(scratch, word, std::min(CHUNK, last - word));
    }

    // Parts are handed out in order, so the one that is waited for is always being worked on.
    void add_part(Buffer<float>& sums, int64_t part) {
        std::unique_lock<std::mutex> lock(adding);
        added.wait(lock, [&] { return parts_added == part; });
        if (part == 0) std::swap(total, sums);  // which is all zeros until then
        for (int64_t i = 0; i < places.size && part > 0; i += 16) {
            store(&total[i], load(&total[i]) + load(&sums[i]));
            store(&sums[i], splat(0));
        }
        ++parts_added;
        added.notify_all();
    }

    void write_sums() const {
        for (int64_t k = 0; k < block.layer_count; ++k) {
            const Layer& layer = block.layers[k];
            std::copy_n(&total[places.tables[k]], layer.luts << layer.inputs, layer.grad_tables);
            if (!layer.candidates || !layer.grad_scores) continue;
            const int64_t slots = layer.luts * layer.inputs, padded = round_up(layer.choices, 16);
            transpose_scores(&total[places.scores[k]], slots, padded, layer.choices, layer.grad_scores);
        }
        if (block.groups > 1) std::fill_n(block.grad_encoded, block.summed() * block.outputs, 0.f);
        for (const Tile& tile : tiles)
            for (int64_t bit = tile.first_bit; bit < tile.last_bit; ++bit)
                std::copy_n(&total[places.encoded + tile.offset + (bit - tile.first_bit) * tile.width()], tile.columns,
                            block.grad_encoded + bit * block.outputs + tile.first);
        std::copy_n(&total[places.bias], block.outputs, block.grad_bias);
        if (!block.want_grad_thresholds) return;
        for (int64_t plane = 0; plane < block.planes(); ++plane) {
            float sum = 0;
            for (int64_t lane = 0; lane < 16; ++lane) sum += total[places.thresholds + plane * 16 + lane];
            block.grad_thresholds[plane] = -sum * input_scale();
        }
    }

    // (slots, padded) -> (choices, slots), in squares that stay in the cache.
    static void transpose_scores(const float* from, int64_t slots, int64_t padded, int64_t choices, float* to) {
        for (int64_t slot = 0; slot < slots; slot += 16)
            for (int64_t c = 0; c < choices; c += 16) {
                const int64_t rows = std::min<int64_t>(16, slots - slot), columns = std::min<int64_t>(16, choices - c);
                if (rows == 16 && columns == 16) {
                    transpose16(from + slot * padded + c, padded, to + c * slots + slot, slots);
                    continue;
                }
                for (int64_t i = 0; i < rows; ++i)
                    for (int64_t j = 0; j < columns; ++j)
                        to[(c + j) * slots + slot + i] = from[(slot + i) * padded + c + j];
            }
    }

    void run_chunk(Scratch& scratch, int64_t word, int64_t words) {
        for (int64_t w = 0; w < words; ++w) {
            uint64_t* inside = scratch.inside.empty() ? nullptr : &scratch.inside[w * block.planes()];
            decode(block, block.codes + (word + w) * block.features * block.code_bits(), bits_of(scratch, 0, w),
                   inside);
            for (int64_t k = 1; k <= block.layer_count; ++k)
                lut_forward(block.layers[k - 1], packed.layers[k - 1].data(), bits_of(scratch, k - 1, w),
                            bits_of(scratch, k, w));
        }
        for (int64_t k = 1; k <= block.layer_count; ++k) {
            const Layer& layer = block.layers[k - 1];
            const uint64_t* below = scratch.bits[k - 1].data();
            for (int64_t w = 0; w < words && layer.candidates; ++w)
                for (int64_t plane = 0; plane < layer.below; ++plane)
                    scratch.by_plane[k - 1][plane * CHUNK + w] = below[w * layer.below + plane];
            scratch.grad[k] = scratch.own_grad[k].data();
            if (!keeps(k - 1)) continue;
            scratch.grad[k] = kept_grad[k - 1].data() + word * layer.luts * WORD;
            std::copy_n(below, words * layer.below, kept_bits[k - 1].data() + word * layer.below);
        }
        read_grad_y(scratch, word, words);
        summation_parameters(scratch, words);
        std::fill(scratch.grad_input.begin(), scratch.grad_input.end(), 0.f);
        int64_t row = 0;  // of the encoded values
        for (int64_t k = 0; k <= block.layer_count; ++k) {
            if (k > 0 && !block.reads(k)) std::fill_n(scratch.grad[k], words * block.width(k) * WORD, 0.f);
            if (k > 0 && block.reads(k)) summation_inputs(scratch, row, block.width(k), words, scratch.grad[k]);
            if (k == 0 && block.reads(0)) summation_thermometer(scratch, words);
            row += block.reads(k) ? block.width(k) : 0;
        }
        for (int64_t k = block.layer_count; k > 0; --k)
            with_inputs(block.layers[k - 1].inputs,
                        [&](auto n) { layer_backward<decltype(n)::value>(scratch, k, words); });
        if (block.want_grad_x) write_grad_x(scratch, word, words);
    }

    uint64_t* bits_of(Scratch& scratch, int64_t layer, int64_t w) const {
        return &scratch.bits[layer][w * block.width(layer)];
    }

    void read_grad_y(Scratch& scratch, int64_t word, int64_t words) const {
        const int64_t first = word * WORD, rows = std::min(words * WORD, block.rows - first);
        if (rows < ROWS) std::fill(scratch.grad_y.begin(), scratch.grad_y.end(), 0.f);
        for (int64_t row = 0; row < rows; ++row)
            std::copy_n(block.grad_y + (first + row) * block.outputs, block.outputs,
                        &scratch.grad_y[row * padded_outputs]);
        for (int64_t d = 0; d < block.outputs; d += 16)
            for (int64_t row = 0; row < ROWS; row += 16)
                transpose16(&scratch.grad_y[row * padded_outputs + d], padded_outputs,
                            &scratch.grad_y_t[d * ROWS + row], ROWS);
    }

    // Gradients of encoded values and bias.
    void summation_parameters(Scratch& scratch, int64_t words) const {
        float* bias = &scratch.sums[places.bias];
        for (int64_t d = 0; d < block.outputs; d += 16) {
            Floats sum = load(bias + d);
            for (int64_t row = 0; row < words * WORD; ++row) sum += load(&scratch.grad_y[row * padded_outputs + d]);
            store(bias + d, sum);
        }
        for (int64_t w = 0; w < words; ++w)
            for (const Tile& tile : tiles)
                with_vectors(tile.vectors(),
                             [&](auto vectors) { tile_parameters<decltype(vectors)::value>(scratch, tile, w); });
    }

    template <int VECTORS>
    void tile_parameters(Scratch& scratch, const Tile& tile, int64_t w) const {
        constexpr int64_t WIDTH = 16 * VECTORS;
        const float* grad_y = &scratch.grad_y[w * WORD * padded_outputs + tile.first];
        partial_sums<VECTORS>(grad_y, padded_outputs, WORD, WIDTH, block.centre, scratch.table.data());
        int64_t row = 0;  // of the encoded values
        for (int64_t k = 0; k <= block.layer_count; ++k) {
            if (!block.reads(k)) continue;
            const int64_t begin = std::max(row, tile.first_bit), end = std::min(row + block.width(k), tile.last_bit);
            if (begin < end)
                add_selected<VECTORS>(scratch.table.data(), bits_of(scratch, k, w) + begin - row, end - begin,
                                      &scratch.sums[places.encoded + tile.offset + (begin - tile.first_bit) * WIDTH],
                                      WIDTH);
            row += block.width(k);
        }
    }

    // grad[word][i][64] = sum_d encoded[first + i][d] grad_y[., d]
    void summation_inputs(const Scratch& scratch, int64_t first, int64_t count, int64_t words, float* grad) const {
        for (int64_t group = 0; group < block.groups; ++group) {
            const int64_t d0 = block.group_begin(block.outputs, group),
                          d1 = block.group_begin(block.outputs, group + 1);
            const int64_t end = std::min(first + count, block.group_begin(block.summed(), group + 1));
            for (int64_t w = 0; w < words; ++w) {
                const float* columns = scratch.grad_y_t.data() + w * WORD;
                float* out = grad + (w * count - first) * WORD;
                int64_t row = std::max(first, block.group_begin(block.summed(), group));
                for (; row + 6 <= end; row += 6) multiply_rows<6>(columns, d0, d1, row, out + row * WORD);
                for (; row + 2 <= end; row += 2) multiply_rows<2>(columns, d0, d1, row, out + row * WORD);
                for (; row < end; ++row) multiply_rows<1>(columns, d0, d1, row, out + row * WORD);
            }
        }
    }

    template <int TILE>
    LUTRA_INLINE void multiply_rows(const float* columns, int64_t d0, int64_t d1, int64_t row, float* out) const {
        const float* encoded = block.encoded + row * block.outputs;
        Floats sums[TILE][4];
        for (auto& sum : sums)
            for (auto& quarter : sum) quarter = splat(0);
        for (int64_t d = d0; d < d1; ++d) {
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

    void summation_thermometer(Scratch& scratch, int64_t words) const {
        constexpr int64_t TOGETHER = 48;
        scratch.planes.resize(TOGETHER * ROWS);
        for (int64_t p0 = 0; p0 < block.planes(); p0 += TOGETHER) {
            const int64_t count = std::min(TOGETHER, block.planes() - p0);
            summation_inputs(scratch, p0, count, words, scratch.planes.data());
            for (int64_t w = 0; w < words; ++w)
                for (int64_t i = 0; i < count; ++i) {
                    Floats g[4];
                    for (int v = 0; v < 4; ++v) g[v] = load(&scratch.planes[(w * count + i) * WORD + 16 * v]);
                    add_to_plane(scratch, 0, w, p0 + i, g);
                }
        }
    }

    // Adds the gradient of an output of layer k, or of a thermometer bit: to the input feature and the threshold.
    LUTRA_INLINE void add_to_plane(Scratch& scratch, int64_t k, int64_t w, int64_t plane, const Floats* g) const {
        const uint64_t inside =
            k > 0 || scratch.inside.empty() ? ~uint64_t(0) : scratch.inside[w * block.planes() + plane];
        float* to = k > 0 ? scratch.grad[k] + (w * block.width(k) + plane) * WORD
                          : &scratch.grad_input[(w * block.features + feature_of_plane[plane]) * WORD];
        for (int v = 0; v < 4; ++v) store(to + 16 * v, masked_add(load(to + 16 * v), (Mask)(inside >> 16 * v), g[v]));
        if (k > 0 || !block.want_grad_thresholds) return;
        float* threshold = &scratch.sums[places.thresholds + plane * 16];
        Floats sum = load(threshold);
        for (int v = 0; v < 4; ++v) sum = masked_add(sum, (Mask)(inside >> 16 * v), g[v]);
        store(threshold, sum);
    }

    template <int N>
    void layer_backward(Scratch& scratch, int64_t k, int64_t words) const {
        const Layer& layer = block.layers[k - 1];
        const bool spreads = k > 1 || block.want_grad_x || block.want_grad_thresholds;
        const bool chooses = layer.candidates && layer.grad_scores;
        for (int64_t first = 0; first < layer.luts; first += LUTS_TOGETHER) {
            const int64_t last = std::min(layer.luts, first + LUTS_TOGETHER);
            if (!layer.choices) {
                look_up<N>(scratch, k, words, first, last, spreads, [&](int64_t w, int64_t slot, const Floats* g) {
                    add_to_plane(scratch, k - 1, w, layer.connections[slot], g);
                });
                continue;
            }
            look_up<N>(scratch, k, words, first, last, spreads || chooses,
                       [&](int64_t w, int64_t slot, const Floats* g) {
                           float* to = &scratch.slots[(slot - first * N) * ROWS + w * WORD];
                           for (int v = 0; v < 4; ++v) store(to + 16 * v, g[v]);
                       });
            if (chooses) choose(scratch, k, words, first * N, last * N);
            if (spreads) spread(scratch, k, words, shares[k - 1][first / LUTS_TOGETHER]);
        }
    }

    // Tables [first, last) of layer k for all words: adds to the gradient of the addressed entries, and calls
    // sink(word, slot, gradient[4]) for every table input if `want_inputs`.
    template <int N, class Sink>
    void look_up(Scratch& scratch, int64_t k, int64_t words, int64_t first, int64_t last, bool want_inputs,
                 Sink&& sink) const {
        for (int64_t lut = first; lut < last; ++lut)
            if (words == CHUNK) look_up_words<N, CHUNK>(scratch, k, lut, want_inputs, sink);
            else look_up_words<N, 1>(scratch, k, lut, want_inputs, sink);
    }

    template <int N, int W, class Sink>
    LUTRA_INLINE void look_up_words(Scratch& scratch, int64_t k, int64_t lut, bool want_inputs, Sink&& sink) const {
        const Layer& layer = block.layers[k - 1];
        const int64_t stride = layer.luts * WORD;
        const float* grad = scratch.grad[k] + lut * WORD;
        uint64_t inputs[W][N];
        alignas(64) uint8_t address[W][WORD];
        for (int w = 0; w < W; ++w) {
            const uint64_t* below = bits_of(scratch, k - 1, w);
            for (int i = 0; i < N; ++i) inputs[w][i] = below[layer.connections[lut * N + i]];
            addresses(inputs[w], N, address[w]);
        }
        if (want_inputs)
            input_gradients<N, W>(inputs, address, &slopes[k - 1][lut * N * slope_entries(N)], grad, stride,
                                  [&](int w, int i, const Floats* g) { sink(w, lut * N + i, g); });
        float* table = &scratch.sums[places.tables[k - 1] + (lut << N)];
        for (int w = 0; w < W; ++w)
            for (int64_t row = 0; row < WORD; row += 8) {
                uint64_t eight;  // addresses; a load for each would take the place of one of the entries'
                std::memcpy(&eight, address[w] + row, 8);
#pragma GCC unroll 8
                for (int64_t i = 0; i < 8; ++i, eight >>= 8) table[eight & 255] += grad[w * stride + row + i];
            }
    }

    // Gradients of the scores of slots [first, last), which have candidates.
    void choose(Scratch& scratch, int64_t k, int64_t words, int64_t first, int64_t last) const {
        const Layer& layer = block.layers[k - 1];
        const int64_t padded = round_up(layer.choices, 16);
        const int32_t* candidates = layer.choices % 16 ? padded_candidates[k - 1].data() : layer.candidates;
        for (int64_t slot = first; slot < last; ++slot)
            choice_gradients(&scratch.slots[(slot - first) * ROWS], scratch.by_plane[k - 1].data(), words,
                             candidates + slot * padded, padded, scratch.halves.data(),
                             &scratch.sums[places.scores[k - 1] + slot * padded]);
    }

    // Gradients of the slots of a group of tables, to the planes that they may read, by their shares.
    void spread(Scratch& scratch, int64_t k, int64_t words, const Shares& shares) const {
        int64_t entry = 0;
        for (const Shares::Run& run : shares.runs) {
            Floats total[4 * CHUNK];  // in registers, which `sums` would not be
#pragma GCC unroll 8
            for (Floats& part : total) part = splat(0);
            for (; entry < run.end; ++entry) {
                const float* slot = &scratch.slots[shares.entries[entry].slot * ROWS];
                const Floats weight = splat(shares.entries[entry].weight);
#pragma GCC unroll 8
                for (int i = 0; i < 4 * CHUNK; ++i) total[i] = multiply_add(load(slot + 16 * i), weight, total[i]);
            }
            Floats sums[CHUNK][4];
#pragma GCC unroll 8
            for (int i = 0; i < 4 * CHUNK; ++i) sums[i / 4][i % 4] = total[i];
            for (int64_t w = 0; w < words; ++w) add_to_plane(scratch, k - 1, w, run.plane, sums[w]);
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
                    const int64_t first = (word + w) * WORD + row0,
                                  features = std::min<int64_t>(16, block.features - f0);
                    transpose16(&scratch.grad_input[(w * block.features + f0) * WORD + row0], WORD, tile, 16);
                    for (int64_t row = 0; row < 16 && first + row < block.rows; ++row) {
                        float* to = block.grad_x + (first + row) * block.features + f0;
                        const Floats values = load(tile + row * 16) * scale;
                        if (features == 16) store(to, values);
                        else std::memcpy(to, &values, features * sizeof(float));
                    }
                }
    }
};

}  // namespace

// As lutra_forward.
LUTRA_EXPORT int64_t lutra_backward(const Block* block) {
    const int64_t unreadable = block->first_unreadable();
    if (!unreadable) Backward(*block).run();
    return unreadable;
}

}  // namespace lutra
