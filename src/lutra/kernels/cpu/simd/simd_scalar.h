// The same as simd_avx512.h in C++ for any processor, of which GCC makes AVX2 or plain SSE; simd.h includes it.
#pragma once

namespace lutra {

LUTRA_INLINE Ints lanes_of(Mask mask) {
    const Ints bit = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
    int32_t m = mask;
    return ((Ints{m, m, m, m, m, m, m, m, m, m, m, m, m, m, m, m} & bit) != 0);
}
LUTRA_INLINE Mask mask_of(Ints lanes) {
    Mask mask = 0;
    for (int lane = 0; lane < 16; ++lane) mask |= (Mask)((lanes[lane] & 1) << lane);
    return mask;
}
LUTRA_INLINE Floats multiply_add(Floats a, Floats b, Floats c) {
#ifdef __FMA__
    Floats result;
    for (int half = 0; half < 2; ++half) {
        __m256 x, y, z;
        std::memcpy(&x, (const char*)&a + 32 * half, 32);
        std::memcpy(&y, (const char*)&b + 32 * half, 32);
        std::memcpy(&z, (const char*)&c + 32 * half, 32);
        z = _mm256_fmadd_ps(x, y, z);
        std::memcpy((char*)&result + 32 * half, &z, 32);
    }
    return result;
#else
    return a * b + c;
#endif
}
LUTRA_INLINE Floats masked_add(Floats a, Mask where, Floats b) { return a + (Floats)((Ints)b & lanes_of(where)); }
LUTRA_INLINE Floats masked_multiply_add(Floats sum, Mask where, Floats a, Floats b) {
    return masked_add(sum, where, a * b);
}
LUTRA_INLINE Mask at_least(Floats a, Floats b) { return mask_of(a >= b); }
LUTRA_INLINE Mask positive(Floats a) { return mask_of(a > splat(0)); }
LUTRA_INLINE Floats rounded_down(Floats x) {
    for (int lane = 0; lane < 16; ++lane) x[lane] = __builtin_floorf(x[lane]);
    return x;
}
LUTRA_INLINE Floats quantise(Floats x, Floats inverse_scale) {
    Floats steps = rounded_down(x * inverse_scale + splat(0.5f));
    for (int lane = 0; lane < 16; ++lane) {
        steps[lane] = steps[lane] > -128.f ? steps[lane] : -128.f;
        steps[lane] = steps[lane] < 127.f ? steps[lane] : 127.f;
    }
    return steps;
}
LUTRA_INLINE Ints widen(const uint8_t* bytes) {
    Ints index;
    for (int lane = 0; lane < 16; ++lane) index[lane] = bytes[lane];
    return index;
}
LUTRA_INLINE Ints flip(Ints index, Mask where, int32_t bit) {
    const Ints bits = {bit, bit, bit, bit, bit, bit, bit, bit, bit, bit, bit, bit, bit, bit, bit, bit};
    return index ^ (bits & lanes_of(where));
}
LUTRA_INLINE Floats lookup32(Floats low, Floats high, Ints index) {
    float table[32];
    store(table, low);
    store(table + 16, high);
    Floats value;
    for (int lane = 0; lane < 16; ++lane) value[lane] = table[index[lane] & 31];
    return value;
}
LUTRA_INLINE Floats choose(Ints index, int32_t bit, Floats if_clear, Floats if_set) {
    Floats value;
    for (int lane = 0; lane < 16; ++lane) value[lane] = index[lane] & bit ? if_set[lane] : if_clear[lane];
    return value;
}

LUTRA_INLINE Floats square_root(Floats x) {
    for (int lane = 0; lane < 16; ++lane) x[lane] = __builtin_sqrtf(x[lane]);
    return x;
}

// Which of 64 values are at least `b`.
LUTRA_INLINE uint64_t at_least(const Floats* a, Floats b) {
    uint64_t word = 0;
    for (int v = 0; v < 4; ++v) word |= uint64_t(at_least(a[v], b)) << (16 * v);
    return word;
}

// to[column * to_stride + row] = from[row * from_stride + column] for 16 rows and 16 columns.
LUTRA_INLINE void transpose16(const float* from, int64_t from_stride, float* to, int64_t to_stride) {
    for (int row = 0; row < 16; ++row)
        for (int column = 0; column < 16; ++column) to[column * to_stride + row] = from[row * from_stride + column];
}

// Addresses of one table for the 64 rows of a word, from the words of its inputs.
LUTRA_INLINE void addresses(const uint64_t* inputs, int n, uint8_t* address) {
    std::memset(address, 0, 64);
    for (int i = 0; i < n; ++i)
        for (int j = 0; j < 64; ++j) address[j] |= (uint8_t)((inputs[i] >> j & 1) << i);
}

// One output word of one table whose bits are packed: up to four words of 64 entries.
LUTRA_INLINE uint64_t lookup_bits(const uint64_t* table, const uint64_t* inputs, int n) {
    alignas(64) uint8_t address[64];
    addresses(inputs, n, address);
    uint64_t word = 0;
    for (int j = 0; j < 64; ++j) word |= (table[address[j] >> 6] >> (address[j] & 63) & 1) << j;
    return word;
}

// sum += 16 floats at `offset + entry` bytes from the table.
template <int64_t offset, int64_t size>
LUTRA_INLINE void add_from(Floats& sum, const float* table, uint64_t entry) {
    sum += load((const float*)((const char*)table + offset + entry));
}

// Into level[row]: how many of `count` words have the row's bit.
LUTRA_INLINE void count_set(const uint64_t* words, int64_t count, uint8_t* level) {
    std::memset(level, 0, 64);
    for (int64_t t = 0; t < count; ++t)
        for (int j = 0; j < 64; ++j) level[j] += (uint8_t)(words[t] >> j & 1);
}

}  // namespace lutra
