// The kernels of a frozen BERT, as templates over the lanes of an instruction set; included by one source per
// instruction set, after its target pragma (hence the anonymous namespace: the same template must not be shared between
// instruction sets).
#pragma once

#include <cmath>
#include <cstring>

#include "../memory.h"
#include "bert.h"
#include "lanes_scalar.h"

namespace lutra {
namespace {

constexpr int64_t ROWS_AT_ONCE = 64;  // whose sums are held: 16 KiB for four panels
constexpr int64_t QUERIES_AT_ONCE = 32;
constexpr int64_t LANES_AT_MOST = 16;
constexpr int64_t TILE_GROUPS = 16;  // of a product that AMX takes whole
constexpr float INFINITE = __builtin_inff();

inline int64_t padded(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }
// The next rows or columns, at most `most` of those left.
inline int64_t some_of(int64_t left, int64_t most) { return left < most ? left : most; }

// The nearest binary16, ties to even; infinite beyond the largest.
inline float half_of(double x) {
    int exponent;
    std::frexp(x, &exponent);
    const int unit = (exponent < -13 ? -13 : exponent) - 11;  // numbers below 2^-14 are multiples of 2^-24
    const double rounded = std::ldexp(std::nearbyint(std::ldexp(x, -unit)), unit);
    return std::fabs(rounded) <= 65504 ? float(rounded) : rounded > 0 ? INFINITE : -INFINITE;
}

// Parts of some work on some threads; each part once. (Threads are started in bert.cpp: what templates of the standard
// library become here must not be shared with code for other instruction sets.)
template <class Part>
void in_parts(int64_t threads, int64_t count, const Part& part) {
    if (threads <= 1 || count <= 1) {
        for (int64_t i = 0; i < count; i++) part(i);
        return;
    }
    bert_in_parts(threads, count, [](const void* data, int64_t i) { (*static_cast<const Part*>(data))(i); }, &part);
}

// Memory in pieces that begin at cache lines. Made twice: once to add up, once to hand out.
struct Pieces {
    char* next;
    template <class T>
    void take(T*& piece, int64_t count) {
        piece = reinterpret_cast<T*>(next);
        next += padded(count * int64_t(sizeof(T)), 64);
    }
};

// Levels of rows that a product reads; what lies behind the columns of a row is zero.
struct Levels {
    uint8_t* bytes;
    int64_t stride;
    uint8_t* row(int64_t i) const { return bytes + i * stride; }
};

template <class Lanes>
struct Encoder {
    using Floats = typename Lanes::Floats;

    const BertModel& model;
    const BertRows& given;
    int64_t threads, first, count;  // rows
    int64_t sentence, sentences;    // of the first row, and how many
    int64_t status = BERT_DONE;
    int64_t row_floats;
    float* x;  // (count, row_floats) the residual stream
    Levels input, query, key, value, context, hidden;

    Encoder(const BertModel& m, const BertRows& rows, int64_t begin, int64_t end, int64_t threads_)
        : model(m),
          given(rows),
          threads(threads_),
          first(rows.starts[begin]),
          count(rows.starts[end] - first),
          sentence(begin),
          sentences(end - begin),
          row_floats(padded(m.width, LANES_AT_MOST)) {}

    // Bytes of all the memory, whose first byte is at `memory`.
    int64_t lay_out(char* memory) {
        Pieces pieces{memory};
        pieces.take(x, count * row_floats);
        const int64_t attention_width = model.heads * model.head_width;
        const auto levels = [&](Levels& of, int64_t columns) {
            of.stride = padded(columns, 64);
            pieces.take(of.bytes, count * of.stride);
        };
        levels(input, model.width);
        levels(query, attention_width);
        levels(key, attention_width);
        levels(value, attention_width);
        levels(context, attention_width);
        levels(hidden, model.intermediate);
        return pieces.next - memory;
    }

    void run(float* pooled) {
        in_rows([&](int64_t i) { embed(i); });
        for (int64_t i = 0; i < model.layer_count && status == BERT_DONE; i++) {
            attention(model.layers[i]);
            feed_forward(model.layers[i]);
        }
        if (status == BERT_DONE) pool(pooled);
    }

    void attention(const BertLayer& c) {
        quantise(c.input);
        to_levels(c.query, input, c.query_codes, query);
        to_levels(c.key, input, c.key_codes, key);
        to_levels(c.value, input, c.value_codes, value);
        in_parts(threads, sentences * model.heads,
                 [&](int64_t part) { head(c, sentence + part / model.heads, part % model.heads); });
        to_residual(c.output.linear, context);
        in_rows([&](int64_t i) { norm(c.attention_norm, x + i * row_floats); });
    }

    void feed_forward(const BertLayer& c) {
        quantise(c.intermediate.quantiser);
        const BertQuantiser& codes = c.feed_forward.quantiser;
        linear(c.intermediate.linear, input, count, [&](int64_t i, int64_t column, int64_t present, Floats y) {
            y = model.gelu ? Lanes::look_up(model.gelu, y, 0xffff) : Lanes::positive(y);
            store_codes(codes, y, column, hidden.row(i) + column, present);
        });
        to_residual(c.feed_forward.linear, hidden);
        in_rows([&](int64_t i) { norm(c.norm, x + i * row_floats); });
    }

    // The first row of every sentence, through the pooler's linear layer.
    void pool(float* pooled) {
        for (int64_t s = 0; s < sentences; s++)
            quantise(model.pooler.quantiser, x + (given.starts[sentence + s] - first) * row_floats, input.row(s));
        linear(model.pooler.linear, input, sentences, [&](int64_t s, int64_t column, int64_t present, Floats y) {
            float lanes[LANES_AT_MOST];
            Lanes::store(lanes, y);
            std::memcpy(pooled + (sentence + s) * model.width + column, lanes, size_t(present) * sizeof(float));
        });
    }

    void embed(int64_t i) {
        float* row = x + i * row_floats;
        const int64_t token = given.tokens[first + i];
        const float* position = model.positions + given.positions[first + i] * row_floats;
        const float* type = model.token_types + given.token_types[first + i] * row_floats;
        for (int64_t d = 0; d < model.width; d += Lanes::COUNT) {
            Floats sum = Lanes::all(0);
            for (int64_t copy = 0; copy < model.copies; copy++) {
                const int64_t word = copy * model.vocabulary + token;
                float codes[LANES_AT_MOST] = {};
                unpack(model.word_codes + word * model.word_bytes, d, some_of(model.width - d, Lanes::COUNT), codes);
                const Floats scaled = Lanes::multiply(Lanes::load(codes), Lanes::all(model.word_scales[word]));
                sum = Lanes::half(Lanes::add(sum, Lanes::half(scaled)));
            }
            sum = Lanes::half(Lanes::add(sum, Lanes::load(position + d)));
            Lanes::store(row + d, checked(Lanes::half(Lanes::add(sum, Lanes::load(type + d)))));
        }
        norm(model.embedding_norm, row);
        if (given.noise == nullptr) return;
        const float* noise = given.noise + (first + i) * row_floats;
        for (int64_t d = 0; d < row_floats; d += Lanes::COUNT)
            Lanes::store(row + d, checked(Lanes::half(Lanes::add(Lanes::load(row + d), Lanes::load(noise + d)))));
    }

    // Codes `begin` to `begin + count - 1` of a row of packed ones: one bit is +1 or -1, more are lowered by half.
    void unpack(const uint8_t* packed, int64_t begin, int64_t count, float* codes) const {
        const int64_t bits = model.word_bits;
        for (int64_t k = 0; k < count; k++) {
            const int64_t bit = (begin + k) * bits;
            const int field = packed[bit / 8] >> bit % 8 & ((1 << bits) - 1);
            codes[k] = float(bits == 1 ? 2 * field - 1 : field - (1 << (bits - 1)));
        }
    }

    // Residual stream -> levels of the next product.
    void quantise(const BertQuantiser& q) {
        in_rows([&](int64_t i) { quantise(q, x + i * row_floats, input.row(i)); });
    }

    void quantise(const BertQuantiser& q, const float* row, uint8_t* out) {
        for (int64_t d = 0; d < model.width; d += Lanes::COUNT)
            store_codes(q, Lanes::load(row + d), d, out + d, some_of(model.width - d, Lanes::COUNT));
    }

    // `present` numbers whose features begin at `feature`.
    void store_codes(const BertQuantiser& q, Floats y, int64_t feature, uint8_t* out, int64_t present) {
        if (q.bias) y = checked(Lanes::half(Lanes::add(y, Lanes::load(q.bias + feature))));
        Lanes::store_levels(out, Lanes::levels(q, y), present);
    }

    void to_levels(const BertLinear& c, const Levels& left, const BertQuantiser& codes, const Levels& out) {
        linear(c, left, count, [&](int64_t i, int64_t column, int64_t present, Floats y) {
            Lanes::store_levels(out.row(i) + column, Lanes::levels(codes, y), present);
        });
    }

    void to_residual(const BertLinear& c, const Levels& left) {
        linear(c, left, count, [&](int64_t i, int64_t column, int64_t, Floats y) {
            float* place = x + i * row_floats + column;
            Lanes::store(place, checked(Lanes::half(Lanes::add(Lanes::load(place), y))));
        });
    }

    // Calls `finish(row, column, present, y)` for all rows and outputs; of the lanes of y, `present` are outputs.
    template <class Finish>
    void linear(const BertLinear& c, const Levels& left, int64_t rows, const Finish& finish) {
        in_parts(threads, (c.panels + PANELS_AT_ONCE - 1) / PANELS_AT_ONCE, [&](int64_t part) {
            columns(c, left, rows, part * PANELS_AT_ONCE, some_of(c.panels - part * PANELS_AT_ONCE, PANELS_AT_ONCE),
                    finish);
        });
    }

    template <class Finish>
    void columns(const BertLinear& c, const Levels& left, int64_t rows, int64_t panel, int64_t panels,
                 const Finish& finish) {
        const int64_t panel_bytes = c.groups * GROUP_BYTES, outputs = c.panels * PANEL_COLUMNS;
        Memory memory;
        if (!acquire_memory(c.copies * panels * panel_bytes, memory)) return fail(BERT_OUT_OF_MEMORY);
        int8_t* weights = reinterpret_cast<int8_t*>(memory.data);
        for (int64_t copy = 0; copy < c.copies; copy++)
            Lanes::expand(c.weights + (copy * c.panels + panel) * c.groups * c.planes, c.planes, panels * c.groups,
                          weights + copy * panels * panel_bytes);
        alignas(64) int32_t sums[ROWS_AT_ONCE * PANELS_AT_ONCE * PANEL_COLUMNS];
        alignas(64) float y[ROWS_AT_ONCE * PANELS_AT_ONCE * PANEL_COLUMNS];
        constexpr int64_t stride = PANELS_AT_ONCE * PANEL_COLUMNS;
        const int64_t column = panel * PANEL_COLUMNS, present = some_of(c.outputs - column, panels * PANEL_COLUMNS);
        const Floats scale = Lanes::all(c.sum_scale);
        for (int64_t r = 0; r < rows; r += ROWS_AT_ONCE) {
            const int64_t some = some_of(rows - r, ROWS_AT_ONCE);
            for (int64_t copy = 0; copy < c.copies; copy++) {
                Lanes::product(left.row(r), left.stride, weights + copy * panels * panel_bytes, panel_bytes, c.groups,
                               some, panels, sums, stride);
                const int64_t constants = copy * outputs + column;
                for (int64_t i = 0; i < some; i++)
                    for (int64_t k = 0; k < present; k += Lanes::COUNT) {
                        const Floats sum = Lanes::of_integers(sums + i * stride + k, c.offsets + constants + k);
                        const Floats factor = Lanes::load(c.factors + constants + k);
                        const Floats product =
                            Lanes::half(Lanes::multiply(Lanes::half(Lanes::multiply(sum, scale)), factor));
                        const Floats before = Lanes::load(copy ? y + i * stride + k : c.bias + column + k);
                        const Floats after = Lanes::half(Lanes::add(before, product));
                        if (copy + 1 < c.copies) Lanes::store(y + i * stride + k, after);
                        else finish(r + i, column + k, some_of(present - k, Lanes::COUNT), checked(after));
                    }
            }
        }
        release_memory(memory);
    }

    // Contexts of one head of one sentence, quantised. Keys are the columns of the product that makes scores, values
    // the rows of the one that makes contexts.
    void head(const BertLayer& c, int64_t s, int64_t h) {
        const int64_t begin = given.starts[s] - first, tokens = given.starts[s + 1] - first - begin;
        const int64_t width = model.head_width, offset = h * width;
        const int64_t key_groups = padded(width, PANEL_GROUP) / PANEL_GROUP;
        const int64_t key_panels = padded(tokens, PANEL_COLUMNS) / PANEL_COLUMNS;
        const int64_t value_groups = groups_of(tokens), value_panels = padded(width, PANEL_COLUMNS) / PANEL_COLUMNS;
        const int64_t keys_padded = key_panels * PANEL_COLUMNS, width_padded = value_panels * PANEL_COLUMNS;
        const int64_t weight_stride = padded(value_groups * PANEL_GROUP, 64);
        int8_t *keys, *values;
        int32_t *offsets, *zeros, *sums, *context_sums;
        uint8_t* weights;
        float* scores;
        const auto lay_out = [&](char* from) {
            Pieces pieces{from};
            pieces.take(keys, key_panels * key_groups * GROUP_BYTES);
            pieces.take(values, value_panels * value_groups * GROUP_BYTES);
            pieces.take(offsets, keys_padded);
            pieces.take(zeros, width_padded);
            pieces.take(weights, QUERIES_AT_ONCE * weight_stride);
            const int64_t cleared = pieces.next - from;
            pieces.take(sums, QUERIES_AT_ONCE * keys_padded);
            pieces.take(context_sums, QUERIES_AT_ONCE * width_padded);
            pieces.take(scores, keys_padded);
            return from ? cleared : pieces.next - from;
        };
        Memory memory;
        if (!acquire_memory(lay_out(nullptr), memory)) return fail(BERT_OUT_OF_MEMORY);
        std::memset(memory.data, 0, size_t(lay_out(memory.data)));
        for (int64_t t = 0; t < tokens; t++) {
            const uint8_t *key_row = key.row(begin + t) + offset, *value_row = value.row(begin + t) + offset;
            int8_t* key_column = keys + t / PANEL_COLUMNS * key_groups * GROUP_BYTES + t % PANEL_COLUMNS * PANEL_GROUP;
            int8_t* value_line = values + t / PANEL_GROUP * GROUP_BYTES + t % PANEL_GROUP;
            int64_t total = 0;
            for (int64_t w = 0; w < width; w++) {
                const int64_t code = key_row[w] + c.key_codes.low;
                total += code;
                key_column[w / PANEL_GROUP * GROUP_BYTES + w % PANEL_GROUP] = int8_t(code);
                value_line[w / PANEL_COLUMNS * value_groups * GROUP_BYTES + w % PANEL_COLUMNS * PANEL_GROUP] =
                    int8_t(value_row[w] + c.value_codes.low);
            }
            offsets[t] = int32_t(total * c.query_codes.low);
        }
        // The last head's levels are followed by zeros or by another head's: rows of keys are zero there.
        for (int64_t q = 0; q < tokens; q += QUERIES_AT_ONCE) {
            const int64_t some = some_of(tokens - q, QUERIES_AT_ONCE);
            Lanes::product(query.row(begin + q) + offset, query.stride, keys, key_groups * GROUP_BYTES, key_groups,
                           some, key_panels, sums, keys_padded);
            for (int64_t i = 0; i < some; i++)
                probabilities(c, sums + i * keys_padded, offsets, tokens, scores, weights + i * weight_stride);
            Lanes::product(weights, weight_stride, values, value_groups * GROUP_BYTES, value_groups, some, value_panels,
                           context_sums, width_padded);
            const Floats scale = Lanes::all(model.context_scale), factor = Lanes::all(c.context_factor);
            for (int64_t i = 0; i < some; i++)
                for (int64_t w = 0; w < width; w += Lanes::COUNT) {
                    const Floats sum = Lanes::of_integers(context_sums + i * width_padded + w, zeros + w);
                    const Floats y = Lanes::half(Lanes::multiply(Lanes::half(Lanes::multiply(sum, scale)), factor));
                    const int64_t present = some_of(width - w, Lanes::COUNT);
                    store_codes(c.output.quantiser, checked(y, present), offset + w,
                                context.row(begin + q + i) + offset + w, present);
                }
        }
        release_memory(memory);
    }

    // Sums of one query with all keys -> levels of the attention's probabilities.
    void probabilities(const BertLayer& c, const int32_t* sums, const int32_t* offsets, int64_t tokens, float* scores,
                       uint8_t* weights) {
        const Floats scale = Lanes::all(model.score_scale), factor = Lanes::all(c.score_factor);
        Floats most = Lanes::all(-INFINITE);
        for (int64_t t = 0; t < tokens; t += Lanes::COUNT) {
            const Floats sum = Lanes::half(Lanes::multiply(Lanes::of_integers(sums + t, offsets + t), scale));
            const Floats score = checked(Lanes::half(Lanes::multiply(sum, factor)));
            const Floats seen = Lanes::first(score, tokens - t, -INFINITE);
            most = Lanes::larger(most, seen);
            Lanes::store(scores + t, seen);
        }
        const Floats highest = Lanes::all(Lanes::largest(most));
        typename Lanes::Sum total;
        for (int64_t t = 0; t < tokens; t += Lanes::COUNT) {
            const Floats distance = Lanes::half(Lanes::subtract(Lanes::load(scores + t), highest));
            const Floats exponential = Lanes::look_up(model.exponentials, distance, 0x7fff);
            total.add(exponential);
            Lanes::store(scores + t, exponential);
        }
        const Floats inverse = Lanes::all(half_of(1 / half_of(total.value())));
        for (int64_t t = 0; t < tokens; t += Lanes::COUNT) {
            const Floats probability = Lanes::half(Lanes::multiply(Lanes::load(scores + t), inverse));
            Lanes::store_levels(weights + t, Lanes::levels(c.probability_codes, probability),
                                some_of(tokens - t, Lanes::COUNT));
        }
    }

    void norm(const BertNorm& c, float* row) {
        const int64_t width = model.width;
        typename Lanes::Sum total, squares;
        for (int64_t d = 0; d < width; d += Lanes::COUNT) total.add(Lanes::load(row + d));
        const Floats mean = Lanes::all(half_of(total.value() / double(width)));
        for (int64_t d = 0; d < width; d += Lanes::COUNT) {
            const Floats centred = checked(Lanes::half(Lanes::subtract(Lanes::load(row + d), mean)));
            const Floats present = Lanes::first(centred, width - d, 0);
            squares.add_square(present);
            Lanes::store(row + d, present);
        }
        const float variance = half_of((squares.value() + model.epsilon) / (double(width) * 1048576.0));
        if (!(variance <= 65504)) return fail(BERT_OUT_OF_RANGE);
        constexpr float least = 1.0f / (1 << 24);
        const Floats scale = Lanes::all(half_of(1 / std::sqrt(double(variance > least ? variance : least))));
        for (int64_t d = 0; d < width; d += Lanes::COUNT) {
            const Floats scaled = Lanes::half(Lanes::multiply(Lanes::load(row + d), scale));
            const Floats grown = Lanes::half(Lanes::multiply(scaled, Lanes::load(c.gain + d)));
            Lanes::store(row + d, checked(Lanes::half(Lanes::add(grown, Lanes::load(c.bias + d)))));
        }
    }

    // Groups of four rows of a product: more than one tile of AMX are whole tiles.
    static int64_t groups_of(int64_t rows) {
        const int64_t groups = padded(rows, PANEL_GROUP) / PANEL_GROUP;
        return groups > TILE_GROUPS ? padded(groups, TILE_GROUPS) : groups;
    }

    // The same numbers, which must be finite.
    Floats checked(Floats y) {
        if (Lanes::out_of_range(y)) fail(BERT_OUT_OF_RANGE);
        return y;
    }
    Floats checked(Floats y, int64_t present) {
        checked(Lanes::first(y, present, 0));
        return y;
    }

    void fail(int64_t why) { __atomic_store_n(&status, why, __ATOMIC_RELAXED); }

    template <class Row>
    void in_rows(const Row& row) {
        in_parts(threads, (count + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE, [&](int64_t part) {
            const int64_t begin = part * ROWS_AT_ONCE;
            for (int64_t i = begin; i < begin + some_of(count - begin, ROWS_AT_ONCE); i++) row(i);
        });
    }
};

// Some sentences together; `threads` share the work of each step.
template <class Lanes>
int64_t run_sentences(const BertModel& model, const BertRows& rows, int64_t begin, int64_t end, int64_t threads,
                      float* pooled) {
    Encoder<Lanes> encoder(model, rows, begin, end, threads);
    Memory memory;
    const int64_t bytes = encoder.lay_out(nullptr);
    if (!acquire_memory(bytes, memory)) return BERT_OUT_OF_MEMORY;
    encoder.lay_out(memory.data);
    std::memset(memory.data, 0, size_t(bytes));
    encoder.run(pooled);
    release_memory(memory);
    return encoder.status;
}

}  // namespace
}  // namespace lutra
