// AVX-512 with VBMI and VNNI (Intel since Ice Lake, AMD since Zen 4).
#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx512bitalg,gfni,avx2,fma,bmi,bmi2")
#include "whole_avx512.h"

namespace lutra {

const WholeKernels whole_avx512 = {run_whole<Avx512Whole>};

}  // namespace lutra
#endif
