// The C interface of attention and dropout.
#include "head.h"

namespace lutra {

extern "C" __attribute__((visibility("default"))) void lutra_attention_forward(const Attention* attention) {
#if defined(LUTRA_AMX)
    if (attention->amx) return attention_forward_amx(*attention);
#endif
    parallel(attention->batch * attention->heads, attention->threads,
             [&](int64_t task) { Head(*attention, task).forward(); });
}

extern "C" __attribute__((visibility("default"))) void lutra_attention_backward(const Attention* attention) {
#if defined(LUTRA_AMX)
    if (attention->amx) return attention_backward_amx(*attention);
#endif
    parallel(attention->batch * attention->heads, attention->threads,
             [&](int64_t task) { Head(*attention, task).backward(); });
}

// y = x * factor, for `rows` of `columns`; the gradient of x is the same of the gradient of y.
extern "C" __attribute__((visibility("default"))) void lutra_dropout(const void* x, void* y, int64_t rows,
                                                                     int64_t columns, int32_t bfloat16, uint64_t key,
                                                                     uint32_t threshold, float scale, int64_t threads) {
    const Dropout dropout{key, threshold, scale};
    constexpr int64_t TOGETHER = 32;
    const Elements from(x, bfloat16), to(y, bfloat16);
    parallel((rows + TOGETHER - 1) / TOGETHER, threads, [&](int64_t part) {
        for (int64_t row = part * TOGETHER; row < std::min(rows, (part + 1) * TOGETHER); ++row) {
            const uint32_t random = dropout.of_row((uint64_t)row);
            for (int64_t column = 0; column < columns; column += 16) {
                const int64_t at = row * columns + column, lanes = std::min<int64_t>(16, columns - column);
                to.store(at, lanes, from.load(at, lanes) * dropout.factors(random, column));
            }
        }
    });
}

}  // namespace lutra
