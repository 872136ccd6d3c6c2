// Requantising and writing with AVX-512 VNNI. The sums of one block of outputs are written while those of the next are
// made: alone, the stores would wait for memory, which is slower than the arithmetic.
#pragma once

#include <immintrin.h>

#include <type_traits>

#include "sum_avx512.h"

namespace lutra {
namespace {

// 32 outputs from sums in the order of turn_back.
struct Requantiser {
    __m512i multiplier[2], offset[2], shift[2], least, most;

    Requantiser(const Block& block, int64_t column) {
        // The sums lie in pairs: a multiplier in the low half of its lane takes the first of a pair.
        take(block.int32_multiplier + column, multiplier);
        multiplier[1] = _mm512_slli_epi32(multiplier[1], 16);
        take(block.int32_offset + column, offset);
        take(block.int32_shift + column, shift);
        const auto low = int32_t(block.low), high = int32_t(block.high);
        least = block.output_bytes == 4 ? _mm512_set1_epi32(low) : _mm512_set1_epi16(int16_t(low));
        most = block.output_bytes == 4 ? _mm512_set1_epi32(high) : _mm512_set1_epi16(int16_t(high));
    }

    // The first four of every eight values, and the others.
    static void take(const int32_t* values, __m512i* fours) {
        const __m512i first = _mm512_loadu_si512(values), second = _mm512_loadu_si512(values + 16);
        fours[0] = _mm512_shuffle_i32x4(first, second, 0x88);
        fours[1] = _mm512_shuffle_i32x4(first, second, 0xdd);
    }

    __m512i unlimited(__m512i sums, int half) const {
        return _mm512_srav_epi32(_mm512_dpwssd_epi32(offset[half], sums, multiplier[half]), shift[half]);
    }

    // Packing limits values to 16 bits; `limited` if the limits of the type are narrower.
    template <bool limited>
    __m512i to_int16(__m512i sums) const {
        const __m512i values = _mm512_packs_epi32(unlimited(sums, 0), unlimited(sums, 1));
        return limited ? _mm512_min_epi16(_mm512_max_epi16(values, least), most) : values;
    }

    __m512i to_uint16(__m512i sums) const {
        const __m512i values = _mm512_packus_epi32(unlimited(sums, 0), unlimited(sums, 1));
        return _mm512_min_epu16(_mm512_max_epu16(values, least), most);
    }

    void to_int32(__m512i sums, __m512i& first, __m512i& second) const {
        first = _mm512_min_epi32(_mm512_max_epi32(unlimited(sums, 0), least), most);
        second = _mm512_min_epi32(_mm512_max_epi32(unlimited(sums, 1), least), most);
        put_in_order(first, second);
    }
};

template <bool past_cache>
inline void store_line(char* to, __m512i values) {
    if constexpr (past_cache) _mm512_stream_si512(reinterpret_cast<__m512i*>(to), values);
    else _mm512_storeu_si512(to, values);
}

template <bool past_cache>
inline void store_half_line(char* to, __m256i values) {
    if constexpr (past_cache) _mm256_stream_si256(reinterpret_cast<__m256i*>(to), values);
    else _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), values);
}

// The 32 outputs of a token.
template <class Out, bool limited, bool past_cache>
inline void write_token(const Requantiser& requantise, __m512i sums, char* to) {
    if constexpr (std::is_same_v<Out, int8_t>) {
        store_half_line<past_cache>(to, _mm512_cvtepi16_epi8(requantise.to_int16<limited>(sums)));
    } else if constexpr (std::is_same_v<Out, int16_t>) {
        store_line<past_cache>(to, requantise.to_int16<limited>(sums));
    } else if constexpr (std::is_same_v<Out, uint16_t>) {
        store_line<past_cache>(to, requantise.to_uint16(sums));
    } else {
        __m512i first, second;
        requantise.to_int32(sums, first, second);
        store_line<past_cache>(to, first);
        store_line<past_cache>(to + 64, second);
    }
}

class PipelinedWriter {
public:
    PipelinedWriter(const Block& block, int64_t tokens, const Workspace& space, char* out, bool past_cache,
                    const int8_t* next_x)
        : block(block),
          tokens(tokens),
          space(space),
          out(out),
          past_cache(past_cache),
          next_x(next_x),
          due(block, 0),
          next(tokens) {}

    // Where the sums are to be made.
    int16_t* sums() const { return space.turned[making]; }

    void write(int64_t first_output) {
        while (next < tokens) advance();
        column = first_output;
        due = Requantiser(block, column);
        next = 0;
        making = 1 - making;
    }

    // Writes so much that what is due keeps pace with the sums, of which `done` of `steps` are made.
    void keep_pace(int64_t done, int64_t steps) {
        while (next < tokens && next * steps < done * tokens) advance();
    }

    void finish() {
        while (next < tokens) advance();
        _mm_sfence();
    }

private:
    void advance() {
        const bool all_of_int16 = block.low == INT16_MIN && block.high == INT16_MAX;
        if (block.output_bytes == 1) write_rows<int8_t>();  // or uint8: the same bytes
        else if (block.output_bytes == 4) write_rows<int32_t>();
        else if (block.high > INT16_MAX) write_rows<uint16_t>();
        else if (all_of_int16) write_rows<int16_t, false>();
        else write_rows<int16_t>();
        next += 16;
    }

    template <class Out, bool limited = true>
    void write_rows() const {
        past_cache ? write_rows<Out, limited, true>() : write_rows<Out, limited, false>();
    }

    template <class Out, bool limited, bool to_memory>
    void write_rows() const {
        const Requantiser requantise = due;  // a copy may stay in registers, whatever the stores alias
        const int64_t left = tokens - next, row_bytes = block.output_width * sizeof(Out);
        char* first = out + next * row_bytes + column * sizeof(Out);
        // The rows that will be read next are fetched on the way, a part of them with every block of outputs.
        const int64_t step = (block.width + block.column_blocks - 1) / block.column_blocks;
        const int8_t* part = next_x + (column / COLUMNS * tokens + next) * step;
        turn_back(space.turned[1 - making] + next, [=](int64_t t, __m512i sums) {
            if (t >= left) return;
            write_token<Out, limited, to_memory>(requantise, sums, first + t * row_bytes);
            _mm_prefetch(part + t * step, _MM_HINT_T1);
        });
    }

    const Block& block;
    const int64_t tokens;
    const Workspace& space;
    char* const out;
    const bool past_cache;
    const int8_t* const next_x;
    Requantiser due;
    int64_t column = 0, next;
    int making = 0;
};

}  // namespace
}  // namespace lutra
