// Which elements dropout keeps: a function of a key, a row and a column alone, so that the backward pass needs no mask
// and any number of threads drops the same. The definition is `reference.dropout_factors`.
#pragma once

#include "matrix.h"

namespace lutra {

// A bijection of 32 bits in which every input bit flips about half of the output bits (Wellons' "lowbias32").
LUTRA_INLINE uint32_t mix(uint32_t x) {
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}

LUTRA_INLINE Words mix(Words x) {
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}

struct Dropout {
    uint64_t key;
    uint32_t threshold;  // dropped: whose 32 random bits are below; 0: all are kept
    float scale;         // of what is kept

    // What the columns of a row are mixed with.
    uint32_t of_row(uint64_t row) const {
        return mix(mix(mix((uint32_t)key) ^ (uint32_t)(key >> 32)) ^ mix((uint32_t)row) ^
                   (uint32_t)(row >> 32) * 0x9e3779b9u);
    }
    // `scale` for the 16 columns from `column` on that are kept, 0 for the others.
    LUTRA_INLINE Floats factors(uint32_t of_row, int64_t column) const {
        const Words lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
        const Words random = mix((lane + (uint32_t)column) * 0x9e3779b9u + of_row);
        const Ints kept = (Ints)(random >= threshold);
        return (Floats)((Ints)splat(scale) & kept);
    }
};

}  // namespace lutra
