// Products of unsigned bytes and signed ones, for the kernels of whole models; one source per instruction set has them.
//
// Right operands lie in panels of 16 columns, four rows beside each other, as the dot products of VNNI want them; AVX2
// and portable code read the same panels.
#pragma once

#include <cstdint>

namespace lutra {

constexpr int64_t PANEL_COLUMNS = 16;
constexpr int64_t PANEL_GROUP = 4;                            // rows of a panel beside each other
constexpr int64_t GROUP_BYTES = PANEL_COLUMNS * PANEL_GROUP;  // of a panel
constexpr int64_t PANELS_AT_ONCE = 4;

}  // namespace lutra
