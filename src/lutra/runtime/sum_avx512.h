// The conditional sum with AVX-512 VBMI: 32 tokens at once look their six bits up in a table of one output that lies in
// two registers. This moves fewer bytes than reading rows of a table in memory: loads are what limits the sum.
#pragma once

#include <immintrin.h>

#include "block_kernel.h"

namespace lutra {
namespace {

constexpr int OUTPUTS_AT_ONCE = 4;  // their tables fill eight registers,
constexpr int VECTORS_AT_ONCE = 4;  // 4 x 32 tokens of them sixteen more
constexpr int64_t TILE_TOKENS = VECTORS_AT_ONCE * 32;
constexpr int64_t CHUNK_GROUPS = 32;  // 16 KiB of tables: they stay in the L1 cache

// Tables of four outputs: entries 0 to 31 and 32 to 63 of every output.
inline void build_register_tables(const int16_t* pairs, __m512i* tables) {
    alignas(64) static const struct Bits {
        uint8_t of_entry[4][64];  // for bits (0, 1), (2, 3), (4, 0) and (4, 1) of entries 0 to 31
        constexpr Bits() : of_entry() {
            for (int entry = 0; entry < 32; ++entry)
                for (int k = 0; k < 2; ++k) {
                    of_entry[0][2 * entry + k] = entry >> k & 1;
                    of_entry[1][2 * entry + k] = entry >> (2 + k) & 1;
                    of_entry[2][2 * entry + k] = k == 0 ? entry >> 4 & 1 : 0;
                    of_entry[3][2 * entry + k] = k == 0 ? entry >> 4 & 1 : 1;
                }
        }
    } bits;
    const __m512i first = _mm512_load_si512(bits.of_entry[0]), second = _mm512_load_si512(bits.of_entry[1]);
    const __m512i low = _mm512_load_si512(bits.of_entry[2]), high = _mm512_load_si512(bits.of_entry[3]);
    for (int output = 0; output < OUTPUTS_AT_ONCE; ++output) {
        const __m512i last = _mm512_set1_epi16(pairs[2 * COLUMNS + output]);
        const __m512i two = _mm512_maddubs_epi16(first, _mm512_set1_epi16(pairs[output]));
        const __m512i next_two = _mm512_maddubs_epi16(second, _mm512_set1_epi16(pairs[COLUMNS + output]));
        const __m512i four = _mm512_add_epi16(two, next_two);
        tables[2 * output] = _mm512_add_epi16(four, _mm512_maddubs_epi16(low, last));
        tables[2 * output + 1] = _mm512_add_epi16(four, _mm512_maddubs_epi16(high, last));
    }
}

// Adds `groups` tables of four outputs to the sums of 128 tokens.
inline void add_register_tables(const __m512i* tables, const uint8_t* addresses, const int32_t* table_group,
                                int64_t groups, const int16_t* start, int16_t* turned) {
    __m512i sum[OUTPUTS_AT_ONCE][VECTORS_AT_ONCE];
#pragma GCC unroll 4
    for (int o = 0; o < OUTPUTS_AT_ONCE; ++o)
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS_AT_ONCE; ++v)
            sum[o][v] = start ? _mm512_set1_epi16(start[o]) : _mm512_loadu_si512(turned + o * SUM_STRIDE + 32 * v);
    for (int64_t g = 0; g < groups; ++g) {
        const uint8_t* row = addresses + table_group[g] * ADDRESS_STRIDE;
        __m512i low[OUTPUTS_AT_ONCE], high[OUTPUTS_AT_ONCE], address;
#pragma GCC unroll 4
        for (int o = 0; o < OUTPUTS_AT_ONCE; ++o) {
            low[o] = tables[(g * OUTPUTS_AT_ONCE + o) * 2];
            high[o] = tables[(g * OUTPUTS_AT_ONCE + o) * 2 + 1];
            asm("" : "+v"(low[o]), "+v"(high[o]));  // keep both in registers: reading them again would double the loads
        }
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS_AT_ONCE; ++v) {
            if (v % 2 == 0) address = _mm512_load_si512(row + 32 * v);
            else address = _mm512_srli_epi16(address, 8);
#pragma GCC unroll 4
            for (int o = 0; o < OUTPUTS_AT_ONCE; ++o) {
                sum[o][v] = _mm512_add_epi16(sum[o][v], _mm512_permutex2var_epi16(low[o], address, high[o]));
                asm volatile("" : "+v"(sum[o][v]));  // in this order: all permutes first would spill registers
            }
        }
    }
#pragma GCC unroll 4
    for (int o = 0; o < OUTPUTS_AT_ONCE; ++o)
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS_AT_ONCE; ++v) _mm512_storeu_si512(turned + o * SUM_STRIDE + 32 * v, sum[o][v]);
}

// Three rounds of interleaving halves transpose eight rows of eight in every lane.
inline void transpose_lanes(__m512i* rows) {
    __m512i next[8];
#pragma GCC unroll 3
    for (int round = 0; round < 3; ++round) {
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
            next[2 * i] = _mm512_unpacklo_epi16(rows[i], rows[i + 4]);
            next[2 * i + 1] = _mm512_unpackhi_epi16(rows[i], rows[i + 4]);
        }
#pragma GCC unroll 8
        for (int i = 0; i < 8; ++i) rows[i] = next[i];
    }
}

// 32 outputs of 16 tokens, output by output -> put(token, sums) for every token. Of every eight outputs, the first four
// are in even places and the others in odd ones: one multiplication then makes a vector of int32 of each, and packing
// these two puts all outputs in order.
template <class Put>
inline void turn_back(const int16_t* turned, Put&& put) {
    __m512i rows[2][8];  // lanes: 8 places of token j, of token 8 + j, the next 8 places of both
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
#pragma GCC unroll 8
        for (int i = 0; i < 8; ++i) {
            const int16_t* low = turned + (16 * half + i % 2 * 4 + i / 2) * SUM_STRIDE;
            const __m256i* high = reinterpret_cast<const __m256i*>(low + 8 * SUM_STRIDE);
            const __m512i wide = _mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(low)));
            rows[half][i] = _mm512_inserti64x4(wide, _mm256_loadu_si256(high), 1);
        }
        transpose_lanes(rows[half]);
    }
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) {
        put(j, _mm512_shuffle_i32x4(rows[0][j], rows[1][j], 0x88));
        put(8 + j, _mm512_shuffle_i32x4(rows[0][j], rows[1][j], 0xdd));
    }
}

// Two vectors of int32, as multiplying what turn_back gives makes them, in order.
inline void put_in_order(__m512i& first, __m512i& second) {
    const __m512i fours = first;  // the first four of every eight
    first = _mm512_permutex2var_epi64(fours, _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), second);
    second = _mm512_permutex2var_epi64(fours, _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15), second);
}

// The sums of a segment by output. After every tile, meanwhile(tiles done, all tiles) is called.
template <class Meanwhile>
void permute_sum(const Block& block, int64_t segment, int64_t tokens, const Workspace& space, int16_t* turned,
                 Meanwhile&& meanwhile) {
    __m512i* tables = reinterpret_cast<__m512i*>(space.tables);
    constexpr int64_t PARTS = COLUMNS / OUTPUTS_AT_ONCE;
    const int32_t* used = block.segment_used + segment * PARTS * 2;
    int64_t chunks = 0, done = 0;
    for (int64_t p = 0; p < PARTS; ++p) chunks += (used[2 * p + 1] - used[2 * p] + CHUNK_GROUPS - 1) / CHUNK_GROUPS;
    const int64_t tiles = chunks * ((tokens + TILE_TOKENS - 1) / TILE_TOKENS);
    for (int64_t output = 0; output < COLUMNS; output += OUTPUTS_AT_ONCE, used += 2) {
        const int64_t first = used[0], end = used[1];
        const int16_t* start = block.segment_start + segment * COLUMNS + output;
        for (int64_t table = first; table < end; table += CHUNK_GROUPS) {
            const int64_t groups = end - table < CHUNK_GROUPS ? end - table : CHUNK_GROUPS;
            for (int64_t g = 0; g < groups; ++g)
                build_register_tables(block.table_pairs + (table + g) * 3 * COLUMNS + output,
                                      tables + g * 2 * OUTPUTS_AT_ONCE);
            for (int64_t t = 0; t < tokens; t += TILE_TOKENS) {
                add_register_tables(tables, space.addresses + t, block.table_group + table, groups,
                                    table == first ? start : nullptr, turned + output * SUM_STRIDE + t);
                meanwhile(++done, tiles);
            }
        }
    }
}

}  // namespace
}  // namespace lutra
