// Portable C++: any processor, and the fallback of x86 machines without AVX2.
#include "whole_kernel.h"

namespace lutra {

const WholeKernels whole_scalar = {run_whole<PortableWhole>};

}  // namespace lutra
