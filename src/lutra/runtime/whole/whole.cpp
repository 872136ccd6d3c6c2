// The C interface of whole programs: choice of the instruction set, sequences over threads.
#include "whole.h"

#include <atomic>

#include "../block.h"
#include "../memory.h"
#include "export.h"
#include "threads.h"

namespace lutra {
namespace {

constexpr int64_t ROWS_AT_ONCE = 256;  // of all sequences that a thread computes together: they stay in its L2 cache

int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

const WholeKernels& kernels_of(int64_t isa) {
#if defined(__x86_64__)
    if (isa == 3) return whole_amx;
    if (isa == 2) return whole_avx512;
    if (isa == 1) return whole_avx2;
#endif
    return whole_scalar;
}

// About what one thread needs for all steps with AVX-512.
double nanoseconds(const Program& program, int64_t sequences, int64_t tokens, int64_t past) {
    double total = 0;
    for (int64_t i = 0; i < program.step_count; i++) {
        const Step& step = program.steps[i];
        const double rows = double(sequences * step.rows.of(tokens));
        if (step.kind == LINEAR_STEP) {
            const LinearStep& c = *static_cast<const LinearStep*>(step.constants);
            total += rows * double(c.outputs) * (0.3 + double(c.inputs) / 512);
        } else if (step.kind == ATTENTION_STEP) {
            const AttentionStep& c = *static_cast<const AttentionStep*>(step.constants);
            const double scores = rows * double(past + step.rows.of(tokens)) * double(c.heads);
            total += scores * (0.5 + double(c.width / c.heads) / 256);
        } else if (step.kind == BLOCK_STEP) {
            total += 2 * rows * double(static_cast<const Block*>(step.constants)->width);
        }
    }
    return total;
}

}  // namespace

void whole_in_parts(int64_t threads, int64_t count, void (*part)(const void* data, int64_t i), const void* data) {
    std::atomic<int64_t> next{0};
    on_threads(threads < count ? threads : count, [&] {
        for (int64_t i; (i = next++) < count;) part(data, i);
    });
}

int64_t attention_bytes(const AttentionStep& step, int64_t capacity) {
    const int64_t head = step.width / step.heads;
    const int64_t keys = capacity * round_up(head, PANEL_GROUP), values = round_up(head, PANEL_COLUMNS) * capacity;
    return round_up(keys, 64) + round_up(values, 64) + round_up(capacity * int64_t(sizeof(int32_t)), 64);
}

int64_t whole_cache_bytes(const Program& program, int64_t sequences, int64_t capacity) {
    int64_t bytes = 0;
    for (int64_t i = 0; i < program.attention_count; i++)
        bytes += sequences * program.attentions[i]->heads * attention_bytes(*program.attentions[i], capacity);
    return bytes;
}

// Bytes of the memory that keeps keys and values of `sequences` sequences of up to `tokens` tokens.
LUTRA_EXPORT int64_t lutra_whole_cache_bytes(const Program* program, int64_t sequences, int64_t tokens) {
    return whole_cache_bytes(*program, sequences, round_up(tokens, PANEL_COLUMNS));
}

// input (sequences, rows, ...) -> output (sequences, rows, ...). `cache` is null, or holds what `past` tokens of every
// sequence left and takes in those of this call. Every thread that is taken has `worth_a_thread` nanoseconds of work or
// more (0: any). Returns 0, or 1 when memory is short.
LUTRA_EXPORT int64_t lutra_whole_run(const Program* program, int64_t isa, const char* input, char* output,
                                     int64_t sequences, int64_t tokens, int64_t past, char* cache, int64_t capacity,
                                     int64_t threads, int64_t worth_a_thread) {
    const WholeKernels& kernels = kernels_of(isa);
    if (worth_a_thread > 0) {
        const int64_t worth = int64_t(nanoseconds(*program, sequences, tokens, past) / double(worth_a_thread));
        threads = worth < 1 ? 1 : worth < threads ? worth : threads;
    }
    const int64_t rows = program->input_rows.of(tokens);
    const int64_t input_bytes = rows * program->input_row_bytes;
    const int64_t output_bytes = program->output_rows.of(tokens) * program->output_row_bytes;
    const int64_t most = program->most_rows ? program->most_rows : tokens;
    int64_t piece = ROWS_AT_ONCE / (most ? most : 1);
    const int64_t even = (sequences + threads - 1) / threads;
    piece = piece < 1 ? 1 : piece > even ? even : piece;
    const int64_t pieces = (sequences + piece - 1) / piece;
    const int64_t at_once = threads < pieces ? threads : pieces;
    std::atomic<int64_t> next{0}, failed{0};
    on_threads(at_once, [&] {
        for (int64_t i; (i = next++) < pieces;) {
            const int64_t first = i * piece, count = sequences - first < piece ? sequences - first : piece;
            const Cache kept{cache, round_up(capacity, PANEL_COLUMNS), first, sequences};
            if (!kernels.run(*program, input + first * input_bytes, output + first * output_bytes, count, tokens, past,
                             cache ? &kept : nullptr, at_once > 1 ? 1 : threads, isa))
                failed = 1;
        }
    });
    return failed;
}

}  // namespace lutra
