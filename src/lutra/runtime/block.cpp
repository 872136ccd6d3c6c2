// The C interface of the block kernels, and their threads.
#include <atomic>

#include "block.h"
#include "export.h"
#include "memory.h"
#include "threads.h"

namespace lutra {
namespace {

constexpr int64_t PAST_CACHE_BYTES = 1 << 20;

const Kernels* kernels_of(int64_t isa) {
#if defined(__x86_64__)
    if (isa >= 2) return &kernels_avx512;
    if (isa == 1) return &kernels_avx2;
#endif
    return &kernels_scalar;
}

}  // namespace

// x (tokens, width) int8 -> out (tokens, output_width) of output_bytes. Returns 0, or 1 when memory is short.
LUTRA_EXPORT int64_t lutra_run_block(const Block* block, int64_t isa, const int8_t* x, char* out, int64_t tokens,
                                     int64_t threads) {
    const Kernels& kernels = *kernels_of(isa);
    const int64_t row_bytes = block->output_width * block->output_bytes;
    if (tokens <= kernels.few_tokens && block->few_tokens_allowed) {
        Memory memory;
        if (!acquire_memory(kernels.workspace_bytes(*block), memory)) return 1;
        for (int64_t t = 0; t < tokens; ++t)
            kernels.run_token(*block, x + t * block->width, out + t * row_bytes, memory.data);
        release_memory(memory);
        return 0;
    }
    // Pieces of about the same size for every thread, but not so small that making tables of sums would dominate.
    const int64_t turns = (tokens + threads * BLOCK_TOKENS - 1) / (threads * BLOCK_TOKENS) * threads;
    const int64_t even = (tokens + 128 * turns - 1) / (128 * turns) * 128;
    const int64_t piece = threads > 1 && even < TOKENS ? TOKENS : even;
    const int64_t pieces = (tokens + piece - 1) / piece;
    // A large result is written past the caches, which then keep what is read again; this needs whole cache lines.
    const bool aligned = reinterpret_cast<uintptr_t>(out) % 64 == 0 && row_bytes % 64 == 0;
    const bool past_cache = aligned && tokens * row_bytes > PAST_CACHE_BYTES;
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
    on_threads(threads < pieces ? threads : pieces, work);
    return failed;
}

}  // namespace lutra
