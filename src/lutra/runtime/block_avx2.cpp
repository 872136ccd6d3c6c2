// AVX2 (every x86 server and desktop since about 2015).
#if defined(__x86_64__)
#pragma GCC target("avx2,fma,bmi,bmi2")
#include <immintrin.h>

#include "block_kernel.h"

namespace lutra {
namespace {

// 16 tokens by 16 features: four rounds that interleave rows i and i + 8 transpose a 16 x 16 matrix.
inline void transpose_tile(const int8_t* const* rows, int64_t feature, int8_t* columns) {
    __m128i a[16], b[16];
    for (int i = 0; i < 16; ++i) a[i] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[i] + feature));
    for (int round = 0; round < 4; ++round) {
        for (int i = 0; i < 8; ++i) {
            b[2 * i] = _mm_unpacklo_epi8(a[i], a[i + 8]);
            b[2 * i + 1] = _mm_unpackhi_epi8(a[i], a[i + 8]);
        }
        for (int i = 0; i < 16; ++i) a[i] = b[i];
    }
    for (int i = 0; i < 16; ++i)
        _mm_store_si128(reinterpret_cast<__m128i*>(columns + (feature + i) * COLUMN_STRIDE), a[i]);
}

struct Avx2 : Portable {
    static void transpose(const int8_t* x, int64_t tokens, int64_t width, int8_t* columns) {
        for (int64_t t = 0; t < tokens; t += 16) {
            const int8_t* rows[16];
            for (int64_t i = 0; i < 16; ++i) rows[i] = x + (t + i < tokens ? t + i : tokens - 1) * width;
            int64_t f = 0;
            for (; f + 16 <= width; f += 16) transpose_tile(rows, f, columns + t);
            for (; f < width; ++f)
                for (int64_t i = 0; i < 16; ++i) columns[f * COLUMN_STRIDE + t + i] = rows[i][f];
        }
    }

    static uint64_t at_least(const int8_t* values, int8_t threshold) {
        const __m256i limit = _mm256_set1_epi8(threshold);
        const __m256i* v = reinterpret_cast<const __m256i*>(values);
        const uint32_t low = uint32_t(_mm256_movemask_epi8(_mm256_cmpgt_epi8(limit, _mm256_load_si256(v))));
        const uint32_t high = uint32_t(_mm256_movemask_epi8(_mm256_cmpgt_epi8(limit, _mm256_load_si256(v + 1))));
        return ~(uint64_t(high) << 32 | low);
    }

    static void thermometer(const int8_t* column, int64_t words, const int8_t* thresholds, int64_t count,
                            uint64_t* planes) {
        thermometer_words<Avx2>(column, words, thresholds, count, planes);
    }
};

}  // namespace

const Kernels kernels_avx2 = {workspace_bytes, run_block<Avx2>, run_token<Avx2>, 12};

}  // namespace lutra
#endif
