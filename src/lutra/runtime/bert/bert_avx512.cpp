// AVX-512 with VBMI and VNNI (Intel since Ice Lake, AMD since Zen 4).
#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx512bitalg,gfni,avx2,fma,bmi,bmi2")
#include "lanes_avx512.h"

#include "bert_kernel.h"

namespace lutra {

const BertKernels bert_avx512 = {run_sentences<Avx512Lanes>};

}  // namespace lutra
#endif
