// The weightless block as the C interface sees it, and the pieces that forward and backward share.
//
// Bits live in words of 64 rows (tokens): `bits[word * planes + plane]`, row 64 * word + j in bit j of a word. Rows
// after the last one are padding: their bits are arbitrary and their gradients zero.
#pragma once

#include <algorithm>
#include <atomic>
#include <new>
#include <utility>
#include <vector>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "simd/simd.h"
#include "threads.h"

namespace lutra {

constexpr int64_t WORD = 64;  // rows in a word of bits

struct Layer {
    int64_t luts, inputs, below;  // below: number of planes that this layer can read
    int64_t choices;              // rows of scores; 0 for a fixed mapping
    float temperature;
    const float* tables;         // (luts, 2^inputs)
    const int32_t* connections;  // (luts * inputs)
    const float* scores;         // (choices, luts * inputs) or null
    const int32_t* candidates;   // (luts * inputs, choices) or null: all planes are choices
    float* grad_tables;
    float* grad_scores;

    bool can_read(const int32_t* planes, int64_t count) const {
        uint32_t highest = 0;
        for (int64_t i = 0; i < count; ++i) highest = std::max(highest, (uint32_t)planes[i]);  // negative ones too
        return count == 0 || highest < below;
    }
};

enum Gradient : int32_t { IDENTITY, MEAN, WINDOW };

struct Block {
    int64_t rows, features, thermometer_bits, threshold_rows, outputs, layer_count, groups, threads;
    const Layer* layers;
    uint64_t sources;  // bit k: the summation reads layer k (0: the thermometer)
    int32_t gradient, normalised, want_grad_x, want_grad_thresholds;
    float centre;
    const float *thresholds, *window;
    const float *inverse_scale, *integer_thresholds, *requantise;  // null in floating point
    const float *encoded, *bias;  // (R, outputs), (outputs); integers in forward if quantised
    const float *x, *grad_y;
    uint64_t* codes;  // (words, features * code_bits), see codes.h
    int16_t* ranks;   // (features, edges)
    float *y, *grad_x, *grad_thresholds, *grad_encoded, *grad_bias;

    int64_t words() const { return (rows + WORD - 1) / WORD; }
    int64_t planes() const { return features * thermometer_bits; }
    int64_t edges() const { return thermometer_bits * (gradient == WINDOW ? 3 : 1); }  // of a feature
    int64_t code_bits() const { return 64 - __builtin_clzll(edges()); }
    int64_t width(int64_t layer) const { return layer == 0 ? planes() : layers[layer - 1].luts; }
    bool reads(int64_t layer) const { return sources >> layer & 1; }
    int64_t summed() const {
        int64_t total = 0;
        for (int64_t layer = 0; layer <= layer_count; ++layer) total += reads(layer) ? width(layer) : 0;
        return total;
    }
    // Group g of `width` summed bits or outputs is [group_begin(width, g), group_begin(width, g + 1)), as in
    // recipes/groups.py; an encoded value whose bit and output are of different groups is never read, and its gradient
    // is zero.
    int64_t group_begin(int64_t width, int64_t group) const { return width * group / groups; }
    // The first layer, from 1, that reads beyond the planes below it, 0 if none does: connections come from files.
    int64_t first_unreadable() const {
        for (int64_t k = 0; k < layer_count; ++k) {
            const Layer& layer = layers[k];
            const int64_t slots = layer.luts * layer.inputs;
            if (!layer.can_read(layer.connections, slots)) return k + 1;
            if (layer.candidates && !layer.can_read(layer.candidates, slots * layer.choices)) return k + 1;
        }
        return 0;
    }
    // (features, T) or (1, T) thresholds
    int64_t threshold_index(int64_t plane) const { return threshold_rows == 1 ? plane % thermometer_bits : plane; }
};

// Vectors that start on a cache line: every load of 64 bytes that straddles two lines costs twice. Large ones ask for
// large pages: a fault for every 4 KiB would cost more than what is computed there.
constexpr size_t LARGE_PAGE = size_t(1) << 21;

template <class T>
struct LineAligned {
    using value_type = T;
    LineAligned() = default;
    template <class U>
    LineAligned(const LineAligned<U>&) {}
    static std::align_val_t alignment(size_t count) {
        return std::align_val_t(count * sizeof(T) < 2 * LARGE_PAGE ? 64 : LARGE_PAGE);
    }
    T* allocate(size_t count) {
        T* memory = (T*)::operator new(count * sizeof(T), alignment(count));
#if defined(__linux__)
        if (alignment(count) == std::align_val_t(LARGE_PAGE)) madvise(memory, count * sizeof(T), MADV_HUGEPAGE);
#endif
        return memory;
    }
    void deallocate(T* memory, size_t count) { ::operator delete(memory, alignment(count)); }
    bool operator==(const LineAligned&) const { return true; }
    bool operator!=(const LineAligned&) const { return false; }
};
template <class T>
using Buffer = std::vector<T, LineAligned<T>>;  // starts at zero

// The same, but elements start with any value.
template <class T>
struct AnyValue : LineAligned<T> {
    template <class U>
    struct rebind {
        using other = AnyValue<U>;
    };
    void construct(T*) {}
};
template <class T>
using Workspace = std::vector<T, AnyValue<T>>;

inline int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

// Calls task(0 .. tasks - 1). What a task computes must not depend on the thread: results are then the same for any
// number of threads.
template <class Task>
void parallel(int64_t tasks, int64_t threads, Task&& task) {
    std::atomic<int64_t> next{0};
    auto work = [&] {
        for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < tasks;) task(i);
    };
    on_threads(std::min(threads, tasks), work);
}

// Signs of the tables, packed: 4 words per table.
struct PackedTables {
    std::vector<Buffer<uint64_t>> layers;

    explicit PackedTables(const Block& block) {
        for (int64_t k = 0; k < block.layer_count; ++k) {
            const Layer& layer = block.layers[k];
            const int64_t entries = int64_t(1) << layer.inputs;
            Buffer<uint64_t> packed(layer.luts * 4);
            for (int64_t lut = 0; lut < layer.luts; ++lut) {
                const float* table = layer.tables + lut * entries;
                int64_t a = 0;
                for (; a + 16 <= entries; a += 16)
                    packed[lut * 4 + a / 64] |= uint64_t(positive(load(table + a))) << (a % 64);
                for (; a < entries; ++a) packed[lut * 4] |= uint64_t(table[a] > 0) << a;  // a table of fewer than 16
            }
            layers.push_back(std::move(packed));
        }
    }
};

// One word of every table of a layer.
inline void lut_forward(const Layer& layer, const uint64_t* packed, const uint64_t* below, uint64_t* out) {
    const int n = (int)layer.inputs;
    for (int64_t lut = 0; lut < layer.luts; ++lut) {
        uint64_t inputs[8];
        for (int i = 0; i < n; ++i) inputs[i] = below[layer.connections[lut * n + i]];
        out[lut] = lookup_bits(packed + lut * 4, inputs, n);
    }
}

template <class Body, int... I>
LUTRA_INLINE void for_each_of(Body&& body, std::integer_sequence<int, I...>) {
    (body(std::integral_constant<int, I>{}), ...);
}

// Calls body(std::integral_constant<int, i>) for i = 0 .. count - 1.
template <int count, class Body>
LUTRA_INLINE void for_each(Body&& body) {
    for_each_of(body, std::make_integer_sequence<int, count>{});
}

// Rotating is one instruction, shifting a copy is two.
template <int by>
LUTRA_INLINE uint64_t rotate_right(uint64_t word) {
    return word >> (by & 63) | word << (-by & 63);
}

}  // namespace lutra
