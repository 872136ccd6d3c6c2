// The kernels of whole programs, as templates over an instruction set; included by one source per instruction set,
// after its target pragma (hence the anonymous namespace: the same template must not be shared between instruction
// sets).
#pragma once

#include "../block.h"
#include "whole_attention.h"

extern "C" int64_t lutra_run_block(const lutra::Block*, int64_t, const int8_t*, char*, int64_t, int64_t);

namespace lutra {
namespace {

// Work in `count` parts on some threads; each part once. (Threads are started in whole.cpp: what templates of the
// standard library become here must not be shared with code for other instruction sets.)
template <class Part>
void in_parts(int64_t threads, int64_t count, const Part& part) {
    if (threads <= 1 || count <= 1) {
        for (int64_t i = 0; i < count; i++) part(i);
        return;
    }
    whole_in_parts(
        threads, count, [](const void* data, int64_t i) { (*static_cast<const Part*>(data))(i); }, &part);
}

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
            case EMBEDDING_STEP: return embed(step, *static_cast<const EmbeddingStep*>(step.constants));
            case PATCHES_STEP: return cut(step, *static_cast<const PatchesStep*>(step.constants));
            case POSITIONS_STEP: return place(step, *static_cast<const PositionsStep*>(step.constants));
            case NORM_STEP: return norm(step, *static_cast<const NormStep*>(step.constants));
            case LINEAR_STEP: return linear(step, *static_cast<const LinearStep*>(step.constants));
            case ATTENTION_STEP: return attend(step, *static_cast<const AttentionStep*>(step.constants));
            case BLOCK_STEP: return block(step, *static_cast<const Block*>(step.constants));
            case REQUANTISE_STEP: return requantise(step, *static_cast<const RequantiseStep*>(step.constants));
            case RESIDUAL_STEP: return add(step, *static_cast<const ElementStep*>(step.constants));
            case TABLE_STEP: return look_up(step, *static_cast<const ElementStep*>(step.constants));
            case SELECT_STEP: return select(step, *static_cast<const SelectStep*>(step.constants));
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
        const int64_t lines = c.height / c.patch, columns = c.width / c.patch, area = c.patch * c.patch;
        const int64_t row = area * c.channels;  // a patch: channel by channel, each line by line
        for (int64_t y = 0; y < sequences * lines * c.patch; y++)
            for (int64_t p = 0; p < columns; p++, pixels += c.patch * c.channels) {
                int8_t* line = out + (y / c.patch * columns + p) * row + y % c.patch * c.patch;
                for (int64_t k = 0; k < c.channels; k++, line += area)
                    for (int64_t j = 0; j < c.patch; j++) line[j] = int8_t(pixels[j * c.channels + k] ^ 0x80);
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
        const int64_t count = rows(step);
        in_parts(threads, (count + PRODUCT_ROWS - 1) / PRODUCT_ROWS, [&](int64_t part) {
            const int64_t first = part * PRODUCT_ROWS,
                          end = first + PRODUCT_ROWS < count ? first + PRODUCT_ROWS : count;
            for (int64_t i = first; i < end; i++) Isa::norm(c, x + i * c.width, out + i * c.width);
        });
    }

    void linear(const Step& step, const LinearStep& c) {
        const int8_t* x = slot<const int8_t>(step.input);
        const int16_t* stream = step.second < 0 ? nullptr : slot<const int16_t>(step.second);
        char* out = slots[step.output];
        const int64_t count = rows(step), left_bytes = c.groups * PANEL_GROUP;
        const int64_t row_parts = (count + PRODUCT_ROWS - 1) / PRODUCT_ROWS;
        const int64_t column_parts = threads > row_parts ? (c.panels + PANELS_AT_ONCE - 1) / PANELS_AT_ONCE : 1;
        const int64_t panels_of_part = column_parts > 1 ? PANELS_AT_ONCE : c.panels;
        in_parts(threads, row_parts * column_parts, [&](int64_t part) {
            const int64_t first = part / column_parts * PRODUCT_ROWS;
            const int64_t some = count - first < PRODUCT_ROWS ? count - first : PRODUCT_ROWS;
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
            for (int64_t panel = begin; panel < end; panel += PANELS_AT_ONCE)
                columns(c, left, left_bytes, first, some, panel,
                        end - panel < PANELS_AT_ONCE ? end - panel : PANELS_AT_ONCE, stream, out);
            if (memory.data) release_memory(memory);
        });
    }

    // Up to 64 outputs of some rows: product, requantise, table, residual stream.
    void columns(const LinearStep& c, const uint8_t* left, int64_t left_bytes, int64_t first, int64_t some,
                 int64_t panel, int64_t panels, const int16_t* stream, char* out) {
        alignas(64) int32_t sums[PRODUCT_ROWS * PANELS_AT_ONCE * PANEL_COLUMNS];
        constexpr int64_t stride = PANELS_AT_ONCE * PANEL_COLUMNS;
        const int64_t panel_bytes = c.groups * GROUP_BYTES, column = panel * PANEL_COLUMNS;
        Isa::product(left, left_bytes, c.weights + panel * panel_bytes, panel_bytes, c.groups, some, panels, sums,
                     stride);
        const int64_t present =
            c.outputs - column < panels * PANEL_COLUMNS ? c.outputs - column : panels * PANEL_COLUMNS;
        const int64_t bytes = c.table ? c.table_bytes : c.output_bytes;
        for (int64_t r = 0; r < some; r++) {
            const int64_t place = (first + r) * c.outputs + column;
            Isa::finish(c, sums + r * stride, column, present, stream ? stream + place : nullptr, out + place * bytes);
        }
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
        const int64_t capacity = cache ? cache->capacity : padded(keys, PANEL_COLUMNS);
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
            const Head<Isa> head(c, capacity, base + ((first + s) * c.heads + h) * attention_bytes(c, capacity));
            head.keep(key + s * keys * c.width + offset, value + s * keys * c.width + offset, past, keys);
            if (!head.contexts(query + s * queries * c.width + offset, queries, past + keys,
                               out + s * queries * c.width + offset))
                failed = true;
        });
        if (memory.data) release_memory(memory);
    }

    void block(const Step& step, const Block& c) {
        if (lutra_run_block(&c, isa, slot<const int8_t>(step.input), slots[step.output], rows(step), threads))
            failed = true;
    }

    void requantise(const Step& step, const RequantiseStep& c) {
        const int16_t* stream = step.second < 0 ? nullptr : slot<const int16_t>(step.second);
        const int64_t count = rows(step);
        in_parts(threads, (count + PRODUCT_ROWS - 1) / PRODUCT_ROWS, [&](int64_t part) {
            const int64_t first = part * PRODUCT_ROWS,
                          end = first + PRODUCT_ROWS < count ? first + PRODUCT_ROWS : count;
            for (int64_t i = first; i < end; i++)
                Isa::requantise(c, slots[step.input] + i * c.width * c.input_bytes,
                                stream ? stream + i * c.width : nullptr,
                                slots[step.output] + i * c.width * c.output_bytes);
        });
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
            put(y, i, c.output_bytes, slots[step.output]);
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
                put(y, s * c.width + d, c.output_bytes, slots[step.output]);
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

}  // namespace lutra
