// AVX2 (every x86 server and desktop since about 2015).
#if defined(__x86_64__)
#pragma GCC target("avx2,fma,bmi,bmi2")
#include "../product/avx2.h"
#include "whole_kernel.h"

namespace lutra {
namespace {

struct Avx2Whole : PortableWhole {
    static constexpr auto product = Avx2Product::product;
};

}  // namespace

const WholeKernels whole_avx2 = {run_whole<Avx2Whole>};

}  // namespace lutra
#endif
