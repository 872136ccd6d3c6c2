// A weightless block prepared for the kernels (engine.py fills these structures; the arrays belong to Python).
//
// A *plane* is one bit of TOKENS tokens. Planes of a block are numbered: first the thermometer bits, then the
// outputs of each LUT layer. The conditional sum reads its bits in groups of six: the six bits of a token address a
// table of 64 partial sums, which is built on the way (it costs a tenth of its use and no memory).
#pragma once

#include <cstdint>

namespace lutra {

constexpr int64_t TOKENS = 512;                 // tokens of one plane
constexpr int64_t WORDS = TOKENS / 64;          // 64-bit words of one plane
constexpr int64_t COLUMN_STRIDE = TOKENS + 64;  // bytes of one feature; padded against cache set conflicts
constexpr int64_t BLOCK_TOKENS = 2048;          // tokens summed with one set of tables
constexpr int64_t COLUMNS = 32;                 // outputs summed at once: one 512-bit vector of int16
constexpr int64_t GROUP_BITS = 6;               // bits that address one table of partial sums
constexpr int64_t GROUP_ENTRIES = 64;
constexpr int64_t GROUPS_AT_ONCE = 8;                  // tables of partial sums held in the L1 cache: 32 KiB
constexpr int64_t ADDRESS_STRIDE = BLOCK_TOKENS + 64;  // padded so that eight rows do not fall on the same cache sets
constexpr int64_t SUM_STRIDE = BLOCK_TOKENS + 32;      // so are these

struct LutLayer {
    int64_t luts, inputs;
    int64_t first_plane;
    const int32_t* connections;  // (luts, inputs) plane numbers
    const uint8_t* nibbles;      // (luts, 2^inputs / 4) table entries, four to a byte
    const uint64_t* tables;      // (luts) of up to six inputs, repeated to 64 entries
    // The same layer for one token, 64 tables at a time (padded with tables of zeros):
    const uint8_t* source_low;          // (luts / 64, inputs, 64) byte of the packed source bits, modulo 128
    const uint8_t* source_high;         // that byte divided by 128
    const uint8_t* source_bit;          // 1 << bit within the byte
    const uint8_t* table_bytes;         // (luts / 64, bytes per table, 64)
    int64_t source_word, source_words;  // where the source bits begin in the packed bits of a token, in 64-bit words
    int64_t first_word;                 // where the outputs begin
};

struct Block {
    int64_t width, thermometer_bits, output_width;
    int64_t output_bytes;  // 1, 2 or 4: an output is int8, uint8, int16, uint16 or int32
    int64_t planes;
    const int8_t* thresholds;  // (width * thermometer_bits) clamped to 127, padded to 64
    int64_t dead_count;        // thermometer bits with threshold 128: always 0
    const int32_t* dead;
    // The thermometer for one token, 64 bits to a word: the features of a word lie close together
    const uint64_t* live;           // which bits are not dead
    const int32_t* first_feature;   // (words)
    const uint8_t* feature_offset;  // (words, 64) feature minus first_feature
    int64_t packed_words;           // thermometer and all layers, each rounded up to a word
    int64_t few_tokens_allowed;     // 0 if a layer reads too many bits for the one-token kernel
    int64_t layer_count;
    const LutLayer* layers;
    // Conditional sum, many tokens
    int64_t group_count;
    const int32_t* group_planes;  // (group_count, 6)
    int64_t column_blocks;
    const int32_t* column_segments;  // (column_blocks + 1) first segment of each column block
    const int32_t* segment_tables;   // (segments + 1) first table of each segment
    const int16_t* segment_start;    // (segments, 32) minus the centre of the segment's sums, so that they fit int16
    const int32_t* segment_used;     // (segments, 8, 2) from which to which table four outputs each have a value
    const int32_t* table_group;      // (tables) which group addresses it
    const int16_t* table_pairs;      // (tables, 3, 32) encoded values of two bits: low byte, high byte
    // Conditional sum, one token: `encoded` row by row, `token_rows` for products of four rows at once
    int64_t sum_rows;
    const int32_t* sum_planes;  // (sum_rows) plane of each row
    const int8_t* encoded;      // (sum_rows, column_blocks * 32)
    int64_t sum_pieces;
    const int32_t* sum_source;  // (sum_pieces, 3): first word in the packed bits, number of words, first row
    const int8_t* token_rows;   // per tile of up to 8 vectors: (ceil(sum_rows / 4), vectors, 16, 4)
    // Requantise; arrays are padded to column_blocks * 32
    int64_t exact_in_int32;  // multipliers are below 2^15 and all results before the shift below 2^31
    const int32_t* int32_multiplier;
    const int32_t* int32_offset;  // constant * multiplier + rounding
    const int32_t* int32_shift;   // at most 31
    int64_t exact_in_double;      // every product is below 2^52
    const double* scale;          // multiplier * 2^-shift
    const double* offset;         // (constant * multiplier + rounding) * 2^-shift
    const double* token_offset;   // the same without the centres
    const int64_t* multiplier;
    const int64_t* shift;
    const int64_t* constant;  // bias and centres
    const int64_t* bias;
    int64_t low, high;
};

struct Kernels {
    int64_t (*workspace_bytes)(const Block&);
    void (*run_block)(const Block&, const int8_t* x, int64_t tokens, char* out, bool past_cache, char* workspace);
    void (*run_token)(const Block&, const int8_t* x, char* out, char* workspace);
    int64_t few_tokens;  // up to so many, run_token is quicker
};

extern const Kernels kernels_scalar, kernels_avx2, kernels_avx512;

}  // namespace lutra
