// The conditional sum with AVX-512 VBMI: 32 tokens at once look their six bits up in a table of one output that lies in
// two registers. This moves fewer bytes than reading rows of a table in memory: loads are what limits the sum.
#pragma once

#include <immintrin.h>

#include "block_kernel.h"

namespace {

constexpr int kOutputsAtOnce = 4;                     // their tables fill eight registers,
constexpr int kVectorsAtOnce = 4;                     // 4 x 32 tokens of them sixteen more
constexpr int64_t kTileTokens = kVectorsAtOnce * 32;
constexpr int64_t kChunkGroups = 32;                  // 16 KiB of tables: they stay in the L1 cache

// Tables of four outputs: entries 0 to 31 and 32 to 63 of every output.
inline void build_register_tables(const int16_t* pairs, __m512i* tables) {
    alignas(64) static const struct Bits {
        uint8_t of_entry[4][64];  // for bits (0, 1), (2, 3), (4, 0) and (4, 1) of entries 0 to 31
        constexpr Bits() : of_entry() {
            for (int entry = 0; entry < 32; entry++)
                for (int k = 0; k < 2; k++) {
                    of_entry[0][2 * entry + k] = entry >> k & 1;
                    of_entry[1][2 * entry + k] = entry >> (2 + k) & 1;
                    of_entry[2][2 * entry + k] = k == 0 ? entry >> 4 & 1 : 0;
                    of_entry[3][2 * entry + k] = k == 0 ? entry >> 4 & 1 : 1;
                }
        }
    } bits;
    const __m512i first = _mm512_load_si512(bits.of_entry[0]), second = _mm512_load_si512(bits.of_entry[1]);
    const __m512i low = _mm512_load_si512(bits.of_entry[2]), high = _mm512_load_si512(bits.of_entry[3]);
    for (int output = 0; output < kOutputsAtOnce; output++) {
        const __m512i last = _mm512_set1_epi16(pairs[2 * kColumns + output]);
        const __m512i two = _mm512_maddubs_epi16(first, _mm512_set1_epi16(pairs[output]));
        const __m512i next_two = _mm512_maddubs_epi16(second, _mm512_set1_epi16(pairs[kColumns + output]));
        const __m512i four = _mm512_add_epi16(two, next_two);
        tables[2 * output] = _mm512_add_epi16(four, _mm512_maddubs_epi16(low, last));
        tables[2 * output + 1] = _mm512_add_epi16(four, _mm512_maddubs_epi16(high, last));
    }
}

// Adds `groups` tables of four outputs to the sums of 128 tokens.
inline void add_register_tables(const __m512i* tables, const uint16_t* addresses, const int32_t* table_group,
                                int64_t groups, const int16_t* start, int16_t* turned) {
    __m512i sum[kOutputsAtOnce][kVectorsAtOnce];
#pragma GCC unroll 4
    for (int o = 0; o < kOutputsAtOnce; o++)
#pragma GCC unroll 4
        for (int v = 0; v < kVectorsAtOnce; v++)
            sum[o][v] = start ? _mm512_set1_epi16(start[o]) : _mm512_loadu_si512(turned + o * kIndexStride + 32 * v);
    for (int64_t g = 0; g < groups; g++) {
        const uint16_t* row = addresses + table_group[g] * kIndexStride;
        __m512i low[kOutputsAtOnce], high[kOutputsAtOnce];
#pragma GCC unroll 4
        for (int o = 0; o < kOutputsAtOnce; o++) {
            low[o] = tables[(g * kOutputsAtOnce + o) * 2];
            high[o] = tables[(g * kOutputsAtOnce + o) * 2 + 1];
            asm("" : "+v"(low[o]), "+v"(high[o]));  // keep both in registers: reading them again would double the loads
        }
#pragma GCC unroll 4
        for (int v = 0; v < kVectorsAtOnce; v++) {
            const __m512i address = _mm512_loadu_si512(row + 32 * v);
#pragma GCC unroll 4
            for (int o = 0; o < kOutputsAtOnce; o++) {
                sum[o][v] = _mm512_add_epi16(sum[o][v], _mm512_permutex2var_epi16(low[o], address, high[o]));
                asm volatile("" : "+v"(sum[o][v]));  // in this order: all permutes first would spill registers
            }
        }
    }
#pragma GCC unroll 4
    for (int o = 0; o < kOutputsAtOnce; o++)
#pragma GCC unroll 4
        for (int v = 0; v < kVectorsAtOnce; v++) _mm512_storeu_si512(turned + o * kIndexStride + 32 * v, sum[o][v]);
}

// 32 outputs of 32 tokens, output by output -> put(token, sums) for every token. Outputs 0 to 15 are in the even places,
// 16 to 31 in the odd ones: one multiplication then makes a vector of int32 of each.
template <class Put>
inline void turn_back(const int16_t* turned, Put&& put) {
    __m512i rows[4][8];  // [eight places][token in a lane]: lane L holds eight places of token 8 L + j
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) {
        __m512i a[8], b[8];
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) a[i] = _mm512_loadu_si512(turned + (i % 2 * 16 + 4 * r + i / 2) * kIndexStride);
#pragma GCC unroll 3
        for (int round = 0; round < 3; round++) {
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) {
                b[2 * i] = _mm512_unpacklo_epi16(a[i], a[i + 4]);
                b[2 * i + 1] = _mm512_unpackhi_epi16(a[i], a[i + 4]);
            }
#pragma GCC unroll 8
            for (int i = 0; i < 8; i++) a[i] = b[i];
        }
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) rows[r][i] = a[i];
    }
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) {
        const __m512i low01 = _mm512_shuffle_i32x4(rows[0][j], rows[1][j], 0x44);  // lanes 0 and 1 of both
        const __m512i low23 = _mm512_shuffle_i32x4(rows[2][j], rows[3][j], 0x44);
        const __m512i high01 = _mm512_shuffle_i32x4(rows[0][j], rows[1][j], 0xee);
        const __m512i high23 = _mm512_shuffle_i32x4(rows[2][j], rows[3][j], 0xee);
        put(j, _mm512_shuffle_i32x4(low01, low23, 0x88));
        put(8 + j, _mm512_shuffle_i32x4(low01, low23, 0xdd));
        put(16 + j, _mm512_shuffle_i32x4(high01, high23, 0x88));
        put(24 + j, _mm512_shuffle_i32x4(high01, high23, 0xdd));
    }
}

// The sums of a segment by output. After every tile, meanwhile(tiles done, all tiles) is called.
template <class Meanwhile>
void permute_sum(const Block& block, int64_t segment, int64_t tokens, const Workspace& space, int16_t* turned,
                 Meanwhile&& meanwhile) {
    __m512i* tables = reinterpret_cast<__m512i*>(space.tables);
    const int64_t first = block.segment_tables[segment], end = block.segment_tables[segment + 1];
    const int64_t chunks = (end - first + kChunkGroups - 1) / kChunkGroups;
    const int64_t tiles = kColumns / kOutputsAtOnce * chunks * ((tokens + kTileTokens - 1) / kTileTokens);
    int64_t done = 0;
    for (int64_t output = 0; output < kColumns; output += kOutputsAtOnce) {
        const int16_t* start = block.segment_start + segment * kColumns + output;
        for (int64_t table = first; table < end; table += kChunkGroups) {
            const int64_t groups = end - table < kChunkGroups ? end - table : kChunkGroups;
            for (int64_t g = 0; g < groups; g++)
                build_register_tables(block.table_pairs + (table + g) * 3 * kColumns + output,
                                      tables + g * 2 * kOutputsAtOnce);
            for (int64_t t = 0; t < tokens; t += kTileTokens) {
                add_register_tables(tables, space.addresses + t, block.table_group + table, groups,
                                    table == first ? start : nullptr, turned + output * kIndexStride + t);
                meanwhile(++done, tiles);
            }
        }
    }
}

}  // namespace
