// Gradients of choices in C++ for any processor; candidates.h includes it.
#pragma once

namespace lutra {

// sums[c] += sum over the rows of `count` words of (2 bit - 1) grad, bits in words[planes[c]][CHUNK].
LUTRA_INLINE void choice_gradients(const float* grad, const uint64_t* words, int64_t count, const int32_t* planes,
                                   int64_t choices, float*, float* sums) {
    for (int64_t c = 0; c < choices; ++c) {
        Floats total = splat(0);
        for (int64_t w = 0; w < count; ++w)
            for (int v = 0; v < 4; ++v) {
                const Floats g = load(grad + WORD * w + 16 * v);
                total = masked_add(total - g, (Mask)(words[CHUNK * planes[c] + w] >> 16 * v), g + g);
            }
        for (int lane = 0; lane < 16; ++lane) sums[c] += total[lane];
    }
}

}  // namespace lutra
