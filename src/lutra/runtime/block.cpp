// The C interface of the block kernels: choice of the instruction set, workspaces, threads.
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "block.h"

namespace {

constexpr int64_t kPastCacheBytes = 1 << 20;

struct Memory {
    char* data = nullptr;
    int64_t bytes = 0;
};

// Workspaces are kept for the next call: fresh pages cost more than the arithmetic.
std::mutex idle_lock;
std::vector<Memory>& idle = *new std::vector<Memory>;  // never destroyed: a thread may outlive static objects

bool acquire(int64_t bytes, Memory& memory) {
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

void release(const Memory& memory) {
    const std::lock_guard<std::mutex> guard(idle_lock);
    idle.push_back(memory);
}

const Kernels* kernels_of(int64_t isa) {
#if defined(__x86_64__)
    if (isa == 2) return &kernels_avx512;
    if (isa == 1) return &kernels_avx2;
#endif
    return &kernels_scalar;
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

// 0 portable, 1 AVX2, 2 AVX-512 with VBMI and VNNI: the best that this processor has.
EXPORT int64_t lutra_best_isa() {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return 2;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")) return 1;
#endif
    return 0;
}

// x (tokens, width) int8 -> out (tokens, output_width) int32. Returns 0, or 1 when memory is short.
EXPORT int64_t lutra_run_block(const Block* block, int64_t isa, const int8_t* x, int32_t* out, int64_t tokens,
                               int64_t threads) {
    const Kernels& kernels = *kernels_of(isa);
    if (tokens <= kernels.few_tokens && block->few_tokens_allowed) {
        Memory memory;
        if (!acquire(kernels.workspace_bytes(*block), memory)) return 1;
        for (int64_t t = 0; t < tokens; t++)
            kernels.run_token(*block, x + t * block->width, out + t * block->output_width, memory.data);
        release(memory);
        return 0;
    }
    // Pieces of whole 512-token planes; with several threads, no more than one of them per turn.
    const int64_t piece = threads > 1 && tokens < 4 * threads * kBlockTokens ? kTokens : kBlockTokens;
    const int64_t pieces = (tokens + piece - 1) / piece;
    // A large result is written past the caches, which then keep what is read again; this needs whole cache lines.
    const bool aligned = reinterpret_cast<uintptr_t>(out) % 64 == 0 && block->output_width % 16 == 0;
    const bool past_cache = aligned && tokens * block->output_width * 4 > kPastCacheBytes;
    std::atomic<int64_t> next{0}, failed{0};
    const auto work = [&] {
        Memory memory;
        if (!acquire(kernels.workspace_bytes(*block), memory)) {
            failed = 1;
            return;
        }
        for (int64_t i; (i = next++) < pieces;) {
            const int64_t first = i * piece, count = tokens - first < piece ? tokens - first : piece;
            kernels.run_block(*block, x + first * block->width, count, out + first * block->output_width, past_cache,
                              memory.data);
        }
        release(memory);
    };
    std::vector<std::thread> others;
    const int64_t wanted = threads < pieces ? threads : pieces;
    try {
        for (int64_t i = 1; i < wanted; i++) others.emplace_back(work);
    } catch (const std::system_error&) {
        // No more threads to be had: those that run take all the pieces.
    }
    work();
    for (std::thread& other : others) other.join();
    return failed;
}
