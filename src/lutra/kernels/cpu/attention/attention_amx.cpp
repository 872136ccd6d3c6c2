// Attention in bfloat16 with AMX: products of matrices in tile registers, everything between them as in head.h.
//
// Scores, and the gradients of probabilities, are products of what is bfloat16 already. Probabilities and gradients of
// scores are computed in float32, and enter the products that follow as the sum of two bfloat16 numbers.
#include "head.h"

#if defined(LUTRA_AMX)
#pragma GCC push_options
#pragma GCC target("amx-tile,amx-bf16,avx512bf16")
#include "tiles.h"

namespace lutra {
namespace {

constexpr int64_t BLOCK = 32;  // queries

struct TileHead : Head {
    using Head::Head;

    // Of keys that queries up to `last` see, with those that fill the last register.
    int64_t seen(int64_t last) const { return round_up(keys(last), DEPTH); }

    void forward() const {
        const Operand q(part(a.qkv, 3, 0)), k(part(a.qkv, 3, 1)), v(part(a.qkv, 3, 2));
        const Workspace<uint16_t> keys_transposed = k.transposed_panels(), values = v.panels();
        Workspace<float> scores(BLOCK * q.rows), out(BLOCK * q.width);
        Split weights(BLOCK * q.rows);
        const Rows y = part(a.y, 1, 0);
        for (int64_t first = 0; first < length; first += BLOCK) {
            const int64_t last = std::min(length, first + BLOCK), columns = seen(last);
            multiply<false>(q.left(first), {keys_transposed.data(), PANEL * q.width}, scores.data(), q.rows, BLOCK,
                            columns, q.width);
            float inverse[BLOCK];
            for (int64_t query = first; query < last; ++query)
                inverse[query - first] =
                    exponentials(query, columns, &scores[(query - first) * q.rows], weights, (query - first) * q.rows);
            multiply<false>({weights.high.data(), weights.low.data(), q.rows}, {values.data(), PANEL * q.rows},
                            out.data(), q.width, BLOCK, q.width, columns);
            for (int64_t query = first; query < last; ++query) {
                float* row = &out[(query - first) * q.width];
                for (int64_t column = 0; column < q.width; column += 16)
                    store(row + column, load(row + column) * splat(inverse[query - first]));
                y.write(query, row);
            }
        }
    }

    // A row of scores becomes exponentials, after dropout, in `weights` from `place` on; what they are to be multiplied
    // by.
    float exponentials(int64_t query, int64_t columns, float* row, Split& weights, int64_t place) const {
        const float top = scale_and_hide(query, columns, row);
        const uint32_t random = random_row(query);
        Floats sums = splat(0);
        for (int64_t column = 0; column < columns; column += 32) {
            Floats first = exponential(load(row + column) - splat(top));
            Floats second = exponential(load(row + column + 16) - splat(top));
            sums += first + second;
            if (a.threshold) {
                first *= dropout.factors(random, column);
                second *= dropout.factors(random, column + 16);
            }
            weights.put(place + column, first, second);
        }
        const float sum = sum_of(sums);
        logsums()[query] = top + std::log(sum);
        return 1 / sum;
    }

    void backward() const {
        const Operand q(part(a.qkv, 3, 0)), k(part(a.qkv, 3, 1)), v(part(a.qkv, 3, 2)), grad_y(part(a.grad_y, 1, 0));
        const int64_t rows = q.rows, width = q.width;
        const Workspace<uint16_t> keys_transposed = k.transposed_panels(), values_transposed = v.transposed_panels();
        const Workspace<uint16_t> queries = q.panels(), keys = k.panels(), received = grad_y.panels();
        Workspace<float> p(BLOCK * rows), grad_p(BLOCK * rows), grad_q(BLOCK * width);
        Buffer<float> grad_k(rows * width), grad_v(rows * width);
        Split some(BLOCK * rows);
        const Rows to = part(a.grad_qkv, 3, 0);
        for (int64_t first = 0; first < length; first += BLOCK) {
            const int64_t last = std::min(length, first + BLOCK), columns = seen(last);
            multiply<false>(q.left(first), {keys_transposed.data(), PANEL * width}, p.data(), rows, BLOCK, columns,
                            width);
            multiply<false>(grad_y.left(first), {values_transposed.data(), PANEL * width}, grad_p.data(), rows, BLOCK,
                            columns, width);
            for (int64_t i = 0; i < BLOCK; ++i) {
                float *row = &p[i * rows], *grad = &grad_p[i * rows];
                if (first + i < last) softmax_backward(first + i, columns, row, grad);
                else std::fill_n(row, columns, 0.f), std::fill_n(grad, columns, 0.f);
            }
            // p: probabilities after dropout; grad_p: gradients of the scores
            add_transposed(p.data(), rows, columns, some, Right{received.data(), PANEL * rows}.from(first),
                           grad_v.data(), width);
            add_transposed(grad_p.data(), rows, columns, some, Right{queries.data(), PANEL * rows}.from(first),
                           grad_k.data(), width);
            for (int64_t i = 0; i < BLOCK; ++i)
                for (int64_t column = 0; column < columns; column += 32)
                    some.put(i * rows + column, load(&grad_p[i * rows + column]),
                             load(&grad_p[i * rows + column + 16]));
            multiply<false>({some.high.data(), some.low.data(), rows}, {keys.data(), PANEL * rows}, grad_q.data(),
                            width, BLOCK, width, columns);
            for (int64_t query = first; query < last; ++query) to.write(query, &grad_q[(query - first) * width]);
        }
        for (int64_t row = 0; row < length; ++row) {
            part(a.grad_qkv, 3, 1).write(row, &grad_k[row * width]);
            part(a.grad_qkv, 3, 2).write(row, &grad_v[row * width]);
        }
    }

    // to (columns, width) += the transpose of `from` (BLOCK, columns) * right (BLOCK, width)
    static void add_transposed(const float* from, int64_t stride, int64_t columns, Split& left, const Right& right,
                               float* to, int64_t width) {
        alignas(64) float first[16 * 16], second[16 * 16];
        for (int64_t column = 0; column < columns; column += 16) {
            transpose16(from + column, stride, first, 16);
            transpose16(from + 16 * stride + column, stride, second, 16);
            for (int64_t i = 0; i < 16; ++i)
                left.put((column + i) * BLOCK, load(first + 16 * i), load(second + 16 * i));
        }
        multiply<true>({left.high.data(), left.low.data(), BLOCK}, right, to, width, columns, width, BLOCK);
    }
};

}  // namespace

void attention_forward_amx(const Attention& attention) {
    parallel(attention.batch * attention.heads, attention.threads, [&](int64_t task) {
        const Tiles tiles;
        TileHead(attention, task).forward();
    });
}

void attention_backward_amx(const Attention& attention) {
    parallel(attention.batch * attention.heads, attention.threads, [&](int64_t task) {
        const Tiles tiles;
        TileHead(attention, task).backward();
    });
}

}  // namespace lutra
#pragma GCC pop_options
#endif
