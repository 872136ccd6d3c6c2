// Attention, causal or of all to all, with dropout of its probabilities, forward and backward, in float32.
//
// One head of one sequence at a time, which fits in the cache, in blocks of queries: neither scores nor a mask of what
// was dropped are ever written to memory. Heads are independent, so that any number of threads gives the same bits.
#pragma once

#include <cmath>
#include <limits>

#include "../block.h"
#include "dropout.h"
#include "matrix.h"

// Compilers that know AMX's products of bfloat16, and the pragma that turns them on for a part of a file.
#if defined(LUTRA_AVX512) && !defined(__clang__) && __GNUC__ >= 11
#define LUTRA_AMX 1
#endif

namespace lutra {

struct Attention {
    int64_t batch, heads, length, width, threads;  // `width` of a head
    int32_t bfloat16;                              // type of all but `logsums`; otherwise float32
    int32_t causal;                                // whether a position sees itself and earlier ones only
    int32_t amx;                                   // whether products may be AMX's; of bfloat16 alone
    uint32_t threshold;                            // as in `Dropout`
    uint64_t key;
    float keep_scale;
    const void* qkv;  // (batch, length, 3, heads * width)
    void* y;          // (batch, length, heads * width)
    float* logsums;   // (batch, heads, length): logarithm of the sum of exponentials of a query's scores
    const void* grad_y;
    void* grad_qkv;

    float scale() const { return 1 / std::sqrt((float)width); }
    int64_t padded_width() const { return round_up(width, 16); }
    int64_t padded_length() const { return round_up(length, 16); }
};

void attention_forward_amx(const Attention&);
void attention_backward_amx(const Attention&);

namespace {

constexpr int64_t QUERIES = 48;  // of a block

// A matrix (length, width) inside of a tensor: elements of one head, `stride` from one position to the next.
struct Rows {
    char* first;
    int64_t stride, length, width;
    bool bfloat16;

    char* at(int64_t row, int64_t column) const { return first + (row * stride + column) * (bfloat16 ? 2 : 4); }
    Elements elements(int64_t row) const { return {at(row, 0), bfloat16}; }

    // (length, padded width), zeros in the padding
    void read(float* to) const {
        const int64_t padded = round_up(width, 16);
        for (int64_t row = 0; row < length; ++row)
            for (int64_t column = 0; column < padded; column += 16)
                store(to + row * padded + column, vector(row, column));
    }
    // (padded width, padded length)
    void read_transposed(float* to) const {
        const int64_t padded = round_up(length, 16);
        alignas(64) float tile[16 * 16];
        for (int64_t row = 0; row < padded; row += 16)
            for (int64_t column = 0; column < round_up(width, 16); column += 16) {
                for (int64_t i = 0; i < 16; ++i)
                    store(tile + 16 * i, row + i < length ? vector(row + i, column) : splat(0));
                transpose16(tile, 16, to + column * padded + row, padded);
            }
    }
    void write(int64_t row, const float* from) const {
        for (int64_t column = 0; column < width; column += 16) {
            elements(row).store(column, std::min<int64_t>(16, width - column), load(from + column));
        }
    }

private:
    Floats vector(int64_t row, int64_t column) const {
        return elements(row).load(column, std::min<int64_t>(16, width - column));
    }
};

// One head of one sequence.
struct Head {
    const Attention& a;
    const int64_t batch, head, length, width, padded_length;
    const Dropout dropout;

    Head(const Attention& attention, int64_t task)
        : a(attention),
          batch(task / a.heads),
          head(task % a.heads),
          length(a.length),
          width(a.padded_width()),
          padded_length(a.padded_length()),
          dropout{a.key, a.threshold, a.keep_scale} {}

    Rows part(const void* tensor, int64_t parts, int64_t which) const {
        const int64_t all = a.heads * a.width, size = a.bfloat16 ? 2 : 4;
        char* first = (char*)tensor + ((batch * a.length * parts + which) * all + head * a.width) * size;
        return {first, parts * all, a.length, a.width, a.bfloat16 != 0};
    }
    float* logsums() const { return a.logsums + (batch * a.heads + head) * a.length; }
    uint32_t random_row(int64_t query) const {
        return dropout.of_row((uint64_t)((batch * a.heads + head) * a.length + query));
    }
    // Keys that a block of queries up to `last` sees, and how many the vectors that hold them have room for.
    int64_t keys(int64_t last) const { return a.causal ? last : length; }
    int64_t columns(int64_t last) const { return round_up(keys(last), 16); }

    // Scores of queries [first, last), (last - first, padded length), zeros for keys that a query must not see: those
    // of the whole block's last vector are computed all the same.
    void scores(const float* q, const float* k_transposed, int64_t first, int64_t last, float* to) const {
        multiply<false>(q + first * width, width, 1, k_transposed, padded_length, to, padded_length, last - first,
                        columns(last), a.width);
    }

    void forward() const {
        Workspace<float> q(length * width), k(width * padded_length), v(padded_length * width);
        Workspace<float> p(QUERIES * padded_length), out(QUERIES * width);
        part(a.qkv, 3, 0).read(q.data());
        part(a.qkv, 3, 1).read_transposed(k.data());
        part(a.qkv, 3, 2).read(v.data());
        const Rows y = part(a.y, 1, 0);
        for (int64_t first = 0; first < length; first += QUERIES) {
            const int64_t last = std::min(length, first + QUERIES);
            scores(q.data(), k.data(), first, last, p.data());
            for (int64_t query = first; query < last; ++query)
                softmax(query, columns(last), &p[(query - first) * padded_length]);
            multiply<false>(p.data(), padded_length, 1, v.data(), width, out.data(), width, last - first, width,
                            keys(last));
            for (int64_t query = first; query < last; ++query) y.write(query, &out[(query - first) * width]);
        }
    }

    // Of products of a query and keys: scores, -infinity for keys that the query must not see; returns the highest.
    float scale_and_hide(int64_t query, int64_t columns, float* row) const {
        const Floats scale = splat(a.scale());
        Floats highest = splat(-std::numeric_limits<float>::infinity());
        for (int64_t column = 0; column < columns; column += 16) {
            const Floats score =
                visible(query, column, load(row + column) * scale, -std::numeric_limits<float>::infinity());
            highest = score > highest ? score : highest;
            store(row + column, score);
        }
        return highest_of(highest);
    }

    // A row of scores becomes probabilities, after dropout.
    void softmax(int64_t query, int64_t columns, float* row) const {
        const float top = scale_and_hide(query, columns, row);
        Floats sums = splat(0);
        for (int64_t column = 0; column < columns; column += 16) {
            const Floats value = exponential(load(row + column) - splat(top));
            sums += value;
            store(row + column, value);
        }
        const float sum = sum_of(sums);
        logsums()[query] = top + std::log(sum);
        const Floats inverse = splat(1 / sum);
        const uint32_t random = random_row(query);
        for (int64_t column = 0; column < columns; column += 16) {
            Floats value = load(row + column) * inverse;
            if (a.threshold) value *= dropout.factors(random, column);
            store(row + column, value);
        }
    }

    LUTRA_INLINE Floats visible(int64_t query, int64_t column, Floats value, float hidden) const {
        const int64_t last = a.causal ? query : length - 1;
        if (column + 15 <= last) return value;
        const Ints lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
        return lane + (int32_t)column <= (int32_t)last ? value : splat(hidden);
    }

    void backward() const {
        Workspace<float> q(length * width), k(length * width), v_transposed(width * padded_length),
            k_transposed(width * padded_length);
        Workspace<float> grad_y(length * width), p(QUERIES * padded_length), grad_p(QUERIES * padded_length),
            grad_q(QUERIES * width);
        Buffer<float> grad_k(padded_length * width), grad_v(padded_length * width);
        part(a.qkv, 3, 0).read(q.data());
        part(a.qkv, 3, 1).read(k.data());
        part(a.qkv, 3, 1).read_transposed(k_transposed.data());
        part(a.qkv, 3, 2).read_transposed(v_transposed.data());
        part(a.grad_y, 1, 0).read(grad_y.data());
        for (int64_t first = 0; first < length; first += QUERIES) {
            const int64_t last = std::min(length, first + QUERIES), count = last - first, seen = keys(last),
                          padded = columns(last);
            scores(q.data(), k_transposed.data(), first, last, p.data());
            multiply<false>(&grad_y[first * width], width, 1, v_transposed.data(), padded_length, grad_p.data(),
                            padded_length, count, padded, a.width);
            for (int64_t query = first; query < last; ++query)
                softmax_backward(query, padded, &p[(query - first) * padded_length],
                                 &grad_p[(query - first) * padded_length]);
            // p: probabilities after dropout; grad_p: gradients of the scores
            multiply<false>(grad_p.data(), padded_length, 1, k.data(), width, grad_q.data(), width, count, width, seen);
            multiply<true>(p.data(), 1, padded_length, &grad_y[first * width], width, grad_v.data(), width, seen, width,
                           count);
            multiply<true>(grad_p.data(), 1, padded_length, &q[first * width], width, grad_k.data(), width, seen, width,
                           count);
            const Rows to = part(a.grad_qkv, 3, 0);
            for (int64_t query = first; query < last; ++query) to.write(query, &grad_q[(query - first) * width]);
        }
        for (int64_t row = 0; row < length; ++row) {
            part(a.grad_qkv, 3, 1).write(row, &grad_k[row * width]);
            part(a.grad_qkv, 3, 2).write(row, &grad_v[row * width]);
        }
    }

    // In: scores, and gradients of the probabilities after dropout. Out: those probabilities, and gradients of the
    // products of query and keys.
    void softmax_backward(int64_t query, int64_t columns, float* row, float* grad) const {
        const Floats scale = splat(a.scale()), logsum = splat(logsums()[query]);
        const uint32_t random = random_row(query);
        Floats sums = splat(0);
        for (int64_t column = 0; column < columns; column += 16) {
            Floats exponent = load(row + column) * scale - logsum;
            exponent = exponent > splat(0) ? splat(0) : exponent;  // by rounding
            const Floats probability = visible(query, column, exponential(exponent), 0);
            const Floats factor = a.threshold ? dropout.factors(random, column) : splat(1);
            const Floats received = load(grad + column) * factor;
            sums += probability * received;
            store(row + column, probability);
            store(grad + column, received);
        }
        const float sum = sum_of(sums);
        for (int64_t column = 0; column < columns; column += 16) {
            const Floats probability = load(row + column);
            store(grad + column, probability * (load(grad + column) - splat(sum)) * scale);
            if (a.threshold) store(row + column, probability * dropout.factors(random, column));
        }
    }
};

}  // namespace
}  // namespace lutra
