// Workspaces that are kept for the next call: fresh pages cost more than the arithmetic.
#pragma once

#include <cstdint>

namespace lutra {

struct Memory {
    char* data = nullptr;
    int64_t bytes = 0;
};

bool acquire_memory(int64_t bytes, Memory& memory);  // false when memory is short
void release_memory(const Memory& memory);

}  // namespace lutra
