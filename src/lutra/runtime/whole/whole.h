// A whole transformer prepared for the kernels (layout.py fills these structures; the arrays belong to Python).
//
// A program is a list of steps on slots of memory. A slot holds the rows of a value for some sequences, one after the
// other; slots are used again when nobody reads them any more. Products take unsigned left operands: an int8 row enters
// as row + 128, and 128 times the sums of the weights' columns are part of the bias. Weights lie in panels of 16
// columns, four rows beside each other, as the dot products of VNNI want them; AVX2 and portable code read the same
// panels.
#pragma once

#include <cstdint>

#include "../product/panels.h"

namespace lutra {

constexpr int64_t PRODUCT_ROWS = 64;  // rows whose sums are held at once: 16 KiB for 64 columns
constexpr int64_t QUERIES_AT_ONCE = 32;
constexpr int64_t TABLE_ENTRIES = 256;  // of exponentials

enum StepKind : int64_t {
    EMBEDDING_STEP,
    PATCHES_STEP,
    POSITIONS_STEP,
    NORM_STEP,
    LINEAR_STEP,
    ATTENTION_STEP,
    BLOCK_STEP,
    REQUANTISE_STEP,
    RESIDUAL_STEP,
    TABLE_STEP,
    SELECT_STEP,
    MEAN_STEP
};

struct Rows {
    int64_t fixed;  // rows of a sequence; 0: one for each token
    int64_t of(int64_t tokens) const { return fixed ? fixed : tokens; }
};

struct EmbeddingStep {
    int64_t width, low, high;
    const int16_t *tokens, *positions;
};

struct PatchesStep {
    int64_t height, width, channels, patch;
};

struct PositionsStep {
    int64_t width, leading_rows, rows, low, high;
    const int16_t *leading, *positions;
};

struct NormStep {
    int64_t width, epsilon, shift, low, high;
    int64_t narrow;  // gain, bias and rounding fit 32 bits together
    const int16_t* gain;
    const int32_t* bias;
};

// After the sums of a product: clamp((sum + bias) * multiplier rounded >> shift), then a table, then the residual
// stream.
struct LinearStep {
    int64_t inputs, outputs;  // outputs are padded to whole panels in the arrays
    int64_t groups, panels;   // of four rows, of 16 columns
    int64_t shift, low, high, output_bytes;
    int64_t narrow;  // every requantised sum fits 32 bits before it is clamped
    int64_t residual_low, residual_high;
    const int8_t* weights;  // (panels, groups, 16, 4)
    const int32_t *bias, *multiplier;
    const int16_t* table;  // (high - low + 1) entries and one that is read but not used, or null
    int64_t table_bytes;   // of an entry in the output
};

struct AttentionStep {
    int64_t width, heads, causal, index;  // index: which attention of the program
    int64_t multiplier, shift, gain, low, high;
    int64_t narrow;  // every score fits 32 bits before it is clamped
    const uint8_t* exponentials;
};

struct RequantiseStep {
    int64_t width, input_bytes, input_signed, output_bytes, low, high, residual_low, residual_high;
    const int64_t *multiplier, *shift;
};

struct ElementStep {  // residual and table
    int64_t width, input_bytes, output_bytes, low, high, table_half;
    const int16_t* table;
};

struct SelectStep {
    int64_t row, row_bytes;
};

struct MeanStep {
    int64_t width, input_bytes, output_bytes, multiplier, shift, low, high;
};

struct Step {
    int64_t kind;
    int64_t input, second, third, output;  // slots; second of a linear or requantise step is the residual stream, or -1
    Rows rows, output_rows;
    const void* constants;
};

struct Program {
    int64_t step_count;
    const Step* steps;
    int64_t slot_count;
    const int64_t *token_bytes, *fixed_bytes;  // a slot's bytes for each token, and for each sequence
    int64_t input_slot, input_row_bytes, output_slot, output_row_bytes;
    Rows input_rows, output_rows;
    int64_t attention_count;
    const AttentionStep* const* attentions;
    int64_t most_rows;      // of a sequence, for a program without tokens
    int64_t widest_inputs;  // of a product, in groups of four
};

// Where keys and values of an attention lie: for every sequence, every head.
struct Cache {
    char* base;
    int64_t capacity;   // tokens, a multiple of 16
    int64_t first;      // which sequence of the cache is the first of this call
    int64_t sequences;  // that the cache holds
};

struct WholeKernels {
    // false when memory is short. `cache` is null where nothing is kept.
    bool (*run)(const Program&, const void* input, void* output, int64_t sequences, int64_t tokens, int64_t past,
                const Cache* cache, int64_t threads, int64_t isa);
};

extern const WholeKernels whole_scalar, whole_avx2, whole_avx512, whole_amx;

// Calls `part` with 0 .. count - 1 on up to `threads` threads, each number once.
void whole_in_parts(int64_t threads, int64_t count, void (*part)(const void* data, int64_t i), const void* data);

int64_t whole_cache_bytes(const Program& program, int64_t sequences, int64_t capacity);
int64_t attention_bytes(const AttentionStep& step, int64_t capacity);  // of one head of one sequence

}  // namespace lutra
