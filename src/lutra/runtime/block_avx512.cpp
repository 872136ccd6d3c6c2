// AVX-512 with VBMI, VNNI, BITALG and GFNI (Intel since Ice Lake, AMD since Zen 4).
#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx512bitalg,gfni,avx2,fma,bmi,bmi2")
#include <immintrin.h>

#include "block_kernel.h"
#include "lut_avx512.h"
#include "sum_avx512.h"
#include "write_avx512.h"

namespace lutra {
namespace {

constexpr int64_t ROWS_AHEAD = 32;  // rows are fetched so long before they are read

// 16 tokens by 64 features: four rounds that interleave rows i and i + 8 transpose a 16 x 16 matrix in every lane.
inline void transpose_tile(const int8_t* const* rows, int64_t feature, int64_t width, __mmask64 present,
                           int8_t* columns) {
    __m512i a[16], b[16];
    for (int i = 0; i < 16; ++i) {
        a[i] = _mm512_maskz_loadu_epi8(present, rows[i] + feature);
        _mm_prefetch(rows[i] + feature + ROWS_AHEAD * width, _MM_HINT_T0);
    }
#pragma GCC unroll 4
    for (int round = 0; round < 4; ++round) {
#pragma GCC unroll 8
        for (int i = 0; i < 8; ++i) {
            b[2 * i] = _mm512_unpacklo_epi8(a[i], a[i + 8]);
            b[2 * i + 1] = _mm512_unpackhi_epi8(a[i], a[i + 8]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < 16; ++i) a[i] = b[i];
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
        int8_t* column = columns + (feature + i) * COLUMN_STRIDE;
        _mm_store_si128(reinterpret_cast<__m128i*>(column), _mm512_castsi512_si128(a[i]));
        _mm_store_si128(reinterpret_cast<__m128i*>(column + 16 * COLUMN_STRIDE), _mm512_extracti32x4_epi32(a[i], 1));
        _mm_store_si128(reinterpret_cast<__m128i*>(column + 32 * COLUMN_STRIDE), _mm512_extracti32x4_epi32(a[i], 2));
        _mm_store_si128(reinterpret_cast<__m128i*>(column + 48 * COLUMN_STRIDE), _mm512_extracti32x4_epi32(a[i], 3));
    }
}

struct Avx512 : Portable {
    static Plane mux(Plane select, Plane zero, Plane one) {
        return Plane(_mm512_ternarylogic_epi64(__m512i(select), __m512i(one), __m512i(zero), 0xca));
    }

    static void lut_layer(const LutLayer& layer, Plane* planes, int64_t words) {
        __m512i* vectors = reinterpret_cast<__m512i*>(planes);
        switch (layer.inputs) {
            case 2: return look_up_layer<2>(layer, vectors, words);
            case 3: return look_up_layer<3>(layer, vectors, words);
            case 4: return look_up_layer<4>(layer, vectors, words);
            case 5: return look_up_layer<5>(layer, vectors, words);
            case 6: return look_up_layer<6>(layer, vectors, words);
            default: return select_layer<Avx512>(layer, planes);
        }
    }

    static void transpose(const int8_t* x, int64_t tokens, int64_t width, int8_t* columns) {
        for (int64_t t = 0; t < tokens; t += 16) {
            const int8_t* rows[16];
            for (int64_t i = 0; i < 16; ++i) rows[i] = x + (t + i < tokens ? t + i : tokens - 1) * width;
            for (int64_t f = 0; f < width; f += 64)
                transpose_tile(rows, f, width, width - f < 64 ? (uint64_t(1) << (width - f)) - 1 : ~uint64_t(0),
                               columns + t);
        }
    }

    static void thermometer(const int8_t* column, int64_t words, const int8_t* thresholds, int64_t count,
                            uint64_t* planes) {
        if (words == WORDS) {
            __m512i values[WORDS];
            for (int64_t w = 0; w < WORDS; ++w) values[w] = _mm512_load_si512(column + 64 * w);
            for (int64_t t = 0; t < count; ++t) {
                const __m512i limit = _mm512_set1_epi8(thresholds[t]);
                for (int64_t w = 0; w < WORDS; ++w)
                    planes[t * WORDS + w] = _cvtmask64_u64(_mm512_cmpge_epi8_mask(values[w], limit));
            }
            return;
        }
        for (int64_t w = 0; w < words; ++w) {
            const __m512i values = _mm512_load_si512(column + 64 * w);
            for (int64_t t = 0; t < count; ++t)
                planes[t * WORDS + w] = _cvtmask64_u64(_mm512_cmpge_epi8_mask(values, _mm512_set1_epi8(thresholds[t])));
        }
    }

    // Byte 2 i is token i, byte 2 i + 1 token 32 + i: permutes of 16 bits take their address from the lowest six.
    static void addresses(const uint64_t* word, uint8_t* out) {
        __m512i pairs = _mm512_setzero_si512();
        for (int i = 0; i < GROUP_BITS; ++i) {
            pairs = _mm512_mask_add_epi16(pairs, __mmask32(word[i]), pairs, _mm512_set1_epi16(int16_t(1 << i)));
            pairs = _mm512_mask_add_epi16(pairs, __mmask32(word[i] >> 32), pairs, _mm512_set1_epi16(int16_t(256 << i)));
        }
        _mm512_store_si512(out, pairs);
    }

    using Writer = PipelinedWriter;

    static void sum_segment(const Block& block, int64_t segment, int64_t tokens, const Workspace& space,
                            Writer& writer) {
        permute_sum(block, segment, tokens, space, writer.sums(),
                    [&](int64_t done, int64_t tiles) { writer.keep_pace(done, tiles); });
    }

    static void turn_sums(int64_t tokens, const Workspace& space, const Writer& writer) {
        for (int64_t t = 0; t < tokens; t += 16)
            turn_back(writer.sums() + t, [&](int64_t i, __m512i sums) { space.sums[t + i] = Sums(sums); });
    }

    static void requantise(const int32_t* sums, const double* scale, const double* offset, double low, double high,
                           int32_t* out) {
        const __m512d least = _mm512_set1_pd(low), most = _mm512_set1_pd(high);
        for (int64_t i = 0; i < COLUMNS; i += 8) {
            const __m512d sum = _mm512_cvtepi32_pd(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(sums + i)));
            const __m512d value = _mm512_fmadd_pd(sum, _mm512_loadu_pd(scale + i), _mm512_loadu_pd(offset + i));
            const __m256i result = _mm512_cvt_roundpd_epi32(_mm512_min_pd(_mm512_max_pd(value, least), most),
                                                            _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), result);
        }
    }

    static void widen(Sums sums, int32_t* out) {  // in the order of turn_back
        __m512i first = _mm512_srai_epi32(_mm512_slli_epi32(__m512i(sums), 16), 16);
        __m512i second = _mm512_srai_epi32(__m512i(sums), 16);
        put_in_order(first, second);
        _mm512_storeu_si512(out, first);
        _mm512_storeu_si512(out + 16, second);
    }
};

// ---- One token: its bits are packed, 64 tables are evaluated at once --------------------------------------------

// Selects among the bytes of 64 tables by their address bits 3 and up.
template <int levels>
inline __m512i select_byte(const uint8_t* bytes, const __mmask64* high_bits) {
    if constexpr (levels == 0) {
        return _mm512_loadu_si512(bytes);
    } else {
        const __m512i zero = select_byte<levels - 1>(bytes, high_bits);
        const __m512i one = select_byte<levels - 1>(bytes + (64 << (levels - 1)), high_bits);
        return _mm512_mask_blend_epi8(high_bits[levels - 1], zero, one);
    }
}

template <int inputs>
void token_layer(const LutLayer& layer, uint64_t* packed) {
    constexpr int levels = inputs > 3 ? inputs - 3 : 0, low_inputs = inputs - levels;
    const uint8_t* source = reinterpret_cast<const uint8_t*>(packed + layer.source_word);
    const int64_t pairs = (layer.source_words * 8 + 127) / 128;
    // Byte k of every 8 is 1 << k: a shuffle by the low address bits yields the bit to test.
    const __m512i bit_of_address = _mm512_set1_epi64(int64_t(0x8040201008040201u));
    for (int64_t first = 0, g = 0; first < layer.luts; first += 64, g++) {
        __mmask64 input[inputs];
        for (int i = 0; i < inputs; ++i) {
            const int64_t at = (g * inputs + i) * 64;
            const __m512i low = _mm512_loadu_si512(layer.source_low + at);
            const __m512i high = _mm512_loadu_si512(layer.source_high + at);
            __m512i bytes = _mm512_permutex2var_epi8(_mm512_loadu_si512(source), low, _mm512_loadu_si512(source + 64));
            for (int64_t p = 1; p < pairs; ++p) {
                const __mmask64 here = _mm512_cmpeq_epi8_mask(high, _mm512_set1_epi8(int8_t(p)));
                const __m512i found = _mm512_permutex2var_epi8(_mm512_loadu_si512(source + 128 * p), low,
                                                               _mm512_loadu_si512(source + 128 * p + 64));
                bytes = _mm512_mask_mov_epi8(bytes, here, found);
            }
            input[i] = _mm512_test_epi8_mask(bytes, _mm512_loadu_si512(layer.source_bit + at));
        }
        __m512i address = _mm512_setzero_si512();
        for (int i = 0; i < low_inputs; ++i)
            address = _mm512_mask_add_epi8(address, input[i], address, _mm512_set1_epi8(int8_t(1 << i)));
        const __m512i byte = select_byte<levels>(layer.table_bytes + (g << levels) * 64, input + low_inputs);
        packed[layer.first_word + g] = _mm512_test_epi8_mask(byte, _mm512_shuffle_epi8(bit_of_address, address));
    }
}

void token_layer(const LutLayer& layer, uint64_t* packed) {
    switch (layer.inputs) {
        case 2: return token_layer<2>(layer, packed);
        case 3: return token_layer<3>(layer, packed);
        case 4: return token_layer<4>(layer, packed);
        case 5: return token_layer<5>(layer, packed);
        case 6: return token_layer<6>(layer, packed);
        case 7: return token_layer<7>(layer, packed);
        default: return token_layer<8>(layer, packed);
    }
}

// 16 * vectors outputs: four bits at a time times four rows of encoded values.
template <int vectors>
void token_sum(const uint8_t* bits, int64_t quads, const int8_t* rows, int32_t* sums) {
    __m512i sum[vectors];
    for (int v = 0; v < vectors; ++v) sum[v] = _mm512_setzero_si512();
    for (int64_t q = 0; q < quads; ++q) {
        int32_t four;
        memcpy(&four, bits + 4 * q, 4);
        const __m512i spread = _mm512_set1_epi32(four);
        for (int v = 0; v < vectors; ++v)
            sum[v] = _mm512_dpbusd_epi32(sum[v], spread, _mm512_loadu_si512(rows + (q * vectors + v) * 64));
    }
    for (int v = 0; v < vectors; ++v) _mm512_storeu_si512(sums + 16 * v, sum[v]);
}

void run_packed_token(const Block& block, const int8_t* x, char* out, char* memory) {
    int8_t* values = reinterpret_cast<int8_t*>(memory);
    uint64_t* packed = reinterpret_cast<uint64_t*>(memory + round_up(block.width + 64, 64));
    uint8_t* bits = reinterpret_cast<uint8_t*>(packed + block.packed_words + 16);
    int32_t* sums = reinterpret_cast<int32_t*>(bits + round_up(block.sum_rows + 64, 64));
    memcpy(values, x, block.width);
    const int64_t words = (block.width * block.thermometer_bits + 63) / 64;
    for (int64_t w = 0; w < words; ++w) {
        const __m512i near = _mm512_loadu_si512(values + block.first_feature[w]);
        const __m512i value = _mm512_permutexvar_epi8(_mm512_loadu_si512(block.feature_offset + 64 * w), near);
        packed[w] = _mm512_mask_cmpge_epi8_mask(block.live[w], value, _mm512_loadu_si512(block.thresholds + 64 * w));
    }
    for (int64_t k = 0; k < block.layer_count; ++k) token_layer(block.layers[k], packed);
    for (int64_t p = 0; p < block.sum_pieces; ++p) {
        const int32_t* piece = block.sum_source + 3 * p;
        // The last word may write past its piece; the next piece, or rows of zeros, follow there.
        for (int64_t w = 0; w < piece[1]; ++w)
            _mm512_storeu_si512(bits + piece[2] + 64 * w, _mm512_maskz_set1_epi8(packed[piece[0] + w], 1));
    }
    const int64_t quads = (block.sum_rows + 3) / 4, vectors = block.column_blocks * COLUMNS / 16;
    for (int64_t v = 0; v < vectors; v += 8) {
        const int8_t* rows = block.token_rows + v * quads * 64;
        switch (vectors - v) {
            case 2: token_sum<2>(bits, quads, rows, sums + 16 * v); break;
            case 4: token_sum<4>(bits, quads, rows, sums + 16 * v); break;
            case 6: token_sum<6>(bits, quads, rows, sums + 16 * v); break;
            default: token_sum<8>(bits, quads, rows, sums + 16 * v);
        }
    }
    for (int64_t c = 0; c < block.column_blocks; ++c)
        requantise<Avx512>(block, c * COLUMNS, sums + c * COLUMNS, false, out);
}

}  // namespace

const Kernels kernels_avx512 = {workspace_bytes, run_block<Avx512>, run_packed_token, 24};

}  // namespace lutra
#endif
