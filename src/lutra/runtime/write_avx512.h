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

class PipelinedWriter {
public:
    PipelinedWriter(const Block& block, int64_t tokens, const Workspace& space, int32_t* out, bool past_cache,
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
        if (past_cache) write_rows([](int32_t* to, __m512i values) { _mm512_stream_si512((__m512i*)to, values); });
        else write_rows([](int32_t* to, __m512i values) { _mm512_storeu_si512(to, values); });
        next += 16;
    }

    template <class Store>
    void write_rows(Store store) const {
        const Requantiser requantise(block, column);
        // The rows that will be read next are fetched on the way, a part of them with every block of outputs.
        const int64_t step = (block.width + block.column_blocks - 1) / block.column_blocks;
        const int8_t* part = next_x + column / kColumns * tokens * step;
        turn_back(space.turned[1 - making] + next, [&](int64_t i, __m512i sums) {
            const int64_t t = next + i;
            if (t >= tokens) return;
            store(out + t * block.output_width + column, requantise(sums, 0));
            store(out + t * block.output_width + column + 16, requantise(sums, 1));
            _mm_prefetch(part + t * step, _MM_HINT_T1);
        });
    }

    const Block& block;
    const int64_t tokens;
    const Workspace& space;
    int32_t* const out;
    const bool past_cache;
    const int8_t* const next_x;
    int64_t column = 0, next;
    int making = 0;
};

}  // namespace
