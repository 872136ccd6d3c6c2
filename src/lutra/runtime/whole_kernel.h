// The kernels of whole programs, as templates over an instruction set; included by one source per instruction set, after
// its target pragma (hence the anonymous namespace: the same template must not be shared between instruction sets).
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "block.h"
#include "memory.h"
#include "whole.h"

extern "C" int64_t lutra_run_block(const Block*, int64_t, const int8_t*, char*, int64_t, int64_t);

namespace {

inline int64_t padded(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }
inline int64_t clamped(int64_t value, int64_t low, int64_t high) {
    return value < low ? low : value > high ? high : value;
}
inline int64_t rounded(int64_t value, int64_t shift) { return (value + (int64_t(1) << shift >> 1)) >> shift; }

struct Reciprocal {
    int64_t factor, exponent;
    explicit Reciprocal(int64_t v) {
        exponent = 63 - __builtin_clzll(uint64_t(v));
        factor = (int64_t(1) << (16 + exponent)) / v;
    }
};

inline int64_t square_root(int64_t v) {
    int64_t root = int64_t(std::sqrt(double(v)));
    root -= root * root > v;
    root += (root + 1) * (root + 1) <= v;
    return root;
}

// Work in `count` parts on some threads; each part once. (Threads are started in whole.cpp: what templates of the standard
// library become here must not be shared with code for other instruction sets.)
template <class Part>
void in_parts(int64_t threads, int64_t count, const Part& part) {
    if (threads <= 1 || count <= 1) {
        for (int64_t i = 0; i < count; i++) part(i);
        return;
    }
    whole_in_parts(threads, count, [](const void* data, int64_t i) { (*static_cast<const Part*>(data))(i); }, &part);
}

// What any processor can do; the other instruction sets replace the three that take the time.
struct PortableWhole {
    // sums (rows, panels * 16) of left (rows, 4 * groups) and panels, `sums_stride` apart.
    static void product(const uint8_t* left, int64_t left_stride, const int8_t* panels, int64_t panel_stride,
                        int64_t groups, int64_t rows, int64_t panel_count, int32_t* sums, int64_t sums_stride) {
        for (int64_t r = 0; r < rows; r++)
            for (int64_t p = 0; p < panel_count; p++) {
                int32_t total[kPanelColumns] = {};
                const int8_t* panel = panels + p * panel_stride;
                for (int64_t g = 0; g < groups; g++) {
                    const uint8_t* a = left + r * left_stride + g * kPanelGroup;
                    for (int64_t c = 0; c < kPanelColumns; c++)
                        for (int64_t k = 0; k < kPanelGroup; k++)
                            total[c] += int32_t(a[k]) * panel[g * kGroupBytes + c * kPanelGroup + k];
                }
                std::memcpy(sums + r * sums_stride + p * kPanelColumns, total, sizeof total);
            }
    }

    // In place: clamp(((sums + bias) * multiplier rounded) >> shift); `count` is a multiple of 16.
    static void requantise(int32_t* sums, const int32_t* bias, const int32_t* multiplier, int64_t count, int64_t shift,
                           int64_t low, int64_t high, bool) {
        for (int64_t i = 0; i < count; i++) {
            const int32_t sum = int32_t(uint32_t(sums[i]) + uint32_t(bias[i]));
            sums[i] = int32_t(clamped(rounded(int64_t(sum) * multiplier[i], shift), low, high));
        }
    }

    // 0 where the distance is beyond the table; returns the sum.
    static int64_t exponentials(const int16_t* scores, int64_t count, int32_t largest, const uint8_t* table,
                                uint8_t* out) {
        int64_t total = 0;
        for (int64_t j = 0; j < count; j++) {
            const int32_t distance = largest - scores[j];
            out[j] = distance < kTableEntries ? table[distance] : 0;
            total += out[j];
        }
        return total;
    }
};

template <class Isa>
struct Runner {
    const Program& program;
    int64_t sequences, tokens, past, threads, isa;
    const Cache* cache;
    char** slots;
    char* scratch;
    bool failed = false;

    template <class T>
    T* slot(int64_t index) const {
        return reinterpret_cast<T*>(slots[index]);
    }

    void run(const Step& step) {
        switch (step.kind) {
            case kEmbeddingStep: return embed(step, *static_cast<const EmbeddingStep*>(step.constants));
            case kPatchesStep: return cut(step, *static_cast<const PatchesStep*>(step.constants));
            case kPositionsStep: return place(step, *static_cast<const PositionsStep*>(step.constants));
            case kNormStep: return norm(step, *static_cast<const NormStep*>(step.constants));
            case kLinearStep: return linear(step, *static_cast<const LinearStep*>(step.constants));
            case kAttentionStep: return attend(step, *static_cast<const AttentionStep*>(step.constants));
            case kBlockStep: return block(step, *static_cast<const Block*>(step.constants));
            case kRequantiseStep: return requantise(step, *static_cast<const RequantiseStep*>(step.constants));
            case kResidualStep: return add(step, *static_cast<const ElementStep*>(step.constants));
            case kTableStep: return look_up(step, *static_cast<const ElementStep*>(step.constants));
            case kSelectStep: return select(step, *static_cast<const SelectStep*>(step.constants));
            default: return mean(step, *static_cast<const MeanStep*>(step.constants));
        }
    }

    int64_t rows(const Step& step) const { return sequences * step.rows.of(tokens); }

    void embed(const Step& step, const EmbeddingStep& c) {
        const int32_t* numbers = slot<const int32_t>(step.input);
        int16_t* out = slot<int16_t>(step.output);
        for (int64_t i = 0; i < sequences * tokens; i++) {
            const int16_t* token = c.tokens + numbers[i] * c.width;
            const int16_t* position = c.positions + (past + i % tokens) * c.width;
            for (int64_t d = 0; d < c.width; d++)
                out[i * c.width + d] = int16_t(clamped(int32_t(token[d]) + position[d], c.low, c.high));
        }
    }

    void cut(const Step& step, const PatchesStep& c) {
        const uint8_t* pixels = slot<const uint8_t>(step.input);
        int8_t* out = slot<int8_t>(step.output);
        const int64_t lines = c.height / c.patch, columns = c.width / c.patch;
        for (int64_t s = 0; s < sequences; s++)
            for (int64_t r = 0; r < lines; r++)
                for (int64_t p = 0; p < columns; p++)
                    for (int64_t k = 0; k < c.channels; k++)
                        for (int64_t i = 0; i < c.patch; i++)
                            for (int64_t j = 0; j < c.patch; j++) {
                                const int64_t pixel = (s * c.height + r * c.patch + i) * c.width + p * c.patch + j;
                                *out++ = int8_t(int32_t(pixels[pixel * c.channels + k]) - 128);
                            }
    }

    void place(const Step& step, const PositionsStep& c) {
        const int16_t* x = slot<const int16_t>(step.input);
        int16_t* out = slot<int16_t>(step.output);
        for (int64_t s = 0; s < sequences; s++) {
            std::memcpy(out, c.leading, c.leading_rows * c.width * sizeof(int16_t));
            out += c.leading_rows * c.width;
            for (int64_t i = 0; i < c.rows * c.width; i++)
                *out++ = int16_t(clamped(int32_t(*x++) + c.positions[i], c.low, c.high));
        }
    }

    void norm(const Step& step, const NormStep& c) {
        const int16_t* x = slot<const int16_t>(step.input);
        int8_t* out = slot<int8_t>(step.output);
        const int64_t half = int64_t(1) << c.shift >> 1;
        for (int64_t i = 0; i < rows(step); i++, x += c.width, out += c.width) {
            int64_t total = 0, squares = 0;
            for (int64_t d = 0; d < c.width; d++) {
                total += x[d];
                squares += int32_t(x[d]) * int32_t(x[d]);
            }
            const int64_t root = square_root(c.width * squares - total * total + c.epsilon);
            const Reciprocal inverse(root > 1 ? root : 1);
            const int64_t shift = inverse.exponent + 6;
            for (int64_t d = 0; d < c.width; d++) {
                const int32_t centred = int32_t(c.width * x[d] - total);
                const int64_t n = (int64_t(centred) * int32_t(inverse.factor)) >> shift;
                const int64_t y = (int64_t(int32_t(n)) * int32_t(c.gain[d]) + c.bias[d] + half) >> c.shift;
                out[d] = int8_t(clamped(y, c.low, c.high));
            }
        }
    }

    // Rows of int8 as unsigned left operands, zeros after the last.
    static void to_left(const int8_t* x, int64_t width, int64_t groups, uint8_t* left) {
        for (int64_t k = 0; k < width; k++) left[k] = uint8_t(x[k]) ^ 0x80;
        for (int64_t k = width; k < groups * kPanelGroup; k++) left[k] = 0;
    }

    template <class Out>
    static void write(const int32_t* values, int64_t count, Out* out) {
        for (int64_t i = 0; i < count; i++) out[i] = Out(values[i]);
    }

    static void write_bytes(const int32_t* values, int64_t count, int64_t bytes, char* out) {
        if (bytes == 1) return write(values, count, reinterpret_cast<int8_t*>(out));
        if (bytes == 2) return write(values, count, reinterpret_cast<int16_t*>(out));
        write(values, count, reinterpret_cast<int32_t*>(out));
    }

    void linear(const Step& step, const LinearStep& c) {
        const int8_t* x = slot<const int8_t>(step.input);
        const int16_t* stream = step.second < 0 ? nullptr : slot<const int16_t>(step.second);
        char* out = slots[step.output];
        const int64_t count = rows(step), left_bytes = c.groups * kPanelGroup;
        const int64_t row_parts = (count + kRowsOfProduct - 1) / kRowsOfProduct;
        const int64_t column_parts = threads > row_parts ? (c.panels + kPanelsAtOnce - 1) / kPanelsAtOnce : 1;
        const int64_t panels_of_part = column_parts > 1 ? kPanelsAtOnce : c.panels;
        in_parts(threads, row_parts * column_parts, [&](int64_t part) {
            const int64_t first = part / column_parts * kRowsOfProduct;
            const int64_t some = count - first < kRowsOfProduct ? count - first : kRowsOfProduct;
            alignas(64) thread_local uint8_t small[1 << 16];
            Memory memory;
            uint8_t* left = small;
            const int64_t needed = some * left_bytes;
            if (needed > int64_t(sizeof small)) {
                if (!acquire_memory(needed, memory)) {
                    failed = true;
                    return;
                }
                left = reinterpret_cast<uint8_t*>(memory.data);
            }
            for (int64_t r = 0; r < some; r++)
                to_left(x + (first + r) * c.inputs, c.inputs, c.groups, left + r * left_bytes);
            const int64_t begin = part % column_parts * panels_of_part;
            const int64_t end = begin + panels_of_part < c.panels ? begin + panels_of_part : c.panels;
            for (int64_t panel = begin; panel < end; panel += kPanelsAtOnce)
                columns(c, left, left_bytes, first, some, panel, end - panel < kPanelsAtOnce ? end - panel : kPanelsAtOnce,
                        stream, out);
            if (memory.data) release_memory(memory);
        });
    }

    // Up to 64 outputs of some rows: product, requantise, table, residual stream.
    void columns(const LinearStep& c, const uint8_t* left, int64_t left_bytes, int64_t first, int64_t some,
                 int64_t panel, int64_t panels, const int16_t* stream, char* out) {
        alignas(64) int32_t sums[kRowsOfProduct * kPanelsAtOnce * kPanelColumns];
        constexpr int64_t stride = kPanelsAtOnce * kPanelColumns;
        const int64_t panel_bytes = c.groups * kGroupBytes, column = panel * kPanelColumns;
        Isa::product(left, left_bytes, c.weights + panel * panel_bytes, panel_bytes, c.groups, some, panels, sums, stride);
        const int64_t present = c.outputs - column < panels * kPanelColumns ? c.outputs - column : panels * kPanelColumns;
        for (int64_t r = 0; r < some; r++) {
            int32_t* row = sums + r * stride;
            Isa::requantise(row, c.bias + column, c.multiplier + column, panels * kPanelColumns, c.shift, c.low, c.high,
                            c.narrow);
            if (c.table)
                for (int64_t i = 0; i < present; i++) row[i] = c.table[row[i] - c.low];
            const int64_t place = (first + r) * c.outputs + column;
            if (stream)
                for (int64_t i = 0; i < present; i++)
                    row[i] = int32_t(clamped(int32_t(stream[place + i]) + row[i], c.residual_low, c.residual_high));
            const int64_t bytes = c.table ? c.table_bytes : c.output_bytes;
            write_bytes(row, present, bytes, out + place * bytes);
        }
    }

    // Keys and values of one head of one sequence.
    struct Kept {
        int8_t *keys, *values;
        int32_t* offsets;
    };

    Kept kept(const AttentionStep& c, char* base, int64_t capacity, int64_t number) const {
        const int64_t head = c.width / c.heads;
        char* memory = base + number * attention_bytes(c, capacity);
        const int64_t keys = padded(capacity * padded(head, kPanelGroup), 64);
        const int64_t values = padded(padded(head, kPanelColumns) * capacity, 64);
        return {reinterpret_cast<int8_t*>(memory), reinterpret_cast<int8_t*>(memory + keys),
                reinterpret_cast<int32_t*>(memory + keys + values)};
    }

    // Where the attention's part of a cache begins.
    char* cache_of(const AttentionStep& c) const {
        char* base = cache->base;
        for (int64_t i = 0; i < c.index; i++)
            base += cache->sequences * program.attentions[i]->heads *
                    attention_bytes(*program.attentions[i], cache->capacity);
        return base;
    }

    void attend(const Step& step, const AttentionStep& c) {
        const int8_t* query = slot<const int8_t>(step.input);
        const int8_t* key = slot<const int8_t>(step.second);
        const int8_t* value = slot<const int8_t>(step.third);
        int8_t* out = slot<int8_t>(step.output);
        const int64_t queries = step.output_rows.of(tokens), keys = step.rows.of(tokens);
        const int64_t capacity = cache ? cache->capacity : padded(keys, kPanelColumns);
        Memory memory;
        char* base;
        int64_t first = 0;
        if (cache) {
            base = cache_of(c);
            first = cache->first;
        } else {
            if (!acquire_memory(sequences * c.heads * attention_bytes(c, capacity), memory)) {
                failed = true;
                return;
            }
            base = memory.data;
        }
        in_parts(threads, sequences * c.heads, [&](int64_t part) {
            const int64_t s = part / c.heads, h = part % c.heads, offset = h * (c.width / c.heads);
            const Kept own = kept(c, base, capacity, (first + s) * c.heads + h);
            keep(c, own, capacity, key + s * keys * c.width + offset, value + s * keys * c.width + offset, keys);
            if (!head(c, own, capacity, query + s * queries * c.width + offset, queries, past + keys,
                      out + s * queries * c.width + offset))
                failed = true;
        });
        if (memory.data) release_memory(memory);
    }

    // Put new rows of keys and values into their panels, behind those of `past` tokens.
    void keep(const AttentionStep& c, const Kept& own, int64_t capacity, const int8_t* key, const int8_t* value,
              int64_t count) const {
        const int64_t head = c.width / c.heads, groups = padded(head, kPanelGroup) / kPanelGroup;
        for (int64_t i = 0; i < count; i++, key += c.width, value += c.width) {
            const int64_t n = past + i;
            int8_t* panel = own.keys + n / kPanelColumns * groups * kGroupBytes + n % kPanelColumns * kPanelGroup;
            int32_t sum = 0;
            for (int64_t w = 0; w < head; w++) {
                panel[w / kPanelGroup * kGroupBytes + w % kPanelGroup] = key[w];
                sum += key[w];
            }
            own.offsets[n] = -128 * sum;
            int8_t* column = own.values + n / kPanelGroup * kGroupBytes + n % kPanelGroup;
            for (int64_t w = 0; w < head; w++)
                column[w / kPanelColumns * capacity * kPanelColumns + w % kPanelColumns * kPanelGroup] = value[w];
        }
    }

    bool head(const AttentionStep& c, const Kept& own, int64_t capacity, const int8_t* query, int64_t queries,
              int64_t keys, int8_t* out) const {
        const int64_t width = c.width / c.heads, groups = padded(width, kPanelGroup) / kPanelGroup;
        const int64_t value_panels = padded(width, kPanelColumns) / kPanelColumns;
        const int64_t left_bytes = padded(groups * kPanelGroup, 64);
        const int64_t sums_bytes = kQueriesAtOnce * capacity * int64_t(sizeof(int32_t));
        const int64_t context_bytes = kQueriesAtOnce * value_panels * kPanelColumns * int64_t(sizeof(int32_t));
        Memory memory;
        if (!acquire_memory(padded(sums_bytes, 64) + padded(context_bytes, 64) + kQueriesAtOnce * (left_bytes + capacity) +
                                2 * capacity + 256,
                            memory))
            return false;
        char* next = memory.data;
        int32_t* sums = reinterpret_cast<int32_t*>(next);
        int32_t* contexts = reinterpret_cast<int32_t*>(next += padded(sums_bytes, 64));
        uint8_t* left = reinterpret_cast<uint8_t*>(next += padded(context_bytes, 64));
        uint8_t* weights = left + kQueriesAtOnce * left_bytes;
        int16_t* scores = reinterpret_cast<int16_t*>(weights + kQueriesAtOnce * capacity);
        const int64_t before = keys - queries;  // with causal, the keys before the first query
        for (int64_t i = 0; i < queries; i += kQueriesAtOnce) {
            const int64_t some = queries - i < kQueriesAtOnce ? queries - i : kQueriesAtOnce;
            const int64_t most = c.causal ? before + i + some : keys;  // keys that any of them sees
            for (int64_t r = 0; r < some; r++) to_left(query + (i + r) * c.width, width, groups, left + r * left_bytes);
            Isa::product(left, left_bytes, own.keys, groups * kGroupBytes, groups, some,
                         padded(most, kPanelColumns) / kPanelColumns, sums, capacity);
            int64_t totals[kQueriesAtOnce];
            for (int64_t r = 0; r < some; r++) {
                const int64_t seen = c.causal ? before + i + r + 1 : keys;
                const int32_t* row = sums + r * capacity;
                for (int64_t j = 0; j < seen; j++)
                    scores[j] = int16_t(clamped(rounded(int64_t(row[j] + own.offsets[j]) * int32_t(c.multiplier), c.shift),
                                                -32768, 32767));
                int16_t largest = scores[0];
                for (int64_t j = 1; j < seen; j++) largest = scores[j] > largest ? scores[j] : largest;
                uint8_t* weight = weights + r * capacity;
                totals[r] = Isa::exponentials(scores, seen, largest, c.exponentials, weight);
                for (int64_t j = seen; j < padded(most, kPanelGroup); j++) weight[j] = 0;
            }
            const int64_t context_stride = value_panels * kPanelColumns;
            Isa::product(weights, capacity, own.values, capacity * kPanelColumns, padded(most, kPanelGroup) / kPanelGroup,
                         some, value_panels, contexts, context_stride);
            for (int64_t r = 0; r < some; r++) {
                const Reciprocal inverse(totals[r]);
                const int64_t shift = 16 + inverse.exponent - c.gain, half = int64_t(1) << shift >> 1;
                const int32_t* row = contexts + r * context_stride;
                int8_t* target = out + (i + r) * c.width;
                for (int64_t w = 0; w < width; w++) {
                    const int64_t y = (int64_t(row[w]) * int32_t(inverse.factor) + half) >> shift;
                    target[w] = int8_t(clamped(y, c.low, c.high));
                }
            }
        }
        release_memory(memory);
        return true;
    }

    void block(const Step& step, const Block& c) {
        if (lutra_run_block(&c, isa, slot<const int8_t>(step.input), slots[step.output], rows(step), threads)) failed = true;
    }

    static int64_t element(const char* x, int64_t index, int64_t bytes, bool is_signed) {
        if (bytes == 1) return is_signed ? int64_t(reinterpret_cast<const int8_t*>(x)[index]) : reinterpret_cast<const uint8_t*>(x)[index];
        if (bytes == 2) return is_signed ? int64_t(reinterpret_cast<const int16_t*>(x)[index]) : reinterpret_cast<const uint16_t*>(x)[index];
        return reinterpret_cast<const int32_t*>(x)[index];
    }

    void requantise(const Step& step, const RequantiseStep& c) {
        const char* x = slots[step.input];
        const int16_t* stream = step.second < 0 ? nullptr : slot<const int16_t>(step.second);
        int32_t row[1024];
        for (int64_t i = 0; i < rows(step); i++)
            for (int64_t begin = 0; begin < c.width; begin += 1024) {
                const int64_t count = c.width - begin < 1024 ? c.width - begin : 1024, place = i * c.width + begin;
                for (int64_t d = 0; d < count; d++) {
                    const int64_t value = element(x, place + d, c.input_bytes, c.input_signed) * c.multiplier[begin + d];
                    row[d] = int32_t(clamped(rounded(value, c.shift[begin + d]), c.low, c.high));
                }
                if (stream)
                    for (int64_t d = 0; d < count; d++)
                        row[d] = int32_t(clamped(int32_t(stream[place + d]) + row[d], c.residual_low, c.residual_high));
                write_bytes(row, count, c.output_bytes, slots[step.output] + place * c.output_bytes);
            }
    }

    void add(const Step& step, const ElementStep& c) {
        const int16_t *x = slot<const int16_t>(step.input), *branch = slot<const int16_t>(step.second);
        int16_t* out = slot<int16_t>(step.output);
        for (int64_t i = 0; i < rows(step) * c.width; i++)
            out[i] = int16_t(clamped(int32_t(x[i]) + branch[i], c.low, c.high));
    }

    void look_up(const Step& step, const ElementStep& c) {
        for (int64_t i = 0; i < rows(step) * c.width; i++) {
            const int32_t y = c.table[element(slots[step.input], i, c.input_bytes, true) + c.table_half];
            write_bytes(&y, 1, c.output_bytes, slots[step.output] + i * c.output_bytes);
        }
    }

    void select(const Step& step, const SelectStep& c) {
        for (int64_t s = 0; s < sequences; s++)
            std::memcpy(slots[step.output] + s * c.row_bytes,
                        slots[step.input] + (s * step.rows.of(tokens) + c.row) * c.row_bytes, c.row_bytes);
    }

    void mean(const Step& step, const MeanStep& c) {
        const int64_t count = step.rows.of(tokens);
        for (int64_t s = 0; s < sequences; s++)
            for (int64_t d = 0; d < c.width; d++) {
                int64_t total = 0;
                for (int64_t i = 0; i < count; i++)
                    total += element(slots[step.input], (s * count + i) * c.width + d, c.input_bytes, true);
                const int32_t y = int32_t(clamped(rounded(total * c.multiplier, c.shift), c.low, c.high));
                write_bytes(&y, 1, c.output_bytes, slots[step.output] + (s * c.width + d) * c.output_bytes);
            }
    }
};

template <class Isa>
bool run_whole(const Program& program, const void* input, void* output, int64_t sequences, int64_t tokens, int64_t past,
               const Cache* cache, int64_t threads, int64_t isa) {
    int64_t bytes = padded(program.slot_count * int64_t(sizeof(char*)), 64);
    const auto slot_bytes = [&](int64_t i) {
        return padded(sequences * (tokens * program.token_bytes[i] + program.fixed_bytes[i]), 64);
    };
    for (int64_t i = 0; i < program.slot_count; i++) bytes += slot_bytes(i);
    Memory memory;
    if (!acquire_memory(bytes, memory)) return false;
    char** slots = reinterpret_cast<char**>(memory.data);
    char* next = memory.data + padded(program.slot_count * int64_t(sizeof(char*)), 64);
    for (int64_t i = 0; i < program.slot_count; next += slot_bytes(i), i++) slots[i] = next;
    slots[program.input_slot] = static_cast<char*>(const_cast<void*>(input));
    slots[program.output_slot] = static_cast<char*>(output);
    Runner<Isa> runner{program, sequences, tokens, past, threads, isa, cache, slots, nullptr};
    for (int64_t i = 0; i < program.step_count && !runner.failed; i++) runner.run(program.steps[i]);
    release_memory(memory);
    return !runner.failed;
}

}  // namespace
