#include "memory.h"

#include <cstdlib>
#include <mutex>
#include <vector>

namespace lutra {
namespace {

std::mutex idle_lock;
std::vector<Memory>& idle = *new std::vector<Memory>;  // never destroyed: a thread may outlive static objects

}  // namespace

bool acquire_memory(int64_t bytes, Memory& memory) {
    {
        const std::lock_guard<std::mutex> guard(idle_lock);
        if (!idle.empty()) {
            memory = idle.back();
            idle.pop_back();
        }
    }
    if (memory.bytes >= bytes) return true;
    std::free(memory.data);
    memory.bytes = (bytes + 4095) / 4096 * 4096;
    memory.data = static_cast<char*>(std::aligned_alloc(4096, memory.bytes));
    return memory.data != nullptr;
}

void release_memory(const Memory& memory) {
    const std::lock_guard<std::mutex> guard(idle_lock);
    idle.push_back(memory);
}

}  // namespace lutra
