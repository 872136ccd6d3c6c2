// The C interface of frozen BERTs: choice of the instruction set, sentences over threads.
#include "bert.h"

#include <atomic>

#include "export.h"
#include "threads.h"

namespace lutra {
namespace {

constexpr int64_t ROWS_TOGETHER = 256;  // of all sentences that a thread computes at once: they stay in its L2 cache

const BertKernels& kernels_of(int64_t isa) {
#if defined(__x86_64__)
    if (isa == 3) return bert_amx;
    if (isa == 2) return bert_avx512;
    if (isa == 1) return bert_avx2;
#endif
    return bert_scalar;
}

}  // namespace

void bert_in_parts(int64_t threads, int64_t count, void (*part)(const void* data, int64_t i), const void* data) {
    std::atomic<int64_t> next{0};
    on_threads(threads < count ? threads : count, [&] {
        for (int64_t i; (i = next++) < count;) part(data, i);
    });
}

// Returns a BertStatus.
LUTRA_EXPORT int64_t lutra_bert_run(const BertModel* model, int64_t isa, const BertRows* rows, float* pooled,
                                    int64_t threads) {
    const BertKernels& kernels = kernels_of(isa);
    const int64_t even = (rows->starts[rows->sentences] + threads - 1) / threads;
    const int64_t most = even < ROWS_TOGETHER ? even : ROWS_TOGETHER;
    // Sentences begin .. end - 1 that are computed together: at most `most` rows, or one sentence.
    const auto end_of = [&](int64_t begin) {
        int64_t end = begin + 1;
        while (end < rows->sentences && rows->starts[end + 1] - rows->starts[begin] <= most) end++;
        return end;
    };
    int64_t pieces = 0;
    for (int64_t begin = 0; begin < rows->sentences; begin = end_of(begin)) pieces++;
    const int64_t at_once = threads < pieces ? threads : pieces;
    std::atomic<int64_t> next{0}, status{BERT_DONE};
    on_threads(at_once, [&] {
        while (status == BERT_DONE) {
            int64_t begin = next, end;
            do {
                if (begin >= rows->sentences) return;
                end = end_of(begin);
            } while (!next.compare_exchange_weak(begin, end));
            if (const int64_t failed = kernels.run(*model, *rows, begin, end, at_once > 1 ? 1 : threads, pooled))
                status = failed;
        }
    });
    return status;
}

}  // namespace lutra
