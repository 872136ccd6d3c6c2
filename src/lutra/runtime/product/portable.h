// Products on any processor; included after the target pragma of a source (hence the anonymous namespace).
#pragma once

#include <cstring>

#include "panels.h"

namespace lutra {
namespace {

struct PortableProduct {
    // sums (rows, panels * 16) of left (rows, 4 * groups) and panels, `sums_stride` apart.
    static void product(const uint8_t* left, int64_t left_stride, const int8_t* panels, int64_t panel_stride,
                        int64_t groups, int64_t rows, int64_t panel_count, int32_t* sums, int64_t sums_stride) {
        for (int64_t r = 0; r < rows; r++)
            for (int64_t p = 0; p < panel_count; p++) {
                // Every byte of a group has a sum of its own, and a product fits 16 bits: compilers make vectors of
                // that.
                int32_t total[GROUP_BYTES] = {};
                const int8_t* weights = panels + p * panel_stride;
                for (int64_t g = 0; g < groups; g++, weights += GROUP_BYTES) {
                    const uint8_t* a = left + r * left_stride + g * PANEL_GROUP;
                    const int16_t four[PANEL_GROUP] = {a[0], a[1], a[2], a[3]};
                    int16_t repeated[GROUP_BYTES];
                    for (int64_t c = 0; c < PANEL_COLUMNS; c++)
                        std::memcpy(repeated + c * PANEL_GROUP, four, sizeof four);
                    for (int64_t i = 0; i < GROUP_BYTES; i++) total[i] += int16_t(repeated[i] * int16_t(weights[i]));
                }
                for (int64_t c = 0; c < PANEL_COLUMNS; c++)
                    sums[r * sums_stride + p * PANEL_COLUMNS + c] =
                        total[4 * c] + total[4 * c + 1] + total[4 * c + 2] + total[4 * c + 3];
            }
    }
};

}  // namespace
}  // namespace lutra
