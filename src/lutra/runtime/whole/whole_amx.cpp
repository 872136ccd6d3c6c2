// AMX for large products, AVX-512 for everything else.
#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx512bitalg,gfni,avx2,fma,bmi,bmi2")
#pragma GCC target("amx-tile,amx-int8")
#include "../product/amx.h"
#include "whole_avx512.h"

namespace lutra {
namespace {

struct AmxWhole : Avx512Whole {
    static constexpr auto product = AmxProduct::product;
};

}  // namespace

const WholeKernels whole_amx = {run_whole<AmxWhole>};

}  // namespace lutra
#endif
