// Requantising and writing with AVX-512 VNNI. The sums of one block of outputs are written while those of the next are
// made: alone, the stores would wait for memory, which is slower than the arithmetic.
#pragma once

#include <immintrin.h>

#include "sum_avx512.h"

namespace {

// 32 outputs from sums in the order of turn_back.
struct Requantiser {
    __m512i multiplier[2], offset[2], shift[2], least, most;

    Requantiser(const Block& block, int64_t column) {
        for (int half = 0; half < 2; half++) {
            const int64_t output = column + 16 * half;
            // The sums lie in pairs: a multiplier in the low half of its lane takes the first of a pair.
            multiplier[half] = _mm512_slli_epi32(_mm512_loadu_si512(block.int32_multiplier + output), 16 * half);
            offset[half] = _mm512_loadu_si512(block.int32_offset + output);
            shift[half] = _mm512_loadu_si512(block.int32_shift + output);
        }
        least = _mm512_set1_epi32(int32_t(block.low));
        most = _mm512_set1_epi32(int32_t(block.high));
    }

    __m512i operator()(__m512i sums, int half) const {
        const __m512i value = _mm512_srav_epi32(_mm512_dpwssd_epi32(offset[half], sums, multiplier[half]), shift[half]);
        return _mm512_min_epi32(_mm512_max_epi32(value, least), most);
    }
};

// The lower halves of 32 int32.
inline __m512i to_int16(__m512i first, __m512i second) {
    alignas(64) static constexpr struct Places {
        int16_t even[32] = {};
        constexpr Places() {
            for (int i = 0; i < 32; i++) even[i] = int16_t(2 * i);
        }
    } places;
    return _mm512_permutex2var_epi16(first, _mm512_load_si512(places.even), second);
}

template <bool past_cache>
inline void store_line(char* to, __m512i values) {
    if constexpr (past_cache) _mm512_stream_si512(reinterpret_cast<__m512i*>(to), values);
    else _mm512_storeu_si512(to, values);
}

// 32 outputs side by side. Those of one byte are half a cache line, which the cache puts together with the other half.
template <int64_t output_bytes, bool past_cache>
inline void store_outputs(char* to, __m512i first, __m512i second) {
    if constexpr (output_bytes == 1) {
        const __m256i bytes = _mm512_cvtepi16_epi8(to_int16(first, second));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), bytes);
    } else if constexpr (output_bytes == 2) {
        store_line<past_cache>(to, to_int16(first, second));
    } else {
        store_line<past_cache>(to, first);
        store_line<past_cache>(to + 64, second);
    }
}

class PipelinedWriter {
public:
    PipelinedWriter(const Block& block, int64_t tokens, const Workspace& space, char* out, bool past_cache,
                    const int8_t* next_x)
        : block(block), tokens(tokens), space(space), out(out), past_cache(past_cache), next_x(next_x), next(tokens) {}

    // Where the sums are to be made.
    int16_t* sums() const { return space.turned[making]; }

    void write(int64_t first_output) {
        while (next < tokens) advance();
        column = first_output;
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
        switch (block.output_bytes) {
            case 1: write_rows<1, false>(); break;
            case 2: past_cache ? write_rows<2, true>() : write_rows<2, false>(); break;
            default: past_cache ? write_rows<4, true>() : write_rows<4, false>();
        }
        next += 16;
    }

    template <int64_t output_bytes, bool past_cache>
    void write_rows() const {
        const Requantiser requantise(block, column);
        const int64_t left = tokens - next, row_bytes = block.output_width * output_bytes;
        char* first = out + next * row_bytes + column * output_bytes;
        // The rows that will be read next are fetched on the way, a part of them with every block of outputs.
        const int64_t step = (block.width + block.column_blocks - 1) / block.column_blocks;
        const int8_t* part = next_x + (column / kColumns * tokens + next) * step;
        turn_back(space.turned[1 - making] + next, [=](int64_t t, __m512i sums) {
            if (t >= left) return;
            store_outputs<output_bytes, past_cache>(first + t * row_bytes, requantise(sums, 0), requantise(sums, 1));
            _mm_prefetch(part + t * step, _MM_HINT_T1);
        });
    }

    const Block& block;
    const int64_t tokens;
    const Workspace& space;
    char* const out;
    const bool past_cache;
    const int8_t* const next_x;
    int64_t column = 0, next;
    int making = 0;
};

}  // namespace
