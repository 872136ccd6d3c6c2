// AVX2 (every x86 server and desktop since about 2015).
#if defined(__x86_64__)
#pragma GCC target("avx2,fma,f16c,bmi,bmi2")
#include "lanes_avx2.h"

#include "bert_kernel.h"

namespace lutra {

const BertKernels bert_avx2 = {run_sentences<Avx2Lanes>};

}  // namespace lutra
#endif
