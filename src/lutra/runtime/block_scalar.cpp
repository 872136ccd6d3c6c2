// Portable C++: any processor, and the fallback of x86 machines without AVX2.
#include "block_kernel.h"

namespace lutra {

const Kernels kernels_scalar = {workspace_bytes, run_block<Portable>, run_token<Portable>, 24};

}  // namespace lutra
