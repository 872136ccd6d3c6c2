// Numbers of binary16 one at a time, on any processor. The other lanes_*.h have the same functions for several.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "../product/portable.h"
#include "bert.h"

namespace lutra {
namespace {

struct ScalarLanes : PortableProduct {
    using Floats = float;
    static constexpr int64_t COUNT = 1;

    static float load(const float* x) { return *x; }
    static void store(float* x, float v) { *x = v; }
    static float all(float x) { return x; }
    static float add(float a, float b) { return a + b; }
    static float subtract(float a, float b) { return a - b; }
    static float multiply(float a, float b) { return a * b; }
    static float positive(float x) { return x > 0 ? x : 0; }  // 0 is +0
    static float larger(float a, float b) { return a > b ? a : b; }
    static float largest(float x) { return x; }
    static float of_integers(const int32_t* x, const int32_t* y) { return float(*x + *y); }

    // Bits of the nearest binary16, ties to even.
    static uint32_t bits(float x) {
        uint32_t b;
        std::memcpy(&b, &x, sizeof b);
        const uint32_t sign = b >> 16 & 0x8000, magnitude = b & 0x7fffffff;
        if (magnitude >= 0x47800000) return sign | (magnitude > 0x7f800000 ? 0x7e00 : 0x7c00);  // 2^16 and beyond
        if (magnitude < 0x38800000) {  // below 2^-14: a multiple of 2^-24, which float32 rounds to when 1/2 is added
            float small;
            std::memcpy(&small, &magnitude, sizeof small);
            small += 0.5f;
            uint32_t rounded;
            std::memcpy(&rounded, &small, sizeof rounded);
            return sign | (rounded - 0x3f000000);
        }
        return sign | ((magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13);  // a carry makes 0x7c00
    }

    static float of_bits(uint32_t half) {
        const uint32_t sign = (half & 0x8000) << 16, magnitude = half & 0x7fff;
        uint32_t b = sign | ((magnitude << 13) + 0x38000000);
        if (magnitude >= 0x7c00) b = sign | magnitude << 13 | 0x7f800000;
        float x;
        if (magnitude < 0x400) {
            x = float(magnitude) * 5.9604644775390625e-8f;  // 2^-24
            return sign ? -x : x;
        }
        std::memcpy(&x, &b, sizeof x);
        return x;
    }

    static float half(float x) { return of_bits(bits(x)); }
    static bool out_of_range(float x) { return !(__builtin_fabsf(x) <= 65504.0f); }
    // The first `count` lanes, `fill` in the others.
    static float first(float x, int64_t, float) { return x; }
    static float look_up(const float* table, float x, uint32_t mask) { return table[bits(x) & mask]; }

    // Levels of numbers that have the bias in them.
    static float levels(const BertQuantiser& q, float x) {
        if (q.sign) return x >= 0 ? 2.0f : 0.0f;
        const float code = __builtin_floorf(half(x * q.inverse_step) + 0.5f);
        const float low = float(q.low), high = float(q.high);
        return (code < low ? low : code > high ? high : code) - low;
    }
    static void store_levels(uint8_t* out, float x, int64_t) { *out = uint8_t(x); }

    // A sum that is exact, because every number is a multiple of 2^-24.
    struct Sum {
        double total = 0;
        void add(float x) { total += x; }
        // Of squares in units of 2^-20, each rounded half up.
        void add_square(float x) { total += __builtin_floor(double(x) * double(x) * 1048576.0 + 0.5); }
        double value() const { return total; }
    };

    static void expand(const uint64_t* weights, int64_t planes, int64_t groups, int8_t* panel) {
        for (int64_t g = 0; g < groups; ++g, weights += planes)
            for (int64_t i = 0; i < GROUP_BYTES; ++i) {
                const bool present = planes == 1 || (weights[1] >> i & 1);
                *panel++ = !present ? 0 : weights[0] >> i & 1 ? 1 : -1;
            }
    }
};

}  // namespace
}  // namespace lutra
