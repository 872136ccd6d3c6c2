// The C interface of the block kernels: choice of the instruction set, threads.
#include <atomic>

#include "block.h"
#include "memory.h"
#include "threads.h"

namespace {

constexpr int64_t kPastCacheBytes = 1 << 20;

const Kernels* kernels_of(int64_t isa) {
#if defined(__x86_64__)
    if (isa == 2) return &kernels_avx512;
    if (isa == 1) return &kernels_avx2;
#endif
    return &kernels_scalar;
}

}  // namespace

// 0 portable, 1 AVX2, 2 AVX-512 with VBMI, VNNI, BITALG and GFNI: the best that this processor has.
LUTRA_EXPORT int64_t lutra_best_isa() {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni") &&
        __builtin_cpu_supports("avx512bitalg") && __builtin_cpu_supports("gfni") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return 2;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")) return 1;
#endif
    return 0;
}

// x (tokens, width) int8 -> out (tokens, output_width) of output_bytes. Returns 0, or 1 when memory is short.
LUTRA_EXPORT int64_t lutra_run_block(const Block* block, int64_t isa, const int8_t* x, char* out, int64_t tokens,
                                     int64_t threads) {
    const Kernels& kernels = *kernels_of(isa);
    const int64_t row_bytes = block->output_width * block->output_bytes;
    if (tokens <= kernels.few_tokens && block->few_tokens_allowed) {
        Memory memory;
        if (!acquire_memory(kernels.workspace_bytes(*block), memory)) return 1;
        for (int64_t t = 0; t < tokens; t++)
            kernels.run_token(*block, x + t * block->width, out + t * row_bytes, memory.data);
        release_memory(memory);
        return 0;
    }
    // Pieces of about the same size for every thread, but not so small that making tables of sums would dominate.
    const int64_t turns = (tokens + threads * kBlockTokens - 1) / (threads * kBlockTokens) * threads;
    const int64_t even = (tokens + 128 * turns - 1) / (128 * turns) * 128;
    const int64_t piece = threads > 1 && even < kTokens ? kTokens : even;
    const int64_t pieces = (tokens + piece - 1) / piece;
    // A large result is written past the caches, which then keep what is read again; this needs whole cache lines.
    const bool aligned = reinterpret_cast<uintptr_t>(out) % 64 == 0 && row_bytes % 64 == 0;
    const bool past_cache = aligned && tokens * row_bytes > kPastCacheBytes;
    std::atomic<int64_t> next{0}, failed{0};
    const auto work = [&] {
        Memory memory;
        if (!acquire_memory(kernels.workspace_bytes(*block), memory)) {
            failed = 1;
            return;
        }
        for (int64_t i; (i = next++) < pieces;) {
            const int64_t first = i * piece, count = tokens - first < piece ? tokens - first : piece;
            kernels.run_block(*block, x + first * block->width, count, out + first * row_bytes, past_cache,
                              memory.data);
        }
        release_memory(memory);
    };
    lutra::on_threads(threads < pieces ? threads : pieces, work);
    return failed;
}
