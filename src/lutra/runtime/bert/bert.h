// A frozen BERT prepared for the kernels (layout.py fills these structures; the arrays belong to Python).
//
// Numbers of binary16 are kept as float32; every step is computed in float32 and rounded to binary16, which is exact
// (spec.md, "BERT"). Activations of products are levels: codes raised by the lowest one, so that they are unsigned
// bytes; what that adds to a sum is taken off again by `offsets`. Weights keep their one or two bits; panels of signed
// bytes are made from them as they are needed (panels.h).
//
// Rows are the real tokens of all sentences, one sentence after the other.
#pragma once

#include <cstdint>

#include "../product/panels.h"

namespace lutra {

// level = clamp(floor(binary16((x + bias) * inverse_step) + 1/2), low, high) - low.
struct BertQuantiser {
    int64_t low, high;
    int64_t sign;       // one signed bit instead: the code is +1 from 0 on, else -1
    const float* bias;  // for every feature, or null
    float inverse_step;
};

// y = bias + sum of copies of binary16(sum * sum_scale) * factor.
struct BertLinear {
    int64_t inputs, outputs;      // outputs are padded to whole panels in the arrays
    int64_t groups, panels;       // of four inputs, of 16 outputs
    int64_t copies, planes;       // one plane says which weights are +1, a second one which of them are not 0
    const uint64_t* weights;      // (copies, panels, groups, planes): bit 4 c + k is row k of the group, column c
    const int32_t* offsets;       // (copies, outputs) lowest code times the sums of the weights
    const float *factors, *bias;  // (copies, outputs), (outputs)
    float sum_scale;              // a power of two
};

struct BertNorm {
    const float *gain, *bias;  // (width, padded to 16)
};

// A quantiser, the linear layer that it feeds.
struct BertStage {
    BertQuantiser quantiser;
    BertLinear linear;
};

struct BertLayer {
    BertQuantiser input;
    BertLinear query, key, value;
    BertQuantiser query_codes, key_codes, value_codes, probability_codes;
    BertStage output;
    BertNorm attention_norm;
    BertStage intermediate, feed_forward;
    BertNorm norm;
    float score_factor, context_factor;
};

struct BertModel {
    int64_t width, heads, head_width, intermediate, layer_count;
    int64_t copies, word_bits, word_bytes, vocabulary;
    const uint8_t* word_codes;                           // (copies, vocabulary, word_bytes)
    const float *word_scales, *positions, *token_types;  // (copies, vocabulary), (positions, width), (types, width)
    BertNorm embedding_norm;
    const BertLayer* layers;
    BertStage pooler;
    const float* exponentials;         // exp(-x) of every x >= 0, by its bits
    const float* gelu;                 // of every number, by its bits; null: ReLU
    double epsilon;                    // of the layer norms, as part of a sum of squares
    float score_scale, context_scale;  // powers of two, as sum_scale
};

// Real tokens of some sentences. Sentence s has the rows starts[s] to starts[s + 1].
struct BertRows {
    const int32_t *tokens, *token_types, *positions;
    const int64_t* starts;
    int64_t sentences;
    const float* noise;  // (rows, width padded to 16) that is added to the embeddings, or null
};

enum BertStatus : int64_t { BERT_DONE, BERT_OUT_OF_MEMORY, BERT_OUT_OF_RANGE };

struct BertKernels {
    // The pooler's linear layer (sentences, width) of the sentences begin .. end - 1. Returns a BertStatus.
    int64_t (*run)(const BertModel&, const BertRows&, int64_t begin, int64_t end, int64_t threads, float* pooled);
};

extern const BertKernels bert_scalar, bert_avx2, bert_avx512, bert_amx;

// Calls `part` with 0 .. count - 1 on up to `threads` threads, each number once.
void bert_in_parts(int64_t threads, int64_t count, void (*part)(const void* data, int64_t i), const void* data);

}  // namespace lutra
