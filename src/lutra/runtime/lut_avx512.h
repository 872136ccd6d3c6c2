// LUT layers with AVX-512 VBMI, GFNI and BITALG: six planes of 512 tokens are turned into one address byte per token,
// and one instruction looks 64 tokens up in a table of 64 bits.
#pragma once

#include <immintrin.h>

#include "block.h"

namespace lutra {
namespace {

struct Interleave {
    // Indices of two-source byte permutes; 64 and up is the second source.
    alignas(64) uint8_t pair[2][64] = {}, quad[2][64] = {}, eight[4][64] = {};

    constexpr Interleave() {
        for (int byte = 0; byte < 64; ++byte) {
            for (int half = 0; half < 2; ++half) {
                pair[half][byte] = uint8_t(32 * half + byte / 2 + byte % 2 * 64);
                quad[half][byte] = uint8_t(32 * half + byte / 4 * 2 + byte % 2 + (byte % 4 >= 2) * 64);
            }
            // Input 0 goes to byte 7 of eight, input 5 to byte 2: the order in which the affine product wants rows.
            for (int part = 0; part < 4; ++part) {
                const int place = byte / 8, input = 7 - byte % 8;
                eight[part][byte] = uint8_t(input < 4   ? part % 2 * 32 + place * 4 + input
                                            : input < 6 ? 64 + part * 16 + place * 2 + input - 4
                                                        : 0);
            }
        }
    }
};
constexpr Interleave INTERLEAVE;

// Tables of up to six inputs; smaller ones are repeated to 64 entries, so that the other address bits do not matter.
// Of the planes, the first 64 * `parts` tokens are looked up.
template <int inputs, int parts>
void look_up_tokens(const LutLayer& layer, __m512i* planes) {
    __m512i pair[2], quad[2], eight[4];
    for (int i = 0; i < 2; ++i) pair[i] = _mm512_load_si512(INTERLEAVE.pair[i]);
    for (int i = 0; i < 2; ++i) quad[i] = _mm512_load_si512(INTERLEAVE.quad[i]);
    for (int i = 0; i < 4; ++i) eight[i] = _mm512_load_si512(INTERLEAVE.eight[i]);
    const __m512i transpose = _mm512_set1_epi64(int64_t(0x8040201008040201u));
    uint64_t* out = reinterpret_cast<uint64_t*>(planes + layer.first_plane);
    for (int64_t l = 0; l < layer.luts; ++l) {
        __m512i x[6];
#pragma GCC unroll 6
        for (int i = 0; i < 6; ++i) x[i] = planes[layer.connections[l * inputs + (i < inputs ? i : 0)]];
        const __m512i table = _mm512_set1_epi64(int64_t(layer.tables[l]));
#pragma GCC unroll 2
        for (int half = 0; half < (parts + 3) / 4; ++half) {
            const __m512i first = _mm512_permutex2var_epi8(x[0], pair[half], x[1]);
            const __m512i second = _mm512_permutex2var_epi8(x[2], pair[half], x[3]);
            const __m512i third = _mm512_permutex2var_epi8(x[4], pair[half], x[5]);
#pragma GCC unroll 4
            for (int part = 0; part < (parts < 4 ? parts : 4); ++part) {
                const __m512i four = _mm512_permutex2var_epi8(first, quad[part / 2], second);
                const __m512i rows = _mm512_permutex2var_epi8(four, eight[part], third);
                const __m512i address = _mm512_gf2p8affine_epi64_epi8(transpose, rows, 0);
                out[l * WORDS + half * 4 + part] = _cvtmask64_u64(_mm512_bitshuffle_epi64_mask(table, address));
            }
        }
    }
}

template <int inputs>
void look_up_layer(const LutLayer& layer, __m512i* planes, int64_t words) {
    if (words == 1) return look_up_tokens<inputs, 1>(layer, planes);
    if (words == 2) return look_up_tokens<inputs, 2>(layer, planes);
    if (words <= 4) return look_up_tokens<inputs, 4>(layer, planes);
    look_up_tokens<inputs, 8>(layer, planes);
}

}  // namespace
}  // namespace lutra
