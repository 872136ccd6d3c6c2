// Attention of whole programs, as templates over an instruction set (see whole_portable.h).
//
// Keys and values of a head lie in panels, as weights do: keys are the columns of the product that makes scores, values
// the rows of the one that makes contexts. In a cache they stay there for the tokens that follow.
#pragma once

#include "../memory.h"
#include "whole_portable.h"

namespace lutra {
namespace {

// Rows of int8 as unsigned left operands, zeros after the last.
inline void to_left(const int8_t* x, int64_t width, int64_t groups, uint8_t* left) {
    for (int64_t k = 0; k < width; k++) left[k] = uint8_t(x[k]) ^ 0x80;
    for (int64_t k = width; k < groups * PANEL_GROUP; k++) left[k] = 0;
}

// One head of one sequence; its rows are `width` columns of rows that are `stride` apart.
template <class Isa>
struct Head {
    const AttentionStep& c;
    int64_t stride, width, groups, value_panels, capacity;
    int8_t *keys, *values;
    int32_t* offsets;  // (capacity) -128 times the sums of the keys

    // `memory` holds the head's panels: attention_bytes(c, capacity).
    Head(const AttentionStep& step, int64_t most, char* memory)
        : c(step),
          stride(step.width),
          width(step.width / step.heads),
          groups(padded(width, PANEL_GROUP) / PANEL_GROUP),
          value_panels(padded(width, PANEL_COLUMNS) / PANEL_COLUMNS),
          capacity(most) {
        const int64_t key_bytes = padded(capacity * groups * PANEL_GROUP, 64);
        const int64_t value_bytes = padded(value_panels * PANEL_COLUMNS * capacity, 64);
        keys = reinterpret_cast<int8_t*>(memory);
        values = keys + key_bytes;
        offsets = reinterpret_cast<int32_t*>(memory + key_bytes + value_bytes);
    }

    // Put `count` new rows of keys and values into their panels, behind those of `past` tokens.
    void keep(const int8_t* key, const int8_t* value, int64_t past, int64_t count) const {
        for (int64_t i = 0; i < count; i++) keep_key(key + i * stride, past + i);
        int64_t i = 0;
        if (past % PANEL_GROUP == 0)
            for (; i + PANEL_GROUP <= count; i += PANEL_GROUP) keep_values(value + i * stride, past + i);
        for (; i < count; i++) keep_value(value + i * stride, past + i);
    }

    void keep_key(const int8_t* key, int64_t n) const {
        int8_t* panel = keys + n / PANEL_COLUMNS * groups * GROUP_BYTES + n % PANEL_COLUMNS * PANEL_GROUP;
        int32_t sum = 0;
        for (int64_t w = 0; w < width; w++) sum += key[w];
        offsets[n] = -128 * sum;
        int64_t w = 0;
        for (; w + PANEL_GROUP <= width; w += PANEL_GROUP, panel += GROUP_BYTES)
            std::memcpy(panel, key + w, PANEL_GROUP);
        for (int64_t k = 0; w < width; k++, w++) panel[k] = key[w];
    }

    int8_t* value_panel(int64_t panel, int64_t n) const {
        return values + (panel * capacity + n / PANEL_GROUP * PANEL_GROUP) * PANEL_COLUMNS;
    }

    void keep_value(const int8_t* value, int64_t n) const {
        for (int64_t w = 0; w < width; w++)
            value_panel(w / PANEL_COLUMNS, n)[w % PANEL_COLUMNS * PANEL_GROUP + n % PANEL_GROUP] = value[w];
    }

    void keep_values(const int8_t* value, int64_t n) const {
        int64_t w = 0;
        for (; w + PANEL_COLUMNS <= width; w += PANEL_COLUMNS)
            Isa::interleave(value + w, stride, value_panel(w / PANEL_COLUMNS, n));
        for (; w < width; w++)
            for (int64_t t = 0; t < PANEL_GROUP; t++)
                value_panel(w / PANEL_COLUMNS, n)[w % PANEL_COLUMNS * PANEL_GROUP + t] = value[t * stride + w];
    }

    // Contexts of `queries` queries, the last of `count` keys' tokens; false when memory is short.
    bool contexts(const int8_t* query, int64_t queries, int64_t count, int8_t* out) const {
        const int64_t left_bytes = padded(groups * PANEL_GROUP, 64), context_stride = value_panels * PANEL_COLUMNS;
        const int64_t sums_bytes = padded(QUERIES_AT_ONCE * capacity * int64_t(sizeof(int32_t)), 64);
        const int64_t context_bytes = padded(QUERIES_AT_ONCE * context_stride * int64_t(sizeof(int32_t)), 64);
        Memory memory;
        if (!acquire_memory(sums_bytes + context_bytes + QUERIES_AT_ONCE * (left_bytes + capacity) + 2 * capacity + 64,
                            memory))
            return false;
        int32_t* sums = reinterpret_cast<int32_t*>(memory.data);
        int32_t* products = reinterpret_cast<int32_t*>(memory.data + sums_bytes);
        uint8_t* left = reinterpret_cast<uint8_t*>(memory.data + sums_bytes + context_bytes);
        uint8_t* weights = left + QUERIES_AT_ONCE * left_bytes;
        int16_t* scores = reinterpret_cast<int16_t*>(padded(int64_t(weights + QUERIES_AT_ONCE * capacity), 64));
        const int64_t before = count - queries;  // with causal, the keys before the first query
        for (int64_t i = 0; i < queries; i += QUERIES_AT_ONCE) {
            const int64_t some = queries - i < QUERIES_AT_ONCE ? queries - i : QUERIES_AT_ONCE;
            const int64_t most = c.causal ? before + i + some : count;  // keys that any of them sees
            const int64_t value_groups = padded(most, PANEL_GROUP) / PANEL_GROUP;
            for (int64_t r = 0; r < some; r++) to_left(query + (i + r) * stride, width, groups, left + r * left_bytes);
            Isa::product(left, left_bytes, keys, groups * GROUP_BYTES, groups, some,
                         padded(most, PANEL_COLUMNS) / PANEL_COLUMNS, sums, capacity);
            int64_t totals[QUERIES_AT_ONCE];
            for (int64_t r = 0; r < some; r++) {
                const int64_t seen = c.causal ? before + i + r + 1 : count;
                uint8_t* weight = weights + r * capacity;
                const int32_t largest = Isa::scores(c, sums + r * capacity, offsets, seen, scores);
                totals[r] = Isa::exponentials(scores, seen, largest, c.exponentials, weight);
                for (int64_t j = seen; j < value_groups * PANEL_GROUP; j++) weight[j] = 0;
            }
            Isa::product(weights, capacity, values, capacity * PANEL_COLUMNS, value_groups, some, value_panels,
                         products, context_stride);
            for (int64_t r = 0; r < some; r++)
                Isa::context(c, products + r * context_stride, width, totals[r], out + (i + r) * stride);
        }
        release_memory(memory);
        return true;
    }
};

}  // namespace
}  // namespace lutra
