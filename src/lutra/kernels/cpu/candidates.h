// Gradient of the scores where every slot has a few choices of its own: signed sums of the slot's gradient over rows.
#pragma once

#include "block.h"

namespace lutra {

constexpr int64_t CHUNK = 2;  // words that are worked on together
constexpr int64_t ROWS = CHUNK * WORD;

}  // namespace lutra

#ifdef LUTRA_AVX512
#include "candidates_avx512.h"
#else
#include "candidates_scalar.h"
#endif
