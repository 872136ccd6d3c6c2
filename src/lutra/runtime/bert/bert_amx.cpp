// AMX for large products, AVX-512 for everything else.
#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx512bitalg,gfni,avx2,fma,bmi,bmi2")
#pragma GCC target("amx-tile,amx-int8")
#include "../product/amx.h"
#include "bert_kernel.h"
#include "lanes_avx512.h"

namespace lutra {
namespace {

struct AmxLanes : Avx512Lanes {
    static constexpr auto product = AmxProduct::product;
};

}  // namespace

const BertKernels bert_amx = {run_sentences<AmxLanes>};

}  // namespace lutra
#endif
