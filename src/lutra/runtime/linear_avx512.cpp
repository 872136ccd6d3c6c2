// 1-bit linear layer with AVX-512 VBMI: a table of 64 subset sums is one register, a byte permute looks 64 columns up,
// which is 384 products by one instruction.
#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")
#include <immintrin.h>

#include "linear.h"

namespace lutra {
namespace {

constexpr int VECTORS = 4;  // of 64 columns: one panel
constexpr int TOKENS_AT_ONCE = 2;

int32_t quantise(const Linear& layer, const float* x, uint8_t* levels) {
    const __m512 offset = _mm512_set1_ps(layer.offset), inverse = _mm512_set1_ps(layer.scale_inverse);
    const __m512 lowest_code = _mm512_set1_ps(float(layer.lowest_code));
    const __m512 highest = _mm512_set1_ps(float((1 << layer.bits) - 1));
    __m512i sum = _mm512_setzero_si512();
    for (int64_t k = 0; k < layer.inputs; k += 16) {
        const int64_t rest = layer.inputs - k;
        const __mmask16 present = rest < 16 ? __mmask16((1 << rest) - 1) : __mmask16(0xffff);
        const __m512 scaled = _mm512_mul_ps(_mm512_sub_ps(_mm512_maskz_loadu_ps(present, x + k), offset), inverse);
        const __m512 code = _mm512_roundscale_ps(_mm512_add_ps(scaled, _mm512_set1_ps(0.5f)),
                                                 _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
        const __m512 unclamped = _mm512_sub_ps(code, lowest_code);
        const __m512 level = _mm512_min_ps(_mm512_max_ps(unclamped, _mm512_setzero_ps()), highest);
        const __m512i integers = _mm512_maskz_cvtps_epi32(present, level);
        sum = _mm512_add_epi32(sum, integers);
        _mm512_mask_cvtepi32_storeu_epi8(levels + k, present, integers);
    }
    return _mm512_reduce_add_epi32(sum);
}

struct Spread {
    // Triples of digits to the eight subset sums of a triple: which digit byte j of triple i adds, and whether it does.
    alignas(64) uint8_t digit[3][64] = {};
    uint64_t adds[3] = {};
    // Group g of four: entry a of its table is subset sum a % 8 of triple 2 g plus subset sum a / 8 of triple 2 g + 1.
    alignas(64) uint8_t low[4][64] = {}, high[4][64] = {};
    alignas(64) uint8_t six_of_eight[64] = {};
    alignas(64) uint8_t bit_offset[64] = {};

    constexpr Spread() {
        for (int byte = 0; byte < 64; ++byte) {
            for (int i = 0; i < 3; ++i) {
                digit[i][byte] = uint8_t(3 * (byte / 8) + i);
                adds[i] |= uint64_t(byte >> i & 1) << byte;
            }
            for (int g = 0; g < 4; ++g) {
                low[g][byte] = uint8_t(16 * g + byte % 8);
                high[g][byte] = uint8_t(16 * g + 8 + byte / 8);
            }
            six_of_eight[byte] = uint8_t(byte % 8 < 6 ? byte / 8 * 6 + byte % 8 : 0);
            bit_offset[byte] = uint8_t(byte % 8 * WEIGHT_BITS);
        }
    }
};
constexpr Spread SPREAD;

inline __m512i constant(const uint8_t* bytes) { return _mm512_load_si512(bytes); }

// Tables of `groups` groups of six digits; `digits` may be read 40 bytes past the last group.
void build_tables(const uint8_t* digits, int64_t groups, __m512i* tables) {
    for (int64_t g = 0; g < groups; g += 4) {
        const __m512i given = _mm512_castsi256_si512(
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(digits + g * WEIGHT_BITS)));  // 24 of 32 are used
        __m512i triples = _mm512_maskz_permutexvar_epi8(SPREAD.adds[0], constant(SPREAD.digit[0]), given);
        for (int i = 1; i < 3; ++i)
            triples = _mm512_add_epi8(triples,
                                      _mm512_maskz_permutexvar_epi8(SPREAD.adds[i], constant(SPREAD.digit[i]), given));
        for (int64_t k = 0; k < 4 && g + k < groups; ++k)
            tables[g + k] = _mm512_add_epi8(_mm512_permutexvar_epi8(constant(SPREAD.low[k]), triples),
                                            _mm512_permutexvar_epi8(constant(SPREAD.high[k]), triples));
    }
}

// Six bits a column to one byte a column; the two highest bits are left over, a byte permute ignores them.
void expand_panel(const Linear& layer, int64_t first_group, int64_t groups, int64_t panel, __m512i* addresses) {
    const int64_t blocks = (layer.outputs + PANEL - 1) / PANEL * VECTORS;
    const __mmask64 present = (uint64_t(1) << WEIGHT_BYTES) - 1;
    for (int64_t g = 0; g < groups; ++g) {
        const uint8_t* weights = layer.weights + ((first_group + g) * blocks + panel * VECTORS) * WEIGHT_BYTES;
        for (int v = 0; v < VECTORS; ++v) {
            const __m512i packed = _mm512_maskz_loadu_epi8(present, weights + v * WEIGHT_BYTES);
            addresses[g * VECTORS + v] = _mm512_multishift_epi64_epi8(
                constant(SPREAD.bit_offset), _mm512_permutexvar_epi8(constant(SPREAD.six_of_eight), packed));
        }
    }
}

inline void add_wide(__m512i words, int64_t shift, int32_t* sums, int half) {
    const __m256i part = half ? _mm512_extracti64x4_epi64(words, 1) : _mm512_castsi512_si256(words);
    const __m512i wide = _mm512_slli_epi32(_mm512_cvtepu16_epi32(part), unsigned(shift));
    _mm512_storeu_si512(sums, _mm512_add_epi32(_mm512_loadu_si512(sums), wide));
}

// One panel of two tokens. Bytes are added up as long as they cannot overflow (`at_once` groups); then the sums of even
// and odd columns are kept in 16-bit words: `both` holds even + 256 odd (modulo 2^16), `odd` the odd ones.
template <int at_once>
void multiply_panel(const __m512i* const* tables, const __m512i* addresses, int64_t groups, int64_t shift,
                    int32_t* const* sums) {
    __m512i both[TOKENS_AT_ONCE][VECTORS], odd[TOKENS_AT_ONCE][VECTORS];
#pragma GCC unroll 2
    for (int t = 0; t < TOKENS_AT_ONCE; ++t)
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; ++v) both[t][v] = odd[t][v] = _mm512_setzero_si512();
    for (int64_t g = 0; g < groups; g += at_once) {
#pragma GCC unroll 2
        for (int t = 0; t < TOKENS_AT_ONCE; ++t) {
#pragma GCC unroll 4
            for (int v = 0; v < VECTORS; ++v) {
                __m512i bytes = _mm512_permutexvar_epi8(addresses[g * VECTORS + v], tables[t][g]);
#pragma GCC unroll 8
                for (int k = 1; k < at_once; ++k)
                    bytes = _mm512_add_epi8(
                        bytes, _mm512_permutexvar_epi8(addresses[(g + k) * VECTORS + v], tables[t][g + k]));
                both[t][v] = _mm512_add_epi16(both[t][v], bytes);
                odd[t][v] = _mm512_add_epi16(odd[t][v], _mm512_srli_epi16(bytes, 8));
                asm volatile("" : "+v"(both[t][v]), "+v"(odd[t][v]));  // in this order: otherwise registers spill
            }
        }
    }
#pragma GCC unroll 2
    for (int t = 0; t < TOKENS_AT_ONCE; ++t)
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; ++v) {
            const __m512i even = _mm512_sub_epi16(both[t][v], _mm512_slli_epi16(odd[t][v], 8));
            const __m512i low = _mm512_unpacklo_epi16(even, odd[t][v]), high = _mm512_unpackhi_epi16(even, odd[t][v]);
            int32_t* sum = sums[t] + 64 * v;
            add_wide(low, shift, sum, 0);
            add_wide(low, shift, sum + 16, 1);
            add_wide(high, shift, sum + 32, 0);
            add_wide(high, shift, sum + 48, 1);
        }
}

void add_product(const Linear& layer, const uint8_t* digits, int64_t digit_bits, int64_t rows, int64_t first_group,
                 int64_t groups, int64_t shift, int32_t* sums, char* workspace) {
    __m512i* addresses = reinterpret_cast<__m512i*>(workspace);
    __m512i* tables = addresses + CHUNK * VECTORS;
    const int64_t panels = (layer.outputs + PANEL - 1) / PANEL;
    for (int64_t t = 0; t < rows; ++t)
        build_tables(digits + (t * layer.groups + first_group) * WEIGHT_BITS, groups, tables + t * CHUNK);
    // Six digits of 4 bits sum to 90: two groups fit a byte. Of 2 bits to 18: eight groups.
    const bool few_bits = digit_bits <= 2 && groups % 8 == 0;
    for (int64_t panel = 0; panel < panels; ++panel) {
        expand_panel(layer, first_group, groups, panel, addresses);
        int32_t unused[PANEL];
        for (int64_t t = 0; t < rows; t += TOKENS_AT_ONCE) {
            const bool second = t + 1 < rows;
            const __m512i* two_tables[] = {tables + t * CHUNK, tables + (second ? t + 1 : t) * CHUNK};
            int32_t* first_sums = sums + (t * panels + panel) * PANEL;
            int32_t* two_sums[] = {first_sums, second ? first_sums + panels * PANEL : unused};
            if (few_bits) multiply_panel<8>(two_tables, addresses, groups, shift, two_sums);
            else multiply_panel<2>(two_tables, addresses, groups, shift, two_sums);
        }
    }
}

void dequantise(const Linear& layer, const int32_t* sums, int32_t level_sum, float* y) {
    const __m512i lowest = _mm512_set1_epi32(int32_t(layer.lowest_code)), level = _mm512_set1_epi32(level_sum);
    for (int64_t n = 0; n < layer.outputs; n += 16) {
        const int64_t rest = layer.outputs - n;
        const __mmask16 present = rest < 16 ? __mmask16((1 << rest) - 1) : __mmask16(0xffff);
        const __m512i shifted = _mm512_mullo_epi32(lowest, _mm512_loadu_si512(layer.weight_sum + n));
        const __m512i twice = _mm512_slli_epi32(_mm512_loadu_si512(sums + n), 1);
        const __m512 sum = _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_sub_epi32(twice, level), shifted));
        const __m512 scaled = _mm512_mul_ps(sum, _mm512_loadu_ps(layer.column_scale + n));
        _mm512_mask_storeu_ps(y + n, present, _mm512_add_ps(scaled, _mm512_loadu_ps(layer.column_offset + n)));
    }
}

}  // namespace

const LinearKernels linear_avx512 = {quantise, add_product, dequantise};

}  // namespace lutra
#endif
