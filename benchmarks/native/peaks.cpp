// What one thread of a machine with AVX-512 VBMI does at best, by kind of instruction and level of memory.
#pragma GCC target("avx512f,avx512bw,avx512vbmi")
#include <immintrin.h>

#include <cstdint>

#define EXPORT extern "C" __attribute__((visibility("default")))

constexpr int kRegisters = 16;  // independent chains, for `rounds` times as many instructions

template <class Step>
int64_t chains(int64_t rounds, Step step) {
    __m512i r[kRegisters];
#pragma GCC unroll 16
    for (int i = 0; i < kRegisters; i++) r[i] = _mm512_set1_epi16(short(i));
    for (int64_t k = 0; k < rounds; k++) {
#pragma GCC unroll 16
        for (int i = 0; i < kRegisters; i++) {
            r[i] = step(r[i]);
            asm volatile("" : "+v"(r[i]));
        }
    }
#pragma GCC unroll 16
    for (int i = 1; i < kRegisters; i++) r[0] = _mm512_add_epi32(r[0], r[i]);
    return _mm512_cvtsi512_si32(r[0]);
}

EXPORT int64_t permutes(int64_t rounds) {
    const __m512i address = _mm512_set1_epi16(33), high = _mm512_set1_epi16(5);
    return chains(rounds, [&](__m512i r) { return _mm512_permutex2var_epi16(r, address, high); });
}

EXPORT int64_t additions(int64_t rounds) {
    return chains(rounds, [](__m512i r) { return _mm512_add_epi16(r, _mm512_set1_epi16(3)); });
}

EXPORT int64_t float_additions(int64_t rounds) {
    return chains(rounds, [](__m512i r) {
        return _mm512_castps_si512(_mm512_add_ps(_mm512_castsi512_ps(r), _mm512_set1_ps(1.f)));
    });
}

EXPORT int64_t multiply_adds(int64_t rounds) {
    return chains(rounds, [](__m512i r) {
        const __m512 half = _mm512_set1_ps(0.5f);
        return _mm512_castps_si512(_mm512_fmadd_ps(_mm512_castsi512_ps(r), half, half));
    });
}

// A permute and the addition of its result, as the sum of a block needs them.
EXPORT int64_t permutes_and_additions(int64_t rounds) {
    __m512i sum[kRegisters], low = _mm512_set1_epi16(2), high = _mm512_set1_epi16(3), address = _mm512_set1_epi16(33);
#pragma GCC unroll 16
    for (int i = 0; i < kRegisters; i++) sum[i] = _mm512_set1_epi16(short(i));
    for (int64_t k = 0; k < rounds; k++) {
#pragma GCC unroll 16
        for (int i = 0; i < kRegisters; i++) {
            asm volatile("" : "+v"(low), "+v"(high), "+v"(address));  // so that no permute serves two sums
            sum[i] = _mm512_add_epi16(sum[i], _mm512_permutex2var_epi16(low, address, high));
            asm volatile("" : "+v"(sum[i]));
        }
    }
    int64_t total = 0;
#pragma GCC unroll 16
    for (int i = 0; i < kRegisters; i++) total += _mm512_cvtsi512_si32(sum[i]);
    return total;
}

// Reads `bytes` (a multiple of 1,024) `rounds` times.
EXPORT int64_t reads(const char* memory, int64_t bytes, int64_t rounds) {
    for (int64_t k = 0; k < rounds; k++)
        for (int64_t at = 0; at < bytes; at += 64 * kRegisters) {
#pragma GCC unroll 16
            for (int i = 0; i < kRegisters; i++) {
                __m512i value = _mm512_load_si512(memory + at + 64 * i);
                asm volatile("" : "+v"(value));
            }
        }
    return memory[0];
}

// Writes `bytes` past the caches.
EXPORT int64_t streams(char* memory, int64_t bytes, int64_t rounds) {
    for (int64_t k = 0; k < rounds; k++)
        for (int64_t at = 0; at < bytes; at += 64)
            _mm512_stream_si512(reinterpret_cast<__m512i*>(memory + at), _mm512_set1_epi8(char(k)));
    _mm_sfence();
    return memory[0];
}
