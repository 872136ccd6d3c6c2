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
                int32_t total[PANEL_COLUMNS] = {};
                const int8_t* panel = panels + p * panel_stride;
                for (int64_t g = 0; g < groups; g++) {
                    const uint8_t* a = left + r * left_stride + g * PANEL_GROUP;
                    for (int64_t c = 0; c < PANEL_COLUMNS; c++)
                        for (int64_t k = 0; k < PANEL_GROUP; k++)
                            total[c] += int32_t(a[k]) * panel[g * GROUP_BYTES + c * PANEL_GROUP + k];
                }
                std::memcpy(sums + r * sums_stride + p * PANEL_COLUMNS, total, sizeof total);
            }
    }
};

}  // namespace
}  // namespace lutra
